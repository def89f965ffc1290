"""The filter of the runs of an experiment, in the query of the URL, and the position in their pages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import Query

from diurnal.errors import UsageError
from diurnal.types import timezones

if TYPE_CHECKING:
    import sqlalchemy as sa

    from diurnal.storage.warehouse.connection import Row

_DATE = r"^(\d{4}-\d{2}-\d{2})?$"


@dataclass(frozen=True)
class RunFilter:
    """The filter, as a form sends it: an empty text is no condition.

    Attributes
    ----------
    result : str
        What was decided: ``"promoted"``, ``"kept"`` (the champion) or ``"unfinished"``.
    q : str
        A part of the id of a run, of the reason of its decision or of the digest of its code.
    since, until : str
        The first and the last date of the start of a data interval, in the timezone of the experiment.
    warned, drifted : bool
        Only runs with warnings, and with drifted columns.
    before : str
        The last run of the page before, as :func:`page_key` returns it.
    """

    result: Annotated[Literal["", "promoted", "kept", "unfinished"], Query()] = ""
    q: Annotated[str, Query(max_length=200)] = ""
    since: Annotated[str, Query(pattern=_DATE)] = ""
    until: Annotated[str, Query(pattern=_DATE)] = ""
    warned: Annotated[bool, Query()] = False
    drifted: Annotated[bool, Query()] = False
    before: Annotated[str, Query(max_length=300)] = ""

    @property
    def query(self) -> dict[str, Any]:
        """The parameters of links to other pages of the same runs."""
        return {
            "result": self.result,
            "q": self.q,
            "since": self.since,
            "until": self.until,
            "warned": 1 if self.warned else None,
            "drifted": 1 if self.drifted else None,
        }

    @property
    def is_active(self) -> bool:
        """Whether there is any condition."""
        return any(self.query.values())

    def conditions(self, timezone: str) -> list[sa.ColumnElement[bool]]:
        """Return the conditions of the query.

        Parameters
        ----------
        timezone : str
            The timezone of the experiment.

        Raises
        ------
        UsageError
            If a date does not exist.
        """
        from diurnal.storage.warehouse.overview_queries import run_conditions

        until = _parse_date(self.until)
        return run_conditions(
            result=self.result or None,
            text=self.q.strip() or None,
            first=_midnight_of(_parse_date(self.since), timezone),
            last=_midnight_of(until and until + timedelta(days=1), timezone),
            only_warned=self.warned,
            only_drifted=self.drifted,
        )

    def last_key(self) -> tuple[datetime, datetime, str] | None:
        """Return the key of the last run of the page before; None for the first page.

        Raises
        ------
        UsageError
            If it is not one.
        """
        if not self.before:
            return None
        try:
            start, recorded, run_id = self.before.split(",", 2)
            return _parse_instant(start), _parse_instant(recorded), run_id
        except ValueError:
            raise UsageError("the address has no valid position", hint="start from the first page") from None


def page_key(row: Row) -> str:
    """Return the position of a run, for the link to the runs after it."""
    return f"{row['data_interval_start'].isoformat()},{row['recorded_at'].isoformat()},{row['run_id']}"


def _midnight_of(day: date | None, timezone: str) -> datetime | None:
    return timezones.midnight_of(day, timezone) if day else None


def _parse_date(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise UsageError(f"{text} is not a date", hint="write it as 2026-11-23") from None


def _parse_instant(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    return moment
