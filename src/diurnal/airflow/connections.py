"""Connections and stores as a task sees them: what Airflow knows first, else the settings.

Airflow looks in its secrets backends, in ``AIRFLOW_CONN_<ID>`` and among the connections made in its UI.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from diurnal.errors import ConfigurationError, TransientError
from diurnal.runtime import Settings
from diurnal.runtime.connection_uris import spark_master, uri
from diurnal.storage.stores import embedded_server

if TYPE_CHECKING:
    from diurnal.storage.stores import Stores

WAREHOUSE = "diurnal_warehouse"
SPARK = "diurnal_spark"


class AirflowConnections(Mapping[str, str]):
    """From the id of a connection to its URI, asked of Airflow one by one.

    Parameters
    ----------
    declared : Mapping of str to str
        The settings' own, for what Airflow does not know and for the message when nobody does.
    """

    def __init__(self, declared: Mapping[str, str]) -> None:
        self._declared = declared
        self.project: Path | None = getattr(declared, "project", None)

    def __getitem__(self, connection: str) -> str:
        found = find(connection)
        if found is not None:
            return found
        try:
            return self._declared[connection]
        except ConfigurationError as error:
            error.hint = f"make it in Airflow (Admin, Connections, id {connection!r}), or {error.hint}"
            raise

    def __contains__(self, connection: object) -> bool:
        return isinstance(connection, str) and (find(connection) is not None or connection in self._declared)

    def __iter__(self) -> Iterator[str]:
        return iter(self._declared)

    def __len__(self) -> int:
        return len(self._declared)


def find(connection: str) -> str | None:
    """Ask Airflow for a connection, and give its URI; None if it surely has none.

    Raises
    ------
    TransientError
        If Airflow cannot say. It must not pass for "there is none": the run would go to another warehouse.
    ConfigurationError
        If it is not one that can be written as a URI.
    """
    from airflow.sdk.log import mask_secret

    found = _ask(connection)
    if found is None:
        return None
    if found.password:
        mask_secret(quote(found.password, safe=""))  # Airflow itself masks it as it is, not as it stands in a URI
    parts = {name: getattr(found, name) for name in ("conn_type", "host", "login", "password", "schema", "port")}
    return uri(json.dumps({**parts, "extra": found.extra or {}}), f"the Airflow connection {connection!r}")


def _ask(connection: str) -> Any:
    """Ask Airflow for a connection; None if it surely has none."""
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        return Connection.get(connection)
    except AirflowNotFoundException:
        _refuse_doubt(connection)
        return None


def _refuse_doubt(connection: str) -> None:
    """Ask once more, without Airflow's habit of taking an API server that is down for "not found"."""
    from airflow.sdk.exceptions import ErrorType
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import ErrorResponse, GetConnection

    comms = getattr(task_runner, "SUPERVISOR_COMMS", None)
    if comms is None:  # outside of a task there is no API server to ask
        return
    reply = comms.send(GetConnection(conn_id=connection))
    if isinstance(reply, ErrorResponse) and reply.error != ErrorType.CONNECTION_NOT_FOUND:
        raise TransientError(
            f"Airflow cannot say whether it has a connection {connection!r}: {reply.error.value}",
            hint="see whether its API server is up, then run it again",
        )


def settings_beside(file: str) -> Settings:
    """Read the settings of the project that a file lies in, with Airflow's connections to the warehouse and to Spark.

    As outside of Airflow, ``DIURNAL_WAREHOUSE`` and ``DIURNAL_SPARK`` win over the connections, and these over
    ``diurnal.toml``.
    """
    return _with_spark(_with_warehouse(Settings.load(beside=Path(file).parent)))


def _with_spark(settings: Settings) -> Settings:
    if settings.origins["spark"] == "DIURNAL_SPARK":
        return settings
    found = _ask(SPARK)
    if found is None:
        return settings
    master = spark_master(json.dumps({"host": found.host, "port": found.port}), f"the Airflow connection {SPARK!r}")
    origins = {**settings.origins, "spark": f"the Airflow connection {SPARK!r}"}
    return replace(settings, spark=master, origins=origins)


def spark_extra() -> dict[str, Any]:
    """Give what Airflow's connection to Spark says beside the master, such as ``deploy-mode``."""
    found = _ask(SPARK)
    return {} if found is None else dict(found.extra_dejson)


def _with_warehouse(settings: Settings) -> Settings:
    if settings.origins["warehouse"] == "DIURNAL_WAREHOUSE":
        return settings
    found = find(WAREHOUSE)
    if found is None:
        return settings
    if not found.startswith("postgresql://"):
        raise ConfigurationError(
            f"the Airflow connection {WAREHOUSE!r} is a {found.partition('://')[0]}; the warehouse is a PostgreSQL",
            hint="give it the type postgres",
        )
    origins = {**settings.origins, "warehouse": f"the Airflow connection {WAREHOUSE!r}"}
    return replace(settings, warehouse=found, origins=origins)


@contextmanager
def open_beside(file: str) -> Iterator[Stores]:
    """Open the stores of the project that a file lies in, and close them at the end.

    A task's process ends without Python's farewells, so the embedded server is let go here: its last user stops it.
    """
    from diurnal.runtime import spark
    from diurnal.storage.stores import open_stores

    settings = settings_beside(file)
    with ExitStack() as stack:
        stack.callback(spark.stop)
        if server := embedded_server(settings):
            stack.enter_context(server)
            settings = replace(settings, warehouse=server.url("warehouse"))
        stores = open_stores(settings)
        stack.callback(stores.warehouse.close)
        yield replace(stores, connections=AirflowConnections(stores.connections))


def load_model(reference: str, *, beside: str) -> Any:
    """Load a published model in a task, from where Airflow's connections and the settings say.

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
    from diurnal.pipeline import predict

    with open_beside(beside) as stores:
        return predict.load(stores.models, predict.resolve(stores.warehouse, reference), stores.code)
