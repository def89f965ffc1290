"""Opening the stores that the settings name."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from diurnal.codebase import FILE, Codebase
from diurnal.errors import ConfigurationError
from diurnal.settings.deployment import Settings

if TYPE_CHECKING:
    from diurnal.day import Stores
    from diurnal.embedded import EmbeddedServer
    from diurnal.models import Models
    from diurnal.warehouse import Warehouse


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
    TryAgainLater, ConfigurationError, NotAllowed
        If a store cannot be reached, is set wrong, or refuses this user.
    """
    from diurnal import spark
    from diurnal.day import Stores
    from diurnal.lake import Lake

    spark.use(settings.spark, settings.environment.get("SPARK_CONF_DIR"))
    with _naming("lake", settings.lake, settings):
        lake = Lake(settings.lake, create=create)
    models = _open_models(settings)
    return Stores(
        lake=lake,
        warehouse=open_warehouse(settings) if create or _has_warehouse(settings) else cast("Warehouse", NoWarehouse()),
        models=models,
        connections=settings.connections(),
        code=_code(settings),
    )


class NoWarehouse:
    """Stands for a warehouse that is not made yet: no experiment has a contract."""

    def schema(self, experiment: str) -> None:
        """Give no contract."""

    def close(self) -> None:
        """Close nothing."""


def _has_warehouse(settings: Settings) -> bool:
    server = embedded_server(settings)
    return server is None or server.is_made


def _code(settings: Settings) -> Codebase:
    """Give the project's own code: its folder and that of its experiments, less what data lie in."""
    data = [root for root in (settings.lake, settings.models) if "://" not in root]
    return Codebase.of([settings.project, settings.experiments], data)


def _open_models(settings: Settings) -> Models:
    from diurnal.models import Models

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
            advice=f"{cure}, or name a folder or another URL of fsspec",
        ) from None


def open_warehouse(settings: Settings) -> Warehouse:
    """Open the warehouse alone."""
    from diurnal.warehouse import Warehouse

    server = embedded_server(settings)
    return Warehouse(server.start() if server else settings.warehouse)


def embedded_server(settings: Settings) -> EmbeddedServer | None:
    """Give the server of the embedded warehouse, not started yet; None where the warehouse is another one.

    Its data lie in the lake's folder, or in the project if the lake is remote.
    """
    if settings.warehouse != "embedded":
        return None
    from diurnal.embedded import EmbeddedServer

    lake = settings.lake.removeprefix("file://")
    return EmbeddedServer((settings.project / "data" if "://" in lake else Path(lake)) / "warehouse")


def load_model(reference: str, *, project: str | Path | None = None, trusted: str | Collection[str] = ()) -> Any:
    """Load a published model, as any other Python program would use it.

    Its digest and types are checked before a byte of it is deserialised.

    Parameters
    ----------
    reference : str
        ``"name"`` or ``"name@champion"``: the version in use; ``"name@3"``: version 3; ``"name@2026-11-23"``: the
        champion at the end of that date, in UTC.
    project : str or Path, optional
        The project folder; see :meth:`Settings.load`.
    trusted : str or collection of str
        Full names of further types that the model may hold. A program that loads a model outside of its project, where
        the project's own code is not found, names here what the model holds of it, and must be able to import it.

    Returns
    -------
    estimator
        Fitted, with ``predict``.

    Raises
    ------
    UsageError
        If the reference is none of these.
    NotFound
        If there is no such experiment, version or champion; it says what there is.
    ModelRefused
        If the file is not what the warehouse says it is.
    ConfigurationError
        If there is no project here, or this environment is not the one that the model was made in.
    """
    from diurnal import predicting, spark

    settings = Settings.load(None if project is None else Path(project))
    if not settings.is_project:  # whoever only reads shall not leave an empty warehouse wherever it happens to run
        raise ConfigurationError(
            f"there is no project here (no {FILE} in {settings.project} or above it, and no data)",
            advice="set DIURNAL_PROJECT to the project's folder, or run below it",
        )
    spark.use(settings.spark, settings.environment.get("SPARK_CONF_DIR"))
    models = _open_models(settings)
    with open_warehouse(settings) as warehouse:
        row = predicting.resolve(warehouse, reference)
    return predicting.load(models, row, _code(settings), (trusted,) if isinstance(trusted, str) else trusted)
