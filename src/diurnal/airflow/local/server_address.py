"""Where the UI and the API answer."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass

from diurnal.errors import ConfigurationError

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - only when somebody asks for it


@dataclass(frozen=True)
class Address:
    """A host and a port to listen on.

    Examples
    --------
    >>> Address("127.0.0.1", 8080).url
    'http://127.0.0.1:8080'
    >>> Address("::", 8080).url
    'http://[::1]:8080'
    """

    host: str
    port: int

    @property
    def url(self) -> str:
        """How this machine itself reaches it."""
        host = _EVERYWHERE.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def is_private(self) -> bool:
        """Whether only this machine reaches it."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")

    def free(self) -> Address:
        """Give this address, with a free port in the place of port 0.

        Raises
        ------
        ConfigurationError
            If nothing can listen there.
        """
        try:
            family, kind, _, _, place = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(place)
                return Address(self.host, probe.getsockname()[1])
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                message = f"the port {self.port} of {self.host} is taken by another program"
                raise ConfigurationError(message, hint="give another one, as in --port 8081, or end it") from None
            message = f"nothing can listen on the port {self.port} of {self.host}: {error.strerror or error}"
            raise ConfigurationError(message, hint="give --host 127.0.0.1 and a --port from 1024 on") from None
