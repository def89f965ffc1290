"""The command that accepts what a batch was refused for."""

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

ACCEPTABLE = ("extra-column", "missing-column", "unseen-label", "fraction-in-int", "too-many-nulls", "all-null-column")
"""Problems that a further version of a contract may allow."""

PERHAPS = ("text-in-number", "other-type", "not-a-date", "mixed-dates")
"""Problems that it may allow if all values of the column fit a wider kind."""

CLEAR = "then run the data interval again (in Airflow, clear it from fetch)"


def acceptance_hint(context: RunContext, contract: Contract | None, refusal: BatchRejectedError) -> str | None:
    """Give the advice that ends with the exact command; None where no version of the contract would take the batch in.

    Parameters
    ----------
    day : Day
        The context of the run.
    contract : Contract, optional
        What the batch was held against; None for a first batch.
    refusal : BatchRejectedError
        Why it was refused.
    """
    codes = {problem.code for problem in refusal.problems}
    if contract is None or not codes.issubset(ACCEPTABLE + PERHAPS):
        return None
    name, date = context.experiment.name, date_argument(context)
    if not codes.issubset(ACCEPTABLE):
        return f"to see what a change of the contract would take: diurnal contract {name} diff --date {date}"
    renames = "".join(f" --rename {shlex.quote(f'{old}={new}')}" for old, new in _renames(refusal))
    return (
        f"if the change is meant, accept it, {CLEAR}: "
        f"diurnal contract {name} accept --date {date}{renames} --why 'WHY IT CHANGED'"
    )


def extend_hint(context: RunContext, contract: Contract | None, refusal: BatchRejectedError, *said: str) -> None:
    """Let the advice of a refusal end with what else is to be said, and then with the command."""
    refusal.hint = "; ".join(filter(None, [refusal.hint, *said, acceptance_hint(context, contract, refusal)]))


def _renames(refusal: BatchRejectedError) -> Iterator[tuple[str, str]]:
    """Pair a missing column with a new one whose name is near."""
    new = [problem.column for problem in refusal.problems if problem.code == "extra-column" and problem.column]
    for problem in refusal.problems:
        near = difflib.get_close_matches(problem.column or "", new, n=1) if problem.code == "missing-column" else []
        if near and problem.column:
            new.remove(near[0])
            yield problem.column, near[0]


def date_argument(context: RunContext) -> str:
    """Name a data interval as --date takes it."""
    date = f"{context.interval.local.start:%Y-%m-%d}"
    is_meant = context.experiment.calendar.interval_on(date) == context.interval
    return date if is_meant else format_instant(context.interval.start, context.interval.timezone)
