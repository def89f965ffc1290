"""A project with two versions, which tests of the mirror only read."""

import pytest

from databases import open_database
from projects import Project

DATES = ("2026-11-20", "2026-11-21")


@pytest.fixture(scope="package")
def clinic(server, tmp_path_factory):
    """A project with two runs; version 2 is the champion."""
    with open_database(server) as url:
        project = Project.make(tmp_path_factory.mktemp("mirrored") / "p", url, "drop='ward', promotion='always'")
        stores = project.stores()
        with stores.warehouse:
            for date in DATES:
                project.bring(date)
                project.run(date, stores)
        yield project


@pytest.fixture
def clinic_stores(clinic):
    stores = clinic.stores()
    with stores.warehouse:
        yield stores
