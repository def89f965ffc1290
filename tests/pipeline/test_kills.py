"""A run that is killed at any of its effects, and run again, leaves exactly one result."""

import os
import signal
from datetime import UTC, datetime, timedelta
from itertools import product

import psycopg
import pytest

from diurnal.pipeline import garbage, store_verification
from projects import POINTS, Project, patients


@pytest.fixture
def project(tmp_path, warehouse_url):
    project = Project.make(tmp_path / "project", warehouse_url)
    project.bring("2026-11-01")
    return project


def counts(project):
    """Count what a run leaves, by SQL that shares no code with it."""
    queries = {
        "experiments": "select count(*) from experiments",
        "decided": "select count(*) from experiments where decided_at is not null",
        "versions": "select count(*) from model_versions",
        "promotions": "select count(*) from promotions",
        "rows": "select count(*) from batch_data_clinic",
        "distinct rows": "select count(distinct patient) from batch_data_clinic",
        "complete loads": "select count(*) from loads where state = 'complete'",
    }
    with psycopg.connect(project.warehouse_url) as connection:
        return {name: connection.execute(query).fetchone()[0] for name, query in queries.items()}


ONE_RESULT = {
    "experiments": 1,
    "decided": 1,
    "versions": 1,
    "promotions": 1,
    "rows": 240,
    "distinct rows": 240,
    "complete loads": 1,
}


@pytest.mark.parametrize(("point", "side"), list(product(POINTS, ["before", "after"])))
def test_killed_run_that_is_run_again_leaves_one_result(project, point, side):
    killed = project.command("run", "clinic", "--date", "2026-11-01", fault=f"kill@{point}:{side}")
    assert killed.returncode == -signal.SIGKILL, f"{point}:{side} was not reached: {killed.stderr}"
    stores = project.stores()
    try:
        project.run("2026-11-01", stores)
        assert counts(project) == ONE_RESULT
        assert {finding.state for finding in store_verification.verify_stores(stores)} == {"good"}
    finally:
        stores.warehouse.close()


@pytest.mark.parametrize(
    "point", ["lake.part:before", "lake.part:after", "lake.manifest:before", "lake.manifest:after"]
)
def test_run_that_is_killed_among_parts_and_run_again_leaves_one_result(project, point):
    killed = project.command("run", "clinic", "--date", "2026-11-01", fault=f"kill@{point}", cells_per_part=200)
    assert killed.returncode == -signal.SIGKILL, f"{point} was not reached: {killed.stderr}"
    again = project.command("run", "clinic", "--date", "2026-11-01", cells_per_part=200)
    assert again.returncode == 0, again.stderr
    assert counts(project) == ONE_RESULT
    stores = project.stores()
    try:
        assert {finding.state for finding in store_verification.verify_stores(stores)} == {"good"}
        paths = {row["path"] for row in stores.warehouse.packages()}
        assert {path.rpartition(".")[2] for path in paths} == {"json"}
        stray = stores.lake.write_immutable(
            "clinic/parts/20261101T000000Z/part-00000-0123456789abcdef.parquet", b"of nobody"
        )
        removed = garbage.collect_garbage(stores, older_than=timedelta(0), now=datetime.now(UTC) + timedelta(days=1))
        assert f"lake {stray}" in removed
        assert {finding.state for finding in store_verification.verify_stores(stores)} == {"good"}, (
            "gc keeps the parts of what is kept"
        )
    finally:
        stores.warehouse.close()


def test_gc_keeps_all_parts_where_a_manifest_cannot_be_read(project):
    done = project.command("run", "clinic", "--date", "2026-11-01", cells_per_part=200)
    assert done.returncode == 0, done.stderr
    lake = project.folder / "data" / "clinic"
    parts = sorted(lake.glob("parts/*/*"))
    for manifest in lake.glob("*/*/*.json"):
        manifest.write_bytes(b"{}")
    stores = project.stores()
    try:
        garbage.collect_garbage(stores, older_than=timedelta(0), now=datetime.now(UTC) + timedelta(days=1))
        assert sorted(lake.glob("parts/*/*")) == parts
    finally:
        stores.warehouse.close()


@pytest.mark.parametrize(
    "point", ["warehouse.set_batch", "warehouse.load", "warehouse.record_run", "warehouse.promote"]
)
def test_attempt_that_wakes_up_after_a_newer_one_has_no_effect(project, point):
    zombie = project.start("run", "clinic", "--date", "2026-11-01", fault=f"stop@{point}:entry")
    stores = project.stores()
    try:
        _, status = os.waitpid(zombie.pid, os.WUNTRACED)
        assert status & 0xFF == 0x7F, "it is stopped"
        project.bring("2026-11-01", patients("2026-11-01", 200))
        newer = project.run("2026-11-01", stores)
        zombie.send_signal(signal.SIGCONT)
        _, said = zombie.communicate(timeout=60)
        assert zombie.returncode == 0, said
        assert "superseded" in said
        assert counts(project)["rows"] == 200
        assert stores.warehouse.champion("clinic").run_id == newer.run["run_id"]
        assert counts(project)["promotions"] == 1
    finally:
        zombie.kill()
        stores.warehouse.close()


@pytest.mark.parametrize("point", ["lake.put", "models.put"])
def test_full_disk_is_said_and_leaves_nothing_half_written(project, point):
    failed = project.command("run", "clinic", "--date", "2026-11-01", fault=f"full@{point}:before")
    assert failed.returncode == 75
    assert "No space left on device" in failed.stderr
    assert "Traceback" not in failed.stderr
    again = project.command("run", "clinic", "--date", "2026-11-01", "--json")
    assert again.returncode == 0, again.stderr
    assert counts(project) == ONE_RESULT
