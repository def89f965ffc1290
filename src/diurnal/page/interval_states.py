"""The state of each data interval of an experiment: what the last attempt on it has led to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

State = Literal["promoted", "kept", "rejected", "failed", "waiting", "missing", "running"]
STATES: Mapping[State, str] = {
    "promoted": "its version was promoted",
    "kept": "recorded, the champion stays",
    "rejected": "the batch is in quarantine",
    "failed": "a step failed",
    "waiting": "too little data to learn from yet",
    "missing": "no run",
    "running": "a run has no result yet",
}
"""The states of a data interval, with their meanings."""

_MIN_PATIENCE = timedelta(minutes=30)
_MAX_MISSING = 60  # cells of one gap


@dataclass(frozen=True)
class IntervalState:
    """A data interval, and what the last attempt on it has led to.

    Attributes
    ----------
    start, end : datetime
        The data interval.
    state : str
        One of :data:`STATES`.
    run : Mapping of str to Any, optional
        The newest run, if there is one.
    step : str, optional
        The step that failed.
    """

    start: datetime
    end: datetime
    state: State
    run: Mapping[str, Any] | None = None
    step: str | None = None


def interval_state(
    head: Mapping[str, Any],
    run: Mapping[str, Any] | None,
    failure: Mapping[str, Any] | None,
    now: datetime,
    duration: timedelta | None,
) -> IntervalState:
    """Return the state of a data interval; of its run and its failure, the later one counts.

    Parameters
    ----------
    head : Mapping of str to Any
        The data interval, when it was claimed, and `is_lacking`.
    run, failure : Mapping of str to Any, optional
        The newest run and the newest failure.
    now : datetime
        The present moment: a claim without a result counts as running for some time, and as failed after that.
    duration : timedelta, optional
        The usual duration of a run.
    """
    start, end = head["data_interval_start"], head["data_interval_end"]
    decided_at = run["decided_at"] if run else None
    if failure is not None and failure["failed_at"] > max(filter(None, (decided_at, head["claimed_at"]))):
        return IntervalState(start, end, "rejected" if failure["is_rejected"] else "failed", run, failure["step"])
    if run is not None and decided_at is not None:
        return IntervalState(start, end, "promoted" if run["promoted"] else "kept", run)
    if head["is_lacking"]:
        return IntervalState(start, end, "waiting")
    if now - head["claimed_at"] < max(_MIN_PATIENCE, 5 * (duration or timedelta())):
        return IntervalState(start, end, "running", run)
    return IntervalState(start, end, "failed", run)


def interval_states(
    heads: Sequence[Mapping[str, Any]],
    runs: Iterable[Mapping[str, Any]],
    failures: Iterable[Mapping[str, Any]],
    now: datetime,
    durations: Mapping[str, timedelta | None],
    n_intervals: int,
) -> dict[str, list[IntervalState]]:
    """Return the last data intervals of experiments, oldest first; gaps between them are missing ones.

    Parameters
    ----------
    heads, runs, failures : sequences of Mapping
        The rows of several experiments; the data intervals of each are sorted.
    now : datetime
        The present moment.
    durations : Mapping of str to timedelta
        The usual duration of a run, by experiment.
    n_intervals : int
        The number of states for each experiment.
    """
    newest_runs = {(row["experiment"], row["data_interval_start"]): row for row in runs}
    newest_failures = {(row["experiment"], row["data_interval_start"]): row for row in failures}
    found: dict[str, list[IntervalState]] = defaultdict(list)
    for head in heads:
        states = found[head["experiment"]]
        if states:
            states += missing_intervals(states[-1].end, head["data_interval_start"], head["data_interval_end"])
        key = (head["experiment"], head["data_interval_start"])
        duration = durations.get(head["experiment"])
        states.append(interval_state(head, newest_runs.get(key), newest_failures.get(key), now, duration))
    return {name: states[-n_intervals:] for name, states in found.items()}


def missing_intervals(end: datetime, start: datetime, next_end: datetime) -> list[IntervalState]:
    """Return the data intervals between the end of one and the start of the next one.

    Their length is that of the next one, as far as it fits into the gap: a schedule need not be regular.
    """
    length = next_end - start
    gap = start - end
    if gap <= timedelta():
        return []
    number = min(max(1, round(gap / length)), _MAX_MISSING)
    return [
        IntervalState(start - gap * (number - i) / number, start - gap * (number - i - 1) / number, "missing")
        for i in range(number)
    ]
