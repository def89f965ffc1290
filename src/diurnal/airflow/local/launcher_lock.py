"""The lock of a project's local Airflow: at most one launcher runs, and the locked file holds its state.

The kernel releases the lock when the launcher ends. A process id alone would be ambiguous after a crash.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import BinaryIO

from diurnal.airflow.local.home import AirflowHome
from diurnal.airflow.local.server_address import ServerAddress
from diurnal.errors import TransientError, UsageError
from diurnal.runtime.file_lock import try_lock

_STOP_TIMEOUT = 60  # seconds that the launcher may take to stop everything


@dataclass(frozen=True)
class LauncherState:
    """The state of a launcher.

    Attributes
    ----------
    pid : int
        Its process id.
    since : str
        When it was started, in ISO 8601.
    host, port
        The address of the UI.
    healthy : bool
        Whether all components were healthy once.
    components : dict of str to int
        The process id of each.
    """

    pid: int
    since: str
    host: str
    port: int
    healthy: bool = False
    components: dict[str, int] = field(default_factory=dict)

    @property
    def address(self) -> ServerAddress:
        """The address of the UI."""
        return ServerAddress(self.host, self.port)


WriteState = Callable[[LauncherState], None]


@contextmanager
def acquire_lock(home: AirflowHome) -> Iterator[WriteState]:
    """Hold the lock of a home during the block; yield a function that writes the state.

    Raises
    ------
    UsageError
        If another launcher holds it.
    """
    with _open_state_file(home) as file:
        _wait_for_lock(file, home)
        os.ftruncate(file.fileno(), 0)  # the state of an earlier launcher that was killed
        try:
            yield partial(_write_launcher_state, file)
        finally:
            os.ftruncate(file.fileno(), 0)


def _wait_for_lock(file: BinaryIO, home: AirflowHome) -> None:
    deadline = time.monotonic() + 1  # another command may hold it for a moment, to read the state
    while not try_lock(file):
        state = read_state(home)
        if state or time.monotonic() > deadline:
            location = f": {state.address.url}, since {state.since}" if state else ""
            message = f"the Airflow of {home.settings.project} runs already{location}"
            raise UsageError(message, hint="use it, or stop it with `diurnal airflow down`")
        time.sleep(0.05)


def _write_launcher_state(file: BinaryIO, state: LauncherState) -> None:
    text = json.dumps(asdict(state)).encode()
    os.pwrite(file.fileno(), text.ljust(4096), 0)  # one write, so that a concurrent reader never gets a part


def read_state(home: AirflowHome) -> LauncherState | None:
    """Return the state of the launcher of a home; None if none runs."""
    with _open_state_file(home) as file:
        if try_lock(file):
            return None
        try:
            return LauncherState(**json.loads(os.pread(file.fileno(), 4096, 0)))
        except ValueError:  # it has just started, or is about to end
            return None


def stop_launcher(home: AirflowHome) -> LauncherState | None:
    """Stop the launcher of a home, wait for its end, and return its last state; None if none ran."""
    state = read_state(home)
    if state is None:
        return None
    try:
        os.kill(state.pid, signal.SIGTERM)
    except ProcessLookupError:
        return state
    with _open_state_file(home) as file:
        deadline = time.monotonic() + _STOP_TIMEOUT
        while not try_lock(file):
            if time.monotonic() > deadline:
                message = f"the launcher of Airflow, process {state.pid}, has not ended within {_STOP_TIMEOUT} s"
                raise TransientError(message, hint=f"see {home.logs}, or stop that process with kill -9")
            time.sleep(0.1)
    _wait_for_exit(state.pid)
    return state


def _wait_for_exit(pid: int) -> None:
    """Wait until a process that has released its lock has exited, which takes it a moment; a few seconds at most."""
    deadline = time.monotonic() + 5
    with suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.05)


def _open_state_file(home: AirflowHome) -> BinaryIO:
    return os.fdopen(os.open(home.folder / "running.json", os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0)
