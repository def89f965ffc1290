"""Predictions of a Spark model for rows in this process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diurnal.errors import InvalidModelError
from diurnal.runtime import spark
from diurnal.storage.models.spark.pipeline_stages import find_predictor, target_labels

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa


@dataclass(frozen=True)
class Predictions:
    """Predictions, in the order of the rows.

    Attributes
    ----------
    predictions : numpy.ndarray, shape (n_rows,)
        Labels where the model has a StringIndexer for the target, and otherwise the numbers that it predicts.
    probabilities : numpy.ndarray or None, shape (n_rows, n_classes)
        For each class, in the order of `classes`.
    classes : list or None
        None for a regression.
    """

    predictions: npt.NDArray[np.generic]
    probabilities: npt.NDArray[np.float64] | None
    classes: list[Any] | None


def predicted_classes(model: Any, target: str) -> list[Any] | None:
    """Return the classes of a model, in the order of its probabilities; None for a regression."""
    predictor = find_predictor(model)
    if predictor is None or not type(predictor).__module__.endswith(".classification"):
        return None
    n_classes = len(predictor.models) if hasattr(predictor, "models") else int(predictor.numClasses)
    return target_labels(model, target) or list(range(n_classes))


def predict_rows(model: Any, rows: pa.Table, target: str) -> Predictions:
    """Predict rows.

    Parameters
    ----------
    model : pyspark.ml.Transformer
        A fitted model.
    rows : pyarrow.Table
        Its features, in the contract's types.
    target : str
        The column to predict.
    """
    import numpy as np

    predictor = find_predictor(model)
    if predictor is None:
        raise InvalidModelError(
            f"a {type(model).__name__} has no stage that predicts",
            hint="end the pipeline with an estimator that does",
        )
    classes = predicted_classes(model, target)
    columns = [predictor.getPredictionCol()]
    transformed = model.transform(spark.get_session().createDataFrame(rows))
    probability: Any = predictor.getProbabilityCol() if hasattr(predictor, "getProbabilityCol") else None
    if classes is not None and probability in transformed.columns:
        from pyspark.ml.functions import vector_to_array

        transformed = transformed.withColumn(probability, vector_to_array(probability))
        columns.append(probability)
    table = transformed.select(*columns).toArrow()
    predicted = table.column(0).combine_chunks().to_numpy(zero_copy_only=False)
    if classes is not None:
        predicted = np.asarray(classes)[predicted.astype(np.int64)]
    if classes is None or len(columns) == 1:
        return Predictions(predicted, None, classes)
    probabilities = np.array(table.column(1).to_pylist(), dtype=float).reshape(len(predicted), len(classes))
    return Predictions(predicted, probabilities, classes)
