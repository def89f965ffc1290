"""The address on which a command listens."""

from __future__ import annotations

import ipaddress
import socket

from diurnal.errors import ConfigurationError


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address.

    Examples
    --------
    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bind_socket(host: str, port: int, service: str) -> socket.socket:
    """Return a socket that listens.

    Parameters
    ----------
    host : str
        The address.
    port : int
        The port; 0 for any free one.
    service : str
        What listens, for the message of an error.

    Raises
    ------
    ConfigurationError
        If the address cannot be used.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigurationError(
            f"the {service} cannot listen on {host} port {port}: {error.strerror or error}",
            hint="choose another port with --port, or 0 for any free one",
        ) from error
