"""Data intervals on the clocks of a timezone: a year of them, their names, and a day that has 23 hours."""

import json
import zoneinfo
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_home import tell
from diurnal import experiment
from diurnal.cli import intervals
from diurnal.errors import ExperimentError, UsageError
from diurnal.experiment.run_context import RunContext
from diurnal.pipeline.local_run import run
from diurnal.sources import Files, Sql, record_batches
from diurnal.sources.spark_table import SparkTable
from diurnal.types import DataInterval, Package, timezones
from diurnal.types.calendar import Calendar
from projects import Project

NEW_YORK = "America/New_York"
ZONES = {
    "UTC": 2026,
    NEW_YORK: 2026,
    "Europe/Berlin": 2026,
    "Australia/Lord_Howe": 2026,  # by half an hour
    "Asia/Kolkata": 2026,  # never
    "America/Sao_Paulo": 2018,  # at midnight
    "America/Havana": 2026,  # midnight comes twice
    "Africa/Casablanca": 2026,  # backwards for a month
}
SELDOM = ["@daily", "@weekly", "@monthly", "30 2 * * *", "0 6 * * mon-fri"]
OFTEN = ["0 */6 * * *", "@hourly", "*/30 * * * *", "15 0-3 * * *"]
REFUSED = [("@hourly", "Australia/Lord_Howe"), ("*/30 0-5 * * *", NEW_YORK), ("0 * * * mon-fri", "Europe/Berlin")]
OF_AIRFLOW = """
import json, sys
from datetime import datetime
import pendulum
from airflow.serialization.encoders import coerce_to_core_timetable
from airflow.timetables.base import TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable
from diurnal import experiment
from diurnal.airflow import build_dag
from diurnal.airflow.assets import partition_key
from diurnal.airflow.run_interval import run_data_interval
from diurnal.errors import ExperimentError
from diurnal.types.schedule import PRESETS
from diurnal.types import DataInterval, Package

class Run:
    conf, partition_key, run_id = None, None, "scheduled"

def declared(schedule, zone):
    @experiment(source=print, target="y", schedule=schedule, timezone=zone)
    def shop():
        "Predict."
    return shop, coerce_to_core_timetable(build_dag(shop).timetable)

def told(schedule, zone, since, until):
    try:
        shop, timetable = declared(schedule, zone)
    except ExperimentError:
        shop, timetable = None, CronDataIntervalTimetable(PRESETS.get(schedule, schedule), timezone=zone)
    restriction = TimeRestriction(earliest=pendulum.instance(datetime.fromisoformat(since)), latest=None, catchup=True)
    last, rows = None, []
    while last is None or last.end.isoformat() < until:
        try:
            last = timetable.next_dagrun_info(last_automated_data_interval=last, restriction=restriction).data_interval
        except ValueError:  # it did not advance
            rows.append(None)
            break
        Run.data_interval_end = last.end
        own = run_data_interval(shop, Run) if shop else DataInterval(last.start, last.end)
        ends = [last.start.isoformat(), last.end.isoformat()]
        rows.append([*ends, partition_key(DataInterval(last.start, last.end, zone)), own.start.isoformat()])
    return rows

answer = [told(*wish) for wish in json.loads(sys.argv[1])]
"""


def begin(zone):
    return timezones.midnight_of(date(ZONES[zone], 1, 1), zone)


def changes(zone):
    """Give the days on which clocks change, of the zone's year; some other day where they do not."""
    days = [begin(zone) + timedelta(days=n) for n in range(365)]
    changed = [
        one for one in days if timezones.utc_offset(one, zone) != timezones.utc_offset(one + timedelta(days=1), zone)
    ]
    return changed or [days[100]]


def spans(schedule, zone):
    """Give the year, or, for a schedule that ticks often, the days around each change."""
    if schedule in SELDOM:
        return [(begin(zone), begin(zone) + timedelta(days=366))]
    before = timedelta(days=4) if (schedule, zone) in REFUSED else timedelta(hours=30)
    return [(one - before, one + timedelta(hours=54)) for one in changes(zone)]


def wished():
    pairs = [(schedule, zone) for schedule in SELDOM + OFTEN for zone in ZONES]
    return [(*pair, *span) for pair in dict.fromkeys([*pairs, *REFUSED]) for span in spans(*pair)]


@pytest.fixture(scope="module")
def of_airflow(tmp_path_factory):
    """Give the data intervals of the runs that Airflow's scheduler makes, each with what this package makes of it."""
    home = tmp_path_factory.mktemp("airflow")
    wishes = [(schedule, zone, since.isoformat(), until.isoformat()) for schedule, zone, since, until in wished()]
    told = tell(home, home / "dags", OF_AIRFLOW, json.dumps(wishes))
    return dict(zip(wished(), told, strict=True))


def of_ours(schedule, zone, since, until):
    calendar = Calendar(schedule, timezone=zone)
    found = [calendar.first_interval_from(since)]
    while found[-1].end < until:
        found.append(calendar.next_interval(found[-1]))
    return found


@pytest.mark.system
@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("schedule", SELDOM + OFTEN)
@pytest.mark.xdist_group("timezones")  # they share a process of Airflow
def test_intervals_have_no_gap_and_are_those_of_airflows_runs(schedule, zone, of_airflow):
    if (schedule, zone) in REFUSED:
        return  # see below
    calendar = Calendar(schedule, timezone=zone)
    for since, until in spans(schedule, zone):
        ours = of_ours(schedule, zone, since, until)
        theirs = of_airflow[schedule, zone, since, until]
        assert [[one.start.isoformat(), one.end.isoformat()] for one in ours] == [row[:2] for row in theirs]
        assert [one.start.isoformat() for one in ours] == [row[3] for row in theirs]
        assert [one.end for one in ours[:-1]] == [one.start for one in ours[1:]]
        assert len({one.key for one in ours}) == len({str(one) for one in ours}) == len(ours)
        for one, (*_, partition, _) in list(zip(ours, theirs, strict=True))[:: len(ours) // 60 + 1]:
            assert calendar.interval_on(partition) == calendar.interval_on(one.start.isoformat()) == one
            assert (
                calendar.interval_containing(one.end - timedelta(seconds=1))
                == calendar.last_complete_interval(one.end)
                == one
            )


@pytest.mark.system
@pytest.mark.parametrize(("schedule", "zone"), REFUSED)
@pytest.mark.xdist_group("timezones")
def test_a_schedule_that_airflow_loses_an_interval_of_is_refused(schedule, zone, of_airflow):
    with pytest.raises(ExperimentError, match=r"at a clock change \(as on 2037-\d\d-\d\d\)") as caught:
        declared(schedule=schedule, timezone=zone)
    assert 'timezone="UTC"' in caught.value.hint
    right = [
        [[one.start.isoformat(), one.end.isoformat()] for one in of_ours(schedule, zone, *span)]
        == [row and row[:2] for row in of_airflow[schedule, zone, *span]]
        for span in spans(schedule, zone)
    ]
    assert not all(right)


@given(
    zone=st.sampled_from(sorted(zoneinfo.available_timezones())),
    schedule=st.sampled_from([*SELDOM, *OFTEN, "0 0 L * *", "59 23 * * *", "*/20 9-17 * * mon-fri", None]),
    moment=st.integers(1_705_000_000, 2_143_000_000).map(lambda second: datetime.fromtimestamp(second, UTC)),
    near=st.integers(0, 25),
)
@settings(deadline=None)
def test_intervals_of_any_timezone_cut_time_without_gaps(zone, schedule, moment, near):
    changed = [change.instant for change in timezones.offset_changes(zone)]
    if near < len(changed):
        moment = changed[near] + timedelta(seconds=moment.timestamp() % 7200 - 3600)
    try:
        calendar = declared(schedule=schedule, timezone=zone).calendar
    except ExperimentError:
        return
    interval = calendar.interval_containing(moment)
    assert interval.start <= moment < interval.end
    following = calendar.next_interval(interval)
    assert following.start == interval.end
    assert calendar.interval_containing(interval.end) == following
    assert calendar.last_complete_interval(interval.end) == calendar.interval_containing(interval.start) == interval
    assert calendar.interval_on(interval.start.isoformat()) == interval


def declared(**arguments):
    @experiment(source=print, target="y", **arguments)
    def shop():
        """Predict."""

    return shop


def test_a_year_in_new_york_has_one_day_of_23_hours_and_one_of_25():
    days = Calendar("@daily", timezone=NEW_YORK).intervals_between("2026-01-01", "2026-12-31")
    lengths = {str(day): (day.end - day.start) / timedelta(hours=1) for day in days}
    assert len(days) == 365
    assert {name: hours for name, hours in lengths.items() if hours != 24} == {"2026-03-08": 23, "2026-11-01": 25}
    assert sum(lengths.values()) == 365 * 24
    hours = Calendar("@hourly", timezone=NEW_YORK)
    assert [len(hours.intervals_between(f"2026-{day}", f"2026-{day}")) for day in ("03-07", "03-08", "11-01")] == [
        24,
        23,
        25,
    ]


@pytest.mark.parametrize(
    ("zone", "schedule"), [(NEW_YORK, "*/20 9-17 * * mon-fri"), ("Asia/Kolkata", "*/30 0-5 * * *")]
)
def test_a_schedule_that_no_change_touches_is_taken(zone, schedule):
    made = declared(schedule=schedule, timezone=ZoneInfo(zone))
    assert made.timezone == zone


def test_a_timezone_that_is_none_is_refused_with_the_nearest():
    with pytest.raises(ExperimentError, match=r"no such timezone.*America/New_York"):
        declared(timezone="America/NewYork")


def test_dates_are_local_and_utc_stays_as_it_was():
    made = declared(start_date="2026-03-08", timezone=NEW_YORK)
    assert made.start_date == datetime(2026, 3, 8, 5, tzinfo=UTC)
    first = made.calendar.first_interval_from(made.start_date)
    assert (str(first), first.key) == ("2026-03-08", "20260308T000000-0500")
    plain = declared(start_date=date(2026, 3, 8))
    first = plain.calendar.first_interval_from(plain.start_date)
    assert (plain.timezone, str(first), first.key) == ("UTC", "2026-03-08", "20260308T000000Z")
    assert first.local is first
    assert plain.code_digest == made.code_digest
    six = Calendar("0 6 * * *", timezone=NEW_YORK).interval_on("2026-03-07")
    assert str(six) == "2026-03-07T06:00:00-05:00/2026-03-08T06:00:00-04:00"
    assert six.key == "20260307T060000-0500"


def test_equal_instants_are_equal_intervals_and_survive_json():
    import msgspec

    local = Calendar("@hourly", timezone=NEW_YORK).interval_on("2026-11-01T01:00:00-05:00")  # the second 01:00
    assert local == local.in_timezone("UTC")
    assert hash(local) == hash(local.in_timezone("UTC"))
    again = msgspec.convert(msgspec.to_builtins(local), DataInterval, strict=False)
    assert (again, again.timezone, again.key) == (local, NEW_YORK, "20261101T010000-0500")
    assert msgspec.convert({"start": local.start, "end": local.end}, DataInterval).timezone == "UTC"


def test_a_window_of_days_is_of_local_days():
    days = Calendar("@daily", timezone=NEW_YORK)
    newest = days.interval_on("2026-03-09")
    assert days.window_start(newest, timedelta(days=2)) == days.interval_on("2026-03-08").start
    assert days.window_start(newest, timedelta(hours=36)) == newest.end - timedelta(hours=36)


def test_sources_are_given_local_times(tmp_path):
    day = Calendar("@daily", timezone="Europe/Berlin").interval_on("2026-03-29").local
    assert Files("in/{start:%Y-%m-%d}_{end:%d}.csv").resolve(day) == "in/2026-03-29_30.csv"
    condition = SparkTable("orders", where="day = '{start:%Y-%m-%d}' and at < {end}").condition(day)
    assert condition == "day = '2026-03-29' and at < TIMESTAMP '2026-03-30T00:00:00+02:00'"
    hours = pd.date_range(day.start, day.end, freq="1h", inclusive="left")
    assert len(hours) == 23


def test_sql_binds_instants_and_on_sqlite_local_times(tmp_path, warehouse_url):
    import sqlite3

    import psycopg

    day = Calendar("@daily", timezone=NEW_YORK).interval_on("2026-03-08").local
    instants = pd.date_range("2026-03-08T04:30Z", "2026-03-09T05:30Z", freq="1h")
    inside = [one for one in instants if day.start <= one < day.end]
    query = "SELECT at FROM sold WHERE at >= :start AND at < :end ORDER BY at"
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("CREATE TABLE sold (at TEXT)")
        shown = [(f"{one.tz_convert(NEW_YORK):%Y-%m-%d %H:%M:%S}",) for one in instants]
        connection.executemany("INSERT INTO sold VALUES (?)", shown)
    found = pa.Table.from_batches(record_batches(Sql(query, "shop"), day, {"shop": f"sqlite:///{tmp_path}/shop.db"}))
    assert found["at"].to_pylist() == [f"{one.tz_convert(NEW_YORK):%Y-%m-%d %H:%M:%S}" for one in inside]
    with psycopg.connect(warehouse_url) as connection:
        connection.execute("CREATE TABLE sold (at timestamptz)")
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO sold VALUES (%s)", [(one.to_pydatetime(),) for one in instants])
    found = pa.Table.from_batches(record_batches(Sql(query, "shop"), day, {"shop": warehouse_url}))
    assert found["at"].to_pylist() == inside
    assert len(inside) == 23


@pytest.fixture
def project(tmp_path, warehouse_url):
    project = Project.make(tmp_path / "project", warehouse_url)
    project.declare("drop='ward', timezone='Europe/Berlin', window='2d'")
    for day in ("2026-03-28", "2026-03-29", "2026-03-30"):
        project.bring(day)
    return project


def test_the_command_line_runs_local_days(project):
    done = project.command("backfill", "clinic", "--from", "2026-03-28", "--to", "2026-03-30", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [row["data_interval_start"] for row in rows] == [
        "2026-03-28T00:00:00+01:00",
        "2026-03-29T00:00:00+01:00",
        "2026-03-30T00:00:00+02:00",
    ]
    assert [row["run_id"].split("-", 1)[1][:20] for row in rows] == [
        "20260328T000000+0100",
        "20260329T000000+0100",
        "20260330T000000+0200",
    ]
    assert [len(row["packages"]) for row in rows] == [1, 2, 2]  # of two local days, one of which has 23 hours
    assert (project.folder / "data" / "clinic" / "batches" / "20260329T000000+0100").is_dir()
    listed = project.command("runs", "clinic").stdout
    assert all(f"2026-03-{day}" in listed for day in (28, 29, 30))
    assert "2026-03-27" not in listed
    again = project.command("run", "clinic", "--date", "2026-03-29")
    assert "already done" in again.stdout, again.stderr
    assert "2026-03-29 to 2026-03-30" in again.stdout
    checked = project.command("check", "clinic").stdout
    assert "Europe/Berlin" in checked
    assert "23 h" in checked or "25 h" in checked
    assert project.command("verify").returncode == 0
    replayed = project.command("replay", "clinic", "2")
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr


def test_a_changed_timezone_makes_no_row_count_twice(project):
    project.declare("drop='ward'")
    stores = project.stores()
    utc, local = Calendar("@daily"), Calendar("@daily", timezone="Europe/Berlin")

    def carry_out(interval):
        return run(RunContext(project.experiment(), interval, stores, requested_by="test"))

    carry_out(utc.interval_on("2026-03-28"))
    project.declare("drop='ward', timezone='Europe/Berlin'")
    for overlapping in ("2026-03-28", "2026-03-29"):
        with pytest.raises(UsageError, match=r"overlaps 2026-03-28T01:00:00\+01:00/.*used twice") as caught:
            carry_out(local.interval_on(overlapping))
        assert "--next" in caught.value.hint
    assert len(stores.warehouse.window("clinic", local.interval_on("2026-03-30"))) == 1
    assert str(intervals.next_interval(project.experiment(), stores)) == "2026-03-30"
    assert carry_out(local.interval_on("2026-03-30")).promoted
    with pytest.raises(UsageError, match="overlaps"):  # and one that lies before
        carry_out(utc.interval_on("2026-03-30"))
    stores.warehouse.close()


def test_what_overlapped_before_can_be_corrected(warehouse):
    days, weeks = Calendar("@daily"), Calendar("@weekly")
    day, week = days.interval_on("2026-03-24"), weeks.interval_on("2026-03-24")
    warehouse.claim_interval("shop", day, requested_by="test")
    epoch = warehouse.claim_interval("shop", week, requested_by="test")
    for interval in (day, week):
        warehouse.set_batch("shop", interval, epoch, Package("shop/a.parquet", "a" * 64, 1))
    assert (
        warehouse.claim_interval("shop", day, requested_by="test")
        == warehouse.claim_interval("shop", week, requested_by="test")
        == 2
    )


def test_a_claim_that_left_no_batch_is_in_nobodys_way(warehouse):
    utc, local = Calendar("@daily"), Calendar("@daily", timezone=NEW_YORK)
    warehouse.claim_interval("shop", utc.interval_on("2026-03-28"), requested_by="test")
    assert warehouse.claim_interval("shop", local.interval_on("2026-03-28"), requested_by="test") == 1
