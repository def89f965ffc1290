"""Connections that are declared as in Airflow: ``AIRFLOW_CONN_<ID>`` contains a URI or JSON.

The source of an experiment thus finds the same connection on the command line and in Airflow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode

from diurnal.errors import ConfigurationError, did_you_mean

PREFIX = "AIRFLOW_CONN_"


class Connections(Mapping[str, str]):
    """Mapping of the id of a connection to its URI.

    The lookup of a connection that does not exist raises a ConfigurationError that names the variable to set. A value
    is never part of a message or of the repr: it may contain a password.

    Parameters
    ----------
    environment : Mapping of str to str
        The variables, of which ``AIRFLOW_CONN_<ID>`` are read.
    project : pathlib.Path, optional
        The folder of the project, which relative paths of sources start from. None: the working directory.

    Examples
    --------
    >>> connections = Connections({"AIRFLOW_CONN_PLANT": "postgres://reader:secret@db/plant"})
    >>> connections
    Connections('plant')
    >>> connections["plant"]
    'postgresql://reader:secret@db/plant'
    """

    def __init__(self, environment: Mapping[str, str], project: Path | None = None) -> None:
        self.project = project
        values = {name[len(PREFIX) :].lower(): value for name, value in environment.items() if name.startswith(PREFIX)}
        self._values = {id_: value for id_, value in sorted(values.items()) if id_ and value}

    def __getitem__(self, connection: str) -> str:
        value = self._values.get(connection.lower())
        if value is None:
            similar, names = did_you_mean(connection, self._values), ", ".join(self._values) or "none"
            raise ConfigurationError(
                f"there is no connection {connection!r}{similar}; declared connections: {names}",
                hint=f"set {PREFIX}{connection.upper()} to its URI, as in postgresql://user@host:5432/database",
            )
        return parse_connection_uri(value, f"{PREFIX}{connection.upper()}")

    def __contains__(self, connection: object) -> bool:
        return isinstance(connection, str) and connection.lower() in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Connections({', '.join(map(repr, self._values))})"


def parse_connection_uri(value: str, variable: str) -> str:
    """Return the URI of a connection that is written as a URI or in Airflow's JSON form.

    Parameters
    ----------
    value : str
        A URI or JSON.
    variable : str
        Name of the environment variable (or of the connection), for messages.

    Examples
    --------
    >>> text = '{"conn_type": "postgres", "host": "db", "login": "me", "password": "p@ss", "schema": "plant"}'
    >>> parse_connection_uri(text, "X")
    'postgresql://me:p%40ss@db/plant'
    """
    return _parse_connection(value, variable, lambda scheme, rest: f"{_libpq_scheme(scheme)}://{rest}", _uri_of_json)


def parse_spark_master(value: str, variable: str) -> str:
    """Return the master that a connection of Airflow's type ``spark`` names.

    Parameters
    ----------
    value : str
        A URI or JSON.
    variable : str
        Name of the environment variable (or of the connection), for messages.

    Examples
    --------
    >>> parse_spark_master("spark://head:7077", "X"), parse_spark_master('{"conn_type": "spark", "host": "yarn"}', "X")
    ('spark://head:7077', 'yarn')
    >>> parse_spark_master('{"conn_type": "spark", "host": "spark://head", "port": 7077}', "X")
    'spark://head:7077'
    """
    return _parse_connection(value, variable, _master_of_uri, _master_of_json)


def _parse_connection(
    value: str, variable: str, from_uri: Callable[[str, str], str], from_json: Callable[[dict[str, Any]], str]
) -> str:
    """Parse either form of a connection: scheme and rest of a URI, or the object of the JSON form."""
    try:
        if value.lstrip().startswith("{"):
            return from_json(json.loads(value))
        scheme, colon, rest = value.partition("://")
        if colon:
            return from_uri(scheme, rest)
    except (ValueError, KeyError, TypeError, AttributeError):
        pass  # the error is raised outside of this block, as its cause would quote the value
    raise ConfigurationError(
        f"{variable} is neither a URI nor Airflow's JSON form (it is not shown: it may contain a password)",
        hint='write postgresql://user:password@host:5432/database, or {"conn_type": "postgres", "host": ...}',
    )


def _libpq_scheme(conn_type: str) -> str:
    return "postgresql" if conn_type in ("postgres", "postgresql") else conn_type


def _uri_of_json(parts: dict[str, Any]) -> str:
    def quoted(name: str) -> str:
        return quote(str(parts.get(name) or ""), safe="")

    if not parts.get("conn_type"):
        raise ValueError("conn_type is missing")
    user = quoted("login") + (f":{quoted('password')}" if parts.get("password") else "")
    host = quote(str(parts.get("host") or ""), safe="[]:,")  # addresses of IPv6, and several hosts
    port = f":{int(parts['port'])}" if parts.get("port") else ""
    extra = parts.get("extra") or {}
    extra = json.loads(extra) if isinstance(extra, str) else extra
    query = urlencode({name: value for name, value in extra.items() if isinstance(value, (str, int, float))})
    return (
        f"{_libpq_scheme(parts['conn_type'])}://{user}{'@' if user else ''}{host}{port}/{quoted('schema')}"
        f"{'?' if query else ''}{query}"
    )


def _master_of_uri(scheme: str, rest: str) -> str:
    host = unquote(rest.partition("?")[0].rstrip("/"))
    if not host:
        raise ValueError("the host is missing")
    return host if host == "yarn" or host.startswith(("local", "spark://", "k8s://")) else f"{scheme}://{host}"


def _master_of_json(parts: dict[str, Any]) -> str:
    host, port = str(parts["host"]), parts.get("port")
    master = f"{host}:{int(port)}" if port else host
    return f"spark://{master}" if port and "://" not in host else master
