"""``diurnal remove``: what is left of an experiment, read by SQL and from the disk."""

import json
import os
import signal

import psycopg
import pytest

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


@pytest.mark.parametrize(
    "point",
    [
        "warehouse.remove_experiment:before",
        "warehouse.remove_experiment:after",
        "removal.file:before",
        "warehouse.finish_removal:before",
    ],
)
def test_killed_removal_is_continued(one_run, stores, point):
    project = one_run
    killed = project.command("remove", "clinic", "--yes", fault=f"kill@{point}")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert {one.state for one in verify_stores(stores)} <= {"good"}
    done = project.command("remove", "clinic", "--yes")
    assert done.returncode == 0, done.stderr
    assert left(project, "clinic") == ({"removals"}, set(), [])
    assert not stores.warehouse.unfinished_removals("clinic")


@pytest.mark.parametrize("point", ["warehouse.save_split", "warehouse.record_run"])
def test_attempt_that_wakes_up_after_the_removal_has_no_effect(one_run, stores, point):
    project = one_run
    project.bring(FIRST, patients(FIRST, 200))
    zombie = project.start("run", "clinic", "--date", FIRST, fault=f"stop@{point}:entry")
    _, status = os.waitpid(zombie.pid, os.WUNTRACED)
    assert status & 0xFF == 0x7F, "it is stopped"
    try:
        assert project.command("remove", "clinic", "--yes").returncode == 0
        if point == "warehouse.record_run":
            stores.warehouse.claim_interval("clinic", day(FIRST), requested_by="a newer attempt")
    finally:
        zombie.send_signal(signal.SIGCONT)
        _, said = zombie.communicate(timeout=60)
    assert zombie.returncode == 0, said
    assert "superseded" in said or "removed meanwhile" in said
    found, _, _ = left(project, "clinic")
    assert found <= {"removals", "heads"}
