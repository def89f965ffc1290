"""The newest results and failures of an experiment, as alarms and metrics read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from diurnal.storage.warehouse.failure_queries import SCORE
from diurnal.types import DataInterval

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """An end of a run without an error: a result, or a batch whose window has too few rows.

    Attributes
    ----------
    interval : DataInterval
        The data interval.
    at : datetime
        When it was stored.
    """

    interval: DataInterval
    at: datetime


@dataclass(frozen=True)
class RecordedRun:
    """A finished run.

    Attributes
    ----------
    interval : DataInterval
        The data interval.
    row : Mapping
        Its columns of `experiments`, with a few numbers of its drift (of the newest ten runs).
    """

    interval: DataInterval
    row: Row = field(repr=False)

    @property
    def seconds(self) -> float:
        """The duration of its recorded steps."""
        return float(sum(self.row["durations"].values()))

    @property
    def has_drifted(self) -> bool:
        """Whether a column has drifted."""
        return bool(self.row["n_drifted"])


@dataclass(frozen=True)
class RecordedFailure:
    """A failed attempt.

    Attributes
    ----------
    interval : DataInterval
        The data interval.
    row : Mapping
        Its columns of `failures`.
    """

    interval: DataInterval
    row: Row = field(repr=False)

    @property
    def at(self) -> datetime:
        """When it failed."""
        at: datetime = self.row["failed_at"]
        return at

    @property
    def type(self) -> str:
        """The name of the class of the error."""
        return str(self.row["error"].get("type") or "an error")

    @property
    def is_of_scoring(self) -> bool:
        """Whether predictions of a batch failed, and not a run."""
        return bool(self.row["step"] == SCORE)

    @property
    def is_rejection(self) -> bool:
        """Whether the batch of a run was rejected."""
        return self.row["quarantine"] is not None or (self.type == "BatchRejectedError" and not self.is_of_scoring)

    @property
    def is_temporary(self) -> bool:
        """Whether the same run may succeed later without a change."""
        return self.type in ("TransientError", "CodeChangedError")


@dataclass(frozen=True)
class History:
    """The newest results and failures of an experiment, newest data interval first.

    Attributes
    ----------
    name : str
        The experiment.
    answers : tuple of Answer
        Of the last 30 data intervals.
    runs : tuple of RecordedRun
        The last 30 finished runs.
    failures : tuple of RecordedFailure
        The failures of the newest data intervals, at most 50.
    champion : Mapping or None
        The newest promotion: a row of `promotions`.
    n_rows : int or None
        The rows of the newest batch.
    live_score : Mapping or None
        ``scoring`` and ``score`` of the newest predictions that have a live score.
    n_failed, n_rejected : int
        All stored failures: those of a step, and rejected batches.
    """

    name: str
    answers: tuple[Answer, ...] = ()
    runs: tuple[RecordedRun, ...] = ()
    failures: tuple[RecordedFailure, ...] = ()
    champion: Row | None = None
    n_rows: int | None = None
    live_score: Row | None = None
    n_failed: int = 0
    n_rejected: int = 0

    @classmethod
    def from_rows(cls, name: str, rows: Mapping[str, Sequence[Row]], timezone: str = "UTC") -> History:
        """Return the history of the rows that :meth:`Warehouse.health_rows` gives for an experiment."""
        runs = tuple(RecordedRun(_interval_of(row, timezone), row) for row in _with_drift(rows))
        answers = [Answer(run.interval, run.row["decided_at"]) for run in runs]
        answers += [
            Answer(_interval_of(row, timezone), row["claimed_at"]) for row in rows["intervals"] if row["lacking"]
        ]
        counts: Row = next(iter(rows["counts"]), {})
        return cls(
            name,
            answers=tuple(sorted(answers, key=lambda answer: (answer.interval.start, answer.at), reverse=True)),
            runs=runs,
            failures=tuple(RecordedFailure(_interval_of(row, timezone), row) for row in rows["failures"]),
            champion=next(iter(rows["champion"]), None),
            n_rows=next((row["n_rows"] for row in rows["batch"]), None),
            live_score=next(iter(rows["live"]), None),
            n_failed=counts.get("failed", 0),
            n_rejected=counts.get("rejected", 0),
        )

    @property
    def answered_until(self) -> datetime | None:
        """The end of the newest data interval that has a result, or too few rows; None if none has."""
        return max((answer.interval.end for answer in self.answers), default=None)

    @cached_property
    def open_failures(self) -> tuple[RecordedFailure, ...]:
        """The failures that no later result, or scoring, of the same or a newer data interval has followed."""
        return tuple(failure for failure in self.failures if not self._is_resolved(failure))

    def _is_resolved(self, failure: RecordedFailure) -> bool:
        if failure.is_of_scoring:
            return failure.row["resolved_at"] is not None
        return any(
            answer.interval.start >= failure.interval.start and answer.at > failure.at for answer in self.answers
        )


def _with_drift(rows: Mapping[str, Sequence[Row]]) -> list[Row]:
    """Return the rows of runs, with the numbers of their drift: of the newest ten how many columns, else None."""
    nothing = {"n_drifted": None, "n_columns": None, "drift_version": None, "strongest_drift": None}
    drift: dict[str, Row] = {}
    for row in (*rows["n_drifted"], *rows["drift"]):
        drift[row["run_id"]] = {**drift.get(row["run_id"], {}), **row}
    return [{**nothing, **drift.get(row["run_id"], {}), **row} for row in rows["runs"]]


def _interval_of(row: Row, timezone: str) -> DataInterval:
    return DataInterval(row["data_interval_start"], row["data_interval_end"], timezone)
