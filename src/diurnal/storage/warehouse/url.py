"""The address of a warehouse: a libpq URL, its settings made safe, and never shown with its password."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from diurnal.errors import ConfigurationError

_MINUTES = 60_000  # PostgreSQL counts in milliseconds
_SETTINGS = {"connect_timeout": "10", "application_name": "diurnal", "client_encoding": "UTF8"} | {
    "keepalives": "1",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
}
_OPTIONS = f"-c lock_timeout=30000 -c idle_in_transaction_session_timeout={10 * _MINUTES}"
_BINDING = "-c timezone=UTC -c search_path=public"


@dataclass(frozen=True)
class Address:
    """Where a warehouse is.

    Attributes
    ----------
    parameters : Mapping of str to str
        What the URL says, by libpq's keywords; the password among them.
    """

    parameters: Mapping[str, str] = field(repr=False)

    @classmethod
    def of(cls, url: str) -> Address:
        """Read a URL.

        Parameters
        ----------
        url : str
            Such as ``postgresql://user:password@host:5432/warehouse``, or anything else that libpq reads.

        Raises
        ------
        ConfigurationError
            If it is not one. The message never shows it: a password may be anywhere in what is misread.

        Examples
        --------
        >>> print(Address.of("postgresql://ada:secret@db.example/warehouse"))
        database 'warehouse' on db.example port 5432 as ada
        """
        try:
            given = conninfo_to_dict(url)
        except psycopg.Error:
            given = {}
        parameters = {key: str(value) for key, value in given.items() if value is not None}
        ports = parameters.get("port", "5432").split(",")
        misread = "@" in parameters.get("host", "") + parameters.get("dbname", "") or _splits_a_password(url)
        if not given or misread or not all(port == "" or port.isdecimal() for port in ports):
            message = "the URL of the warehouse is not one of PostgreSQL, postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
            hint = "correct DIURNAL_WAREHOUSE; in a password, write @ as %40, / as %2F, : as %3A, # as %23, ? as %3F"
            raise ConfigurationError(message, hint=hint)
        return cls(parameters)

    def settings(self, *, unhurried: bool = False) -> dict[str, str]:
        """Give libpq's keywords to connect with; a statement may take 5 minutes, or any time if `unhurried`."""
        limit = f"-c statement_timeout={0 if unhurried else 5 * _MINUTES}"
        options = f"{_OPTIONS} {limit} {self.parameters.get('options', '')} {_BINDING}"
        return {**_SETTINGS, **self.parameters, "options": options}

    def conninfo(self, *, unhurried: bool = False) -> str:
        """Give the settings as one string."""
        return make_conninfo(**self.settings(unhurried=unhurried))

    def hidden(self, text: str) -> str:
        """Take the passwords out of a text that others wrote."""
        for secret in filter(None, (self.password, self.parameters.get("sslpassword"))):
            text = text.replace(secret, "***")
        return text

    @cached_property
    def password(self) -> str:
        """The password, or nothing."""
        return self.parameters.get("password", "")

    @property
    def url(self) -> str:
        """The URL, password and all, that another process is to be told.

        Examples
        --------
        >>> Address.of("postgresql://ada:p%40ss@db.example/warehouse").url
        'postgresql://?user=ada&password=p%40ss&dbname=warehouse&host=db.example'
        """
        return f"postgresql://?{urlencode(self.parameters, quote_via=quote)}"

    def __str__(self) -> str:
        host = self.parameters.get("host", self.parameters.get("hostaddr", "this machine"))
        where = (
            f"the socket in {host}" if host.startswith("/") else f"{host} port {self.parameters.get('port', '5432')}"
        )
        user = f" as {self.parameters['user']}" if "user" in self.parameters else ""
        return f"database {self.parameters.get('dbname', '(default)')!r} on {where}{user}"


def _splits_a_password(url: str) -> bool:
    """Tell whether an @ follows what ends the host: then a part of a password is taken for the host or database."""
    login = url.partition("://")[2].rpartition("@")[0]
    return any(mark in login for mark in "@/?#")
