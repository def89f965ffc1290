"""Numbers, durations and times as text."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from functools import lru_cache

from diurnal.types import timezones

NO_VALUE = "\N{EN DASH}"
_THIN_SPACE = "\N{NARROW NO-BREAK SPACE}"
_UNITS = ((365.25 * 86400, "y"), (86400, "d"), (3600, "h"), (60, "min"))


def format_score(value: float | None) -> str:
    """Return a score with four significant digits.

    Examples
    --------
    >>> format_score(0.97916), format_score(-1234.5), format_score(1.5e-7)
    ('0.9792', '-1234', '1.500e-07')
    """
    if value is None or not math.isfinite(value):
        return NO_VALUE
    size = abs(value)
    if size and (size < 1e-3 or size >= 1e6):
        return f"{value:.3e}"
    return f"{value:.4f}" if size < 10 else f"{value:.{max(0, 3 - int(math.log10(size)))}f}"


def format_count(value: int | None) -> str:
    """Return a number with separators of thousands.

    Examples
    --------
    >>> format_count(1234567).replace(_THIN_SPACE, "_")
    '1_234_567'
    """
    return NO_VALUE if value is None else f"{value:,}".replace(",", _THIN_SPACE)


def format_duration(seconds: float | None) -> str:
    """Return a duration in its largest two units.

    Examples
    --------
    >>> format_duration(0.0123), format_duration(7.25), format_duration(3725)
    ('12 ms', '7.2 s', '1 h 2 min')
    """
    if seconds is None:
        return NO_VALUE
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def format_age(moment: datetime | None, now: datetime) -> str:
    """Return how long ago a moment was, or in how much time it is, in one unit.

    Examples
    --------
    >>> from datetime import UTC
    >>> now = datetime(2026, 11, 29, 12, tzinfo=UTC)
    >>> format_age(datetime(2026, 11, 27, 10, tzinfo=UTC), now), format_age(now + timedelta(hours=3), now)
    ('2 d ago', 'in 3 h')
    """
    if moment is None:
        return NO_VALUE
    seconds = (now - moment).total_seconds()
    size = abs(seconds)
    text = next((f"{int(size // length)} {unit}" for length, unit in _UNITS if size >= length), f"{int(size)} s")
    return f"{text} ago" if seconds >= 0 else f"in {text}"


@lru_cache(maxsize=4096)  # a strip names the same days for each experiment
def format_interval(start: datetime, end: datetime, timezone: str = "UTC") -> str:
    """Return a data interval in the timezone of its experiment: a date, the first and the last one, or its start.

    Examples
    --------
    >>> from datetime import UTC
    >>> format_interval(datetime(2026, 11, 28, tzinfo=UTC), datetime(2026, 11, 29, tzinfo=UTC))
    '2026-11-28'
    >>> format_interval(datetime(2026, 11, 28, 7, tzinfo=UTC), datetime(2026, 11, 28, 8, tzinfo=UTC))
    '2026-11-28 07:00'
    >>> format_interval(datetime(2026, 3, 8, 5, tzinfo=UTC), datetime(2026, 3, 9, 4, tzinfo=UTC), "America/New_York")
    '2026-03-08'
    >>> format_interval(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 30, tzinfo=UTC))
    '2026-11-23 to 2026-11-29'
    """
    first, after = (timezones.instant_to_local(moment, timezone).date() for moment in (start, end))
    if start != timezones.midnight_of(first, timezone) or end != timezones.midnight_of(after, timezone):
        return f"{start.astimezone(timezones.get_timezone(timezone)):%Y-%m-%d %H:%M}"
    last = after - timedelta(days=1)
    return f"{first}" if last <= first else f"{first} to {last}"
