"""Which data interval comes next, and which ones lie before the start date."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from diurnal.cli import intervals
from diurnal.errors import BatchRejectedError, UsageError
from diurnal.experiment.run_context import RunContext
from diurnal.pipeline.local_run import run
from projects import Project, day, patients


@pytest.fixture
def project(tmp_path, warehouse_url):
    return Project.make(tmp_path / "project", warehouse_url, "drop='ward', start_date='2026-11-01'")


@pytest.fixture
def stores(project):
    opened = project.stores()
    yield opened
    opened.warehouse.close()


def following(project, stores):
    return str(intervals.next_interval(project.experiment(), stores))


def test_next_is_the_first_interval_without_a_result_also_behind_a_newer_one(project, stores):
    assert following(project, stores) == "2026-11-01"
    for date in ("2026-11-01", "2026-11-03"):
        project.bring(date)
        project.run(date, stores)
    assert following(project, stores) == "2026-11-02"
    project.bring("2026-11-02")
    project.run("2026-11-02", stores)
    assert following(project, stores) == "2026-11-04"


def test_next_without_a_start_date_counts_from_the_first_result(project, stores):
    project.declare("drop='ward'")
    last = following(project, stores)
    assert last == str(intervals.last_complete_interval(project.experiment()))
    project.bring("2026-11-05")
    project.run("2026-11-05", stores)
    assert following(project, stores) == "2026-11-06"


def test_next_begins_at_the_first_interval_that_starts_at_the_start_date_or_later(project, stores):
    project.declare("drop='ward', start_date='2026-11-01T12:00Z'")
    assert following(project, stores) == "2026-11-02"


def test_next_is_the_last_complete_interval_where_each_has_a_result(project, stores):
    newest = intervals.last_complete_interval(project.experiment())
    date = f"{newest.start:%Y-%m-%d}"
    project.declare(f"drop='ward', start_date='{date}'")
    project.bring(date)
    project.run(date, stores)
    again = project.command("run", "clinic", "--next")
    assert again.returncode == 0, again.stderr
    assert "This run was already done" in again.stdout


def test_next_tries_a_failed_interval_again_and_passes_over_one_that_lacks_data(project, stores):
    project.declare("drop='ward', start_date='2026-11-01', window=2")
    one_class = patients("2026-11-01").assign(ill="no")
    project.bring("2026-11-01", one_class)
    project.bring("2026-11-02")

    def next_(code):
        done = project.command("run", "clinic", "--next", "--json")
        assert done.returncode == code, done.stderr
        return done

    killed = project.command("run", "clinic", "--next", fault="kill@warehouse.mark_insufficient:before")
    assert killed.returncode == -9
    assert following(project, stores) == "2026-11-01"
    said = next_(0).stdout
    assert said.index("not enough data") < said.index('"run_id": "clinic-20261102')
    assert following(project, stores) == "2026-11-03"
    next_(75)  # there is no file for it
    project.bring("2026-11-03")
    assert json.loads(next_(0).stdout)["data_interval_start"].startswith("2026-11-03")
    project.bring("2026-11-01", one_class.head(200))
    assert project.command("run", "clinic", "--date", "2026-11-01").returncode == 0
    assert following(project, stores) == "2026-11-04", "tried again by its date, it lacks data as before"


@pytest.mark.parametrize("words", [["run", "clinic", "--date"], ["backfill", "clinic", "--to", "2026-11-01", "--from"]])
def test_an_interval_before_the_start_date_is_refused(project, words):
    project.bring("2026-10-31")
    refused = project.command(*words, "2026-10-31")
    assert refused.returncode == 2
    assert "2026-10-31 begins before the start date of clinic, 2026-11-01" in refused.stderr
    assert "declare an earlier start_date in" in refused.stderr


def test_the_start_date_holds_for_who_calls_a_run_from_python(project, stores):
    project.bring("2026-10-31")
    with pytest.raises(UsageError, match="before the start date"):
        project.run("2026-10-31", stores)
    assert stores.warehouse.finished_intervals("clinic") == {}


def test_next_waits_for_labels(project, stores):
    today = datetime.now(UTC).date()
    start = today - timedelta(days=10)
    project.declare(f"drop='ward', start_date='{start}', label_delay='7d'")
    assert following(project, stores) == str(start)
    assert str(intervals.last_complete_interval(project.experiment())) == str(today - timedelta(days=8))
    for n in range(3):
        project.bring(str(start + timedelta(days=n)))
        project.run(str(start + timedelta(days=n)), stores)
    assert intervals.first_without_result(project.experiment(), stores) is None


def test_an_interval_without_its_labels_is_refused(project, stores):
    project.declare("drop='ward', label_delay=timedelta(hours=36)")
    place = project.folder / "experiments" / "clinic.py"
    place.write_text("from datetime import timedelta\n" + place.read_text())
    project.bring("2026-11-01")
    context = RunContext(project.experiment(), day("2026-11-01"), stores, requested_by="test")
    with pytest.raises(
        BatchRejectedError, match=r"labels .* not complete before 2026-11-03 12:00 UTC: label_delay is 1 day"
    ):
        run(context, now=datetime(2026, 11, 3, 11, 59, tzinfo=UTC))
    assert run(context, now=datetime(2026, 11, 3, 12, tzinfo=UTC)).promoted


def test_commands_refuse_an_interval_without_its_labels(project):
    yesterday = str(datetime.now(UTC).date() - timedelta(days=1))
    project.declare("drop='ward', label_delay='2w'")
    project.bring(yesterday)
    refused = project.command("run", "clinic", "--date", yesterday)
    assert refused.returncode == 65
    assert "label_delay is 14 days" in refused.stderr
    assert "--allow-future" in refused.stderr
    assert project.command("run", "clinic", "--date", yesterday, "--allow-future").returncode == 0
