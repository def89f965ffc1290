"""One step of a day as an application of Spark, wherever `spark-submit` puts its driver.

Airflow's task writes a letter into the lake, submits ``application.py`` with its address, and waits. The driver carries
out the step and leaves the answer beside the letter. Only the two have to reach the lake; the driver needs no Airflow.
"""

from diurnal.pipeline.spark_driver.messages import Box, Letter, posted
from diurnal.pipeline.spark_driver.worker import carry_out, main

__all__ = ["Box", "Letter", "carry_out", "main", "posted"]
