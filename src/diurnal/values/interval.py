"""The data interval: whose rows a batch holds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from diurnal.errors import UsageError


@dataclass(frozen=True, order=True)
class DataInterval:
    """The span of data that a run is about: half-open, ``[start, end)``, in UTC.

    Parameters
    ----------
    start, end : datetime
        Timezone-aware; they are turned to UTC.

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

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            moment = getattr(self, name)
            if moment.tzinfo is None:
                raise UsageError(
                    f"a data interval needs times with a timezone; {name} is {moment.isoformat()}",
                    advice="add one, as in datetime(2026, 11, 23, tzinfo=timezone.utc)",
                )
            object.__setattr__(self, name, moment.astimezone(UTC))
        if self.end <= self.start:
            raise UsageError(f"a data interval ends after it starts; this one is {self.start} to {self.end}")

    @property
    def key(self) -> str:
        """The start as a name for folders, sortable and free of colons."""
        return self.start.strftime("%Y%m%dT%H%M%SZ")

    def __str__(self) -> str:
        midnights = all((t.hour, t.minute, t.second, t.microsecond) == (0, 0, 0, 0) for t in (self.start, self.end))
        if midnights and (self.end - self.start).days == 1:
            return self.start.strftime("%Y-%m-%d")
        form = "%Y-%m-%d" if midnights else "%Y-%m-%dT%H:%M:%SZ"
        return f"{self.start.strftime(form)}/{self.end.strftime(form)}"
