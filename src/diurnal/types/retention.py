"""Retention: how long what runs have stored is kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from diurnal.errors import ExperimentError, did_you_mean

KINDS = ("batches", "candidates", "evaluations", "predictions", "profiles", "quarantine")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1), "y": timedelta(days=365)}
_HINT = 'write retention={"batches": "2y", "predictions": "90d"}'


@dataclass(frozen=True)
class Retention:
    """The argument `retention` of ``@experiment`` in one form.

    Attributes
    ----------
    ages : Mapping of str to timedelta
        The age at which data of a kind are deleted, from the end of their data interval on. A kind without an age is
        kept.

    Examples
    --------
    >>> from datetime import UTC
    >>> retention = Retention.parse({"batches": "2y", "predictions": "90d"})
    >>> retention.ages["predictions"].days
    90
    >>> print(retention.limit("batches", datetime(2026, 11, 23, tzinfo=UTC)))
    2024-11-23 00:00:00+00:00
    >>> Retention.from_json(retention.to_json()) == retention
    True
    """

    ages: Mapping[str, timedelta] = field(default_factory=dict)

    def limit(self, kind: str, now: datetime) -> datetime | None:
        """Return the instant at which the data interval of what is kept ends at the earliest; None: all is kept."""
        return now - self.ages[kind] if kind in self.ages else None

    @classmethod
    def parse(cls, value: Any) -> Retention:
        """Return the retention of an argument of ``@experiment``.

        Raises
        ------
        ExperimentError
            If a kind or an age is not valid.
        """
        if value is None:
            return cls()
        if not isinstance(value, Mapping):
            raise ExperimentError(f"retention={value!r} is not a mapping from kinds of data to ages", hint=_HINT)
        for kind in value:
            if kind not in KINDS:
                near = did_you_mean(kind, KINDS) if isinstance(kind, str) else ""
                message = f"retention has no kind {kind!r}{near}; the kinds are {', '.join(KINDS)}"
                raise ExperimentError(message, hint=_HINT)
        return cls({kind: _parse_age(kind, value[kind]) for kind in KINDS if kind in value})

    def to_json(self) -> dict[str, float]:
        """Return the ages in seconds."""
        return {kind: age.total_seconds() for kind, age in self.ages.items()}

    @classmethod
    def from_json(cls, content: Mapping[str, float]) -> Retention:
        """Return the retention of :meth:`to_json`; kinds that this version does not know are left out."""
        return cls({kind: timedelta(seconds=content[kind]) for kind in KINDS if kind in content})


def check_retention_of_window(retention: Retention, window: int | str) -> None:
    """Reject an age of batches that is shorter than the window of the models.

    Raises
    ------
    ExperimentError
        If a window that is a duration is longer.
    """
    age = retention.ages.get("batches")
    if age is None or not isinstance(window, str) or window == "all":
        return
    if age < int(window[:-1]) * _UNITS[window[-1]]:
        raise ExperimentError(
            f"retention deletes batches after {_format_age(age)}, and window={window!r} needs older ones",
            hint="keep batches for longer than the window, or shorten the window",
        )


def _parse_age(kind: str, value: Any) -> timedelta:
    if isinstance(value, str) and (match := re.fullmatch(r"([1-9]\d{0,4})([hdwy])", value)):
        return int(match[1]) * _UNITS[match[2]]
    if isinstance(value, timedelta) and value > timedelta(0) and not value.microseconds:
        return value
    message = f"retention[{kind!r}]={value!r} is not allowed; an age is a duration in hours, days, weeks or years"
    raise ExperimentError(message, hint='write "12h", "90d", "8w", "2y" (years of 365 days) or timedelta(days=90)')


def _format_age(age: timedelta) -> str:
    return f"{age.days} days" if age.days else f"{age.total_seconds() / 3600:g} hours"
