"""Worker processes that share a socket, forked from one that has loaded the models; one that ends is replaced."""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import NoReturn

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_KILL_SECONDS = 2  # after the time to drain
_log = logging.getLogger("diurnal.serving")


class WorkerProcesses:
    """Starts workers, replaces those that end, and ends all at SIGTERM or SIGINT; at a second signal, at once.

    The calling process has no other thread, since only the calling thread goes on in a worker.

    Parameters
    ----------
    listener : socket
        The socket that the workers share.
    work : callable
        What a worker does until SIGTERM; it takes whether the worker replaces another one.
    n_workers : int
        Number of workers.
    drain : int
        Seconds in which they end after SIGTERM.
    """

    def __init__(self, listener: socket.socket, work: Callable[[bool], None], n_workers: int, drain: int) -> None:
        self._listener, self._work, self._n_workers, self._drain = listener, work, n_workers, drain
        self._pids: set[int] = set()
        self._started: list[float] = []
        self._n_started = self._n_signals = 0
        self._lifeline = os.pipe()  # its end is closed when this process ends, whatever ends it
        self._wakeup = os.pipe()

    def run(self) -> None:
        """Return when all workers have ended after a signal."""
        os.set_blocking(self._wakeup[1], False)
        signal.set_wakeup_fd(self._wakeup[1], warn_on_full_buffer=False)
        for number in _STOP_SIGNALS:
            signal.signal(number, self._count_signal)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # it only wakes up
        while not self._n_signals:
            self._start_missing()
            self._wait()
            self._collect_ended()
        self._end_all()

    def _count_signal(self, *_: object) -> None:
        self._n_signals += 1

    def _start_missing(self) -> None:
        while len(self._pids) < self._n_workers and not self._n_signals:
            now = time.monotonic()
            self._started = [one for one in self._started if one > now - 10]
            if len(self._started) >= 5 * self._n_workers:
                return  # they end at once, again and again: wait until some of the last starts are long ago
            self._fork(is_replacement=self._n_started >= self._n_workers)
            self._started.append(now)
            self._n_started += 1

    def _wait(self, seconds: float = 1.0) -> None:
        """Wait for a signal."""
        if select.select([self._wakeup[0]], [], [], seconds)[0]:
            os.read(self._wakeup[0], 4096)

    def _collect_ended(self) -> None:
        for pid in list(self._pids):
            with suppress(ChildProcessError):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if not ended:
                    continue
                if not self._n_signals:
                    code = os.waitstatus_to_exitcode(status)
                    _log.warning("worker %d ended with status %d; a new one starts", pid, code)
            self._pids.discard(pid)

    def _fork(self, *, is_replacement: bool) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)  # until it is known which process gets one
        try:
            pid = os.fork()
            if not pid:
                self._run_worker(is_replacement=is_replacement)
            self._pids.add(pid)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)

    def _run_worker(self, *, is_replacement: bool) -> NoReturn:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes: the first one ends the workers
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
            for descriptor in (*self._wakeup, self._lifeline[1]):
                os.close(descriptor)
            Thread(target=self._end_with_parent, name="diurnal-lifeline", daemon=True).start()
            self._work(is_replacement)
            status = 0
        except BaseException:  # noqa: BLE001 - a worker must end here, and not go on as its parent
            _log.exception("a worker failed")
        finally:
            with suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _end_with_parent(self) -> None:
        """Drain when the parent was killed: no process would replace or end this worker, which holds the port."""
        os.read(self._lifeline[0], 1)
        os.kill(os.getpid(), signal.SIGTERM)

    def _end_all(self) -> None:
        self._listener.close()  # the workers close theirs; then no connection is accepted any more
        self._send(signal.SIGTERM)
        deadline = time.monotonic() + self._drain + _KILL_SECONDS
        while self._pids and time.monotonic() < deadline and self._n_signals < 2:
            self._wait(0.1)
            self._collect_ended()
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        for pid in self._pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
