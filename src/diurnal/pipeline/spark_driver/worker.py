"""The Spark driver's side: executes the step of a request, and writes its result."""

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
from diurnal.pipeline.error_context import error_context
from diurnal.pipeline.serialization import inputs_from_json
from diurnal.pipeline.spark_driver.messages import RequestFolder, StepRequest, host_id
from diurnal.runtime import Settings, spark
from diurnal.storage.stores import open_stores

if TYPE_CHECKING:
    from diurnal.experiment import Experiment
    from diurnal.experiment.run_context import RunContext

_PROGRESS_SECONDS = 10  # between two lines of progress
_POLL_SECONDS = 1  # between two checks of the waiting process


def main() -> None:
    """Execute the request whose URL is the only argument."""
    sys.exit(execute_request(sys.argv[1]))


def execute_request(url: str) -> int:
    """Execute the step of a request, and write its result into the folder of the request.

    Parameters
    ----------
    url : str
        The URL of the request's folder.

    Returns
    -------
    int
        The exit status: 0, or that of the error that ended the step.
    """
    from diurnal.pipeline import steps

    folder = RequestFolder(url)
    request = folder.read_request()
    _exit_with_sender(request)
    function = getattr(steps, request.step)
    try:
        with _run_context(request) as context, error_context(context, request.step):
            folder.write_result(function(context, *inputs_from_json(function, request.inputs, context.stores.models)))
    except DiurnalError as error:
        folder.write_error(error)
        _write_log_line(str(error))
        return error.exit_status
    return 0


@contextmanager
def _run_context(request: StepRequest) -> Iterator[RunContext]:
    from diurnal.experiment.run_context import RunContext

    settings = Settings.load(relative_to=Path(request.file).parent)
    if settings.warehouse == "embedded":
        raise ConfigurationError(
            f"the driver on {socket.gethostname()} has no warehouse: DIURNAL_WAREHOUSE is not set where it runs",
            hint="set it in the driver's environment by an option of spark-submit: see docs/spark.md",
        )
    experiment = _find_experiment(request, settings)
    stores = open_stores(settings)
    spark.configure_session(spark.SUBMITTED)
    try:
        _check_same_root("lake", request.lake, stores.lake.root)
        _check_same_root("models", request.models, stores.models.root)
        yield RunContext(
            experiment, request.interval, stores, request.requested_by, force=request.force, progress=_progress_logger()
        )
    finally:
        spark.stop_session()
        stores.warehouse.close()


def _check_same_root(store: str, expected: str, root: str) -> None:
    if root != expected:
        raise ConfigurationError(
            f"the driver on {socket.gethostname()} has its {store} at {root}, and the task at {expected}",
            hint=f"set DIURNAL_{store.upper()} in the driver's environment to {expected}",
        )


def _find_experiment(request: StepRequest, settings: Settings) -> Experiment:
    """Find the experiment in the file of the request, or in the project of this machine."""
    from diurnal.experiment import find

    if Path(request.file).is_file():
        return find(f"{request.file}:{request.experiment}", settings.experiments)
    try:
        return find(request.experiment, settings.experiments)
    except NotFoundError as error:
        raise ConfigurationError(
            f"the driver on {socket.gethostname()} has neither {request.file} nor that experiment in "
            f"{settings.experiments}",
            hint="copy the project to the machine of the driver, and set DIURNAL_PROJECT to its folder there",
        ) from error


def _progress_logger() -> Callable[[int, int], None]:
    logged_at = time.monotonic()

    def log_progress(done: int, total: int) -> None:
        nonlocal logged_at
        if time.monotonic() - logged_at >= _PROGRESS_SECONDS:
            logged_at = time.monotonic()
            _write_log_line(f"{done} of {total} fits are done")

    return log_progress


def _write_log_line(line: str) -> None:
    """Write a line, which appears in the log of the task."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _exit_with_sender(request: StepRequest) -> None:
    """Exit when the process that waits for the result is gone, if it is on this machine.

    Otherwise a killed task would leave a driver behind, which occupies the cores that the next attempt needs.
    """
    if request.host == host_id():
        threading.Thread(target=_exit_after, args=(request.process,), daemon=True).start()


def _exit_after(process: int) -> None:
    while _is_alive(process):
        time.sleep(_POLL_SECONDS)
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
    except FileNotFoundError:  # it has just ended, or the system has no /proc and the next check decides
        return True
    return state != "Z"  # a zombie still accepts signals
