from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diurnal.errors import ExperimentError, UsageError
from diurnal.types.calendar import Calendar
from diurnal.types.schedule import check_schedule

SCHEDULES = ["@hourly", "@weekly", "@monthly", "30 6 * * mon-fri", "0 0 L * *", timedelta(hours=7), None]
seconds = st.integers(min_value=-(10**9), max_value=25 * 10**8)  # from 1938 to 2049


def at(text):
    return datetime.fromisoformat(text)


@given(schedule=st.sampled_from(SCHEDULES), second=seconds)
def test_intervals_cut_time_without_gaps(schedule, second):
    moment = datetime.fromtimestamp(second, UTC)
    interval = Calendar(schedule).interval_containing(moment)
    assert interval.start <= moment < interval.end
    following = Calendar(schedule).next_interval(interval)
    assert following.start == interval.end
    assert Calendar(schedule).interval_containing(interval.end) == following
    assert Calendar(schedule).last_complete_interval(interval.end) == interval
    assert Calendar(schedule).last_complete_interval(following.end - timedelta(microseconds=1)) == interval


# What Airflow 3.3.2's CronDataIntervalTimetable gave (infer_manual_data_interval) for run_after.
@pytest.mark.parametrize(
    ("schedule", "now", "start", "end"),
    [
        ("@daily", "2026-11-24T00:00:00Z", "2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z"),
        ("@weekly", "2026-11-25T12:00:00Z", "2026-11-15T00:00:00Z", "2026-11-22T00:00:00Z"),
        ("@quarterly", "2026-11-25T12:00:00Z", "2026-07-01T00:00:00Z", "2026-10-01T00:00:00Z"),
        ("30 6 * * mon-fri", "2026-11-23T06:29:59Z", "2026-11-19T06:30:00Z", "2026-11-20T06:30:00Z"),
        ("0 0 29 2 *", "2030-01-01T00:00:00Z", "2024-02-29T00:00:00Z", "2028-02-29T00:00:00Z"),
    ],
)
def test_last_complete_is_what_airflow_runs(schedule, now, start, end):
    interval = Calendar(schedule).last_complete_interval(at(now))
    assert (interval.start, interval.end) == (at(start), at(end))


@pytest.mark.parametrize(
    ("schedule", "text", "expected"),
    [
        ("@daily", "2028-02-29", "2028-02-29"),
        ("@daily", "2026-12-31T23:59:59Z", "2026-12-31"),
        ("@daily", "2026-12-31T23:59:59-05:00", "2027-01-01"),
        (None, "2026-03-29", "2026-03-29"),  # the clocks go forward in Europe; a day in UTC has 24 hours
        ("0 6 * * *", "2026-11-23", "2026-11-23T06:00:00Z/2026-11-24T06:00:00Z"),  # the first that starts on the date
        ("@weekly", "2026-11-25", "2026-11-22/2026-11-29"),  # none starts on it: the one that contains it
        ("@monthly", "2026-12-01", "2026-12-01/2027-01-01"),
    ],
)
def test_on_a_date_or_an_instant(schedule, text, expected):
    assert str(Calendar(schedule).interval_on(text)) == expected


def test_a_timedelta_counts_from_its_anchor():
    anchor = at("2026-01-01T01:00:00Z")
    interval = Calendar(timedelta(hours=6), anchor).interval_on("2026-01-02")
    assert str(interval) == "2026-01-02T01:00:00Z/2026-01-02T07:00:00Z"
    before = Calendar(timedelta(hours=6), anchor).interval_containing(at("2025-12-31T23:00:00Z"))
    assert before.start == at("2025-12-31T19:00:00Z")


@pytest.mark.parametrize(
    ("schedule", "first", "last", "n"),
    [
        ("@daily", "2028-02-28", "2028-03-01", 3),
        ("@daily", "2026-12-31", "2026-12-31", 1),
        ("@hourly", "2026-03-29", "2026-03-29", 24),
        ("@weekly", "2026-11-24", "2026-11-25", 1),
        ("@monthly", "2026-01-01", "2026-12-31", 12),
        ("@hourly", "2026-03-29T03:00:00Z", "2026-03-29T05:00:00Z", 3),
    ],
)
def test_between_includes_both_ends(schedule, first, last, n):
    found = Calendar(schedule).intervals_between(first, last)
    assert len(found) == n
    assert found[0] == Calendar(schedule).interval_on(first)
    assert all(one.end == other.start for one, other in pairwise(found))


def test_following_finds_its_way_from_another_schedule():
    week = Calendar("@weekly").interval_on("2026-11-22")
    assert str(Calendar("@monthly").next_interval(week)) == "2026-12-01/2027-01-01"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("23.11.2026", "is neither a date nor an instant"),
        ("2026-02-29", "day is out of range"),
        ("2026-11-23T06:00:00", "has no timezone"),
        ("0026-11-23", "outside the years"),
    ],
)
def test_bad_dates_are_refused_with_the_form_wanted(text, said):
    with pytest.raises(UsageError, match=said) as caught:
        Calendar("@daily").interval_on(text)
    assert "2026-11-23" in caught.value.hint


def test_between_refuses_dates_the_wrong_way_round():
    with pytest.raises(UsageError, match="is before the first"):
        Calendar("@daily").intervals_between("2026-11-24", "2026-11-23")


def test_a_moment_without_a_timezone_is_refused():
    with pytest.raises(UsageError, match="has no timezone"):
        Calendar("@daily").interval_containing(datetime(2026, 11, 23))  # noqa: DTZ001 - that is the test
    shifted = datetime(2026, 11, 23, 23, tzinfo=timezone(timedelta(hours=-5)))
    assert str(Calendar("@daily").interval_containing(shifted)) == "2026-11-24"


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ("@dayly", "did you mean '@daily'"),
        ("daily", "did you mean '@daily'"),
        ("@once", "no preset"),
        ("0 0 * *", "5 fields, not 4"),
        ("0 0 0 * * *", "5 fields, not 6"),
        ("60 * * * *", "the minute is 0 to 59, not '60'"),
        ("0 0 1 foo *", "the month is 1 to 12 or jan"),
        ("0 0 * * 5-1", "selects nothing"),
        ("*/0 * * * *", "selects nothing"),
        ("0 0 30 2 *", "none of these months has"),
        ("0 0 @ * *", "neither"),
        (timedelta(seconds=90), "whole number of minutes"),
        (timedelta(0), "whole number of minutes"),
        (5, "is a int"),
    ],
)
def test_bad_schedules_are_refused(schedule, said):
    with pytest.raises(ExperimentError, match=said):
        check_schedule(schedule)


@given(
    fields=st.tuples(
        st.sampled_from(["*", "0", "*/15", "5/10", "1,30-40/5"]),
        st.sampled_from(["*", "6", "8-18", "*/6"]),
        st.sampled_from(["*", "1", "15,28", "L"]),
        st.sampled_from(["*", "*/3", "jan", "MAR-oct"]),
        st.sampled_from(["*", "mon-fri", "0", "7", "SAT,SUN"]),
    )
)
def test_what_is_accepted_fires(fields):
    schedule = " ".join(fields)
    check_schedule(schedule)
    assert Calendar(schedule).interval_containing(at("2026-11-23T00:00:00Z")).end > at("2026-11-23T00:00:00Z")
