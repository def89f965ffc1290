"""The HTTP protocol that answers small requests for predictions without a task.

A task, its events and its messages take uvicorn longer than the prediction of a row. A request whose body has arrived
together with its headers needs none of them. Any other one goes through ASGI.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from diurnal.serving.http_protocol import TimedHttpProtocol
from diurnal.serving.protocol_exchanges import NO_SNIFF

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from diurnal.serving.protocol_exchanges import Answer
    from diurnal.serving.serving_app import ServingApp, Target

# Headers of requests that go through ASGI.
_OTHER = frozenset({b"expect", b"content-encoding", b"transfer-encoding", b"upgrade", b"x-forwarded-for"})
_CLOSE = (b"connection", b"close")


class _WholeRequest:
    """A request that is answered without a task, with the attributes that uvicorn's protocol reads of each request."""

    message_event = asyncio.Event()  # that no task waits for
    __slots__ = ("disconnected", "keep_alive", "response_complete", "scope")

    def __init__(self, *, keep_alive: bool) -> None:
        self.keep_alive = keep_alive
        self.scope: dict[str, dict[str, Any]] = {"state": {}}
        self.disconnected = self.response_complete = False


class WholeRequestProtocol(TimedHttpProtocol):
    """Answers requests for predictions that have arrived as a whole."""

    _target: Target | None = None  # of a request whose body is arriving with its headers
    _body: bytes

    def data_received(self, data: bytes) -> None:
        """Parse a part of a request."""
        super().data_received(data)
        if self._target is not None and not self.transport.is_closing():  # the rest of the body comes later
            self._target = None
            super().on_headers_complete()
            if self._body:
                super().on_body(self._body)

    def on_headers_complete(self) -> None:
        """Start to answer the request, or wait for its body."""
        self._target, self._body = self._find_target(), b""
        if self._target is None:
            super().on_headers_complete()
        else:
            self.end_headers()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if self._target is None:
            super().on_body(body)
        else:
            self._body += body

    def on_message_complete(self) -> None:
        """Answer the request if its headers and its body have come together."""
        target, self._target = self._target, None
        if target is None:
            super().on_message_complete()
            return
        keeps_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        request = _WholeRequest(keep_alive=keeps_alive)
        self.cycle = cast("RequestResponseCycle", request)
        address = self.client[0] if self.client else ""
        state, respond = request.scope["state"], partial(self._respond, request)
        self._app.answer_whole(target, dict(self.headers), self._body, state, address, respond)

    @property
    def _app(self) -> ServingApp:
        return cast("ServingApp", self.config.app)

    def _find_target(self) -> Target | None:
        """Return what the request names; None if it goes through ASGI."""
        is_first = self.cycle is None or self.cycle.response_complete
        if not is_first or self.flow.write_paused or self.parser.get_method() != b"POST":
            return None
        headers = dict(self.headers)
        length = headers.get(b"content-length", b"")
        if not (length.isdigit() and len(length) < 8 and int(length) <= self._app.max_whole_bytes):
            return None
        return self._app.find_target(self.url.decode("latin-1")) if headers.keys().isdisjoint(_OTHER) else None

    def _respond(self, request: Any, answer: Answer) -> None:
        if request.disconnected or self.transport.is_closing():
            return
        headers = answer.headers
        if _CLOSE in headers:
            request.keep_alive = False
        elif not request.keep_alive:
            headers = (*headers, _CLOSE)
        head = _render_head(answer.status, answer.content_type, headers)
        date = b"".join([b"%b: %b\r\n" % header for header in self.server_state.default_headers])
        self.transport.write(b"%b%bcontent-length: %d\r\n\r\n%b" % (head, date, len(answer.body), answer.body))
        request.response_complete = True
        if not request.keep_alive:
            self.transport.close()
        self.on_response_complete()


@lru_cache(256)
def _render_head(status: int, content_type: bytes, headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """Return the status and the headers that do not depend on the body."""
    lines = [b"%b: %b\r\n" % header for header in ((b"content-type", content_type), NO_SNIFF, *headers)]
    return b"".join([STATUS_LINE[status], *lines])
