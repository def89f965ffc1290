"""Connections, as Airflow declares them: ``AIRFLOW_CONN_<ID>`` holds a URI, or JSON.

So that an experiment's source finds the same connection by the CLI and in Airflow.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode

from diurnal.errors import ConfigurationError, did_you_mean

PREFIX = "AIRFLOW_CONN_"


class Connections(Mapping[str, str]):
    """From the id of a connection to its URI.

    Asking for one that is not there raises a ConfigurationError that names the variable to set. A value is never
    part of a message or of the repr: it may hold a password.

    Parameters
    ----------
    environment : Mapping of str to str
        Where ``AIRFLOW_CONN_<ID>`` is looked up.
    project : pathlib.Path, optional
        The project's folder, where relative paths of sources begin; the working directory unless given.

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
        found = {name[len(PREFIX) :].lower(): value for name, value in environment.items() if name.startswith(PREFIX)}
        self._values = {id_: value for id_, value in sorted(found.items()) if id_ and value}

    def __getitem__(self, connection: str) -> str:
        value = self._values.get(connection.lower())
        if value is None:
            known = ", ".join(self._values) or "none"
            raise ConfigurationError(
                f"there is no connection {connection!r}{did_you_mean(connection, self._values)}; there are: {known}",
                hint=f"set {PREFIX}{connection.upper()} to its URI, as in postgresql://user@host:5432/database",
            )
        return uri(value, f"{PREFIX}{connection.upper()}")

    def __contains__(self, connection: object) -> bool:
        return isinstance(connection, str) and connection.lower() in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Connections({', '.join(map(repr, self._values))})"


def uri(value: str, variable: str) -> str:
    """Give a connection's URI, whichever of Airflow's two forms it is written in.

    Parameters
    ----------
    value : str
        A URI or JSON.
    variable : str
        Where it stands, for messages.

    Examples
    --------
    >>> uri('{"conn_type": "postgres", "host": "db", "login": "me", "password": "p@ss", "schema": "plant"}', "X")
    'postgresql://me:p%40ss@db/plant'
    """
    if value.lstrip().startswith("{"):
        try:
            return _from_json(json.loads(value))
        except (ValueError, TypeError, AttributeError):
            raise _refused(variable) from None  # its message would quote the value
    scheme, colon, rest = value.partition("://")
    if not colon:
        raise _refused(variable)
    return f"{_scheme(scheme)}://{rest}"


def spark_master(value: str, variable: str) -> str:
    """Give the master that one of Airflow's connections of the type ``spark`` names.

    Parameters
    ----------
    value : str
        A URI or JSON.
    variable : str
        Where it stands, for messages.

    Examples
    --------
    >>> spark_master("spark://head:7077", "X"), spark_master('{"conn_type": "spark", "host": "yarn"}', "X")
    ('spark://head:7077', 'yarn')
    >>> spark_master('{"conn_type": "spark", "host": "spark://head", "port": 7077}', "X")
    'spark://head:7077'
    """
    if not value.lstrip().startswith("{"):
        scheme, colon, rest = value.partition("://")
        host = unquote(rest.partition("?")[0].rstrip("/"))
        if not colon or not host:
            raise _refused(variable)
        return host if host in ("yarn",) or host.startswith(("local", "spark://", "k8s://")) else f"{scheme}://{host}"
    try:
        parts = json.loads(value)
        host, port = str(parts["host"]), parts.get("port")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _refused(variable) from None
    master = f"{host}:{int(port)}" if port else host
    return f"spark://{master}" if port and "://" not in host else master


def _refused(variable: str) -> ConfigurationError:
    return ConfigurationError(
        f"{variable} is neither a URI nor Airflow's JSON form (it is not shown: it may hold a password)",
        hint='write postgresql://user:password@host:5432/database, or {"conn_type": "postgres", "host": ...}',
    )


def _scheme(conn_type: str) -> str:
    return "postgresql" if conn_type in ("postgres", "postgresql") else conn_type


def _from_json(parts: dict[str, Any]) -> str:
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
        f"{_scheme(parts['conn_type'])}://{user}{'@' if user else ''}{host}{port}/{quoted('schema')}"
        f"{'?' if query else ''}{query}"
    )
