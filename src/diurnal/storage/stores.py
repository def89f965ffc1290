"""The stores of a deployment: the lake, the warehouse and the models that its settings name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from diurnal.errors import ConfigurationError
from diurnal.runtime.project_files import Codebase
from diurnal.runtime.settings import Settings

if TYPE_CHECKING:
    from diurnal.runtime.postgres import EmbeddedServer
    from diurnal.storage.lake import Lake
    from diurnal.storage.models import Models
    from diurnal.storage.warehouse import Warehouse


@dataclass(frozen=True)
class Stores:
    """Where everything is kept: the deployment's, never the experiment's.

    Attributes
    ----------
    lake, warehouse, models
        The three stores.
    connections : Mapping of str to str
        From the id of a connection to its URI, for sources.
    code : Codebase
        The code of the project that they are of.
    """

    lake: Lake
    warehouse: Warehouse
    models: Models
    connections: Mapping[str, str]
    code: Codebase = field(default_factory=Codebase)


def open_stores(settings: Settings, *, create: bool = True) -> Stores:
    """Open the lake, the warehouse and the models; an embedded warehouse is started if it does not run.

    Parameters
    ----------
    settings : Settings
        Where they are.
    create : bool
        Whether the lake's folder and an embedded warehouse are made where there are none. If not, a warehouse without
        contracts stands for it.

    Raises
    ------
    TransientError, ConfigurationError, PermissionDeniedError
        If a store cannot be reached, is set wrong, or refuses this user.
    """
    from diurnal.runtime import spark
    from diurnal.storage.lake import Lake

    spark.configure_session(settings.spark, settings.environment.get("SPARK_CONF_DIR"))
    with _naming("lake", settings.lake, settings):
        lake = Lake(settings.lake, create=create)
    models = open_models(settings)
    return Stores(
        lake=lake,
        warehouse=open_warehouse(settings) if create or _has_warehouse(settings) else cast("Warehouse", NoWarehouse()),
        models=models,
        connections=settings.connections(),
        code=project_code(settings),
    )


class NoWarehouse:
    """Stands for a warehouse that is not made yet: no experiment has a contract."""

    def schema(self, experiment: str) -> None:
        """Give no contract."""

    def close(self) -> None:
        """Close nothing."""


def _has_warehouse(settings: Settings) -> bool:
    server = embedded_server(settings)
    return server is None or server.is_created


def project_code(settings: Settings) -> Codebase:
    """Return the project's own code: its folder and that of its experiments, less what data lie in."""
    data = [root for root in (settings.lake, settings.models) if "://" not in root]
    return Codebase.of([settings.project, settings.experiments], data)


def open_models(settings: Settings) -> Models:
    """Open the store of models alone."""
    from diurnal.storage.models import Models

    with _naming("models", settings.models, settings):
        return Models(settings.models)


@contextmanager
def _naming(key: str, root: str, settings: Settings) -> Iterator[None]:
    """Say which setting names a store that fsspec does not know, or lacks a library for; a URL may hold a secret."""
    try:
        yield
    except (ImportError, ValueError) as error:
        protocol = root.partition("://")[0]
        cure = "install diurnal[s3]" if protocol in ("s3", "s3a") else "install the library that reaches it"
        raise ConfigurationError(
            f"{key} ({settings.origins[key]}) is on {protocol}://, which cannot be opened here: {error}",
            hint=f"{cure}, or name a folder or another URL of fsspec",
        ) from None


def open_warehouse(settings: Settings) -> Warehouse:
    """Open the warehouse alone."""
    from diurnal.storage.warehouse import Warehouse

    server = embedded_server(settings)
    return Warehouse(server.start() if server else settings.warehouse)


def embedded_server(settings: Settings) -> EmbeddedServer | None:
    """Give the server of the embedded warehouse, not started yet; None where the warehouse is another one.

    Its data lie in the lake's folder, or in the project if the lake is remote.
    """
    if settings.warehouse != "embedded":
        return None
    from diurnal.runtime.postgres import EmbeddedServer

    lake = settings.lake.removeprefix("file://")
    return EmbeddedServer((settings.project / "data" if "://" in lake else Path(lake)) / "warehouse")
