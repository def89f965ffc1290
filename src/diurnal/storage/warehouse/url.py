"""The URL of a warehouse: parsed by libpq, with safe connection settings, and displayed without its password."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from diurnal.errors import ConfigurationError

_MINUTES = 60_000  # in milliseconds, the unit of PostgreSQL
_SETTINGS = {"connect_timeout": "10", "application_name": "diurnal", "client_encoding": "UTF8"} | {
    "keepalives": "1",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
}
_OPTIONS = f"-c lock_timeout=30000 -c idle_in_transaction_session_timeout={10 * _MINUTES}"
_BINDING = "-c timezone=UTC -c search_path=public"


@dataclass(frozen=True)
class WarehouseUrl:
    """The location of a warehouse.

    Attributes
    ----------
    parameters : Mapping of str to str
        The parameters of the URL, by libpq's keywords, including the password.
    """

    parameters: Mapping[str, str] = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> WarehouseUrl:
        """Parse a URL.

        Parameters
        ----------
        url : str
            Such as ``postgresql://user:password@host:5432/warehouse``, or another form that libpq accepts.

        Raises
        ------
        ConfigurationError
            If it cannot be parsed. The message does not contain it: any part may be a password.

        Examples
        --------
        >>> print(WarehouseUrl.parse("postgresql://ada:secret@db.example/warehouse"))
        database 'warehouse' on db.example port 5432 as ada
        """
        try:
            parsed = conninfo_to_dict(url)
        except psycopg.Error:
            parsed = {}
        parameters = {key: str(value) for key, value in parsed.items() if value is not None}
        ports = parameters.get("port", "5432").split(",")
        ambiguous = "@" in parameters.get("host", "") + parameters.get("dbname", "") or _has_unescaped_password(url)
        if not parsed or ambiguous or not all(port == "" or port.isdecimal() for port in ports):
            message = (
                "the URL of the warehouse is invalid; it has the form postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
            )
            hint = "correct DIURNAL_WAREHOUSE; in a password, write @ as %40, / as %2F, : as %3A, # as %23, ? as %3F"
            raise ConfigurationError(message, hint=hint)
        return cls(parameters)

    def settings(self, *, no_timeout: bool = False, reader_timeout: int | None = None) -> dict[str, str]:
        """Return the keywords of a libpq connection.

        Parameters
        ----------
        no_timeout : bool
            By default, statements time out after 5 minutes.
        reader_timeout : int, optional
            Make all transactions read-only, and let statements and waits for locks time out after these seconds.
        """
        limit = f"-c statement_timeout={0 if no_timeout else 5 * _MINUTES}"
        binding = _BINDING
        if reader_timeout is not None:
            timeout = f"-c statement_timeout={1000 * reader_timeout} -c lock_timeout={1000 * reader_timeout}"
            binding = f"{_BINDING} {timeout} -c default_transaction_read_only=on"
        options = f"{_OPTIONS} {limit} {self.parameters.get('options', '')} {binding}"
        name = {} if reader_timeout is None else {"application_name": "diurnal reader"}
        return {**_SETTINGS, **name, **self.parameters, "options": options}

    def conninfo(self, *, no_timeout: bool = False) -> str:
        """Return the settings as one string."""
        return make_conninfo(**self.settings(no_timeout=no_timeout))

    def redact(self, text: str) -> str:
        """Return a text with the passwords replaced."""
        for secret in filter(None, (self.password, self.parameters.get("sslpassword"))):
            text = text.replace(secret, "***")
        return text

    @cached_property
    def password(self) -> str:
        """The password, or an empty string."""
        return self.parameters.get("password", "")

    @property
    def url(self) -> str:
        """The URL with its password, for another process.

        Examples
        --------
        >>> WarehouseUrl.parse("postgresql://ada:p%40ss@db.example/warehouse").url
        'postgresql://?user=ada&password=p%40ss&dbname=warehouse&host=db.example'
        """
        return f"postgresql://?{urlencode(self.parameters, quote_via=quote)}"

    def __str__(self) -> str:
        host = self.parameters.get("host", self.parameters.get("hostaddr", "this machine"))
        location = (
            f"the socket in {host}" if host.startswith("/") else f"{host} port {self.parameters.get('port', '5432')}"
        )
        user = f" as {self.parameters['user']}" if "user" in self.parameters else ""
        return f"database {self.parameters.get('dbname', '(default)')!r} on {location}{user}"


def _has_unescaped_password(url: str) -> bool:
    """Return whether a password has characters that end the host: libpq would take a part of it for the host."""
    login = url.partition("://")[2].rpartition("@")[0]
    return any(mark in login for mark in "@/?#")
