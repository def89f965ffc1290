"""What a model of Spark predicts for rows that are here, not in Spark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diurnal.errors import InvalidModelError
from diurnal.runtime import spark
from diurnal.storage.models.spark.pipeline_stages import labels, predictor

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa


@dataclass(frozen=True)
class Answers:
    """Predictions, in the order of the rows.

    Attributes
    ----------
    predictions : numpy.ndarray, shape (n_rows,)
        Texts where the model's StringIndexer made numbers of them, else what the model predicts.
    probabilities : numpy.ndarray or None, shape (n_rows, n_classes)
        For each class, in the order of `classes`.
    classes : list or None
        None for a regression, or where the model does not tell.
    """

    predictions: npt.NDArray[np.generic]
    probabilities: npt.NDArray[np.float64] | None
    classes: list[Any] | None


def classes_of(model: Any, target: str) -> list[Any] | None:
    """Give the classes that a model tells apart, in the order of its probabilities; None for a regression."""
    last = predictor(model)
    if last is None or not type(last).__module__.endswith(".classification"):
        return None
    n_classes = len(last.models) if hasattr(last, "models") else int(last.numClasses)
    return labels(model, target) or list(range(n_classes))


def answers(model: Any, rows: pa.Table, target: str) -> Answers:
    """Predict.

    Parameters
    ----------
    model : pyspark.ml.Transformer
        Fitted.
    rows : pyarrow.Table
        Its features, in the contract's types.
    target : str
        The column that it predicts.
    """
    import numpy as np

    last = predictor(model)
    if last is None:
        raise InvalidModelError(
            f"a {type(model).__name__} has no stage that predicts",
            hint="end the pipeline with an estimator that does",
        )
    classes = classes_of(model, target)
    wanted = [last.getPredictionCol()]
    made = model.transform(spark.get_session().createDataFrame(rows))
    if classes is not None and hasattr(last, "getProbabilityCol") and last.getProbabilityCol() in made.columns:
        from pyspark.ml.functions import vector_to_array

        made = made.withColumn(last.getProbabilityCol(), vector_to_array(last.getProbabilityCol()))
        wanted.append(last.getProbabilityCol())
    table = made.select(*wanted).toArrow()
    predicted = table.column(0).combine_chunks().to_numpy(zero_copy_only=False)
    if classes is not None:
        predicted = np.asarray(classes)[predicted.astype(np.int64)]
    given = np.array(table.column(1).to_pylist(), dtype=float).reshape(rows.num_rows, -1) if len(wanted) > 1 else None
    return Answers(predicted, given, classes)
