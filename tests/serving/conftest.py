"""A project with two versions, and a server of its champion."""

import httpx
import pytest

from projects import Project, patients
from serving_projects import Clinic, serving

DATES = ("2026-11-20", "2026-11-21")


@pytest.fixture(scope="package")
def clinic(server, tmp_path_factory):
    """A project with two versions, and what each predicts of some rows."""
    from databases import open_database

    with open_database(server) as url:
        project = Project.make(tmp_path_factory.mktemp("clinic") / "p", url, "drop='ward', promotion='always'")
        stores = project.stores()
        for date in DATES:
            project.bring(date)
            project.run(date, stores)
        rows = patients("2026-11-23", 5)[["age", "pressure"]]
        from diurnal.storage.load_model import load_version

        models = {v: load_version(stores.models, stores.warehouse.version("clinic", v), stores.code) for v in (1, 2)}
        yield Clinic(project, stores, rows, {v: model.predict_proba(rows) for v, model in models.items()})
        stores.warehouse.close()


@pytest.fixture(scope="package")
def running(clinic):
    clinic.set_champion(2)
    with serving(clinic, "--access-log") as started:
        yield started


@pytest.fixture
def client(running):
    with httpx.Client(base_url=running[0], timeout=20) as client:
        yield client
