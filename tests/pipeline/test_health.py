"""The health of experiments: what is a finding, from when on, and what to do, at any time of a day."""

import json
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

import diurnal
from diurnal.errors import NotFoundError
from diurnal.pipeline.deadlines import next_deadline
from diurnal.pipeline.health import Thresholds, find_problems
from diurnal.pipeline.health_report import inspect_deployment
from diurnal.pipeline.history import Answer, History, RecordedFailure, RecordedRun
from diurnal.runtime import Settings
from diurnal.types import DataInterval
from projects import Project, day, patients

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def declare(**declared):
    @diurnal.experiment(source=lambda interval: ..., target="label", **declared)
    def late():
        """Predict delays."""

    return late


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def finished(interval, decided_at, *, seconds=60.0, n_drifted=0, version=1):
    strongest = [
        {"column": "age", "effect": 0.31, "drifted": True},
        {"column": "ward", "effect": 0.05, "drifted": False},
    ]
    row = {"decided_at": decided_at, "durations": {"tune": seconds}, "model_version": version, "n_columns": 2}
    return RecordedRun(
        interval, {**row, "n_drifted": n_drifted, "strongest_drift": strongest, "drift_version": 3, "run_id": "run"}
    )


def failed(interval, failed_at, *, kind="TransientError", hint=None, quarantine=None, **columns):
    error = {"type": kind, "message": "the server is down\nreally", "hint": hint, "problems": []}
    row = {"failed_at": failed_at, "error": error, "quarantine": quarantine, "step": "fetch"}
    return RecordedFailure(interval, {**row, **columns})


def history(*runs, failures=(), champion_at="2026-11-01"):
    runs = tuple(sorted(runs, key=lambda run: run.interval, reverse=True))
    answers = tuple(Answer(run.interval, run.row["decided_at"]) for run in runs)
    champion = None if champion_at is None else {"version": 1, "promoted_at": at(champion_at)}
    return History("late", answers, runs, tuple(failures), champion)


def days(n, *, last="2026-11-20", lateness=10 * timedelta(minutes=1)):
    newest = day(last)
    intervals = [DataInterval(newest.start - i * DAY, newest.end - i * DAY) for i in range(n)]
    return [finished(interval, interval.end + lateness) for interval in intervals]


def kinds(found):
    return [finding.kind for finding in found]


def test_result_in_time_is_no_finding():
    assert find_problems(history(*days(5)), declare(), at("2026-11-21 12:00")) == []


def test_overdue_begins_after_the_tolerance():
    recorded, experiment = history(*days(5)), declare()
    deadline = next_deadline(recorded, experiment, at("2026-11-22"))
    assert deadline.interval == day("2026-11-21")
    assert deadline.expected_at == at("2026-11-22 01:10"), "an hour, and the ten minutes that runs took until now"
    assert deadline.usual_at == at("2026-11-22 00:10")
    assert find_problems(recorded, experiment, at("2026-11-22 01:09")) == []
    (finding,) = find_problems(recorded, experiment, at("2026-11-22 01:10"))
    assert (finding.kind, finding.since) == ("overdue", deadline.expected_at)
    assert finding.message == "there is no result for 2026-11-21; one data interval has none"
    assert finding.action == "diurnal run late --next"


def test_overdue_goes_on_since_its_beginning():
    (finding,) = find_problems(history(*days(5)), declare(), at("2026-11-29 12:00"))
    assert finding.since == at("2026-11-22 01:10")
    assert "8 data intervals have none" in finding.message


def test_runs_that_begin_at_eight_are_not_late_at_six():
    recorded = history(*days(5, lateness=8 * HOUR))
    assert next_deadline(recorded, declare(), at("2026-11-22")).usual_at == at("2026-11-22 08:00")
    assert find_problems(recorded, declare(), at("2026-11-22 08:59")) == []
    assert kinds(find_problems(recorded, declare(), at("2026-11-22 09:00"))) == ["overdue"]


def test_backfilled_results_do_not_raise_the_tolerance():
    recorded = history(*[finished(run.interval, at("2026-11-21 00:10")) for run in days(20)])
    assert next_deadline(recorded, declare(), at("2026-11-22")).expected_at < at("2026-11-22 02:00")


def test_long_runs_raise_the_tolerance():
    recorded = history(finished(day("2026-11-20"), at("2026-11-21 02:00"), seconds=2 * 3600))
    assert next_deadline(recorded, declare(), at("2026-11-22")).expected_at == at("2026-11-22 07:00")


def test_label_delay_moves_the_deadline():
    recorded = history(*days(5, lateness=7 * DAY + 10 * timedelta(minutes=1)))
    deadline = next_deadline(recorded, declare(label_delay="7d"), at("2026-11-22"))
    assert (deadline.usual_at, deadline.expected_at) == (at("2026-11-29 00:10"), at("2026-11-29 01:10"))


def test_short_intervals_have_a_short_tolerance():
    start = at("2026-11-20 11:45")
    recorded = history(finished(DataInterval(start, start + HOUR / 4), at("2026-11-20 12:01"), seconds=20))
    deadline = next_deadline(recorded, declare(schedule="*/15 * * * *"), at("2026-11-20 12:05"))
    assert deadline.expected_at == at("2026-11-20 12:31")


def test_days_have_the_length_of_their_timezone():
    interval = DataInterval(at("2026-03-28 00:00") - HOUR, at("2026-03-29 00:00") - HOUR, "Europe/Berlin")
    recorded = history(finished(interval, interval.end + HOUR / 6))
    deadline = next_deadline(recorded, declare(timezone="Europe/Berlin"), at("2026-03-29 12:00"))
    assert (str(deadline.interval), deadline.interval.end) == ("2026-03-29", at("2026-03-29 22:00"))


@pytest.mark.parametrize("schedule", ["@hourly", "@daily", "@weekly", timedelta(hours=6)])
def test_experiment_that_never_ran_is_overdue(schedule):
    (finding,) = find_problems(History("late"), declare(schedule=schedule), at("2026-11-25 12:34"))
    assert finding.kind == "overdue"
    assert finding.message.startswith("it has never had a result")
    assert finding.since is None, "when it was declared is not known"


def test_experiment_that_has_not_begun_is_fine():
    experiment = declare(start_date="2026-12-01")
    assert find_problems(History("late"), experiment, at("2026-12-01 12:00")) == []
    (finding,) = find_problems(History("late"), experiment, at("2026-12-02 12:00"))
    assert (finding.since, finding.action) == (at("2026-12-02 01:00"), "diurnal run late --next")


def test_without_a_schedule_nothing_is_overdue():
    assert find_problems(history(*days(5)), declare(schedule=None), at("2027-01-01")) == []


def test_batch_with_too_few_rows_is_an_answer():
    recorded = History("late", answers=(Answer(day("2026-11-21"), at("2026-11-22 00:05")),))
    assert find_problems(recorded, declare(), at("2026-11-22 12:00")) == []


def test_unknown_declaration_is_replaced_by_the_rhythm():
    recorded = history(*days(10))
    assert find_problems(recorded, None, at("2026-11-22 00:30")) == []
    (finding,) = find_problems(recorded, None, at("2026-11-22 03:00"))
    assert finding.kind == "overdue"
    assert "estimated" in finding.message
    assert find_problems(history(*days(2)), None, at("2026-11-29")) == [], "two data intervals are no rhythm"
    assert find_problems(recorded, None, at("2027-02-01")) == [], "it was retired"


def test_rhythm_has_weekends():
    starts = [at("2026-11-02") + i * DAY for i in range(19) if (at("2026-11-02") + i * DAY).weekday() < 5]
    ends = [*starts[1:], starts[-1] + 3 * DAY]
    runs = [finished(DataInterval(*ends_of), ends_of[1] + HOUR / 6) for ends_of in zip(starts, ends, strict=True)]
    assert find_problems(history(*runs[:-1]), None, starts[-1] + 2 * DAY) == []


def test_rejected_batch_names_the_command_that_accepts_it():
    hint = "the rejected rows are kept in X; if intended: diurnal contract late accept --date 2026-11-21 --why 'WHY'"
    rejection = failed(
        day("2026-11-21"), at("2026-11-22 00:05"), kind="BatchRejectedError", hint=hint, quarantine="s3://lake/q"
    )
    (finding,) = find_problems(history(*days(5), failures=[rejection]), declare(), at("2026-11-22 12:00"))
    assert (finding.kind, finding.since) == ("rejected", at("2026-11-22 00:05"))
    assert "the batch is kept in s3://lake/q" in finding.message
    assert finding.action == "diurnal contract late accept --date 2026-11-21 --why 'WHY'"


def test_rejection_explains_the_newest_data_interval_only():
    rejection = failed(day("2026-11-21"), at("2026-11-22 00:05"), kind="BatchRejectedError")
    recorded = history(*days(5), failures=[rejection])
    assert kinds(find_problems(recorded, declare(), at("2026-11-22 12:00"))) == ["rejected"]
    assert kinds(find_problems(recorded, declare(), at("2026-11-23 12:00"))) == ["overdue", "rejected"]


def test_failures_end_with_a_later_result():
    rejection = failed(day("2026-11-19"), at("2026-11-20 00:05"), kind="BatchRejectedError")
    assert find_problems(history(*days(5), failures=[rejection]), declare(), at("2026-11-21 12:00")) == []


def test_result_of_an_older_interval_does_not_end_a_failure():
    rejection = failed(day("2026-11-21"), at("2026-11-22 00:05"), kind="BatchRejectedError")
    backfilled = finished(day("2026-11-01"), at("2026-11-22 09:00"))
    recorded = history(backfilled, *days(5), failures=[rejection])
    assert kinds(find_problems(recorded, declare(), at("2026-11-22 12:00"))) == ["rejected"]


def test_failed_scoring_is_a_finding_until_a_batch_is_scored():
    time, scoring = at("2026-11-21 01:00"), {"step": "score", "kind": "BatchRejectedError"}
    failure = failed(day("2026-11-20"), time, resolved_at=None, **scoring)
    found = find_problems(history(*days(5), failures=[failure]), declare(), at("2026-11-23 12:00"))
    assert kinds(found) == ["overdue", "failed"], "it does not explain that the run of a later day has no result"
    assert found[1].action == "diurnal score late --date 2026-11-20"
    failure = failed(day("2026-11-20"), time, resolved_at=at("2026-11-21 02:00"), **scoring)
    assert find_problems(history(*days(5), failures=[failure]), declare(), at("2026-11-21 12:00")) == []


def test_temporary_failures_may_last_an_hour():
    failures = [failed(day("2026-11-21"), at("2026-11-22 00:05")), failed(day("2026-11-21"), at("2026-11-22 00:35"))]
    recorded = history(*days(5), failures=failures[::-1])
    assert find_problems(recorded, declare(), at("2026-11-22 01:04")) == []
    (finding,) = find_problems(recorded, declare(), at("2026-11-22 01:05"))
    assert (finding.kind, finding.since) == ("failed", at("2026-11-22 00:05"))
    assert finding.message == "2026-11-21: 2 attempts failed, the newest at fetch: TransientError: the server is down"
    assert finding.action == "diurnal run late --date 2026-11-21"


def test_other_failures_are_findings_at_once():
    recorded = history(*days(5), failures=[failed(day("2026-11-21"), at("2026-11-22 00:05"), kind="ValueError")])
    assert kinds(find_problems(recorded, declare(), at("2026-11-22 00:06"))) == ["failed"]


def test_drift_lasts_since_its_first_run():
    runs = days(5)
    drifted = [finished(run.interval, run.row["decided_at"], n_drifted=1) for run in runs[:2]]
    (finding,) = find_problems(history(*drifted, *runs[2:]), declare(), at("2026-11-21 12:00"))
    assert (finding.kind, finding.since) == ("drifted", at("2026-11-20 00:10"))
    assert finding.message == "2026-11-20: 1 of 2 columns differ from the training window of version 3: age (0.31)"
    assert find_problems(history(runs[0], *drifted[1:]), declare(), at("2026-11-21 12:00")) == [], "it has ended"


def test_champion_is_missing_or_old():
    recorded = history(*days(2), champion_at=None)
    now = at("2026-11-21 12:00")
    (finding,) = find_problems(recorded, declare(promotion="approve"), now)
    assert (finding.kind, finding.action) == ("no-champion", "diurnal promote late 1")
    assert find_problems(recorded, declare(promotion="never"), now) == []
    assert find_problems(history(*days(2)), declare(), now) == []
    (finding,) = find_problems(history(*days(2)), declare(), now, Thresholds(champion_age=7 * DAY))
    assert (finding.kind, finding.since) == ("old-champion", at("2026-11-08"))
    assert "version 1 has been the champion for 20 days" in finding.message


@pytest.fixture
def settings(project):
    return Settings.load(project.folder, {"DIURNAL_WAREHOUSE": project.warehouse_url})


def test_real_runs_and_a_rejected_batch(project, stores, settings):
    project.declare("drop='ward', start_date='2026-11-01'")
    for date in ("2026-11-01", "2026-11-02"):
        project.bring(date)
        project.run(date, stores)
    report = inspect_deployment(settings, now=at("2026-11-03 00:30"))
    assert report.findings == ()
    assert str(report) == "1 experiment: no findings"
    assert (report.experiments[0].deadline.interval, report.experiments[0].history.n_rows) == (day("2026-11-03"), 240)
    project.bring("2026-11-03", patients("2026-11-03").drop(columns="age"))
    with pytest.raises(diurnal.errors.BatchRejectedError):
        project.run("2026-11-03", stores)
    report = inspect_deployment(settings, now=at("2026-11-04 00:30"))
    (finding,) = report.findings
    assert (finding.experiment, finding.kind) == ("clinic", "rejected")
    assert "age" in finding.message
    assert finding.action.startswith("diurnal contract clinic accept --date 2026-11-03")
    assert report.experiments[0].history.n_rejected == 1
    project.bring("2026-11-03")
    project.run("2026-11-03", stores)
    assert inspect_deployment(settings, now=at("2026-11-04 00:30")).findings == ()


def test_recorded_drift(project, stores, settings):
    project.declare("drop='ward', start_date='2026-11-01'")
    for date in ("2026-11-01", "2026-11-02", "2026-11-03"):
        project.bring(date)
        project.run(date, stores)
    column = {"column": "age", "effect": 0.31, "drifted": True, "measure": "wasserstein"}
    drift = {"reference": {"version": 1}, "columns": [column], "n_columns": 3, "n_drifted": 1}
    with psycopg.connect(project.warehouse_url) as connection:
        clean = "update experiments set drift = null where data_interval_start < '2026-11-02'"
        connection.execute(clean)
        drifted = "update experiments set drift = %s where data_interval_start >= '2026-11-02'"
        connection.execute(drifted, [json.dumps(drift)])
    (finding,) = inspect_deployment(settings, now=at("2026-11-04 00:30")).findings
    assert (finding.kind, finding.since) == ("drifted", stores.warehouse.runs("clinic")[1]["decided_at"])
    assert finding.message == "2026-11-03: 1 of 3 columns differ from the training window of version 1: age (0.31)"
    assert finding.action == "diurnal report clinic --date 2026-11-03"


def test_file_that_cannot_be_imported_does_not_hide_the_others(project, stores, settings):
    for date in ("2026-11-01", "2026-11-02", "2026-11-03"):
        project.bring(date)
        project.run(date, stores)
    (project.folder / "experiments" / "clinic.py").rename(project.folder / "experiments" / "broken.py")
    (project.folder / "experiments" / "broken.py").write_text("import nothing_of_this_name\n")
    (project.folder / "experiments" / "other.py").write_text(
        "from diurnal import experiment\n\n\n"
        "@experiment(source=lambda interval: ..., target='label', schedule=None)\ndef other():\n    '''None.'''\n"
    )
    report = inspect_deployment(settings, now=datetime.now(UTC) + 20 * DAY)
    assert [health.name for health in report.experiments] == ["clinic", "other"]
    assert kinds(report.findings) == ["invalid", "overdue"]
    assert "nothing_of_this_name" in report.findings[0].message
    assert report.findings[1].message.startswith("there is no result for 2026-11-04;")


def test_warehouse_that_is_away_is_a_finding_without_its_password(project):
    url = "postgresql://ada:s3cr3t@127.0.0.1:1/warehouse"
    settings = Settings.load(project.folder, {"DIURNAL_WAREHOUSE": url})
    report = inspect_deployment(settings, ["whatever"])
    assert (kinds(report.findings), report.experiments) == (["unreachable"], ())
    assert "the warehouse cannot be reached" in report.findings[0].message
    assert "s3cr3t" not in str(report.findings)


def test_lake_of_another_warehouse_is_a_finding(project, stores, settings, tmp_path):
    project.bring("2026-11-01")
    project.run("2026-11-01", stores)
    elsewhere = {"DIURNAL_WAREHOUSE": project.warehouse_url, "DIURNAL_LAKE": str(tmp_path / "elsewhere")}
    report = inspect_deployment(Settings.load(project.folder, elsewhere), now=at("2026-11-02 00:30"))
    assert kinds(report.findings) == ["unreachable"]
    assert not (tmp_path / "elsewhere").exists()
    assert inspect_deployment(settings, now=at("2026-11-02 00:30")).findings == ()


def test_project_in_which_nothing_has_run_stays_as_it_is(project):
    settings = Settings.load(project.folder, {})
    report = inspect_deployment(settings)
    assert kinds(report.findings) == ["overdue"]
    assert not (project.folder / "data").exists()
    with pytest.raises(NotFoundError, match="did you mean 'clinic'"):
        inspect_deployment(settings, ["clinics"])


def test_read_only_role_is_enough(project, stores, settings):
    project.bring("2026-11-01")
    project.run("2026-11-01", stores)
    with psycopg.connect(project.warehouse_url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"alter database {name} set default_transaction_read_only = on")
    assert inspect_deployment(settings, now=at("2026-11-02 00:30")).findings == ()


def test_number_of_queries_does_not_grow(project, stores):
    import sqlalchemy as sa

    statements = []
    sa.event.listen(stores.warehouse._engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    stores.warehouse.health_rows()
    before = len(statements)
    for i in range(3):
        stores.warehouse.claim_interval(f"e{i}", day("2026-11-01"), requested_by="test")
    statements.clear()
    assert set(stores.warehouse.health_rows()) == {"e0", "e1", "e2"}
    assert len(statements) == before
    only = stores.warehouse.health_rows(["e1", "absent"], contents=["intervals"])
    assert {name: {kind: len(rows) for kind, rows in kinds.items() if rows} for name, kinds in only.items()} == {
        "e1": {"intervals": 1},
        "absent": {},
    }
    assert isinstance(project, Project)
