"""Steps of Spark as tasks that submit: the driver is an application of its own, by Airflow's SparkSubmitOperator.

The task itself only waits. Where the driver runs is Spark's to say: with ``deploy_mode="cluster"`` on YARN or
Kubernetes it takes nothing of the worker; in client mode it is a process beside the task.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator

from diurnal import driver
from diurnal.airflow.tasks import Step
from diurnal.errors import ConfigurationError, DeclarationError, TryAgainLater
from diurnal.settings.connections import PREFIX

if TYPE_CHECKING:
    from diurnal.day import Day
    from diurnal.settings import Settings

STEPS = ("fetch", "tune", "evaluate", "refit")  # those that ask Spark for something
_OURS = ("application_args", "conn_id", "durable", "java_class", "reconnect_on_retry")
_NO_JAVA = re.compile(r"JAVA_HOME is not set|Unable to locate a Java|java: (command )?not found|UnsupportedClass")
_NO_MASTER = re.compile(r"Could not parse Master URL|[Mm]aster must either be|[Cc]luster deploy mode is")


def refuse_ours(words: Mapping[str, Any]) -> None:
    """Refuse the words of SparkSubmitOperator that this module says itself.

    Raises
    ------
    DeclarationError
        If there is one.
    """
    for name in _OURS:
        if name in words:
            raise DeclarationError(
                f"spark_submit has {name}={words[name]!r}, which the steps say themselves",
                advice="leave it out; where Spark is, the connection diurnal_spark or DIURNAL_SPARK says",
            )


class SubmittedStep(Step, SparkSubmitOperator):
    """One step of the sentence, whose driver is submitted to Spark.

    Parameters
    ----------
    **words
        Those of a step, and of Airflow's SparkSubmitOperator. A job is never resumed by a later try (``durable``): the
        try that waits is the one that holds the epoch.
    """

    template_fields: Sequence[str] = (*Step.template_fields, *SparkSubmitOperator.template_fields)
    ui_color = "#f6e3db"

    def __init__(self, **words: Any) -> None:
        from diurnal.airflow.connections import SPARK

        application = str(Path(driver.__file__).with_name("application.py"))
        super().__init__(**{"application": application, "conn_id": SPARK, "durable": False, **words})

    def work(self, context: Any) -> Any:
        """Have the step carried out by a driver, and wait for its answer."""
        from diurnal import steps

        function = getattr(steps, self.step)

        @wraps(function)  # what travels is read by its types
        def submitted(day: Day, *_: Any) -> Any:
            return self._submitted(function, day, context)

        return self.carry_out(submitted, self.given, context)

    def _submitted(self, function: Any, day: Day, context: Any) -> Any:
        from airflow.sdk.exceptions import AirflowException

        from diurnal.airflow.connections import settings_beside

        settings = settings_beside(self.experiment.file)
        self.conf = {**_conf(settings), **(self.conf or {})}
        self.name = self.name if self.name != "arrow-spark" else f"diurnal {self.experiment.name} {self.step}"
        with driver.posted(day, self.step, self.given) as box, _environment(_for_driver(day, settings)):
            self.application_args = [box.address]
            failed: Exception | None = None
            try:
                SparkSubmitOperator.execute(self, context)
            except (AirflowException, RuntimeError, FileNotFoundError) as error:
                failed = error
            try:
                return box.result(function)
            except FileNotFoundError:
                raise _unanswered(failed) from failed


def _unanswered(failed: Exception | None) -> Exception:
    """Give the error of a driver that came to an end without an answer."""
    said = str(failed or "")
    if isinstance(failed, FileNotFoundError):
        return ConfigurationError(
            f"{failed.filename or 'spark-submit'} is not on the PATH of this worker",
            advice="pip install 'diurnal[airflow-spark]', or say spark_submit={'spark_binary': ...}",
        )
    if _NO_JAVA.search(said):
        return ConfigurationError(
            "spark-submit needs Java 17 or newer, and it could not be started here (what it said is above)",
            advice="install a JDK, such as openjdk-17-jre-headless, and set JAVA_HOME to it if java is not on the PATH",
        )
    if wrong := _NO_MASTER.search(said):
        line = next(line for line in said.splitlines() if wrong[0] in line)
        return ConfigurationError(
            f"spark-submit refuses what it is told: {line.strip()[:300]}",
            advice="correct the connection diurnal_spark, DIURNAL_SPARK, or spark_submit in the Dag's file",
        )
    return TryAgainLater(
        "the driver came to an end without an answer (what it said is above)",
        advice="see whether it was killed, for memory most often (driver_memory), or whether it reaches the lake",
    )


def _conf(settings: Settings) -> dict[str, str]:
    """Give the session's configuration, in which what ``spark-defaults.conf`` says is left to it."""
    from diurnal.spark.conf import words

    found = words(settings.spark, settings.environment.get("SPARK_CONF_DIR"))
    found.pop("spark.app.name", None)  # Airflow's word for it is `name`
    if settings.spark == "yarn":
        found["spark.yarn.maxAppAttempts"] = "1"  # Airflow tries again, and knows when not to
    return found


def _for_driver(day: Day, settings: Settings) -> dict[str, str]:
    """Give what a driver beside this task is to know; one elsewhere on a cluster has an environment of its own."""
    told = {
        "DIURNAL_WAREHOUSE": day.stores.warehouse.address.url,
        "PATH": os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)]),
        "PYSPARK_DRIVER_PYTHON": os.environ.get("PYSPARK_DRIVER_PYTHON", sys.executable),
    }
    if not settings.origins["spark"].startswith("the Airflow connection"):
        told[f"{PREFIX}DIURNAL_SPARK"] = json.dumps({"conn_type": "spark", "host": settings.spark})
    connection = getattr(day.experiment.source, "connection", None)
    if isinstance(connection, str):
        told[f"{PREFIX}{connection.upper()}"] = day.stores.connections[connection]
    return told


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables for the processes that are started meanwhile.

    Not by the operator's `env_vars`, which for YARN and Kubernetes become words of a command line that all can read.
    """
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
