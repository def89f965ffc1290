"""The command that accepts the contract changes that a batch was rejected for."""

from __future__ import annotations

import difflib
import shlex
from typing import TYPE_CHECKING

from diurnal.types.interval import format_instant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diurnal.data import Contract
    from diurnal.errors import BatchRejectedError
    from diurnal.experiment.run_context import RunContext
    from diurnal.types import DataInterval
    from diurnal.types.recorded_declaration import Scheduled

ACCEPTABLE = ("extra-column", "missing-column", "unseen-label", "fraction-in-int", "too-many-nulls", "all-null-column")
"""Problems that a new version of the contract can allow."""

PERHAPS = ("text-in-number", "other-type", "not-a-date", "mixed-dates")
"""Problems that it can allow if all values of the column fit a wider type."""

CLEAR = "then run the data interval again (in Airflow, clear it from fetch)"


def acceptance_hint(context: RunContext, contract: Contract | None, rejection: BatchRejectedError) -> str | None:
    """Return the hint with the exact command, or None if no version of the contract can accept the batch.

    Parameters
    ----------
    context : RunContext
        The context of the run.
    contract : Contract, optional
        The contract that the batch was validated against; None for a first batch.
    rejection : BatchRejectedError
        Why it was rejected.
    """
    codes = {problem.code for problem in rejection.problems}
    if contract is None or not codes.issubset(ACCEPTABLE + PERHAPS):
        return None
    name, date = context.experiment.name, date_argument(context.interval, context.experiment)
    if not codes.issubset(ACCEPTABLE):
        return f"to see which changes of the contract it would need: diurnal contract {name} diff --date {date}"
    renames = "".join(f" --rename {shlex.quote(f'{old}={new}')}" for old, new in _similar_columns(rejection))
    return (
        f"if the change is intended, accept it, {CLEAR}: "
        f"diurnal contract {name} accept --date {date}{renames} --why 'WHY IT CHANGED'"
    )


def extend_hint(context: RunContext, contract: Contract | None, rejection: BatchRejectedError, *hints: str) -> None:
    """Append further hints to the hint of a rejection, and the command last."""
    rejection.hint = "; ".join(filter(None, [rejection.hint, *hints, acceptance_hint(context, contract, rejection)]))


def _similar_columns(rejection: BatchRejectedError) -> Iterator[tuple[str, str]]:
    """Yield each missing column with a new column of a similar name."""
    new = [problem.column for problem in rejection.problems if problem.code == "extra-column" and problem.column]
    for problem in rejection.problems:
        near = difflib.get_close_matches(problem.column or "", new, n=1) if problem.code == "missing-column" else []
        if near and problem.column:
            new.remove(near[0])
            yield problem.column, near[0]


def date_argument(interval: DataInterval, experiment: Scheduled | None) -> str:
    """Return the value of --date for a data interval: its date, or its start if the date alone is another interval."""
    date = f"{interval.local.start:%Y-%m-%d}"
    is_exact = experiment is not None and experiment.calendar.interval_on(date) == interval
    return date if is_exact else format_instant(interval.start, interval.timezone)
