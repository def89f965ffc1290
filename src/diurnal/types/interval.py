"""The data interval of a run and its batch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from diurnal.errors import UsageError
from diurnal.types import timezones


@dataclass(frozen=True, order=True)
class DataInterval:
    """The time span of the data of a run: half-open, ``[start, end)``.

    Two intervals are equal if their instants are equal; the timezone is not compared.

    Parameters
    ----------
    start, end : datetime
        Timezone-aware; they are converted to UTC.
    timezone : str
        The timezone of days; names and :attr:`local` are in it.

    Raises
    ------
    UsageError
        If a time has no timezone, or `end` is not after `start`.

    Examples
    --------
    >>> from datetime import datetime, timezone
    >>> day = DataInterval(datetime(2026, 11, 23, tzinfo=timezone.utc), datetime(2026, 11, 24, tzinfo=timezone.utc))
    >>> print(day)
    2026-11-23
    >>> day.key
    '20261123T000000Z'
    """

    start: datetime
    end: datetime
    timezone: str = field(default="UTC", compare=False)

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            moment = getattr(self, name)
            if moment.tzinfo is None:
                raise UsageError(
                    f"a data interval needs times with a timezone; {name} is {moment.isoformat()}",
                    hint="add one, as in datetime(2026, 11, 23, tzinfo=timezone.utc)",
                )
            object.__setattr__(self, name, moment.astimezone(UTC))
        if self.end <= self.start:
            raise UsageError(f"a data interval ends after it starts; this one is {self.start} to {self.end}")

    @property
    def local(self) -> DataInterval:
        """The same interval with `start` and `end` in its timezone, as sources receive it.

        The duration of the interval is the difference of its ends in UTC. Python subtracts two times of one timezone as
        local times, which gives 24 hours on a day of 23.

        Examples
        --------
        >>> from diurnal.types.calendar import Calendar
        >>> day = Calendar("@daily", timezone="Europe/Berlin").interval_on("2026-03-29").local
        >>> print(f"{day.start:%Y-%m-%d %H:%M %Z}, {day.end:%Y-%m-%d %H:%M %Z}")
        2026-03-29 00:00 CET, 2026-03-30 00:00 CEST
        """
        return self if self.timezone == "UTC" else _Local(self.start, self.end, self.timezone)

    def in_timezone(self, timezone: str) -> DataInterval:
        """Return the same interval in another timezone."""
        return replace(self, timezone=timezone)

    @property
    def key(self) -> str:
        """The start as a name for folders, without colons; sortable within a day of 24 hours.

        Examples
        --------
        >>> from diurnal.types.calendar import Calendar
        >>> Calendar("@daily", timezone="America/New_York").interval_on("2026-03-08").key
        '20260308T000000-0500'
        """
        shown = self.start.astimezone(timezones.get_timezone(self.timezone)).strftime("%Y%m%dT%H%M%S%z")
        return shown.replace("+0000", "Z")

    def __str__(self) -> str:
        begin, end = (timezones.instant_to_local(moment, self.timezone).date() for moment in (self.start, self.end))
        whole_days = self.start == timezones.midnight_of(begin, self.timezone) and self.end == timezones.midnight_of(
            end, self.timezone
        )
        if whole_days and end - begin == timedelta(days=1):
            return begin.isoformat()
        if whole_days:
            return f"{begin}/{end}"
        return "/".join(format_instant(moment, self.timezone) for moment in (self.start, self.end))


class _Local(DataInterval):
    """A data interval whose times are in its timezone."""

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            object.__setattr__(self, name, getattr(self, name).astimezone(timezones.get_timezone(self.timezone)))


def format_instant(moment: datetime, timezone: str) -> str:
    """Format an instant in a timezone, to the second.

    Examples
    --------
    >>> format_instant(datetime(2026, 3, 8, 11, tzinfo=UTC), "America/New_York")
    '2026-03-08T07:00:00-04:00'
    >>> format_instant(datetime(2026, 3, 8, tzinfo=UTC), "UTC")
    '2026-03-08T00:00:00Z'
    """
    shown = moment.astimezone(timezones.get_timezone(timezone)).isoformat(timespec="seconds")
    return shown.replace("+00:00", "Z")
