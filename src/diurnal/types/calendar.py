"""The calendar of a schedule: the data interval of a date or an instant, and the data intervals of a backfill.

The ticks of a schedule divide time into half-open data intervals without gaps, as Airflow's
``CronDataIntervalTimetable`` and ``DeltaDataIntervalTimetable`` do: the run of an interval starts when it ends.
Days begin at midnight in the experiment's timezone, UTC unless declared; where clocks change they have 23 or 25 hours.
A schedule is

- a preset (``"@daily"``, ...) or a cron expression of five fields;
- a :class:`~datetime.timedelta`, counted from an anchor (the experiment's start date, else 1970-01-01 in UTC);
- None: no run is scheduled, and a data interval is a calendar day.

This module does not read the clock: the present time is an argument of :meth:`Calendar.last_complete_interval`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import takewhile

from diurnal.errors import UsageError
from diurnal.types import DataInterval, ticks, timezones
from diurnal.types.schedule import Schedule

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_YEARS = range(1678, 2262)  # the years of timestamps in batches; other years are typing errors


@dataclass(frozen=True)
class Calendar:
    """Divides time into data intervals.

    Parameters
    ----------
    schedule : str, timedelta or None
        See the docstring of this module.
    anchor : datetime, optional
        The origin of a timedelta.
    timezone : str
        The timezone of days and dates; a name in the tz database.

    Examples
    --------
    >>> days = Calendar("@daily", timezone="America/New_York")
    >>> sunday = days.interval_on("2026-03-08")
    >>> print(sunday, sunday.start, sunday.end - sunday.start)
    2026-03-08 2026-03-08 05:00:00+00:00 23:00:00
    """

    schedule: Schedule
    anchor: datetime | None = None
    timezone: str = "UTC"

    def interval_containing(self, moment: datetime) -> DataInterval:
        """Return the data interval that contains a timezone-aware moment.

        Examples
        --------
        >>> from datetime import datetime, timezone
        >>> print(Calendar("@weekly").interval_containing(datetime(2026, 11, 25, 9, tzinfo=timezone.utc)))
        2026-11-22/2026-11-29
        """
        return self._interval_from_tick(
            ticks.last_tick(self.schedule, _require_timezone(moment), self.anchor, self.timezone)
        )

    def interval_on(self, text: str) -> DataInterval:
        """Return the data interval of a date or an instant, as users write them.

        Parameters
        ----------
        text : str
            A date (``"2026-11-23"``): the first interval that starts on it, else the one that contains its midnight.
            Or an ISO instant with a timezone (``"2026-11-23T06:00:00Z"``): the interval that contains it.

        Raises
        ------
        UsageError
            If the text is neither.

        Examples
        --------
        >>> print(Calendar("0 6 * * *").interval_on("2026-11-23"))
        2026-11-23T06:00:00Z/2026-11-24T06:00:00Z
        """
        begin, end = self._span(text)
        first = self.interval_containing(begin)
        later = self.next_interval(first) if first.start < begin < end else None
        return later if later and later.start < end else first

    def next_interval(self, interval: DataInterval) -> DataInterval:
        """Return the first data interval that starts at or after the end of another one.

        Examples
        --------
        >>> months = Calendar("@monthly")
        >>> print(months.next_interval(months.interval_on("2026-12-01")))
        2027-01-01/2027-02-01
        """
        return self.first_interval_from(interval.end)  # the next tick, unless another schedule cut the interval

    def first_interval_from(self, moment: datetime) -> DataInterval:
        """Return the first data interval that starts at or after a moment, as Airflow does after a start date.

        Examples
        --------
        >>> print(Calendar("0 6 * * *").first_interval_from(datetime(2026, 1, 1, tzinfo=UTC)))
        2026-01-01T06:00:00Z/2026-01-02T06:00:00Z
        """
        start = ticks.last_tick(self.schedule, _require_timezone(moment), self.anchor, self.timezone)
        return self._interval_from_tick(
            start if start >= moment else ticks.next_tick(self.schedule, start, self.timezone)
        )

    def intervals_between(self, first: str, last: str) -> list[DataInterval]:
        """Return the data intervals of a backfill, oldest first; both ends are included.

        Parameters
        ----------
        first, last : str
            As for :meth:`interval_on`: from the interval of `first` to the last that starts on or before `last`.

        Raises
        ------
        UsageError
            If one is not a date, or `last` is before `first`.

        Examples
        --------
        >>> [str(interval) for interval in Calendar("@daily").intervals_between("2026-12-31", "2027-01-01")]
        ['2026-12-31', '2027-01-01']
        """
        (begin, _), (newest, end) = self._span(first), self._span(last)
        before = max(end, newest + timedelta(microseconds=1))
        if before <= begin:
            raise UsageError(f"the last date, {last}, is before the first, {first}", hint="swap them")
        oldest = self.interval_on(first)
        rest = takewhile(lambda interval: interval.start < before, self._iterate_from(oldest))
        return list(rest) or [oldest]

    def last_complete_interval(self, now: datetime) -> DataInterval:
        """Return the newest data interval that has ended.

        Examples
        --------
        >>> from datetime import datetime, timezone
        >>> print(Calendar("@daily").last_complete_interval(datetime(2026, 11, 24, tzinfo=timezone.utc)))
        2026-11-23
        """
        end = ticks.last_tick(self.schedule, _require_timezone(now), self.anchor, self.timezone)
        return self.interval_containing(end - timedelta(microseconds=1))

    def window_start(self, interval: DataInterval, duration: timedelta) -> datetime:
        """Return the instant that is a duration before the end of an interval; whole days are calendar days.

        Examples
        --------
        >>> days = Calendar("@daily", timezone="America/New_York")
        >>> print(days.window_start(days.interval_on("2026-03-09"), timedelta(days=2)))  # one of the days has 23 hours
        2026-03-08 05:00:00+00:00
        """
        if duration % timedelta(days=1):
            return interval.end - duration
        return timezones.local_to_instant(
            timezones.instant_to_local(interval.end, self.timezone) - duration, self.timezone
        )

    def _interval_from_tick(self, start: datetime) -> DataInterval:
        return DataInterval(start, ticks.next_tick(self.schedule, start, self.timezone), self.timezone)

    def _iterate_from(self, interval: DataInterval) -> Iterator[DataInterval]:
        """Yield this interval and all later ones."""
        while True:
            yield interval
            interval = self.next_interval(interval)

    def _span(self, text: str) -> tuple[datetime, datetime]:
        """Return the start and the end of the day of a date; of an instant, the instant twice."""
        begin, is_date = parse_date_or_instant(text, self.timezone)
        if not is_date:
            return begin, begin
        return begin, timezones.midnight_of(date.fromisoformat(text) + timedelta(days=1), self.timezone)


def _require_timezone(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise UsageError(
            f"{moment.isoformat()} has no timezone", hint="add one, as in datetime(2026, 11, 23, tzinfo=timezone.utc)"
        )
    return moment.astimezone(UTC)


def parse_date_or_instant(text: str, timezone: str = "UTC") -> tuple[datetime, bool]:
    """Parse a date (as its midnight in a timezone) or an instant; also return whether it is a date.

    Raises
    ------
    UsageError
        If it is neither, has no timezone or is outside the years of batches.
    """
    problem = "is neither a date nor an instant"
    try:
        is_date = _DATE.fullmatch(text) is not None
        moment = timezones.midnight_of(date.fromisoformat(text), timezone) if is_date else datetime.fromisoformat(text)
        if moment.tzinfo is None:
            problem = "has no timezone"
        elif moment.year not in _YEARS:
            problem = f"is outside the years {_YEARS[0]} to {_YEARS[-1]}"
        else:
            return moment.astimezone(UTC), is_date
    except (ValueError, OverflowError) as error:
        problem += f" ({error})"
    raise UsageError(f"{text!r} {problem}", hint="write a date as 2026-11-23 or an instant as 2026-11-23T06:00:00Z")
