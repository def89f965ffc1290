"""One step of a run as a Spark application, wherever `spark-submit` starts its driver.

Airflow's task writes a :class:`StepRequest` into a folder of the lake, submits ``application.py`` with the URL of the
folder, and waits. The driver executes the step and writes the result or the error into the same folder. Only the lake
must be reachable from both; the driver may run on another machine.
"""

from diurnal.pipeline.spark_driver.messages import RequestFolder, StepRequest, submit_request
from diurnal.pipeline.spark_driver.worker import execute_request, main

__all__ = ["RequestFolder", "StepRequest", "execute_request", "main", "submit_request"]
