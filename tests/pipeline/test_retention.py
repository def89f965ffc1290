"""``retention=`` and ``diurnal gc``: what goes, what stays, and what is said about it."""

import json
import signal
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

import diurnal
from diurnal.errors import BatchRejectedError, ExperimentError, NotFoundError
from diurnal.experiment import experiment
from diurnal.experiment.run_context import RunContext
from diurnal.pipeline import expired_data
from diurnal.pipeline.expired_data import RetentionPolicy
from diurnal.pipeline.garbage import collect_garbage
from diurnal.pipeline.replay import replay_version
from diurnal.pipeline.scored_batches import score_batch
from diurnal.pipeline.store_verification import verify_stores
from diurnal.types.retention import Retention
from projects import Project, day

DAYS = [f"2026-11-{number:02d}" for number in range(1, 7)]


@pytest.fixture
def project(tmp_path, warehouse_url):
    """A window of two days, and no promotion but by hand."""
    project = Project.make(tmp_path / "project", warehouse_url, "drop='ward', window=2, promotion='never'")
    for date in DAYS:
        project.bring(date)
    return project


def fill(project, stores):
    """Give six versions, of which 5 and 4 have served."""
    for date in DAYS:
        project.run(date, stores)
    for version in (5, 4):
        stores.warehouse.set_champion("clinic", version, requested_by="test", reason="test")


def expire(stores, ages, *, dry_run=False, protected=timedelta(0)):
    """Apply the retention as in 400 days; what was written before `protected` ago may go."""
    policies = {"clinic": RetentionPolicy(Retention.parse(ages), 2)}
    age, now = timedelta(days=400), datetime.now(UTC)
    return expired_data.apply_retention(
        stores, policies, now=now + age, older_than=age + protected, dry_run=dry_run, requested_by="test"
    )


def batches(stores):
    return {f"{row['data_interval_start']:%d}" for row in stores.warehouse.packages() if row["role"] == "batch"}


def test_batches_go_except_those_that_versions_in_use_and_the_next_run_need(project, stores):
    fill(project, stores)
    found = expire(stores, {"batches": "1d"}, dry_run=True)
    assert [one.name[:10] for one in found] == DAYS[:2]
    assert [one.lost_versions for one in found] == [(1, 2), (2, 3)]
    assert len(batches(stores)) == 6, "a dry run deletes nothing"
    expire(stores, {"batches": "1d"})
    assert batches(stores) == {
        "03",
        "04",
        "05",
        "06",
    }  # of the champion 4, of 5, of the newest version and the next run
    with psycopg.connect(project.warehouse_url) as connection:
        shown = connection.execute("SELECT DISTINCT data_interval_start FROM batch_data_clinic").fetchall()
        assert len(shown) == 4
        assert connection.execute("SELECT count(*) FROM batch_rows_clinic").fetchone() == (4 * 240,)
        assert connection.execute("SELECT count(*) FROM deletions WHERE reason = 'retention'").fetchone() == (6,)
    assert {one.state for one in verify_stores(stores)} == {"good"}
    removed = collect_garbage(stores, older_than=timedelta(0), now=datetime.now(UTC) + timedelta(days=1))
    assert sum("/batches/" in name for name in removed) == 2
    assert {one.state for one in verify_stores(stores)} == {"good"}
    check_what_is_said(project, stores)


def check_what_is_said(project, stores):
    with pytest.raises(NotFoundError, match=r"version 2 of clinic cannot be replayed: 2 of its batches.*\n.*retention"):
        replay_version(stores, "clinic", 2, project.experiment)
    assert replay_version(stores, "clinic", 4, project.experiment).equal
    listed = json.loads(project.command("models", "clinic", "--json").stdout)
    assert {row["version"]: row["replayable"] for row in listed} == {
        6: True,
        5: True,
        4: True,
        3: False,
        2: False,
        1: False,
    }
    project.bring("2026-11-07")
    result = project.run("2026-11-07", stores)
    assert result.run["comparison"], "the champion is compared, as its batches are there"
    project.run(DAYS[0], stores)
    assert "01" in batches(stores), "the source may bring an old batch again"


def test_files_of_runs_profiles_predictions_and_quarantine(project, stores, monkeypatch):
    project.run(DAYS[0], stores)
    project.run(DAYS[1], stores)
    score_batch(RunContext(project.experiment(), day(DAYS[0]), stores, requested_by="test"), version=1)
    project.bring(DAYS[2], project.bring(DAYS[2]).drop(columns="age"))
    with pytest.raises(BatchRejectedError):
        project.run(DAYS[2], stores)
    ages = dict.fromkeys(("candidates", "evaluations", "profiles", "predictions", "quarantine"), "1d")
    found = expire(stores, ages)
    kinds = [one.kind for one in found]
    assert sorted(set(kinds)) == sorted({*ages} - {"profiles"}), "the newest version keeps its profiles"
    first, second = reversed(stores.warehouse.runs("clinic"))
    assert (first["candidates"], first["evaluation"]) == (None, None)
    assert second["candidates"], "the newest version keeps its files"
    monkeypatch.setenv("DIURNAL_WAREHOUSE", project.warehouse_url)
    for frame in (diurnal.candidates, diurnal.evaluation):
        with pytest.raises(NotFoundError, match="was deleted by retention, 20"):
            frame("clinic@1", project=project.folder)
    assert not stores.warehouse.prediction_loads("clinic")
    assert not list((project.folder / "data" / "clinic").glob("quarantine/*/*"))
    assert stores.warehouse.failures("clinic")[0]["quarantine"] is None
    assert {one.state for one in verify_stores(stores)} == {"good"}
    removed = collect_garbage(stores, older_than=timedelta(0), now=datetime.now(UTC) + timedelta(days=1))
    assert any("candidates" in name for name in removed)
    assert project.run(DAYS[0], stores).run["model_version"] == 1, "a finished run is not searched again"


def test_what_was_written_just_now_stays(project, stores):
    for date in DAYS[:3]:
        project.run(date, stores)
    stores.warehouse.set_champion("clinic", 3, requested_by="test", reason="test")
    assert expire(stores, {"batches": "1d"}, dry_run=True), "the first batch is too old"
    assert not expire(stores, {"batches": "1d"}, protected=timedelta(hours=1)), "they were written just now"


@pytest.mark.system  # as it kills processes
def test_killed_gc_is_repeated(tmp_path, warehouse_url):
    declared = "drop='ward', promotion='always', retention={'batches': '1h'}"
    project = Project.make(tmp_path / "project", warehouse_url, declared)
    stores = project.stores()
    for date in DAYS[:4]:
        project.bring(date)
        project.run(date, stores)
    call = ("gc", "--older-than", "0", "--json")
    for side in ("before", "after"):
        killed = project.command(*call, fault=f"kill@warehouse.delete_batches:{side}")
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert {one.state for one in verify_stores(stores)} == {"good"}
    assert batches(stores) == {"02", "03", "04"}
    done = project.command(*call)
    assert done.returncode == 0, done.stderr
    assert batches(stores) == {"03", "04"}
    assert "can no longer be replayed" in done.stderr
    assert {one.state for one in verify_stores(stores)} == {"good"}
    assert len(list((project.folder / "data" / "clinic" / "batches").rglob("*.parquet"))) == 2
    stores.warehouse.close()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"batch": "2y"}, "did you mean 'batches'"),
        ({"batches": "2 years"}, "retention\\['batches'\\]='2 years' is not allowed"),
        ({"batches": "0d"}, "is not allowed"),
        ("2y", "is not a mapping"),
        ({"batches": "7d"}, "window='30d' needs older ones"),
    ],
)
def test_retention_is_checked_at_the_declaration(value, message):
    with pytest.raises(ExperimentError, match=message):

        @experiment(source=lambda interval: None, target="y", window="30d", retention=value)
        def toy():
            """Be rejected."""
