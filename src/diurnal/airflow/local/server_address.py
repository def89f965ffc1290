"""The address of the UI and the API."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass

from diurnal.errors import ConfigurationError

_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - only if --host asks for it


@dataclass(frozen=True)
class ServerAddress:
    """A host and a port to listen on.

    Examples
    --------
    >>> ServerAddress("127.0.0.1", 8080).url
    'http://127.0.0.1:8080'
    >>> ServerAddress("::", 8080).url
    'http://[::1]:8080'
    """

    host: str
    port: int

    @property
    def url(self) -> str:
        """Its URL on this machine."""
        host = _ANY_ADDRESS.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def is_private(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")

    def with_free_port(self) -> ServerAddress:
        """Return this address, with a free port in place of port 0.

        Raises
        ------
        ConfigurationError
            If the address cannot be used.
        """
        try:
            family, type_, _, _, location = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, type_) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(location)
                return ServerAddress(self.host, probe.getsockname()[1])
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                message = f"the port {self.port} of {self.host} is in use by another program"
                raise ConfigurationError(message, hint="choose another, as in --port 8081, or stop it") from None
            message = f"cannot listen on the port {self.port} of {self.host}: {error.strerror or error}"
            raise ConfigurationError(message, hint="use --host 127.0.0.1 and a --port from 1024 on") from None
