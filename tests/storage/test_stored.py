"""A project that an earlier version left goes on: contracts, packages, models, roles and results are what they were."""

import contextlib
import json
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

import psycopg
import pytest

from diurnal.backends.sample_reader import SampleReader
from diurnal.data import Schema
from diurnal.experiment import find
from diurnal.experiment.run_context import RunContext
from diurnal.pipeline import local_run
from diurnal.pipeline.store_verification import verify_stores
from diurnal.runtime import Settings
from diurnal.storage.load_model import load_version
from diurnal.storage.stores import open_stores
from diurnal.types import Package
from projects import day

ARCHIVE = Path(__file__).parent / "stored" / "landed.tar.xz"
NAMES = ("clinic", "tides")


@pytest.fixture
def folder(tmp_path, empty_url):
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    dump = (tmp_path / "warehouse.sql").read_text()
    statements = "\n".join(line for line in dump.splitlines() if not line.startswith("\\"))  # without psql's own
    with psycopg.connect(empty_url, autocommit=True) as connection:
        connection.execute(statements)
    for module in [name for name in sys.modules if name.split(".")[0] == "experiments"]:
        del sys.modules[module]
    with contextlib.chdir(tmp_path):  # relative patterns of files were read from there
        yield tmp_path


@pytest.fixture
def stores(folder, empty_url):
    stores = open_stores(Settings.load(folder, {"DIURNAL_WAREHOUSE": empty_url}))
    yield stores
    stores.warehouse.close()


def run(folder, stores, name, date):
    return local_run.run(RunContext(find(name, folder / "experiments"), day(date), stores, requested_by="test"))


def rows_of(folder, name):
    return json.loads((folder / "runs.json").read_text())[name]


def test_all_that_was_kept_is_what_the_warehouse_says(stores):
    findings = list(verify_stores(stores))
    assert len(findings) > 30
    assert [finding for finding in findings if finding.state != "good"] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_day_that_was_done_is_done(folder, stores, name):
    again = run(folder, stores, name, "2026-03-03")
    assert again.already, "the code, the data and the window have the digests that they had"
    assert again.run["run_id"] == rows_of(folder, name)[0]["run_id"]


@pytest.mark.parametrize("name", NAMES)
def test_rows_have_the_roles_that_they_had(folder, stores, name):
    declared = find(name, folder / "experiments")
    packages = [row for row in stores.warehouse.packages() if row["experiment"] == name]
    for batch in (row for row in packages if row["role"] == "batch"):
        start = batch["data_interval_start"]
        today = RunContext(declared, day(f"{start:%Y-%m-%d}"), stores, requested_by="test")
        package = Package(batch["path"], batch["digest"], batch["n_rows"])
        sides = stores.lake.split_package(package, SampleReader(today, today.newest_schema).roles())
        digests = {row["role"]: row["digest"] for row in packages if row["data_interval_start"] == start}
        assert [side.digest for side in sides] == [digests["train"], digests["test"]]


@pytest.mark.parametrize("name", NAMES)
def test_a_further_day_goes_on_from_the_stored_ones(folder, stores, name):
    before = rows_of(folder, name)[0]
    outcome = run(folder, stores, name, "2026-03-04")
    assert outcome.version == 4
    assert outcome.run["code_digest"] == before["code_digest"]
    window = {one["digest"] for one in outcome.run["packages"]}
    assert len(window & {one["digest"] for one in before["packages"]}) == len(window) - 1
    assert Schema.from_dict(stores.warehouse.schema(name)).duplicates == "drop"
    if name == "tides":
        assert outcome.run["packages"][-1]["n_rows"] == 80
        assert any("4 repeated rows were dropped" in warning for warning in outcome.run["warnings"])
    if stores.warehouse.version(name, 3)["library_versions"]["scikit-learn"] == version("scikit-learn"):
        assert outcome.run["comparison"]["n_compared"] > 10


def test_models_load_and_answer_as_they_did(stores):
    versions = stores.warehouse.versions()
    assert len(versions) == 6
    for row in versions:
        if row["library_versions"]["scikit-learn"] == version("scikit-learn"):
            assert load_version(stores.models, row) is not None  # its golden rows give the predictions that they gave
