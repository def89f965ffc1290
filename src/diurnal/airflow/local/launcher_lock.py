"""Who runs the local Airflow of a project: one launcher at most, known by a lock that the kernel keeps.

A process id alone says nothing after a crash: the lock does. The file that is locked holds what the launcher says
about itself.
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

from diurnal.airflow.local.home import Home
from diurnal.airflow.local.server_address import Address
from diurnal.errors import TransientError, UsageError
from diurnal.runtime.file_lock import try_lock

_PATIENCE = 60  # seconds that the launcher may take to end everything


@dataclass(frozen=True)
class Running:
    """What a launcher says about itself.

    Attributes
    ----------
    pid : int
        Its process.
    since : str
        When it was started, in ISO 8601.
    host, port
        Where the UI listens.
    healthy : bool
        Whether everything has answered once.
    components : dict of str to int
        The process of each.
    """

    pid: int
    since: str
    host: str
    port: int
    healthy: bool = False
    components: dict[str, int] = field(default_factory=dict)

    @property
    def address(self) -> Address:
        """Where the UI answers."""
        return Address(self.host, self.port)


Tell = Callable[[Running], None]


@contextmanager
def claim(home: Home) -> Iterator[Tell]:
    """Claim a home, for as long as this process lives and the block lasts; what it gives lets others know.

    Raises
    ------
    UsageError
        If another launcher has it.
    """
    with _open(home) as file:
        _take(file, home)
        os.ftruncate(file.fileno(), 0)  # what an earlier launcher, which was killed, said
        try:
            yield partial(_write, file)
        finally:
            os.ftruncate(file.fileno(), 0)


def _take(file: BinaryIO, home: Home) -> None:
    deadline = time.monotonic() + 1  # somebody may only be looking
    while not try_lock(file):
        found = find(home)
        if found or time.monotonic() > deadline:
            where = f": {found.address.url}, since {found.since}" if found else ""
            message = f"the Airflow of {home.settings.project} is running already{where}"
            raise UsageError(message, hint="use it, or end it with `diurnal airflow down`")
        time.sleep(0.05)


def _write(file: BinaryIO, running: Running) -> None:
    text = json.dumps(asdict(running)).encode()
    os.pwrite(file.fileno(), text.ljust(4096), 0)  # in one write: who reads at the same time sees no half


def find(home: Home) -> Running | None:
    """Give what the launcher of a home says; None where none runs."""
    with _open(home) as file:
        if try_lock(file):
            return None
        try:
            return Running(**json.loads(os.pread(file.fileno(), 4096, 0)))
        except ValueError:  # it has only just begun, or is about to go
            return None


def end(home: Home) -> Running | None:
    """Ask the launcher of a home to end everything, wait until it has, and give what it was; None where none ran."""
    found = find(home)
    if found is None:
        return None
    try:
        os.kill(found.pid, signal.SIGTERM)
    except ProcessLookupError:
        return found
    with _open(home) as file:
        deadline = time.monotonic() + _PATIENCE
        while not try_lock(file):
            if time.monotonic() > deadline:
                message = f"the launcher of Airflow, process {found.pid}, has not ended within {_PATIENCE} s"
                raise TransientError(message, hint=f"see {home.logs}, or end that process with kill -9")
            time.sleep(0.1)
    _wait_for_exit(found.pid)
    return found


def _wait_for_exit(pid: int) -> None:
    """Wait until a process that has let its lock go is gone as well, which takes it a moment; a few seconds at most."""
    deadline = time.monotonic() + 5
    with suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.05)


def _open(home: Home) -> BinaryIO:
    return os.fdopen(os.open(home.folder / "running.json", os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0)
