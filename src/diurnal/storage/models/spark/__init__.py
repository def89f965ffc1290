"""Models of pyspark.ml: Spark's own folder, made canonical and kept as one file, and read only after its checks.

The file is an uncompressed zip archive of the folder that ``model.save()`` writes; unpacked, any Spark reads it. As one
file it has one digest, and appears whole or not at all, as every other model (:mod:`diurnal.storage.models`).
"""

from diurnal.storage.models.spark.pipeline_stages import labels, predictor, stages
from diurnal.storage.models.spark.predictions import Answers, answers, classes_of
from diurnal.storage.models.spark.spark_format import dump_and_read_back, loads
from diurnal.storage.models.spark.spark_types import python_name, refuse_untrusted

__all__ = [
    "Answers",
    "answers",
    "classes_of",
    "dump_and_read_back",
    "labels",
    "loads",
    "predictor",
    "python_name",
    "refuse_untrusted",
    "stages",
]
