"""The launcher as a process of its own: start it, and stop it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from diurnal.airflow.local import launcher_lock
from diurnal.airflow.local.home import AirflowHome
from diurnal.airflow.local.launcher import Report
from diurnal.airflow.local.launcher_lock import LauncherState
from diurnal.airflow.local.server_address import ServerAddress
from diurnal.airflow.local.status import sign_in_lines
from diurnal.errors import ConfigurationError, DiurnalError, PermissionDeniedError, TransientError, UsageError

_ERROR_PREFIX = b"diurnal: error: "
_BY_STATUS = {
    error.exit_status: error for error in (UsageError, ConfigurationError, PermissionDeniedError, TransientError)
}


def start_daemon(home: AirflowHome, address: ServerAddress, report: Report) -> LauncherState:
    """Start a launcher that outlives this process, and return when Airflow is healthy; if one runs, return its state.

    Parameters
    ----------
    home : AirflowHome
        The folder of the Airflow.
    address : ServerAddress
        The address of the UI.
    report : callable
        Called with a line for each event of the start.

    Raises
    ------
    DiurnalError
        The error that ended the launcher.
    """
    state = launcher_lock.read_state(home)
    if state:
        report(f"the Airflow of {home.settings.project} runs already, since {state.since}")
        for line in sign_in_lines(home, state.address):
            report(line)
        return state
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
    n_read = 0
    while True:
        # The state is read before the log: once it is healthy, the log has all lines of the start.
        status, state = launcher.poll(), launcher_lock.read_state(home)
        events, error_text = _read_events(log, n_read)
        n_read += len(events)
        for line in events.decode(errors="replace").splitlines():
            report(line)
        if status is not None:
            raise _launcher_error(status, error_text, log)
        if state and state.healthy:
            return state
        time.sleep(0.2)


def stop_daemon(home: AirflowHome) -> LauncherState | None:
    """Stop the Airflow of a home, and wait until it has ended; return its state, None if it did not run."""
    return launcher_lock.stop_launcher(home)


def _read_events(log: Path, start: int) -> tuple[bytes, str]:
    """Return the complete new lines of a launcher's log, up to its error, and the text of that error."""
    text = log.read_bytes()[start:]
    events, prefix, error_text = text.partition(_ERROR_PREFIX)
    return (events, error_text.decode(errors="replace")) if prefix else (text[: text.rfind(b"\n") + 1], "")


def _launcher_error(status: int, error_text: str, log: Path) -> DiurnalError:
    error_type = _BY_STATUS.get(status, DiurnalError)
    message, _, hint = error_text.strip().partition("\nhint: ")
    return error_type(message or f"the launcher of Airflow has exited ({status})", hint=hint or f"see {log}")
