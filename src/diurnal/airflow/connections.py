"""Connections and stores of a task: those of Airflow first, then those of the settings.

Airflow looks in its secrets backends, in ``AIRFLOW_CONN_<ID>`` and in the connections that were created in its UI.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from diurnal.errors import ConfigurationError, TransientError
from diurnal.runtime import Settings
from diurnal.runtime.connection_uris import parse_connection_uri, parse_spark_master
from diurnal.storage.stores import embedded_server

if TYPE_CHECKING:
    from diurnal.storage.stores import Stores

WAREHOUSE = "diurnal_warehouse"
SPARK = "diurnal_spark"


class AirflowConnections(Mapping[str, str]):
    """Mapping from the id of a connection to its URI, looked up in Airflow on access.

    Parameters
    ----------
    declared : Mapping of str to str
        The connections of the settings, for ids that Airflow does not have, and for the error if neither has one.
    """

    def __init__(self, declared: Mapping[str, str]) -> None:
        self._declared = declared
        self.project: Path | None = getattr(declared, "project", None)

    def __getitem__(self, connection: str) -> str:
        found = get_connection_uri(connection)
        if found is not None:
            return found
        try:
            return self._declared[connection]
        except ConfigurationError as error:
            error.hint = f"create it in Airflow (Admin, Connections, id {connection!r}), or {error.hint}"
            raise

    def __contains__(self, connection: object) -> bool:
        if not isinstance(connection, str):
            return False
        return get_connection_uri(connection) is not None or connection in self._declared

    def __iter__(self) -> Iterator[str]:
        return iter(self._declared)

    def __len__(self) -> int:
        return len(self._declared)


def get_connection_uri(connection: str) -> str | None:
    """Return the URI of a connection in Airflow; None if Airflow does not have it.

    Raises
    ------
    TransientError
        If Airflow cannot look it up. That must not pass for None: the run would use another warehouse.
    ConfigurationError
        If the connection cannot be written as a URI.
    """
    found = _lookup_connection(connection)
    return None if found is None else connection_uri(found, connection)


def connection_uri(found: Any, connection: str) -> str:
    """Return the URI of a connection of Airflow.

    Parameters
    ----------
    found : Connection
        That of tasks or that of the API server.
    connection : str
        Its id, for errors.
    """
    from airflow.sdk.log import mask_secret

    if found.password:
        mask_secret(quote(found.password, safe=""))  # Airflow masks the password itself, but not its form in a URI
    parts = {name: getattr(found, name) for name in ("conn_type", "host", "login", "password", "schema", "port")}
    return parse_connection_uri(
        json.dumps({**parts, "extra": found.extra or {}}), f"the Airflow connection {connection!r}"
    )


def _lookup_connection(connection: str) -> Any:
    """Return a connection of Airflow; None if Airflow certainly does not have it."""
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        return Connection.get(connection)
    except AirflowNotFoundException:
        _confirm_not_found(connection)
        return None


def _confirm_not_found(connection: str) -> None:
    """Ask the API server again: Airflow reports a connection as not found when that server is down, too."""
    from airflow.sdk.exceptions import ErrorType
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import ErrorResponse, GetConnection

    comms = getattr(task_runner, "SUPERVISOR_COMMS", None)
    if comms is None:  # outside of a task there is no API server to ask
        return
    reply = comms.send(GetConnection(conn_id=connection))
    if isinstance(reply, ErrorResponse) and reply.error != ErrorType.CONNECTION_NOT_FOUND:
        raise TransientError(
            f"Airflow cannot look up the connection {connection!r}: {reply.error.value}",
            hint="check that its API server runs, then run the task again",
        )


def settings_for_file(file: str) -> Settings:
    """Return the settings of the project of a file, with Airflow's connections to the warehouse and to Spark.

    As outside of Airflow, ``DIURNAL_WAREHOUSE`` and ``DIURNAL_SPARK`` override the connections, and these override
    ``diurnal.toml``.
    """
    return with_spark(_settings_for_stores(file))


def _settings_for_stores(file: str) -> Settings:
    return with_warehouse(Settings.load(relative_to=Path(file).parent), get_connection_uri)


def with_spark(settings: Settings) -> Settings:
    """Return settings with the master of Airflow's connection to Spark, unless ``DIURNAL_SPARK`` is set."""
    if settings.origins["spark"] == "DIURNAL_SPARK":
        return settings
    found = _lookup_connection(SPARK)
    if found is None:
        return settings
    text = json.dumps({"host": found.host, "port": found.port})
    master = parse_spark_master(text, f"the Airflow connection {SPARK!r}")
    origins = {**settings.origins, "spark": f"the Airflow connection {SPARK!r}"}
    return replace(settings, spark=master, origins=origins)


def spark_connection_extra() -> dict[str, Any]:
    """Return the `extra` of Airflow's connection to Spark, such as ``deploy-mode``."""
    found = _lookup_connection(SPARK)
    return {} if found is None else dict(found.extra_dejson)


def with_warehouse(settings: Settings, get_uri: Callable[[str], str | None]) -> Settings:
    """Return settings with the warehouse of Airflow's connection, unless ``DIURNAL_WAREHOUSE`` is set.

    Parameters
    ----------
    settings : Settings
        Those of the project.
    get_uri : callable
        Returns the URI of a connection by its id, or None.
    """
    if settings.origins["warehouse"] == "DIURNAL_WAREHOUSE":
        return settings
    found = get_uri(WAREHOUSE)
    if found is None:
        return settings
    if not found.startswith("postgresql://"):
        raise ConfigurationError(
            f"the Airflow connection {WAREHOUSE!r} has the type {found.partition('://')[0]}; the warehouse is a "
            "PostgreSQL database",
            hint="set its type to postgres",
        )
    origins = {**settings.origins, "warehouse": f"the Airflow connection {WAREHOUSE!r}"}
    return replace(settings, warehouse=found, origins=origins)


@contextmanager
def open_stores_for_file(file: str) -> Iterator[Stores]:
    """Open the stores of the project of a file, and close them at the end.

    The process of a task ends without running exit handlers, so the embedded server is released here: its last user
    stops it.
    """
    from diurnal.runtime import spark
    from diurnal.storage.stores import open_stores

    settings = _settings_for_stores(file)
    with ExitStack() as stack:
        stack.callback(spark.stop_session)
        if server := embedded_server(settings):
            stack.enter_context(server)
            settings = replace(settings, warehouse=server.url("warehouse"))
        stores = open_stores(settings)
        # looked up when a session starts: most tasks need none, and Airflow's API server answers each lookup
        spark.configure_session(lambda: with_spark(settings).spark, settings.environment.get("SPARK_CONF_DIR"))
        stack.callback(stores.warehouse.close)
        yield replace(stores, connections=AirflowConnections(stores.connections))


def load_model(reference: str, *, beside: str) -> Any:
    """Load a published model in a task, with the warehouse of Airflow's connections and the settings.

    Parameters
    ----------
    reference : str
        As for :func:`diurnal.load_model`: ``"name@champion"``, ``"name@3"``, ``"name@2026-11-23"``.
    beside : str
        A file of the project, such as the Dag file's own ``__file__``.

    Returns
    -------
    estimator
        Fitted, with ``predict``.
    """
    from diurnal.storage.load_model import load_version, resolve_reference

    with open_stores_for_file(beside) as stores:
        return load_version(stores.models, resolve_reference(stores.warehouse, reference), stores.code)
