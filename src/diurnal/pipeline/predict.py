"""Predictions with a published model, one chunk of rows after another."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from diurnal.errors import DiurnalError
from diurnal.storage.load_model import load_version, resolve_reference
from diurnal.types import Limits

if TYPE_CHECKING:
    import pyarrow as pa

    from diurnal.data import Schema
    from diurnal.storage.stores import Stores


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
    schema, names = input_schema(stores, row, set() if first is None else set(first.schema.names))
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


def input_schema(stores: Stores, row: dict[str, Any], columns: Collection[str]) -> tuple[Schema, list[str]]:
    """Return the schema of rows to predict, and the columns with the features of the model, in its order.

    A model of an earlier version of the contract accepts its features under their former and their present names.

    Parameters
    ----------
    stores : Stores
        The stores of the model.
    row : dict
        The row of `model_versions`.
    columns : collection of str
        The columns of the rows. Its key is empty if the rows do not have all of its columns.
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
    key = schema.key if set(columns).issuperset(schema.key) else ()
    names = [column.name for column in features]
    beside = [column for column in schema.columns if column.name in key and column.name not in names]
    wanted = replace(schema, columns=(*features, *beside), key=key, drop=(), metadata=Metadata(), gone=(), origins=())
    return wanted, names
