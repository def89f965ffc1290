"""Loading of published models by reference, and predictions with them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diurnal.errors import ConfigurationError, DiurnalError, NotFoundError, UsageError, did_you_mean
from diurnal.runtime.project_files import FILE
from diurnal.runtime.settings import Settings
from diurnal.types import Limits

if TYPE_CHECKING:
    import pyarrow as pa

    from diurnal.data import Schema
    from diurnal.runtime.project_files import Codebase
    from diurnal.storage.models import Models
    from diurnal.storage.stores import Stores
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


def predict_batches(stores: Stores, reference: str, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Predict, one chunk of rows after another.

    Parameters
    ----------
    stores : Stores
        The stores of the model.
    reference : str
        Reference of the model, as for :func:`resolve_reference`.
    batches : iterable of pyarrow.RecordBatch
        Rows with the features of the model; other columns, such as the target, are ignored.

    Yields
    ------
    pyarrow.Table
        The key of the experiment, if the rows have it, ``prediction``, and ``probability_<class>`` for each class of a
        classifier with probabilities. A table without rows if there are no rows to predict.

    Raises
    ------
    BatchRejectedError
        If a feature is missing, or a cell does not have its type.
    """
    import pyarrow as pa

    from diurnal.backends import get_backend
    from diurnal.data import BatchValidator

    row = resolve_reference(stores.warehouse, reference)
    model = load_version(stores.models, row, stores.code)
    backend = get_backend(model)
    features = [column["name"] for column in row["signature"]["columns"]]
    batches = iter(batches)
    first = next(batches, None)
    schema, names = _input_schema(stores, row, set() if first is None else set(first.schema.names))
    inspection = BatchValidator(schema, Limits(extra="ignore", max_null=1.0, allow_empty=True), training=False)
    empty = True
    for batch in () if first is None else inspection.validate(chain([first], batches)):
        if batch.num_rows:
            empty = False
            rows = pa.Table.from_batches([batch])
            keys = {name: rows.column(name) for name in schema.key}
            inputs = rows.select(names).rename_columns(features)
            yield pa.table(_with_keys(keys, backend.predict(model, inputs, row["signature"])))
    if empty:
        yield _empty_predictions(schema, row["signature"])


def _with_keys(keys: dict[str, Any], predictions: dict[str, Any]) -> dict[str, Any]:
    """Return keys and predictions as columns; a prediction with the name of a key gets an underscore."""
    columns = dict(keys)
    for name, column in predictions.items():
        while name in columns:
            name += "_"  # noqa: PLW2901
        columns[name] = column
    return columns


def _empty_predictions(schema: Schema, signature: dict[str, Any]) -> pa.Table:
    """Return a table without rows with the columns of predictions: estimators reject input without rows."""
    import pyarrow as pa

    golden = signature["golden"]
    columns = {name: pa.array([], schema.arrow_schema.field(name).type) for name in schema.key}
    columns["prediction"] = pa.array(golden["predictions"]).slice(0, 0)
    if signature.get("classes") and golden["probabilities"] is not None:
        columns |= {f"probability_{label}": pa.array([], pa.float64()) for label in signature["classes"]}
    return pa.table(columns)


def _input_schema(stores: Stores, row: dict[str, Any], columns: set[str]) -> tuple[Schema, list[str]]:
    """Return the schema of rows to predict, and the columns with the features of the model, in its order.

    A model of an earlier version of the contract accepts its features under their former and their present names.
    """
    from diurnal.data import Column, Metadata, Schema

    stored = stores.warehouse.schema(row["experiment"])
    if stored is None:
        raise DiurnalError(f"{row['experiment']} has a model and no schema", hint="restore the warehouse from a backup")
    schema = Schema.from_dict(stored)
    known = {name: column for column in schema.all_columns for name in column.names}
    features = []
    for fitted in row["signature"]["columns"]:
        name, kind = fitted["name"], fitted["kind"]
        now = known.get(name, Column(name, kind))
        kind = now.kind if (kind, now.kind) == ("int", "float") else kind
        features.append(replace(now, name=name if name in columns else now.name, kind=kind))
    key = schema.key if columns.issuperset(schema.key) else ()
    names = [column.name for column in features]
    beside = [column for column in schema.columns if column.name in key and column.name not in names]
    wanted = replace(schema, columns=(*features, *beside), key=key, drop=(), metadata=Metadata(), gone=(), origins=())
    return wanted, names
