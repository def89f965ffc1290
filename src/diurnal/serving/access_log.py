"""The log of requests: lines of JSON, written by a thread of their own.

The reader of a pipe can be slow, or stop reading: requests are answered all the same.
"""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime
from queue import SimpleQueue
from threading import Thread
from typing import Any

_MAX_WAITING = 10_000  # lines
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
        self._queue: SimpleQueue[tuple[float, dict[str, Any]] | None] = SimpleQueue()
        self._n_dropped = 0
        self._thread = Thread(target=self._write_all, name="diurnal-access-log", daemon=True)
        self._thread.start()

    def add(self, seconds: float, record: dict[str, Any]) -> None:
        """Add a request that was answered at a time in seconds since 1970; if too many wait, it is only counted."""
        if self._queue.qsize() < _MAX_WAITING:
            self._queue.put((seconds, record))
        else:
            self._n_dropped += 1

    def close(self, timeout: float = 2.0) -> None:
        """Write what waits, for at most `timeout` seconds."""
        self._queue.put(None)
        self._thread.join(timeout)

    def _write_all(self) -> None:
        waiting = b""
        while (entry := self._queue.get()) is not None:
            line = self._render(*entry)
            if len(waiting) + len(line) > _PIPE_BYTES:
                self._write(waiting)
                waiting = b""
            waiting += line
            if self._queue.empty():
                self._write(waiting)
                waiting = b""
        self._write(waiting)

    def _render(self, seconds: float, record: dict[str, Any]) -> bytes:
        line: dict[str, Any] = {"time": datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")}
        if self._n_dropped:
            line["dropped_lines"], self._n_dropped = self._n_dropped, 0
        return json.dumps(line | record).encode() + b"\n"

    def _write(self, lines: bytes) -> None:
        while lines:
            try:
                lines = lines[os.write(self._descriptor, lines) :]
            except OSError as error:
                if self._descriptor >= 0:
                    _log.warning("the access log ends: %s", error.strerror)
                self._descriptor = -1
                return
