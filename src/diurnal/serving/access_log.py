"""The log of requests: lines of JSON, written by a thread of their own.

The reader of a pipe can be slow, or stop reading: requests are answered all the same.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from datetime import UTC, datetime
from threading import Event, Thread
from typing import Any

import msgspec

_MAX_WAITING = 10_000  # lines
_PAUSE = 0.05  # seconds between two writes: a thread that wakes up for each request would delay the next one
_PIPE_BYTES = 4096  # are written at once, so that the lines of several processes do not mix
_log = logging.getLogger("diurnal.serving")


class AccessLog:
    """Writes a line for each request.

    Parameters
    ----------
    descriptor : int
        Where to write, such as 1 for the standard output.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiting: deque[tuple[float, dict[str, Any]]] = deque()
        self._n_dropped = 0
        self._closed = Event()
        self._thread = Thread(target=self._write_until_closed, name="diurnal-access-log", daemon=True)
        self._thread.start()

    def add(self, seconds: float, record: dict[str, Any]) -> None:
        """Add a request that was answered at a time in seconds since 1970; if too many wait, it is only counted."""
        if len(self._waiting) < _MAX_WAITING:
            self._waiting.append((seconds, record))
        else:
            self._n_dropped += 1

    def close(self, timeout: float = 2.0) -> None:
        """Write what waits, for at most `timeout` seconds."""
        self._closed.set()
        self._thread.join(timeout)

    def _write_until_closed(self) -> None:
        while not self._closed.wait(_PAUSE):
            self._write_waiting()
        self._write_waiting()

    def _write_waiting(self) -> None:
        lines = b""
        while self._waiting:
            line = self._render(*self._waiting.popleft())
            if len(lines) + len(line) > _PIPE_BYTES:
                self._write(lines)
                lines = b""
            lines += line
        self._write(lines)

    def _render(self, seconds: float, record: dict[str, Any]) -> bytes:
        line: dict[str, Any] = {"time": datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")}
        if self._n_dropped:
            line["dropped_lines"], self._n_dropped = self._n_dropped, 0
        return msgspec.json.encode(line | record) + b"\n"

    def _write(self, lines: bytes) -> None:
        while lines:
            try:
                lines = lines[os.write(self._descriptor, lines) :]
            except OSError as error:
                if self._descriptor >= 0:
                    _log.warning("the access log ends: %s", error.strerror)
                self._descriptor = -1
                return
