"""One process of Airflow and everything that it starts, in a session of its own."""

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


class Component:
    """An Airflow process, started; its output goes to a file, as a pipe that nobody reads would hang it.

    The log of the start before is kept beside, as ``<name>.log.1``.

    Parameters
    ----------
    name : str
        How it is called, and its log.
    words : sequence of str
        What follows ``airflow`` on its command line.
    logs : Path
        The folder of its log.
    environment : Mapping of str to str
        The whole of it.
    """

    def __init__(self, name: str, words: Sequence[str], logs: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.log = logs / f"{name}.log"
        if self.log.exists():
            self.log.replace(logs / f"{name}.log.1")
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - Airflow's own commands, without a shell
                [sys.executable, "-m", "airflow", *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=logs.parent,
                env=dict(environment),
                start_new_session=True,  # so that a Ctrl-C reaches the launcher alone, which ends all in order
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - the launcher has one thread
            )
        self.pid = self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status, as ``subprocess`` gives it; None while it runs."""
        return self._process.poll()

    def ask_to_end(self) -> None:
        """Send it SIGTERM."""
        if self.status is None:
            self._process.terminate()

    def is_gone(self) -> bool:
        """Whether it has ended, and every process of its session with it."""
        return self.status is not None and not self._left()

    def kill(self, signal_: signal.Signals) -> None:
        """Send a signal to every process of its session: tasks have process groups of their own."""
        for pid in self._left():
            with suppress(ProcessLookupError):
                os.kill(pid, signal_)

    def last_lines(self, n: int = 12) -> str:
        """Give the end of its log."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-n:])

    def _left(self) -> list[int]:
        import psutil  # type: ignore[import-untyped]  # it has no types; it comes with Airflow

        left = []
        for process in psutil.process_iter():
            with suppress(ProcessLookupError, PermissionError, psutil.Error):
                if os.getsid(process.pid) == self.pid and process.status() != psutil.STATUS_ZOMBIE:
                    left.append(process.pid)
        return left


def _end_with_parent() -> None:
    """Ask the kernel, where it is Linux, to end this process when the launcher is killed."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
