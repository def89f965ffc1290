"""``diurnal remove``: what is left of an experiment, read by SQL and from the disk."""

import json
import signal

import psycopg
import pytest

from diurnal.errors import SupersededError
from diurnal.experiment.run_context import RunContext
from diurnal.pipeline import steps
from diurnal.pipeline.store_verification import verify_stores
from projects import day, patients

FIRST, SECOND = "2026-11-01", "2026-11-02"


@pytest.fixture
def one_run(project, stores):
    project.bring(FIRST)
    project.run(FIRST, stores)
    return project


@pytest.fixture
def filled(project, stores):
    """Two experiments with a run each; the first one has predictions and a rejected batch as well."""
    project.bring(FIRST)
    file = project.folder / "experiments" / "clinic.py"
    (file.parent / "hospital.py").write_text(file.read_text().replace("def clinic", "def hospital"))
    assert project.command("run", "hospital", "--date", FIRST).returncode == 0
    project.run(FIRST, stores)
    assert project.command("score", "clinic", "--date", FIRST).returncode == 0
    project.bring(SECOND, patients(SECOND).drop(columns="age"))
    assert project.command("run", "clinic", "--date", SECOND).returncode == 65
    return project


def left(project, name):
    """Return the tables with rows of an experiment, its own tables and views, and its files."""
    with psycopg.connect(project.warehouse_url) as connection:
        tables = connection.execute(
            "SELECT c.table_name FROM information_schema.columns c JOIN information_schema.tables t USING (table_name)"
            " WHERE c.column_name = 'experiment' AND t.table_type = 'BASE TABLE' AND c.table_schema = 'public'"
        ).fetchall()
        count = "SELECT count(*) FROM {} WHERE experiment = %s"
        found = {table for (table,) in tables if connection.execute(count.format(table), [name]).fetchone()[0]}
        own = connection.execute("SELECT relname FROM pg_class WHERE relname LIKE %s", [f"%\\_{name}"]).fetchall()
    files = [path for store in ("data", "models") for path in (project.folder / store / name).rglob("*")]
    return found, {table for (table,) in own}, files


def test_nothing_is_left_and_others_are_untouched(filled, stores):
    project = filled
    others = left(project, "hospital")
    found, own, files = left(project, "clinic")
    assert {"experiments", "model_versions", "promotions", "prediction_loads", "failures", "profiles"} <= found
    assert {"batch_data_clinic", "predictions_clinic"} <= own
    assert any("quarantine" in path.parts for path in files)
    done = project.command("remove", "clinic", "--yes")
    assert done.returncode == 0, done.stderr
    assert "clinic.py still declares it" in done.stderr
    assert left(project, "clinic") == ({"removals"}, set(), [])
    assert left(project, "hospital") == others
    assert {one.state for one in verify_stores(stores)} == {"good"}
    again = project.run(FIRST, stores)
    assert again.run["model_version"] == 1
    assert {one.state for one in verify_stores(stores)} == {"good"}


def test_dry_run_and_a_call_without_consent_delete_nothing(one_run):
    project = one_run
    before = left(project, "clinic")
    printed = json.loads(project.command("remove", "clinic", "--dry-run", "--json").stdout)
    assert printed["removed"] is False
    assert (printed["rows"]["experiments"], printed["rows"]["model_versions"], printed["n_models"]) == (1, 1, 1)
    assert printed["n_bytes"] > sum(path.stat().st_size for path in before[2] if path.is_file())
    refused = project.command("remove", "clinic")
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert left(project, "clinic") == before
    unknown = project.command("remove", "clinics", "--yes")
    assert unknown.returncode != 0
    assert "did you mean 'clinic'" in unknown.stderr


@pytest.mark.system  # as it kills processes
def test_killed_removal_is_continued(one_run, stores):
    project = one_run
    points = ("remove_experiment:before", "remove_experiment:after", "finish_removal:before")
    for point in (f"warehouse.{points[0]}", f"warehouse.{points[1]}", "removal.file:before", f"warehouse.{points[2]}"):
        killed = project.command("remove", "clinic", "--yes", fault=f"kill@{point}")
        assert killed.returncode == -signal.SIGKILL, f"{point}: {killed.stderr}"
        assert {one.state for one in verify_stores(stores)} <= {"good"}
    done = project.command("remove", "clinic", "--yes")
    assert done.returncode == 0, done.stderr
    assert left(project, "clinic") == ({"removals"}, set(), [])
    assert not stores.warehouse.unfinished_removals("clinic")


def test_no_step_of_an_attempt_from_before_the_removal_has_an_effect(one_run, stores):
    project = one_run
    project.bring(FIRST, patients(FIRST, 200))
    context = RunContext(project.experiment(), day(FIRST), stores, requested_by="test")
    batch = steps.fetch(context)
    samples = steps.split(context, batch)
    search = steps.tune(context, samples)
    evaluation = steps.evaluate(context, samples, search)
    stores.warehouse.remove_experiment("clinic", requested_by="test")
    for _ in range(batch.run.epoch):  # as many as there were before
        stores.warehouse.claim_interval("clinic", day(FIRST), requested_by="a newer attempt")
    with pytest.raises(SupersededError):
        steps.record(context, search, evaluation)
    with pytest.raises(SupersededError):
        stores.warehouse.set_batch("clinic", day(FIRST), batch.run.epoch, batch.package)
    with pytest.raises(SupersededError, match="removed meanwhile"):
        stores.warehouse.save_split(
            "clinic", day(SECOND), batch.package.digest, 0.3, batch.package, batch.package, erasure=0
        )
    assert left(project, "clinic")[0] == {"removals", "heads"}
