"""A process of Airflow and its child processes, in a session of their own."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1


class ManagedProcess:
    """A started Airflow process; its output goes to a file, as a pipe that is not read would block it.

    The log of the previous start is renamed to ``<name>.log.1``.

    Parameters
    ----------
    name : str
        The name of the component, and of its log.
    arguments : sequence of str
        The arguments of the command ``airflow``.
    logs : Path
        The folder of its log.
    environment : Mapping of str to str
        Its environment variables.
    """

    def __init__(self, name: str, arguments: Sequence[str], logs: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.log = logs / f"{name}.log"
        if self.log.exists():
            self.log.replace(logs / f"{name}.log.1")
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - Airflow's own commands, without a shell
                [sys.executable, "-m", "airflow", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=logs.parent,
                env=dict(environment),
                start_new_session=True,  # so that a Ctrl-C reaches only the launcher, which stops all in order
                preexec_fn=_exit_with_parent,  # noqa: PLW1509 - the launcher has one thread
            )
        self.pid = self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status, as in ``subprocess``; None while it runs."""
        return self._process.poll()

    def terminate(self) -> None:
        """Send it SIGTERM."""
        if self.status is None:
            self._process.terminate()

    def has_exited(self) -> bool:
        """Return whether it has ended, and every process of its session."""
        return self.status is not None and not self._remaining_pids()

    def kill(self, signal_: signal.Signals) -> None:
        """Send a signal to every process of its session: tasks have process groups of their own."""
        for pid in self._remaining_pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal_)

    def last_lines(self, n: int = 12) -> str:
        """Return the last lines of its log."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-n:])

    def _remaining_pids(self) -> list[int]:
        import psutil  # type: ignore[import-untyped]  # without types; a dependency of Airflow

        remaining = []
        for process in psutil.process_iter():
            with suppress(ProcessLookupError, PermissionError, psutil.Error):
                if os.getsid(process.pid) == self.pid and process.status() != psutil.STATUS_ZOMBIE:
                    remaining.append(process.pid)
        return remaining


def _exit_with_parent() -> None:
    """Ask the kernel (of Linux) to end this process when the launcher is killed."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
