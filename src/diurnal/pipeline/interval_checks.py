"""Checks of a data interval before its run: it has ended, and it does not begin before the start date."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from diurnal.errors import BatchRejectedError, Problem, UsageError

if TYPE_CHECKING:
    from diurnal.experiment import Experiment
    from diurnal.experiment.run_context import RunContext
    from diurnal.types import DataInterval


def check_has_ended(context: RunContext, now: datetime, *, hint: str) -> None:
    """Reject a data interval that has not ended: its data cannot be complete.

    Raises
    ------
    BatchRejectedError
        If it ends after `now`.
    """
    interval = context.interval
    if interval.end > now:
        end = f"{interval.local.end:%Y-%m-%d %H:%M} {interval.timezone}"
        problem = Problem("future-batch", f"the data interval {interval} is not over before {end}")
        raise BatchRejectedError([problem], hint=hint).add_location(f"{context.experiment.name} {interval}")


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
