"""Steps of Spark as tasks that submit: the driver is an application of its own, by Airflow's SparkSubmitOperator.

The task itself only waits. Where the driver runs is Spark's to say: with ``deploy_mode="cluster"`` on YARN or
Kubernetes it takes nothing of the worker; in client mode it is a process beside the task.

The operator is made when the task runs, and is not what the task is: to import it costs a second, most of it for the
client of Kubernetes, and a Dag file is parsed every half minute.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diurnal.airflow.connections import SPARK
from diurnal.airflow.operators import Step
from diurnal.errors import ConfigurationError, ExperimentError, TransientError
from diurnal.runtime.connection_uris import PREFIX

if TYPE_CHECKING:
    from diurnal.pipeline.context import Day
    from diurnal.runtime import Settings

STEPS = ("fetch", "tune", "evaluate", "refit")  # those that ask Spark for something
OURS = ("application_args", "conn_id", "durable", "java_class", "reconnect_on_retry")
_NAMES = """
application archives conf deploy_mode driver_class_path driver_memory env_vars exclude_packages executor_cores
executor_memory files jars keytab name num_executors openlineage_inject_parent_job_info
openlineage_inject_transport_info packages post_submit_commands principal properties_file proxy_user py_files
repositories spark_binary status_poll_interval total_executor_cores track_driver_via_k8s_api use_krb5ccache verbose
yarn_queue yarn_rm_auth yarn_track_via_rm_api
"""
WORDS = frozenset(_NAMES.split())
"""What SparkSubmitOperator takes beside what any task takes, and beside :data:`OURS`; a test compares it with it."""

_APPLICATION = Path(__file__).parents[1] / "pipeline" / "spark_driver" / "application.py"
_NO_JAVA = re.compile(r"JAVA_HOME is not set|bin/java: No such file|java: (command )?not found|UnsupportedClassVersion")
_CORRECT = "correct the connection diurnal_spark, DIURNAL_SPARK, or spark_submit in the Dag's file"
_NO_MASTER = re.compile(r"Could not parse Master URL|[Mm]aster must either be|[Cc]luster deploy mode is")


def submitted(experiment: str, words: Mapping[str, Any]) -> Callable[..., SubmittedStep]:
    """Give what makes the tasks that are submitted.

    Parameters
    ----------
    experiment : str
        Its name, for messages.
    words : Mapping
        For all of them: those of SparkSubmitOperator, and Airflow's for any task.

    Raises
    ------
    ConfigurationError
        If the provider is not installed.
    ExperimentError
        If a word is given that the steps say themselves.
    """
    if find_spec("airflow.providers.apache") is None or find_spec("airflow.providers.apache.spark") is None:
        raise ConfigurationError(
            "spark_submit needs Airflow's provider for Spark, which is not installed",
            hint="pip install 'diurnal[airflow-spark]'",
        ).add_location(f"the Dag of {experiment}")
    _refuse_ours("spark_submit", words, experiment)

    def make(**more: Any) -> SubmittedStep:
        _refuse_ours(f"per_step of {more['task_id']}", more, experiment)
        said = {**words, **more}
        for name in ("conf", "env_vars"):  # what a single step says of them comes to what all say
            if name in words and name in more:
                said[name] = {**words[name], **more[name]}
        submit = {name: said.pop(name) for name in WORDS & set(said)}
        return SubmittedStep(submit=submit, **said)

    return make


def _refuse_ours(origin: str, words: Mapping[str, Any], experiment: str) -> None:
    for name in OURS:
        if name in words:
            raise ExperimentError(
                f"{origin} has {name}={words[name]!r}, which the steps say themselves",
                hint="leave it out; where Spark is, the connection diurnal_spark or DIURNAL_SPARK says",
            ).add_location(f"the Dag of {experiment}")


class SubmittedStep(Step):
    """One step of the sentence, whose driver is submitted to Spark.

    Parameters
    ----------
    submit : Mapping
        Words of Airflow's SparkSubmitOperator; what they say is templated.
    **words
        Those of a step.
    """

    template_fields: Sequence[str] = ("given", "submit")
    template_fields_renderers = {"given": "json", "submit": "json"}  # noqa: RUF012 - Airflow declares it so
    ui_color = "#f6e3db"

    def __init__(self, *, submit: Mapping[str, Any], **words: Any) -> None:
        super().__init__(**words)
        self.submit = dict(submit)
        self._operator: Any = None

    def work(self, context: Any) -> Any:
        """Have the step carried out by a driver, and wait for its answer."""
        from diurnal.pipeline import steps

        function = getattr(steps, self.step)

        @wraps(function)  # what travels is read by its types
        def elsewhere(day: Day, *_: Any) -> Any:
            return self._answered(function, day, context)

        return self.carry_out(elsewhere, self.given, context)

    def on_kill(self) -> None:
        """End what was submitted."""
        if self._operator is not None:
            self._operator.on_kill()

    def _answered(self, function: Callable[..., Any], day: Day, context: Any) -> Any:
        from airflow.sdk.exceptions import AirflowException

        from diurnal.airflow.connections import settings_beside
        from diurnal.pipeline import spark_driver

        settings = settings_beside(self.experiment.file)
        with spark_driver.posted(day, self.step, self.given) as box, _environment(self._for_driver(day, settings)):
            failed: Exception | None = None
            try:
                self._submit([box.address], settings, context)
            except (AirflowException, RuntimeError, FileNotFoundError, ValueError, NameError) as error:
                failed = error
            try:
                return box.result(function)
            except FileNotFoundError:
                raise _unanswered(failed) from failed

    def _for_driver(self, day: Day, settings: Settings) -> dict[str, str]:
        """Give what a driver beside this task is to know; one elsewhere on a cluster has an environment of its own."""
        from diurnal.airflow.connections import spark_extra

        extra = spark_extra()
        told = {
            "DIURNAL_WAREHOUSE": day.stores.warehouse.address.url,
            "PATH": os.pathsep.join([settings.environment.get("PATH", os.defpath), str(Path(sys.executable).parent)]),
        }
        if (self.submit.get("deploy_mode") or extra.get("deploy-mode")) != "cluster":
            # In cluster mode Spark would pass it on to a machine that has its Python elsewhere.
            told["PYSPARK_DRIVER_PYTHON"] = settings.environment.get("PYSPARK_DRIVER_PYTHON", sys.executable)
        if not settings.origins["spark"].startswith("the Airflow connection"):
            said = {"conn_type": "spark", "host": settings.spark, "extra": extra}
            told[f"{PREFIX}DIURNAL_SPARK"] = json.dumps(said)
        connection = getattr(day.experiment.source, "connection", None)
        if self.step == "fetch" and isinstance(connection, str) and connection in day.stores.connections:
            told[f"{PREFIX}{connection.upper()}"] = day.stores.connections[connection]
        return told

    def _submit(self, arguments: list[str], settings: Settings, context: Any) -> None:
        """Submit the driver, and wait for its end."""
        from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
        from airflow.sdk.bases.operator import ExecutorSafeguard

        words = {"application": str(_APPLICATION), "name": f"diurnal {self.experiment.name} {self.step}", **self.submit}
        words["conf"] = {**_conf(settings), **(self.submit.get("conf") or {})}
        # A later try resumes nothing (`durable`): the try that waits is the one that holds the epoch.
        self._operator = SparkSubmitOperator(
            task_id=self.task_id, conn_id=SPARK, application_args=arguments, durable=False, **words
        )
        ExecutorSafeguard.tracker.set(self._operator)  # it is called within a task, and rightly so
        self._operator.execute(context)


def _unanswered(failed: Exception | None) -> Exception:
    """Give the error of a driver that came to an end without an answer."""
    said = str(failed or "")
    if isinstance(failed, FileNotFoundError):
        return ConfigurationError(
            f"{failed.filename or 'spark-submit'} is not on the PATH of this worker",
            hint="pip install 'diurnal[airflow-spark]', or say spark_submit={'spark_binary': ...}",
        )
    if _NO_JAVA.search(said):
        return ConfigurationError(
            "spark-submit needs Java 17 or newer, and it could not be started here (what it said is above)",
            hint="install a JDK, such as openjdk-17-jre-headless, and set JAVA_HOME to it if java is not on the PATH",
        )
    if wrong := _NO_MASTER.search(said):
        line = next(line for line in said.splitlines() if wrong[0] in line)
        return ConfigurationError(
            f"spark-submit refuses what it is told: {line.strip()[:300]}",
            hint=_CORRECT,
        )
    if isinstance(failed, NameError):  # the provider imports Kubernetes' client only where it is
        return ConfigurationError(
            f"Airflow's provider for Spark lacks a library for this master: {said}",
            hint="for Kubernetes: pip install apache-airflow-providers-cncf-kubernetes",
        )
    if isinstance(failed, ValueError):
        return ConfigurationError(f"SparkSubmitOperator refuses what it is told: {said[:300]}", hint=_CORRECT)
    why = "" if said.startswith("Cannot execute") else said.partition("\n")[0][:300]
    return TransientError(
        f"the driver came to an end without an answer (what it said is above){why and ': '}{why}",
        hint="see whether it was killed, for memory most often (driver_memory), or whether it reaches the lake",
    )


def _conf(settings: Settings) -> dict[str, str]:
    """Give the session's configuration, in which what ``spark-defaults.conf`` says is left to it."""
    from diurnal.runtime.spark.spark_conf import words

    found = words(settings.spark, settings.environment.get("SPARK_CONF_DIR"))
    found.pop("spark.app.name", None)  # Airflow's word for it is `name`
    if settings.spark == "yarn":
        found["spark.yarn.maxAppAttempts"] = "1"  # Airflow tries again, and knows when not to
    return found


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
