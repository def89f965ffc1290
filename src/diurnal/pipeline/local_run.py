"""A run on this machine, in this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from diurnal.errors import DiurnalError
from diurnal.pipeline.attempts import recorded_attempt
from diurnal.pipeline.flow import define_flow
from diurnal.pipeline.interval_checks import check_has_ended, check_start_date

if TYPE_CHECKING:
    from diurnal.experiment.run_context import RunContext


@dataclass(frozen=True)
class RunResult:
    """The result of a run.

    Attributes
    ----------
    run : dict
        Its row of `experiments`.
    version : int or None
        The model version that it published.
    promoted : bool
        Whether the version became the champion.
    reason : str
        Why, or why not.
    already : bool
        Whether the result existed before, so that the run had nothing to do.
    """

    run: dict[str, Any]
    version: int | None
    promoted: bool
    reason: str
    already: bool

    @property
    def changes_champion(self) -> bool:
        """Whether this call has made a version the champion: its own, or the challenger."""
        bet = (self.run["challenge"] or {}).get("bet") or {}
        return not self.already and (self.promoted or bet.get("ended") == "won")


class _RunAlreadyFinished(Exception):
    """The run is finished, and its batch and its samples are in place."""


def run(
    context: RunContext,
    *,
    on_start: Callable[[str], None] | None = None,
    on_end: Callable[[str, float], None] | None = None,
    now: datetime | None = None,
) -> RunResult:
    """Execute all steps of a run.

    Parameters
    ----------
    context : RunContext
        The experiment, the data interval and the stores.
    on_start : callable, optional
        Called with the name of each step before it.
    on_end : callable, optional
        Called with the name of each step and its duration in seconds after it.
    now : datetime, optional
        If given, a data interval that ends later is rejected: its data cannot be complete.

    Returns
    -------
    RunResult

    Raises
    ------
    BatchRejectedError
        If the batch violates its contract, or the data interval has not ended.
    UsageError
        If the data interval begins before the experiment's start date.
    SupersededError
        If another attempt has taken over the run.
    TransientError
        If the network, a disk or a database failed; the same call continues the run.
    """
    from diurnal.pipeline import steps
    from diurnal.types import Batch, TrainTestSplit

    check_start_date(context.experiment, context.interval)
    if now is not None:
        check_has_ended(context, now, hint="wait for its end, or pass --allow-future")
    run_ids: list[str] = []

    def step(name: str, *inputs: Any) -> Any:
        with recorded_attempt(context, name):
            if on_start:
                on_start(name)
            started = time.perf_counter()
            result = getattr(steps, name)(context, *inputs)
            if on_end:
                on_end(name, time.perf_counter() - started)
        if isinstance(result, Batch):
            run_ids.append(result.run.run_id)
        if isinstance(result, TrainTestSplit) and result.finished:
            raise _RunAlreadyFinished
        return result

    try:
        define_flow(step)
    except _RunAlreadyFinished:
        return _result_of(context, run_ids[0], already=True)
    return _result_of(context, run_ids[0], already=False)


def _result_of(context: RunContext, run_id: str, *, already: bool) -> RunResult:
    row = context.stores.warehouse.run(run_id)
    if row is None:
        raise DiurnalError(f"the run {run_id} left no row, and no error either")
    local = context.interval.local
    row |= {"data_interval_start": local.start, "data_interval_end": local.end}
    return RunResult(row, row["model_version"], bool(row["promoted"]), row["reason"], already)
