"""Starting the launcher as a process of its own, and ending it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from diurnal.airflow.local import launcher_lock
from diurnal.airflow.local.home import Home
from diurnal.airflow.local.launcher import Say
from diurnal.airflow.local.launcher_lock import Running
from diurnal.airflow.local.server_address import Address
from diurnal.airflow.local.status import sign_in
from diurnal.errors import ConfigurationError, DiurnalError, PermissionDeniedError, TransientError, UsageError

_ERROR = b"diurnal: error: "
_BY_STATUS = {
    error.exit_status: error for error in (UsageError, ConfigurationError, PermissionDeniedError, TransientError)
}


def start(home: Home, address: Address, say: Say) -> Running:
    """Start a launcher that outlives this process, and return when Airflow is healthy; one that runs is left alone.

    Parameters
    ----------
    home : Home
        Whose Airflow.
    address : Address
        Where the UI shall answer.
    say : callable
        Told one line for each event of the start.

    Raises
    ------
    DiurnalError
        What the launcher ended with.
    """
    found = launcher_lock.find(home)
    if found:
        say(f"the Airflow of {home.settings.project} is running already, since {found.since}")
        for line in sign_in(home, found.address):
            say(line)
        return found
    log = home.logs / "launcher.log"
    with log.open("wb") as output:
        launcher = subprocess.Popen(  # noqa: S603 - this very program, without a shell
            [sys.executable, "-m", "diurnal", "airflow", "up", "--host", address.host, "--port", str(address.port)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=home.settings.project,
            env={**home.settings.environment, "DIURNAL_PROJECT": str(home.settings.project)},
            start_new_session=True,
        )
    told = 0
    while True:
        status, found = launcher.poll(), launcher_lock.find(home)
        events, last_words = _news(log, told)
        told += len(events)
        for line in events.decode(errors="replace").splitlines():
            say(line)
        if status is not None:
            raise _error(status, last_words, log)
        if found and found.healthy:
            return found
        time.sleep(0.2)


def stop(home: Home) -> Running | None:
    """End the Airflow of a home, whoever started it, and wait until it has ended; None where none ran."""
    return launcher_lock.end(home)


def _news(log: Path, told: int) -> tuple[bytes, str]:
    """Give the whole lines of a launcher's log that were not told yet, up to its last words, and these."""
    text = log.read_bytes()[told:]
    events, mark, last_words = text.partition(_ERROR)
    return (events, last_words.decode(errors="replace")) if mark else (text[: text.rfind(b"\n") + 1], "")


def _error(status: int, last_words: str, log: Path) -> DiurnalError:
    kind = _BY_STATUS.get(status, DiurnalError)
    message, _, hint = last_words.strip().partition("\nhint: ")
    return kind(message or f"the launcher of Airflow has ended by itself ({status})", hint=hint or f"see {log}")
