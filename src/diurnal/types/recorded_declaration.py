"""What the warehouse keeps of the declaration of an experiment, for those that do not import its code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from diurnal.types.calendar import Calendar
from diurnal.types.interval import DataInterval
from diurnal.types.retention import Retention
from diurnal.types.schedule import Schedule


class Scheduled(Protocol):
    """What expectations need: an experiment, or a recorded declaration."""

    @property
    def schedule(self) -> Schedule:
        """The schedule; None if it is started manually only."""

    @property
    def start_date(self) -> datetime | None:
        """The start of the first data interval."""

    @property
    def label_delay(self) -> timedelta:
        """How long after the end of a data interval its labels are complete."""

    @property
    def promotion(self) -> str:
        """The promotion policy."""

    @property
    def calendar(self) -> Calendar:
        """The calendar of its data intervals."""

    def complete_at(self, interval: DataInterval) -> datetime:
        """Return when the rows of a data interval and their labels are complete."""


@dataclass(frozen=True)
class RecordedDeclaration:
    """The declaration of an experiment at its last run.

    Attributes
    ----------
    schedule : str, timedelta or None
        The schedule.
    timezone : str
        The timezone of its data intervals.
    start_date : datetime or None
        The start of the first data interval.
    label_delay : timedelta
        How long after the end of a data interval its labels are complete.
    description : str
        The docstring.
    promotion : str
        The promotion policy.
    retention : Retention
        How long data are kept.

    Examples
    --------
    >>> from datetime import timedelta
    >>> declaration = RecordedDeclaration(timedelta(hours=6), "UTC", None, timedelta(days=7), "Tell who is ill.")
    >>> RecordedDeclaration.from_row(declaration.to_row()) == declaration
    True
    """

    schedule: Schedule
    timezone: str
    start_date: datetime | None
    label_delay: timedelta
    description: str = ""
    promotion: str = ""
    retention: Retention = field(default_factory=Retention)

    @property
    def calendar(self) -> Calendar:
        """The calendar of its data intervals."""
        return Calendar(self.schedule, self.start_date, self.timezone)

    def complete_at(self, interval: DataInterval) -> datetime:
        """Return when the rows of a data interval and their labels are complete."""
        return interval.end + self.label_delay

    def to_row(self) -> dict[str, Any]:
        """Return the declaration as columns of the table `declarations`."""
        is_period = isinstance(self.schedule, timedelta)
        return {
            "description": self.description,
            "schedule": self.schedule.total_seconds() if is_period else self.schedule,  # type: ignore[union-attr]
            "timezone": self.timezone,
            "start_date": self.start_date,
            "label_delay": self.label_delay.total_seconds(),
            "promotion": self.promotion,
            "retention": self.retention.to_json(),
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> RecordedDeclaration:
        """Create a declaration from columns of the table `declarations`; those of the page lack the retention."""
        schedule = row["schedule"]
        return cls(
            schedule=timedelta(seconds=schedule) if isinstance(schedule, int | float) else schedule,
            timezone=row["timezone"],
            start_date=row["start_date"],
            label_delay=timedelta(seconds=row["label_delay"]),
            description=row["description"],
            promotion=row["promotion"],
            retention=Retention.from_json(row.get("retention") or {}),
        )
