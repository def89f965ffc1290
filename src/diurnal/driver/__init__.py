"""One step of a day as an application of Spark, wherever `spark-submit` puts its driver.

Airflow's task writes a letter into the lake, submits ``application.py`` with its address, and waits. The driver carries
out the step and leaves the answer beside the letter. Only the two have to reach the lake; the driver needs no Airflow.
"""

from diurnal.driver.carrying import carry_out, main
from diurnal.driver.letters import Box, Letter, posted

__all__ = ["Box", "Letter", "carry_out", "main", "posted"]
