"""Predictions of a stored batch by the executors: keys and predictions come here, features do not.

The executors write them beside the packages, so that each partition is computed once, whatever becomes of this process,
and this process reads them in pieces.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from pyspark.ml.functions import vector_to_array
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812 - as everybody writes it

from diurnal.backends.spark import lake_frames
from diurnal.backends.spark.job_errors import translate_job_errors
from diurnal.backends.spark.lake_frames import TYPES, quote_column
from diurnal.backends.spark.partition_tasks import positional_names
from diurnal.runtime import spark
from diurnal.storage.models.spark import find_predictor, predicted_classes

if TYPE_CHECKING:
    from diurnal.backends.sample_reader import SampleReader
    from diurnal.types import Package

ROWS_PER_BATCH = 65_536
_KEY = "__diurnal_key_"


def predict_package(
    reader: SampleReader, package: Package, model: Any, features: Sequence[str], signature: Mapping[str, Any]
) -> Iterator[pa.RecordBatch]:
    """Predict the rows of a package on the executors.

    Parameters
    ----------
    reader : SampleReader
        Its version of the contract has a key.
    package : Package
        The package.
    model : pyspark.ml.Transformer
        A fitted model.
    features : sequence of str
        The columns of the contract that are the features of the model, in its order.
    signature : Mapping of str to Any
        The signature of the model.

    Yields
    ------
    pyarrow.RecordBatch
        The columns of the key first, then ``prediction``, and ``probability_<class>`` for each class if the model has
        probabilities.
    """
    lake, key = reader.context.stores.lake, reader.schema.key
    classes = predicted_classes(model, signature["target"])
    with translate_job_errors("the prediction"):
        rows = lake_frames.read_package(lake, package, reader.schema)
        predicted = _predict_frame(rows, reader, model, features, signature)
        names = [*key, "prediction", *(f"probability_{label}" for label in classes or ())][: len(predicted.columns)]
        with _written(predicted, lake.address) as batches:
            for batch in batches:
                predictions = _to_labels(batch.column(len(key)), classes)
                columns = [*batch.columns[: len(key)], predictions, *batch.columns[len(key) + 1 :]]
                yield pa.RecordBatch.from_arrays(columns, names=names)


def _predict_frame(
    rows: DataFrame, reader: SampleReader, model: Any, features: Sequence[str], signature: Mapping[str, Any]
) -> DataFrame:
    """Return the key, the prediction and the probabilities, under positional names."""
    kinds = {column.name: column.kind for column in reader.schema.columns}
    keys = [quote_column(name).cast(TYPES[kinds[name]]).alias(f"{_KEY}{i}") for i, name in enumerate(reader.schema.key)]
    inputs = [
        quote_column(name).cast(TYPES[_fitted_kind(column["kind"], kinds[name])]).alias(column["name"])
        for name, column in zip(features, signature["columns"], strict=True)
    ]
    given = model.transform(rows.select(*keys, *inputs))
    predictor: Any = find_predictor(model)
    columns = [F.col(f"{_KEY}{i}") for i in range(len(keys))] + [quote_column(predictor.getPredictionCol())]
    columns += _probabilities(predictor, given, len(predicted_classes(model, signature["target"]) or ()))
    named: DataFrame = given.select(*columns).toDF(*positional_names(len(columns)))
    return named


def _fitted_kind(fitted: str, now: str) -> str:
    """Return the kind of a feature: a column of whole numbers may have become one of floats."""
    return now if (fitted, now) == ("int", "float") else fitted


def _probabilities(predictor: Any, given: DataFrame, n_classes: int) -> list[Column]:
    name = predictor.getProbabilityCol() if hasattr(predictor, "getProbabilityCol") else None
    if not n_classes or name not in given.columns:
        return []
    return [vector_to_array(quote_column(name))[i] for i in range(n_classes)]


@contextmanager
def _written(frame: DataFrame, lake: str) -> Iterator[Iterator[pa.RecordBatch]]:
    """Let the executors write a frame, and read it in pieces."""
    place = f"{lake}/.tmp/diurnal-{secrets.token_hex(8)}"
    fs, root = fsspec.core.url_to_fs(place)
    try:
        frame.write.parquet(spark.to_spark_url(place))
        files = ds.dataset(sorted(fs.glob(f"{root}/*.parquet")), format="parquet", filesystem=fs)
        yield files.to_batches(batch_size=ROWS_PER_BATCH, batch_readahead=2, fragment_readahead=1, use_threads=False)
    finally:
        if fs.exists(root):
            fs.rm(root, recursive=True)


def _to_labels(predictions: pa.Array, classes: Sequence[Any] | None) -> pa.Array:
    """Return the labels of predicted classes; numbers as they are."""
    if classes is None:
        return predictions
    return pa.array(np.asarray(classes)[predictions.to_numpy().astype(np.int64)])
