"""Rows with the answers of models: the narrow frame that evaluation data are counted from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pyspark import StorageLevel
from pyspark.ml.functions import vector_to_array
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812 - as everybody writes it

from diurnal.backends.spark.lake_frames import SparkData, identity_hash, quote_column, quote_columns
from diurnal.storage.models.spark import find_predictor, predicted_classes

MAX_CATEGORY_COLUMNS = 20
WEIGHT, HASH, TARGET = "__weight", "__hash", "__target"


@dataclass(frozen=True)
class AnswerColumns:
    """The columns of one model in a frame of answers.

    Attributes
    ----------
    name : str
        The name of the model.
    classes : list
        The class of each index; empty for a regression.
    is_probability : bool or None
        Whether the scores of classes are probabilities; None if there are no scores.
    """

    name: str
    classes: list[str]
    is_probability: bool | None

    @property
    def label(self) -> Column:
        """The true value: the index of a class, or a number."""
        return F.col(f"__{self.name}_label")

    @property
    def prediction(self) -> Column:
        """The prediction, in the same numbers."""
        return F.col(f"__{self.name}_prediction")

    @property
    def scores(self) -> Column:
        """The array of the scores of all classes."""
        return F.col(f"__{self.name}_scores")


@dataclass(frozen=True)
class AnsweredRows:
    """A frame with weights, categories, and the answers of some models.

    Attributes
    ----------
    frame : pyspark.sql.DataFrame
        One row for each sample.
    models : list of AnswerColumns
        The columns of each model.
    categories : Mapping of str to str
        The column of the frame for each category column of the batch.
    """

    frame: DataFrame
    models: list[AnswerColumns]
    categories: Mapping[str, str]


@contextmanager
def answered_rows(models: Mapping[str, Any], data: SparkData, *, classifies: bool) -> Iterator[AnsweredRows]:
    """Predict all rows once for each model, and keep the answers on the executors within the context."""
    schema, frame, listed = data.schema, data.frame, []
    for name, model in models.items():
        frame, columns = _add_answers(frame, name, model, schema.target, classifies=classifies)
        listed.append(columns)
    kinds = {column.name: column.kind for column in schema.columns}
    names = [name for name in schema.features if kinds[name] in ("text", "bool")][:MAX_CATEGORY_COLUMNS]
    categories = {name: f"__category_{i}" for i, name in enumerate(names)}
    weight = schema.metadata.sample_weight
    narrow = frame.select(
        (F.lit(1.0) if weight is None else quote_column(weight).cast("double")).alias(WEIGHT),
        identity_hash(schema).alias(HASH),
        quote_column(schema.target).alias(TARGET),
        *(quote_column(name).cast("string").alias(column) for name, column in categories.items()),
        *(F.col(column) for column in frame.columns if column.startswith(tuple(f"__{name}_" for name in models))),
    )
    narrow.persist(StorageLevel.MEMORY_AND_DISK)
    try:
        yield AnsweredRows(narrow, listed, categories)
    finally:
        narrow.unpersist()


def _add_answers(
    frame: DataFrame, name: str, model: Any, target: str, *, classifies: bool
) -> tuple[DataFrame, AnswerColumns]:
    last: Any = find_predictor(model)
    given = model.transform(frame)
    added = [
        quote_column(last.getLabelCol()).cast("double").alias(f"__{name}_label"),
        quote_column(last.getPredictionCol()).cast("double").alias(f"__{name}_prediction"),
    ]
    is_probability = None
    for getter in ("getProbabilityCol", "getRawPredictionCol") if classifies else ():
        column = getattr(last, getter)() if hasattr(last, getter) else None
        if column and column in given.columns:
            added.append(vector_to_array(quote_column(column)).alias(f"__{name}_scores"))
            is_probability = getter == "getProbabilityCol"
            break
    classes = [str(label) for label in predicted_classes(model, target) or ()] if classifies else []
    return given.select(*quote_columns(frame.columns), *added), AnswerColumns(name, classes, is_probability)
