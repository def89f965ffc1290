"""Tuning, fitting and scoring with pyspark.ml: rows stay with the executors.

What comes to this process are counts, scores, statistics, the model, and a handful of golden rows.
"""

from typing import Any

from pyspark.ml import Estimator, Transformer

from diurnal.backends import Backend, backend_of
from diurnal.backends.spark.lake_frames import Rows
from diurnal.backends.spark.spark_backend import BACKEND, Spark

__all__ = ["BACKEND", "Rows", "Spark"]


@backend_of.register(Estimator)
@backend_of.register(Transformer)
def _(made: Any) -> Backend:  # noqa: ARG001 - its type is what was asked
    return BACKEND
