"""Loading of published models, by a reference such as ``name@champion``."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diurnal.errors import ConfigurationError, NotFoundError, UsageError, did_you_mean
from diurnal.runtime.project_files import FILE
from diurnal.runtime.settings import Settings

if TYPE_CHECKING:
    from diurnal.runtime.project_files import Codebase
    from diurnal.storage.models import Models
    from diurnal.storage.warehouse import Warehouse
    from diurnal.types import ModelVersion

_REFERENCE = re.compile(r"(?P<name>[a-z][a-z0-9_]{0,49})(?:@(?P<which>champion|[1-9]\d{0,8}|\d{4}-\d{2}-\d{2}))?")


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
        If the reference has none of these forms.
    NotFoundError
        If the experiment, version or champion does not exist; the message lists those that do.
    InvalidModelError
        If the file is not what the warehouse says it is.
    ConfigurationError
        If no project is found, or the libraries are not those that the model was fitted with.
    """
    from diurnal.runtime import spark
    from diurnal.storage.stores import open_models, open_warehouse, project_code

    settings = project_settings(project)
    spark.configure_session(settings.spark, settings.environment.get("SPARK_CONF_DIR"))
    models = open_models(settings)
    with open_warehouse(settings) as warehouse:
        row = resolve_reference(warehouse, reference)
    return load_version(models, row, project_code(settings), (trusted,) if isinstance(trusted, str) else trusted)


def project_settings(project: str | Path | None) -> Settings:
    """Return the settings of an existing project: a reader must not create a warehouse in an arbitrary folder.

    Raises
    ------
    ConfigurationError
        If no project is found.
    """
    settings = Settings.load(None if project is None else Path(project))
    if not settings.is_project:
        raise ConfigurationError(
            f"no project found: there is no {FILE} in {settings.project} or a folder above it, and there are no data",
            hint="set DIURNAL_PROJECT to the folder of the project, or run in it",
        )
    return settings


def resolve_reference(warehouse: Warehouse, reference: str) -> dict[str, Any]:
    """Find the model version of a reference.

    Parameters
    ----------
    warehouse : Warehouse
        The warehouse.
    reference : str
        ``"name"`` or ``"name@champion"``: the version in use; ``"name@3"``: version 3; ``"name@2026-11-23"``: the
        champion at the end of that date, in UTC.

    Returns
    -------
    dict
        Its row of `model_versions`.

    Raises
    ------
    UsageError
        If the reference has none of these forms.
    NotFoundError
        If the experiment, version or champion does not exist; the message lists those that do.
    """
    match = _REFERENCE.fullmatch(reference)
    if not match:
        raise UsageError(
            f"invalid model reference {reference!r}",
            hint="use NAME, NAME@champion, NAME@3 (a version) or NAME@2026-11-23 (the champion of that day)",
        )
    return warehouse.version(match["name"], _version_number(warehouse, match["name"], match["which"] or "champion"))


def load_version(
    models: Models, row: dict[str, Any], code: Codebase | None = None, trusted: Collection[str] = ()
) -> Any:
    """Load a model version, after checks of its digest, its types and its golden rows.

    Parameters
    ----------
    models : Models
        The store of models.
    row : dict
        Its row of `model_versions`.
    code : Codebase, optional
        The project's own code; the model may contain those of its objects that the row names.
    trusted : collection of str
        Full names of further types that it may contain.
    """
    return models.load(
        row["path"],
        row["digest"],
        trusted=(*row["trusted"], *trusted),
        code=code,
        signature=row["signature"],
        library_versions=row["library_versions"],
    )


def _version_number(warehouse: Warehouse, name: str, which: str) -> int:
    """Return the number of the version."""
    if which.isdecimal():
        return int(which)  # the warehouse checks that it exists
    champion = _champion_at(warehouse, name, which)
    if champion is not None:
        return champion.version
    known = {str(row["experiment"]) for row in warehouse.versions()}
    if name not in known:
        raise NotFoundError(
            f"{name} has no model version{did_you_mean(name, known)}",
            hint=f"there are models of {', '.join(sorted(known))}" if known else "run an experiment first",
        )
    first = min((row["promoted_at"] for row in warehouse.promotions(name)), default=None)
    since = f"the first was promoted on {first.astimezone(UTC):%Y-%m-%d}" if first else "none was ever promoted"
    raise NotFoundError(
        f"{name} had no champion at the end of {which}; {since}" if first else f"{name} has no champion; {since}",
        hint=f"take a version by its number, as {name}@1; see them with: diurnal models {name}",
    )


def _champion_at(warehouse: Warehouse, name: str, which: str) -> ModelVersion | None:
    if which == "champion":
        return warehouse.champion(name)
    try:
        day = date.fromisoformat(which)
    except ValueError as error:
        raise UsageError(f"{which!r} is not a valid date: {error}", hint="write a date as 2026-11-23") from None
    end = datetime.combine(day, time(tzinfo=UTC)) + timedelta(days=1)
    return warehouse.champion(name, end - timedelta(microseconds=1))  # the next date begins with that microsecond
