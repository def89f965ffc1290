"""Models of pyspark.ml: Spark's own folder in a canonical form, stored as one file and checked before it is read.

The file is an uncompressed zip archive of the folder that ``model.save()`` writes. Spark reads the unpacked archive. As
one file it has one digest and is written atomically, as every other model (:mod:`diurnal.storage.models`).
"""

from diurnal.storage.models.spark.pipeline_stages import find_predictor, iter_stages
from diurnal.storage.models.spark.predictions import predict_rows, predicted_classes

__all__ = ["find_predictor", "iter_stages", "predict_rows", "predicted_classes"]
