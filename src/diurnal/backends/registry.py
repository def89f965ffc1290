"""The choice of the backend, by the type of what an experiment returns. pyspark is imported for its own types only."""

from __future__ import annotations

from typing import Any

from diurnal.backends.protocol import Backend
from diurnal.errors import ExperimentError
from diurnal.storage.models import is_spark_model


def get_backend(estimator: Any) -> Backend:
    """Return the backend of a search or an estimator, fitted or not.

    Raises
    ------
    ExperimentError
        If it is an object of pyspark that is neither an estimator nor a model.
    """
    return _spark_backend(estimator) if is_spark_model(estimator) else _sklearn_backend()


def _sklearn_backend() -> Backend:
    from diurnal.backends.sklearn.sklearn_backend import BACKEND

    return BACKEND


def _spark_backend(estimator: Any) -> Backend:
    from pyspark.ml import Estimator, Transformer

    from diurnal.backends.spark.spark_backend import BACKEND

    if not isinstance(estimator, Estimator | Transformer):
        raise ExperimentError(
            f"a {type(estimator).__name__} of pyspark can neither be fitted nor predict",
            hint="return a CrossValidator, a TrainValidationSplit, a Pipeline or an estimator of pyspark.ml",
        )
    return BACKEND
