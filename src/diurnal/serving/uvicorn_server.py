"""uvicorn, with a graceful end after one signal and an immediate one after two."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING, Any

import uvicorn

from diurnal.serving.whole_requests import WholeRequestProtocol

if TYPE_CHECKING:
    from types import FrameType

    from diurnal.serving.serving_app import ServingApp

_IDLE_SECONDS = 75  # of a connection between requests: more than load balancers have, which else lose requests


class _Server(uvicorn.Server):
    """Returns after the signal that ends it, where uvicorn raises the signal again."""

    def __init__(self, config: uvicorn.Config, *, is_alone: bool) -> None:
        super().__init__(config)
        self._is_alone = is_alone

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if sig == signal.SIGINT and not self._is_alone:
            return  # Ctrl-C reaches all processes: the first one ends the workers
        if self.should_exit:
            signal.signal(sig, signal.SIG_DFL)
            signal.raise_signal(sig)
        self.should_exit = True


def run_server(app: ServingApp, listener: socket.socket, drain: int, *, is_alone: bool) -> None:
    """Answer requests until a signal.

    Parameters
    ----------
    app : ServingApp
        The application.
    listener : socket
        The socket.
    drain : int
        Seconds in which requests end after the signal.
    is_alone : bool
        Whether this is the only process; if not, SIGINT is left to the one that started it.
    """
    arguments: dict[str, Any] = {"log_level": "error", "access_log": False, "server_header": False}
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=WholeRequestProtocol,
        ws="none",
        lifespan="off",
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=drain,
        **arguments,
    )
    _Server(config, is_alone=is_alone).run(sockets=[listener])
