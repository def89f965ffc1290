"""Data intervals in addresses: ``?date=2026-11-28``, or with a time where they do not begin at midnight in UTC."""

from __future__ import annotations

from datetime import UTC, datetime

from diurnal.errors import UsageError


def format_date(start: datetime) -> str:
    """Return the start of a data interval for an address.

    Examples
    --------
    >>> format_date(datetime(2026, 11, 28, tzinfo=UTC)), format_date(datetime(2026, 11, 28, 7, 30, tzinfo=UTC))
    ('2026-11-28', '2026-11-28T07:30:00Z')
    """
    start = start.astimezone(UTC)
    if (start.hour, start.minute, start.second, start.microsecond) == (0, 0, 0, 0):
        return f"{start:%Y-%m-%d}"
    return start.isoformat().replace("+00:00", "Z")


def parse_date(text: str) -> datetime:
    """Return a moment from an address; without an offset it is in UTC.

    Raises
    ------
    UsageError
        If it is not a date.

    Examples
    --------
    >>> parse_date("2026-11-28").isoformat()
    '2026-11-28T00:00:00+00:00'
    """
    try:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        message = f"{text[:40]!r} is not a date"
        raise UsageError(message, hint="use a date such as 2026-11-28, or a time such as 2026-11-28T07:00Z") from None
