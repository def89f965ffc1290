"""Checks of a data interval before its run: its rows and labels are complete, and it is not before the start date."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from diurnal.errors import BatchRejectedError, Problem, UsageError

if TYPE_CHECKING:
    from diurnal.experiment import Experiment
    from diurnal.experiment.run_context import RunContext
    from diurnal.types import DataInterval


def check_has_ended(context: RunContext, now: datetime, *, hint: str) -> None:
    """Reject a data interval that has not ended, or whose labels are not complete yet.

    Raises
    ------
    BatchRejectedError
        If it ends after `now`, or the `label_delay` of the experiment after its end does.
    """
    experiment, interval = context.experiment, context.interval
    ready = experiment.complete_at(interval)
    if ready > now:
        instant = f"{ready.astimezone(interval.local.end.tzinfo):%Y-%m-%d %H:%M} {interval.timezone}"
        message = f"the data interval {interval} is not over before {instant}"
        if experiment.label_delay:
            message = f"the labels of the data interval {interval} are not complete before {instant}"
            message += f": label_delay is {experiment.label_delay}"
        raise BatchRejectedError([Problem("future-batch", message)], hint=hint).add_location(
            f"{context.experiment.name} {interval}"
        )


def check_start_date(experiment: Experiment, interval: DataInterval) -> None:
    """Reject a data interval that begins before the start date: Airflow creates no task for it.

    Raises
    ------
    UsageError
        If it does.
    """
    start = experiment.start_date
    if start is not None and interval.start < start:
        raise UsageError(
            f"the data interval {interval} begins before the start date of {experiment.name}, {start:%Y-%m-%dT%H:%MZ}",
            hint=f"use a later interval, or declare an earlier start_date in {experiment.location}",
        )
