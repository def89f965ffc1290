"""The sentence that a day is, and its local telling.

:func:`flow` says the order once. What a call to ``step`` means is decided by whoever tells it: :func:`run` calls the
function of that name in :mod:`diurnal.pipeline.steps`, Airflow makes a task of it, :func:`edges` writes down who
waits for whom.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from diurnal.errors import (
    BatchRejectedError,
    ConfigurationError,
    DiurnalError,
    NotEnoughDataError,
    PermissionDeniedError,
    Problem,
    TransientError,
    UsageError,
)

if TYPE_CHECKING:
    from diurnal.experiment import Experiment
    from diurnal.pipeline.context import Day
    from diurnal.types import DataInterval

Step = Callable[..., Any]
Watch = Callable[[str, float], None]

MENDING = ("save_batch", "split")
"""Steps that a finished run carries out again: after corrections, the batch may be the one of before."""

_WRONG_PLACE = (errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP)
_STORES = ("aiobotocore", "botocore", "aiohttp", "gcsfs", "adlfs", "azure", "google")
_LOCKED_OUT = ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError", "ClientAuthenticationError")


def flow(step: Step) -> Any:
    """Say what a day is, in steps."""
    batch = step("fetch")
    step("save_batch", batch)
    samples = step("split", batch)
    search = step("tune", samples)
    evaluation = step("evaluate", samples, search)
    recorded = step("record", search, evaluation)
    model = step("refit", samples, search)
    version = step("publish", recorded, model)
    return step("promote", version, evaluation)


def edges() -> list[tuple[str, str]]:
    """Write down which step waits for which.

    Examples
    --------
    >>> edges()[:3]
    [('fetch', 'save_batch'), ('fetch', 'split'), ('split', 'tune')]
    """
    found: list[tuple[str, str]] = []

    def step(name: str, *given: str) -> str:
        found.extend((earlier, name) for earlier in given)
        return name

    flow(step)
    return found


def names() -> list[str]:
    """Give the names of the steps, in order."""
    found: list[str] = []
    flow(lambda name, *_: found.append(name))
    return found


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes
    ----------
    run : dict
        Its row of `experiments`.
    version : int or None
        The model version that it published.
    promoted : bool
        Whether that became the champion.
    reason : str
        Why, or why not.
    already : bool
        Whether all of this was there before, so that nothing was to be done.
    """

    run: dict[str, Any]
    version: int | None
    promoted: bool
    reason: str
    already: bool


class _AlreadyDoneError(Exception):
    """Leaves the sentence early: this very run is finished, and its batch and samples are in place."""


def run(day: Day, *, watch: Watch | None = None, now: datetime | None = None) -> Outcome:
    """Carry out one run on this machine.

    Parameters
    ----------
    day : Day
        What to do, with which data, and where to keep it.
    watch : callable, optional
        Told the name of each step when it begins, with -1, and when it ends, with the seconds that it took.
    now : datetime, optional
        If given, a data interval that ends after it is refused: its data cannot be complete.

    Returns
    -------
    Outcome

    Raises
    ------
    BatchRejectedError
        If the batch breaks its contract, or lies in the future.
    UsageError
        If the data interval begins before the experiment's start date.
    SupersededError
        If another attempt has taken the run over.
    TransientError
        If the world failed; the same call converges.
    """
    from diurnal.pipeline import steps
    from diurnal.types import Batch, TrainTestSplit

    refuse_early(day.experiment, day.interval)
    if now is not None:
        refuse_future(day, now, hint="wait for it, or say --allow-future")

    def step(name: str, *given: Any) -> Any:
        with error_context(day, name):
            (watch or _nobody)(name, -1.0)
            started = time.perf_counter()
            result = getattr(steps, name)(day, *given)
            (watch or _nobody)(name, time.perf_counter() - started)
        if isinstance(result, Batch):
            run_ids.append(result.run.run_id)
        if isinstance(result, TrainTestSplit) and result.finished:
            raise _AlreadyDoneError
        return result

    run_ids: list[str] = []
    try:
        flow(step)
    except _AlreadyDoneError:
        return _outcome(day, run_ids[0], already=True)
    return _outcome(day, run_ids[0], already=False)


def refuse_future(day: Day, now: datetime, *, hint: str) -> None:
    """Refuse a data interval that is not over: its data cannot be complete.

    Raises
    ------
    BatchRejectedError
        If it ends after `now`.
    """
    if day.interval.end > now:
        end = f"{day.interval.local.end:%Y-%m-%d %H:%M} {day.interval.timezone}"
        what = f"the data interval {day.interval} is not over before {end}"
        problem = BatchRejectedError([Problem("future-batch", what)], hint=hint)
        raise problem.add_location(f"{day.experiment.name} {day.interval}")


def refuse_early(experiment: Experiment, interval: DataInterval) -> None:
    """Refuse a data interval that begins before the start date: Airflow creates no task for it.

    Raises
    ------
    UsageError
        If it does.
    """
    start = experiment.start_date
    if start is not None and interval.start < start:
        raise UsageError(
            f"the data interval {interval} begins before the start date of {experiment.name}, {start:%Y-%m-%dT%H:%MZ}",
            hint=f"name a later one, or declare an earlier start_date in {experiment.place}",
        )


def _outcome(day: Day, run_id: str, *, already: bool) -> Outcome:
    row = day.stores.warehouse.run(run_id)
    if row is None:
        raise DiurnalError(f"the run {run_id} left no row, and no error either")
    row |= {"data_interval_start": day.interval.local.start, "data_interval_end": day.interval.local.end}
    return Outcome(row, row["model_version"], bool(row["promoted"]), row["reason"], already)


def _nobody(_name: str, _seconds: float) -> None:
    """Watch nothing."""


@contextmanager
def error_context(day: Day, step: str) -> Iterator[None]:
    """Say in every error where it happened, and turn what the operating system says into our words."""
    place = f"{day.experiment.name} {day.interval} {step}"
    try:
        yield
    except DiurnalError as error:
        if isinstance(error, NotEnoughDataError):
            day.stores.warehouse.mark_insufficient(day.experiment.name, day.interval, error.message)
        error.add_location(place)
        raise
    except MemoryError as error:
        raise TransientError(
            "the memory of this machine is used up",
            hint="give it more, or fetch smaller batches, a shorter window or a smaller search",
        ).add_location(place) from error
    except Exception as error:
        if is_of_the_world(error):
            raise in_our_words(error).add_location(place) from error
        raise


def is_of_the_world(error: BaseException) -> bool:
    """Tell whether it is what the operating system or an object store says; the latter's are of their library's own."""
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in _STORES


def in_our_words(error: BaseException) -> DiurnalError:
    """Give the error of ours that says what the operating system, or an object store, said."""
    number = getattr(error, "errno", None)
    file = getattr(error, "filename", None)
    said = f"{getattr(error, 'strerror', None) or error}" + (f": {file}" if file else "")
    if isinstance(error, PermissionError) or type(error).__name__ in _LOCKED_OUT:
        return PermissionDeniedError(
            said, hint="give this user the right to write there, or set another place in diurnal.toml"
        )
    if isinstance(error, FileNotFoundError) or number in _WRONG_PLACE:
        return ConfigurationError(said, hint="set a place that can be written in diurnal.toml or by DIURNAL_LAKE")
    if number in (errno.ENOSPC, errno.EDQUOT):
        return TransientError(said, hint="free some room, then run it again: nothing half-written was kept")
    return TransientError(said, hint="run it again; nothing half-written was kept")
