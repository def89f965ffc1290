"""Components that ended by themselves: which, when and why. Kept beside the logs, until the next start."""

from __future__ import annotations

import json
import signal
from dataclasses import asdict, dataclass

from diurnal.airflow.local.home import Home, write_private
from diurnal.airflow.local.process import Component

_FILE = "ended.json"
_KEPT = 20


@dataclass(frozen=True)
class Ended:
    """The end of a component that nobody asked for.

    Attributes
    ----------
    component : str
        Its name.
    at : str
        When the launcher saw it, in ISO 8601.
    why : str
        The signal, or the exit status and the last line of the log.
    then : str
        What the launcher did.
    log : str
        The file that holds its last lines.
    """

    component: str
    at: str
    why: str
    then: str
    log: str


def why(component: Component) -> str:
    """Say why a component ended."""
    status = component.status or 0
    if status < 0:
        name = signal.Signals(-status).name
        return f"{name} (from outside; the kernel sends it when memory is short)" if name == "SIGKILL" else name
    return f"exit status {status}: {component.last_lines(1)[:300]}"


def keep(home: Home, components: list[Ended]) -> None:
    """Keep what has ended since the start."""
    write_private(home.folder / _FILE, json.dumps([asdict(one) for one in components[-_KEPT:]]) + "\n")


def read(home: Home) -> list[dict[str, str]]:
    """Give what has ended since the last start, oldest first."""
    try:
        return list(json.loads((home.folder / _FILE).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return []
