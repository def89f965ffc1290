"""From a schedule to data intervals: which span of data a date, an instant or a backfill means.

A schedule's ticks cut time into half-open data intervals without gaps, as Airflow's
``CronDataIntervalTimetable`` and ``DeltaDataIntervalTimetable`` do: the run of an interval starts when it ends.
All ticks are in UTC, so that no day has 23 or 25 hours. A schedule is

- a preset (``"@daily"``, ...) or a cron expression of five fields;
- a :class:`~datetime.timedelta`, counted from an anchor (the experiment's start date, else 1970-01-01);
- None: nothing starts by itself, and a data interval is a calendar day.

Nothing here reads the clock: whoever asks for the last complete interval says what time it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import takewhile
from typing import Literal

from diurnal.errors import DeclarationError, UsageError, nearest
from diurnal.values import DataInterval

Schedule = str | timedelta | None

# Airflow's own table; "@once" and "@continuous" have no data intervals.
PRESETS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@quarterly": "0 0 1 */3 *",
    "@yearly": "0 0 1 1 *",
}

_DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEARS = range(1678, 2262)  # those that a timestamp of a batch can have; a year outside is a slip of the hand
_LONGEST = dict.fromkeys(range(1, 13), 31) | {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
_MONTHS = {"jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6}
_MONTHS |= {"jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11, "dec": 12}
_WEEKDAYS = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 7, _WEEKDAYS),
)
_ITEM = re.compile(r"(?P<first>\*|\w+)(?:-(?P<last>\w+))?(?:/(?P<step>\d+))?")
_ADVICE = f"write {', '.join(PRESETS)}, a cron expression such as '30 6 * * mon-fri', a timedelta or None (by hand)"


def check_schedule(schedule: Schedule) -> None:
    """Refuse what is no schedule, without loading a cron library: Airflow parses every file again and again.

    Raises
    ------
    DeclarationError
        Naming the field that is wrong and what it may hold.
    """
    if schedule is None:
        return
    if isinstance(schedule, timedelta):
        if schedule < timedelta(minutes=1) or schedule % timedelta(minutes=1):
            raise DeclarationError(
                f"schedule={schedule!r} is no whole number of minutes", advice="write, say, timedelta(hours=6)"
            )
        return
    if not isinstance(schedule, str):
        raise DeclarationError(f"schedule={schedule!r} is a {type(schedule).__name__}", advice=_ADVICE)
    _cron(schedule)


def containing(schedule: Schedule, moment: datetime, *, anchor: datetime | None = None) -> DataInterval:
    """Give the data interval that a moment lies in.

    Parameters
    ----------
    schedule : str, timedelta or None
        See the head of this module.
    moment : datetime
        Timezone-aware.
    anchor : datetime, optional
        Where a timedelta counts from.

    Examples
    --------
    >>> from datetime import datetime, timezone
    >>> print(containing("@weekly", datetime(2026, 11, 25, 9, tzinfo=timezone.utc)))
    2026-11-22/2026-11-29
    """
    start = _tick_at_or_before(schedule, _aware(moment), anchor)
    return DataInterval(start, _tick_after(schedule, start))


def on(schedule: Schedule, text: str, *, anchor: datetime | None = None) -> DataInterval:
    """Give the data interval that a user means by a date or an instant.

    Parameters
    ----------
    schedule : str, timedelta or None
        See the head of this module.
    text : str
        A date (``"2026-11-23"``): the first interval that starts on it, else the one that contains its midnight.
        Or an ISO instant with a timezone (``"2026-11-23T06:00:00Z"``): the interval that contains it.
    anchor : datetime, optional
        Where a timedelta counts from.

    Raises
    ------
    UsageError
        If the text is neither.

    Examples
    --------
    >>> print(on("0 6 * * *", "2026-11-23"))
    2026-11-23T06:00:00Z/2026-11-24T06:00:00Z
    """
    moment, is_date = read_moment(text)
    first = containing(schedule, moment, anchor=anchor)
    if is_date and first.start < moment and first.end < moment + _DAY:
        return following(schedule, first, anchor=anchor)
    return first


def following(schedule: Schedule, interval: DataInterval, *, anchor: datetime | None = None) -> DataInterval:
    """Give the first data interval that starts at or after the end of this one.

    Examples
    --------
    >>> print(following("@monthly", on("@monthly", "2026-12-01")))
    2027-01-01/2027-02-01
    """
    start = _tick_at_or_before(schedule, interval.end, anchor)
    if start < interval.end:  # the interval was cut by another schedule
        start = _tick_after(schedule, start)
    return DataInterval(start, _tick_after(schedule, start))


def between(schedule: Schedule, first: str, last: str, *, anchor: datetime | None = None) -> list[DataInterval]:
    """Give the data intervals of a backfill, oldest first; both ends are included.

    Parameters
    ----------
    schedule : str, timedelta or None
        See the head of this module.
    first, last : str
        As for :func:`on`: from the interval that `first` means to the last that starts on or before `last`.
    anchor : datetime, optional
        Where a timedelta counts from.

    Raises
    ------
    UsageError
        If one is no date, or `last` comes before `first`.

    Examples
    --------
    >>> [str(interval) for interval in between("@daily", "2026-12-31", "2027-01-01")]
    ['2026-12-31', '2027-01-01']
    """
    (begin, _), (end, is_date) = read_moment(first), read_moment(last)
    before = end + (_DAY if is_date else timedelta(microseconds=1))
    if before <= begin:
        raise UsageError(f"the last date, {last}, comes before the first, {first}", advice="swap them")
    oldest = on(schedule, first, anchor=anchor)
    rest = takewhile(lambda interval: interval.start < before, _from(schedule, oldest, anchor))
    return list(rest) or [oldest]


def last_complete(schedule: Schedule, now: datetime, *, anchor: datetime | None = None) -> DataInterval:
    """Give the newest data interval that has ended by now.

    Examples
    --------
    >>> from datetime import datetime, timezone
    >>> print(last_complete("@daily", datetime(2026, 11, 24, tzinfo=timezone.utc)))
    2026-11-23
    """
    end = _tick_at_or_before(schedule, _aware(now), anchor)
    return containing(schedule, end - timedelta(microseconds=1), anchor=anchor)


def _from(schedule: Schedule, interval: DataInterval, anchor: datetime | None) -> Iterator[DataInterval]:
    """Give this interval and all that follow."""
    while True:
        yield interval
        interval = following(schedule, interval, anchor=anchor)


def _tick_at_or_before(schedule: Schedule, moment: datetime, anchor: datetime | None) -> datetime:
    """Give the last tick that is not after the moment."""
    if isinstance(schedule, str):
        # croniter looks strictly before, and ticks are whole minutes.
        minute = moment.replace(second=0, microsecond=0) + timedelta(minutes=1)
        return _look(schedule, minute, "get_prev")
    step, origin = (schedule, anchor or _EPOCH) if schedule is not None else (_DAY, _EPOCH)
    return origin + (moment - origin) // step * step


def _tick_after(schedule: Schedule, tick: datetime) -> datetime:
    """Give the tick that comes after this one."""
    if isinstance(schedule, str):
        return _look(schedule, tick, "get_next")
    return tick + (_DAY if schedule is None else schedule)


def _look(schedule: str, moment: datetime, direction: Literal["get_prev", "get_next"]) -> datetime:
    """Give the tick of a cron expression that is strictly before or after a moment."""
    from croniter import croniter

    ticks = croniter(_cron(schedule), start_time=moment.replace(tzinfo=None), ret_type=datetime)
    found: datetime = getattr(ticks, direction)()
    return found.replace(tzinfo=UTC)


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise UsageError(
            f"{moment.isoformat()} has no timezone", advice="add one, as in datetime(2026, 11, 23, tzinfo=timezone.utc)"
        )
    return moment.astimezone(UTC)


def read_moment(text: str) -> tuple[datetime, bool]:
    """Read a date (as its midnight in UTC) or an instant; say whether it was a date.

    Raises
    ------
    UsageError
        If it is neither, has no timezone or lies outside the years that a batch can have.
    """
    problem = "is neither a date nor an instant"
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            moment, is_date = datetime.combine(date.fromisoformat(text), time(tzinfo=UTC)), True
        else:
            moment, is_date = datetime.fromisoformat(text), False
        if moment.tzinfo is None:
            problem = "has no timezone"
        elif moment.year not in _YEARS:
            problem = f"lies outside the years {_YEARS[0]} to {_YEARS[-1]}"
        else:
            return moment.astimezone(UTC), is_date
    except ValueError as error:
        problem += f" ({error})"
    raise UsageError(f"{text!r} {problem}", advice="write a date as 2026-11-23 or an instant as 2026-11-23T06:00:00Z")


@lru_cache(maxsize=256)
def _cron(schedule: str) -> str:
    """Give the five fields of a preset or an expression, checked."""
    if schedule.startswith("@"):
        if schedule not in PRESETS:
            raise DeclarationError(f"schedule={schedule!r} is no preset{nearest(schedule, PRESETS)}", advice=_ADVICE)
        return PRESETS[schedule]
    fields = schedule.split()
    if len(fields) != len(_FIELDS):
        near = nearest(f"@{schedule}", PRESETS)
        raise DeclarationError(
            f"schedule={schedule!r}: a cron expression has 5 fields, not {len(fields)}{near}", advice=_ADVICE
        )
    try:
        _, _, days, months, _ = (_values(text, *field) for text, field in zip(fields, _FIELDS, strict=True))
    except ValueError as error:
        raise DeclarationError(f"schedule={schedule!r}: {error}", advice=_ADVICE) from None
    if fields[-1] == "*" and min(days) > max(_LONGEST[month] for month in months):
        raise DeclarationError(f"schedule={schedule!r} names a day that no such month has", advice=_ADVICE)
    return schedule


def _values(text: str, name: str, low: int, high: int, names: dict[str, int]) -> set[int]:
    """Give the numbers that one field of a cron expression stands for."""
    if text == "L" and name == "day of the month":
        return {28}  # the last day: every month has one
    chosen: set[int] = set()
    for item in text.lower().split(","):
        match = _ITEM.fullmatch(item)
        if not match:
            raise ValueError(f"the {name}, {text!r}, is neither *, a number, a range, a step nor a list of them")
        first, last, step = match["first"], match["last"], int(match["step"] or 1)
        begin = low if first == "*" else _number(first, name, low, high, names)
        # Only "*" and "5/10" reach up to the highest value; "5" is 5.
        open_ended = first == "*" or match["step"]
        end = _number(last, name, low, high, names) if last else high if open_ended else begin
        if not 1 <= step <= high or end < begin or (last and first == "*"):
            raise ValueError(f"the {name}, {text!r}, holds a range or a step that selects nothing")
        chosen.update(range(begin, end + 1, step))
    return chosen


def _number(text: str, name: str, low: int, high: int, names: dict[str, int]) -> int:
    number = names.get(text, int(text) if text.isdecimal() else -1)
    if not low <= number <= high:
        words = f" or {', '.join(names)}" if names else ""
        raise ValueError(f"the {name} is {low} to {high}{words}, not {text!r}")
    return number
