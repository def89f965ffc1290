"""The backend of pyspark.ml: rows stay with the executors.

Only counts, scores, statistics, the model and a few golden rows come to the driver.
"""

from diurnal.backends.spark.lake_frames import SparkData
from diurnal.backends.spark.spark_backend import BACKEND, SparkBackend

__all__ = ["BACKEND", "SparkBackend", "SparkData"]
