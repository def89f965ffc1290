"""Conversion between instants and the local times of a timezone.

When clocks are set back, an hour is repeated; when they are set forward, an hour is skipped. A repeated local time is
converted to its second instant. A skipped local time is converted to the instant that is as long after the change as
the local time is after the start of the gap. Airflow's ``CronDataIntervalTimetable`` uses the same rules, so that data
intervals are equal in the command line and in Airflow.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

_WEEK = timedelta(weeks=1)
_YEARS = (2024, 2038)  # later, the rules of the tz database repeat


class OffsetChange(NamedTuple):
    """A change of a timezone's offset from UTC: the instant, and the offsets before and after."""

    instant: datetime
    before: timedelta
    after: timedelta


@lru_cache(maxsize=64)
def get_timezone(timezone: str) -> tzinfo:
    """Return a timezone by its name in the tz database."""
    return UTC if timezone == "UTC" else ZoneInfo(timezone)


def local_to_instant(local: datetime, timezone: str) -> datetime:
    """Return the instant of a local time.

    Parameters
    ----------
    local : datetime
        Without timezone.
    timezone : str
        Name in the tz database.

    Returns
    -------
    datetime
        In UTC.

    Examples
    --------
    >>> print(local_to_instant(datetime(2026, 11, 1, 1, 30), "America/New_York"))  # repeated
    2026-11-01 06:30:00+00:00
    >>> print(local_to_instant(datetime(2026, 3, 8, 2, 30), "America/New_York"))  # skipped: 03:30 local time
    2026-03-08 07:30:00+00:00
    """
    if timezone == "UTC":
        return local.replace(tzinfo=UTC)
    # PEP 495: of a skipped time, fold=0 has the offset before the change, and is the later instant
    return max(local.replace(tzinfo=get_timezone(timezone), fold=fold).astimezone(UTC) for fold in (0, 1))


def midnight_of(day: date, timezone: str) -> datetime:
    """Return the instant at which a day starts.

    Examples
    --------
    >>> print(midnight_of(date(2026, 3, 29), "Europe/Berlin"))
    2026-03-28 23:00:00+00:00
    """
    return local_to_instant(datetime.combine(day, time()), timezone)


def instant_to_local(moment: datetime, timezone: str) -> datetime:
    """Return the local time of an instant, without timezone."""
    return moment.astimezone(get_timezone(timezone)).replace(tzinfo=None, fold=0)


def utc_offset(moment: datetime, timezone: str) -> timedelta:
    """Return the offset from UTC at an instant.

    Examples
    --------
    >>> utc_offset(datetime(2026, 7, 1, tzinfo=UTC), "Europe/Berlin") / timedelta(hours=1)
    2.0
    """
    return moment.astimezone(get_timezone(timezone)).utcoffset() or timedelta()


@lru_cache(maxsize=64)
def offset_changes(timezone: str) -> tuple[OffsetChange, ...]:
    """Return the changes of a timezone's offset from 2024 to 2037.

    Examples
    --------
    >>> [str(change.instant) for change in offset_changes("Europe/Berlin")[:2]]
    ['2024-03-31 01:00:00+00:00', '2024-10-27 01:00:00+00:00']
    >>> offset_changes("Asia/Kolkata")
    ()
    """
    begin, end = (datetime(year, 1, 1, tzinfo=UTC) for year in _YEARS)
    weeks = [begin + i * _WEEK for i in range((end - begin) // _WEEK)]
    changed = [week for week in weeks if utc_offset(week, timezone) != utc_offset(week + _WEEK, timezone)]
    return tuple(_locate_change(week, week + _WEEK, timezone) for week in changed)


def _locate_change(begin: datetime, end: datetime, timezone: str) -> OffsetChange:
    """Find the one change between two instants."""
    before, after = utc_offset(begin, timezone), utc_offset(end, timezone)
    while end - begin > timedelta(seconds=1):
        middle = begin + (end - begin) // 2
        if utc_offset(middle, timezone) == before:
            begin = middle
        else:
            end = middle
    return OffsetChange(end.replace(microsecond=0), before, after)
