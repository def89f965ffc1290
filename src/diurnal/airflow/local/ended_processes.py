"""Components that ended unexpectedly: which, when and why. Stored beside the logs, until the next start."""

from __future__ import annotations

import json
import signal
from dataclasses import asdict, dataclass

from diurnal.airflow.local.home import AirflowHome, write_private
from diurnal.airflow.local.process import ManagedProcess

_FILE = "ended.json"
_MAX_STORED = 20


@dataclass(frozen=True)
class EndedProcess:
    """The unexpected end of a component.

    Attributes
    ----------
    component : str
        Its name.
    ended_at : str
        When the launcher noticed it, in ISO 8601.
    reason : str
        The signal, or the exit status and the last line of the log.
    action : str
        What the launcher did: restart the component, or stop the others.
    log : str
        The file with its last lines.
    """

    component: str
    ended_at: str
    reason: str
    action: str
    log: str


def end_reason(component: ManagedProcess) -> str:
    """Return the reason for the end of a component."""
    status = component.status or 0
    if status < 0:
        name = signal.Signals(-status).name
        return f"{name} (sent from outside, as by the kernel when memory is short)" if name == "SIGKILL" else name
    return f"exit status {status}: {component.last_lines(1)[:300]}"


def write_ended(home: AirflowHome, processes: list[EndedProcess]) -> None:
    """Store the components that have ended since the start."""
    write_private(home.folder / _FILE, json.dumps([asdict(process) for process in processes[-_MAX_STORED:]]) + "\n")


def read_ended(home: AirflowHome) -> list[dict[str, str]]:
    """Return the components that have ended since the last start, oldest first."""
    try:
        return list(json.loads((home.folder / _FILE).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return []
