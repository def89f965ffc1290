"""The HTTP protocol of uvicorn with limits for the headers of a request, and a mark when the client has gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from diurnal.serving.prediction_queue import DISCONNECTED

if TYPE_CHECKING:
    import asyncio

HEADER_SECONDS = 10.0
MAX_HEADER_BYTES = 2**16  # beyond the first part that is read


class TimedHttpProtocol(HttpToolsProtocol):
    """Closes a connection on which the headers of a request do not arrive in time, or are too large."""

    _timer: asyncio.TimerHandle | None = None
    _reads_headers = True
    _n_bytes = 0  # that were read after the part with the beginning of the request

    def connection_made(self, transport: Any) -> None:
        """Start the time limit of the first request."""
        super().connection_made(transport)
        self._start_timer()

    def data_received(self, data: bytes) -> None:
        """Parse a part of a request."""
        self._n_bytes += len(data)
        super().data_received(data)
        if not self._reads_headers:
            return
        if self._timer is None:
            self._start_timer()
        if self._n_bytes > MAX_HEADER_BYTES and not self.transport.is_closing():
            self.transport.write(STATUS_LINE[431] + b"content-length: 0\r\nconnection: close\r\n\r\n")
            self.transport.close()

    def on_message_begin(self) -> None:
        """Read the headers of a further request, which have a time limit unless they have come with its beginning."""
        self._n_bytes, self._reads_headers = 0, True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """End the time limit."""
        self.end_headers()
        super().on_headers_complete()

    def end_headers(self) -> None:
        """End the time limit of the headers."""
        self._reads_headers = False
        self._stop_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the time limit, and mark the requests whose client has gone."""
        self._stop_timer()
        for cycle in (self.cycle, *(waiting for waiting, _ in self.pipeline)):
            if cycle is not None:
                cycle.scope["state"][DISCONNECTED] = True
        super().connection_lost(exc)

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(HEADER_SECONDS, self._close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._start_timer()  # an earlier request is answered first; nothing is read meanwhile
            return
        self._timer = None
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()
