"""Local HTTP servers: one keeps what is sent to it, and one answers every request in the same way."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


@dataclass
class Receiver:
    """The server's port, the status that it answers with, and the JSON of each request."""

    port: int = 0
    status: int = 200
    received: list[Any] = field(default_factory=list)


class AnsweringServer(ThreadingHTTPServer):
    """A server, with the headers of its last request."""

    daemon_threads = True
    headers: Any = None

    @property
    def url(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def receive_json() -> Iterator[Receiver]:
    """Serve on a free port of 127.0.0.1 until the block ends."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.received.append(json.loads(body))
            self.send_response(receiver.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.port = server.server_address[1]
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def answer_always(
    body: bytes, *, status: int = 200, location: str = "", drip: float = 0.0
) -> Iterator[AnsweringServer]:
    """Serve an answer to all requests; with `drip`, one more byte of a header after each of so many seconds."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.server.headers = self.headers
            self.rfile.read(int(self.headers.get("content-length", 0)))
            while drip:
                try:
                    self.wfile.write(b"H")
                except OSError:
                    return
                time.sleep(drip)
            self.send_response(status)
            if location:
                self.send_header("location", location)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with AnsweringServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
