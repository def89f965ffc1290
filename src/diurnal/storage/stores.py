"""The stores of a deployment: the lake, the warehouse and the models of its settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from diurnal.errors import ConfigurationError
from diurnal.runtime.mlflow_address import MlflowAddress
from diurnal.runtime.project_files import Codebase
from diurnal.runtime.settings import Settings

if TYPE_CHECKING:
    from diurnal.runtime.postgres import EmbeddedServer
    from diurnal.storage.lake import Lake
    from diurnal.storage.models import Models
    from diurnal.storage.warehouse import Warehouse


@dataclass(frozen=True)
class Stores:
    """The stores of a deployment, which all its experiments share.

    Attributes
    ----------
    lake, warehouse, models
        The three stores.
    connections : Mapping of str to str
        The URIs of connections by their id, for sources.
    code : Codebase
        The code of the project.
    mlflow : MlflowAddress or None
        The MLflow server that shows copies of results.
    """

    lake: Lake
    warehouse: Warehouse
    models: Models
    connections: Mapping[str, str]
    code: Codebase = field(default_factory=Codebase)
    mlflow: MlflowAddress | None = None


def open_stores(settings: Settings, *, create: bool = True) -> Stores:
    """Open the lake, the warehouse and the models; start an embedded warehouse that does not run.

    Parameters
    ----------
    settings : Settings
        The settings with their locations.
    create : bool
        Whether to create the lake's folder and an embedded warehouse that do not exist. If false, a
        :class:`NoWarehouse` replaces such a warehouse.

    Raises
    ------
    TransientError, ConfigurationError, PermissionDeniedError
        If a store cannot be reached, its setting is invalid, or this user has no access to it.
    """
    from diurnal.runtime import cores, spark
    from diurnal.storage.lake import Lake

    spark.configure_session(settings.spark, settings.environment.get("SPARK_CONF_DIR"))
    cores.configure_cores(settings.cores)
    with _name_setting_in_errors("lake", settings.lake, settings):
        lake = Lake(settings.lake, create=create)
    models = open_models(settings)
    return Stores(
        lake=lake,
        warehouse=open_warehouse(settings) if create or _has_warehouse(settings) else cast("Warehouse", NoWarehouse()),
        models=models,
        connections=settings.connections(),
        code=project_code(settings),
        mlflow=settings.mlflow,
    )


class NoWarehouse:
    """Replaces a warehouse that does not exist yet: no experiment has a contract, and no key was erased."""

    def contracts(self, experiment: str) -> list[dict[str, Any]]:  # noqa: ARG002 - as the warehouse has it
        """Return no versions of a contract."""
        return []

    def erased_hashes(self, experiment: str, start: datetime) -> list[int]:  # noqa: ARG002 - as the warehouse has it
        """Return no hashes of keys."""
        return []

    def close(self) -> None:
        """Do nothing."""


def _has_warehouse(settings: Settings) -> bool:
    server = embedded_server(settings)
    return server is None or server.is_created


def project_code(settings: Settings) -> Codebase:
    """Return the project's own code: its folder and that of its experiments, without the folders of data."""
    data_folders = [root for root in (settings.lake, settings.models) if "://" not in root]
    return Codebase.of([settings.project, settings.experiments], data_folders)


def open_models(settings: Settings) -> Models:
    """Open the store of models only."""
    from diurnal.storage.models import Models

    with _name_setting_in_errors("models", settings.models, settings):
        return Models(settings.models)


@contextmanager
def _name_setting_in_errors(key: str, root: str, settings: Settings) -> Iterator[None]:
    """Name the setting of a store that fsspec cannot open, and not its URL, which may contain a secret."""
    try:
        yield
    except (ImportError, ValueError) as error:
        protocol = root.partition("://")[0]
        hint = "install diurnal[s3]" if protocol in ("s3", "s3a") else "install the library that fsspec needs for it"
        raise ConfigurationError(
            f"{key} ({settings.origins[key]}) is on {protocol}://, which cannot be opened here: {error}",
            hint=f"{hint}, or use a folder or another URL of fsspec",
        ) from None


def open_warehouse(settings: Settings) -> Warehouse:
    """Open the warehouse only."""
    from diurnal.storage.warehouse import Warehouse

    server = embedded_server(settings)
    return Warehouse(server.start() if server else settings.warehouse)


def embedded_server(settings: Settings) -> EmbeddedServer | None:
    """Return the server of the embedded warehouse without starting it; None if the warehouse is another server.

    Its data are in the lake's folder, or in the project if the lake is remote.
    """
    if settings.warehouse != "embedded":
        return None
    from diurnal.runtime.postgres import EmbeddedServer

    lake = settings.lake.removeprefix("file://")
    return EmbeddedServer((settings.project / "data" if "://" in lake else Path(lake)) / "warehouse")
