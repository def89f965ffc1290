"""Carrying out the step that a letter asks for, in the process that Spark calls the driver."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from diurnal.errors import ConfigurationError, DiurnalError, NotFoundError, TransientError
from diurnal.pipeline.flow import error_context
from diurnal.pipeline.serialization import unpacked
from diurnal.pipeline.spark_driver.messages import Box, Letter, machine
from diurnal.runtime import Settings, spark
from diurnal.storage.stores import open_stores

if TYPE_CHECKING:
    from diurnal.experiment import Experiment
    from diurnal.pipeline.context import Day

_SECONDS_BETWEEN_WORDS = 10
_SECONDS_BETWEEN_LOOKS = 1


def main() -> None:
    """Carry out the step whose letter lies at the address that is the only argument."""
    sys.exit(carry_out(sys.argv[1]))


def carry_out(address: str) -> int:
    """Carry out the step that a letter asks for, and leave the answer beside it.

    Parameters
    ----------
    address : str
        The URL of the letter's folder.

    Returns
    -------
    int
        The exit status: 0, or that of the error that is the answer.
    """
    from diurnal.pipeline import steps

    box = Box(address)
    letter = box.letter()
    _end_with(letter)
    function = getattr(steps, letter.step)
    try:
        with _day_of(letter) as day, error_context(day, letter.step):
            box.answer(function(day, *unpacked(function, letter.given, day.stores.models)))
    except DiurnalError as error:
        box.refuse(error)
        _say(str(error))
        return error.exit_status
    return 0


@contextmanager
def _day_of(letter: Letter) -> Iterator[Day]:
    from diurnal.pipeline.context import Day

    settings = Settings.load(beside=Path(letter.file).parent)
    if settings.warehouse == "embedded":
        raise ConfigurationError(
            f"the driver on {socket.gethostname()} knows no warehouse: DIURNAL_WAREHOUSE is not set where it runs",
            hint="set it in the driver's environment, by Spark's own words for the cluster: see docs/spark.md",
        )
    experiment = _experiment(letter, settings)
    stores = open_stores(settings)
    spark.use(spark.SUBMITTED)
    try:
        _refuse_elsewhere("lake", letter.lake, stores.lake.root)
        _refuse_elsewhere("models", letter.models, stores.models.root)
        yield Day(experiment, letter.interval, stores, by=letter.by, force=letter.force, progress=_progress())
    finally:
        spark.stop()
        stores.warehouse.close()


def _refuse_elsewhere(what: str, theirs: str, ours: str) -> None:
    if ours != theirs:
        raise ConfigurationError(
            f"the driver on {socket.gethostname()} has its {what} at {ours}, and the task at {theirs}",
            hint=f"set DIURNAL_{what.upper()} in the driver's environment to what the task has",
        )


def _experiment(letter: Letter, settings: Settings) -> Experiment:
    """Find the experiment where the task has it, or in the project that this machine has."""
    from diurnal.experiment import find

    if Path(letter.file).is_file():
        return find(f"{letter.file}:{letter.experiment}", settings.experiments)
    try:
        return find(letter.experiment, settings.experiments)
    except NotFoundError as error:
        raise ConfigurationError(
            f"the driver on {socket.gethostname()} has neither {letter.file} nor that experiment in "
            f"{settings.experiments}",
            hint="bring the project to where the driver runs, and set DIURNAL_PROJECT to its folder there",
        ) from error


def _progress() -> Callable[[int, int], None]:
    told = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told >= _SECONDS_BETWEEN_WORDS:
            told = time.monotonic()
            _say(f"{done} of {total} fits are done")

    return tell


def _say(line: str) -> None:
    """Write a line, which becomes one of the task's log."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _end_with(letter: Letter) -> None:
    """End this process when the one that waits for the answer is gone, if it was on this machine.

    Otherwise a killed task would leave a driver behind that holds on to the cores which the next try needs.
    """
    if letter.host == machine():
        threading.Thread(target=_watch, args=(letter.process,), daemon=True).start()


def _watch(process: int) -> None:
    while _is_alive(process):
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    os._exit(TransientError.exit_status)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:  # it has just ended; or this is a system without such files, and the next look tells
        return True
    return state != "Z"  # one that nobody has buried yet answers to signals
