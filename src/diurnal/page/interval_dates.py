"""Data intervals in addresses and commands: ``2026-11-28``, or with a time where they do not begin at midnight."""

from __future__ import annotations

from datetime import UTC, datetime

from diurnal.errors import UsageError
from diurnal.types import timezones


def format_date(start: datetime, timezone: str = "UTC") -> str:
    """Return the start of a data interval for an address, in the timezone of the experiment.

    Examples
    --------
    >>> format_date(datetime(2026, 11, 28, tzinfo=UTC)), format_date(datetime(2026, 11, 28, 7, 30, tzinfo=UTC))
    ('2026-11-28', '2026-11-28T07:30:00Z')
    >>> format_date(datetime(2026, 11, 28, 5, tzinfo=UTC), "America/New_York")
    '2026-11-28'
    """
    day = timezones.instant_to_local(start, timezone).date()
    if start == timezones.midnight_of(day, timezone):
        return day.isoformat()
    return start.astimezone(UTC).isoformat().replace("+00:00", "Z")


def parse_date(text: str, timezone: str = "UTC") -> datetime:
    """Return a moment from an address; without an offset it is in the timezone of the experiment.

    Raises
    ------
    UsageError
        If it is not a date.

    Examples
    --------
    >>> parse_date("2026-11-28").isoformat(), parse_date("2026-11-28", "America/New_York").isoformat()
    ('2026-11-28T00:00:00+00:00', '2026-11-28T05:00:00+00:00')
    """
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            return timezones.local_to_instant(moment, timezone)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        message = f"{text[:40]!r} is not a date"
        raise UsageError(message, hint="use a date such as 2026-11-28, or a time such as 2026-11-28T07:00Z") from None
