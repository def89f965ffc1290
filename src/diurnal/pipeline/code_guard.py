"""Each step of a run uses the code that the run began with.

The steps of a run are executed by several processes, hours apart in Airflow, and files may be edited in between. The
row of the run names one version of the code.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from diurnal.errors import CodeChangedError, CorruptPackageError, NotFoundError
from diurnal.experiment import Code
from diurnal.experiment.run_context import RunContext
from diurnal.pipeline.error_context import superseded_context
from diurnal.types import Run

P = ParamSpec("P")
R = TypeVar("R")


def require_code_of_run(step: Callable[Concatenate[RunContext, P], R]) -> Callable[Concatenate[RunContext, P], R]:
    """Decorate a step: check that the code is that of the run, which is in its inputs.

    An attempt that was overtaken ends as superseded, whatever its error.
    """

    @wraps(step)
    def guarded(context: RunContext, /, *inputs: P.args, **named: P.kwargs) -> R:
        runs = (value if isinstance(value, Run) else getattr(value, "run", None) for value in inputs)
        run = next(run for run in runs if run is not None)
        check_code_of_run(context, run)
        with superseded_context(lambda: context.stores.warehouse.check_attempt(run)):
            return step(context, *inputs, **named)

    return guarded


def check_code_of_run(context: RunContext, run: Run) -> None:
    """Raise an error if a run began with other code: its row would name code that its numbers are not from.

    Raises
    ------
    CodeChangedError
        If the experiment's code, or what it declares, is not what it was when the batch was fetched.
    """
    now = context.experiment.read_code()
    if now.digest == run.code_digest:
        return
    changes = "".join(f"\n- {change}" for change in _changes_since(context, run, now))
    raise CodeChangedError(
        f"the code of {context.experiment.name} was changed since this run fetched its batch "
        f"(its digest was {run.code_digest[:12]} and is {now.digest[:12]}){changes and ':'}{changes}",
        hint="run the data interval again from its beginning; in Airflow, clear its run from the task `fetch` on",
    )


def _changes_since(context: RunContext, run: Run, now: Code) -> list[str]:
    """Return the differences from the code of the run; none where its text was not stored, or is missing."""
    if not run.code:
        return []
    try:
        return now.changes(Code.loads(context.stores.lake.read_bytes(run.code)))
    except (NotFoundError, CorruptPackageError):
        return []
