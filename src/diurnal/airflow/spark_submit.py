"""Spark steps as tasks that submit their driver: an application of its own, started by Airflow's SparkSubmitOperator.

The task itself only waits. Spark decides where the driver runs: with ``deploy_mode="cluster"`` on YARN or Kubernetes it
uses no resources of the worker; in client mode it is a process beside the task.

The SparkSubmitOperator is created when the task runs. The task's own operator does not derive from it, as its import
takes a second, most of it for the Kubernetes client, and a Dag file is parsed every 30 seconds.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diurnal.airflow.connections import SPARK
from diurnal.airflow.operators import StepOperator
from diurnal.errors import ConfigurationError, ExperimentError
from diurnal.runtime.connection_uris import PREFIX

if TYPE_CHECKING:
    from diurnal.experiment.run_context import RunContext
    from diurnal.runtime import Settings

SPARK_STEPS = ("fetch", "tune", "evaluate", "refit")
RESERVED_OPTIONS = ("application_args", "conn_id", "durable", "java_class", "reconnect_on_retry")
_NAMES = """
application archives conf deploy_mode driver_class_path driver_memory env_vars exclude_packages executor_cores
executor_memory files jars keytab name num_executors openlineage_inject_parent_job_info
openlineage_inject_transport_info packages post_submit_commands principal properties_file proxy_user py_files
repositories spark_binary status_poll_interval total_executor_cores track_driver_via_k8s_api use_krb5ccache verbose
yarn_queue yarn_rm_auth yarn_track_via_rm_api
"""
SUBMIT_OPTIONS = frozenset(_NAMES.split())
"""SparkSubmitOperator's own arguments without :data:`RESERVED_OPTIONS`; a test compares them with its signature."""

_APPLICATION = Path(__file__).parents[1] / "pipeline" / "spark_driver" / "application.py"


def submit_operator_factory(experiment: str, options: Mapping[str, Any]) -> Callable[..., SparkSubmitStepOperator]:
    """Return a function that creates the tasks whose drivers are submitted.

    Parameters
    ----------
    experiment : str
        The name of the experiment, for messages.
    options : Mapping
        For all of these tasks: arguments of SparkSubmitOperator, and Airflow's of any task.

    Raises
    ------
    ConfigurationError
        If the provider is not installed.
    ExperimentError
        If an option is one that the steps set themselves.
    """
    if find_spec("airflow.providers.apache") is None or find_spec("airflow.providers.apache.spark") is None:
        raise ConfigurationError(
            "spark_submit needs Airflow's provider for Spark, which is not installed",
            hint="pip install 'diurnal[airflow-spark]'",
        ).add_location(f"the Dag of {experiment}")
    _reject_reserved_options("spark_submit", options, experiment)

    def make_operator(**kwargs: Any) -> SparkSubmitStepOperator:
        _reject_reserved_options(f"step_kwargs[{kwargs['task_id']!r}]", kwargs, experiment)
        merged = {**options, **kwargs}
        for name in ("conf", "env_vars"):  # the entries of a single step are added to those of all steps
            if name in options and name in kwargs:
                merged[name] = {**options[name], **kwargs[name]}
        submit = {name: merged.pop(name) for name in SUBMIT_OPTIONS & set(merged)}
        return SparkSubmitStepOperator(submit=submit, **merged)

    return make_operator


def _reject_reserved_options(origin: str, options: Mapping[str, Any], experiment: str) -> None:
    for name in RESERVED_OPTIONS:
        if name in options:
            raise ExperimentError(
                f"{origin} has {name}={options[name]!r}, which the steps set themselves",
                hint="remove it; the connection diurnal_spark or DIURNAL_SPARK sets the master",
            ).add_location(f"the Dag of {experiment}")


class SparkSubmitStepOperator(StepOperator):
    """One step of the pipeline, whose driver is submitted to Spark.

    Parameters
    ----------
    submit : Mapping
        Arguments of Airflow's SparkSubmitOperator; their values are templates.
    **kwargs
        The arguments of a step.
    """

    template_fields: Sequence[str] = ("inputs", "submit")
    template_fields_renderers = {"inputs": "json", "submit": "json"}  # noqa: RUF012 - Airflow declares it so
    ui_color = "#f6e3db"

    def __init__(self, *, submit: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.submit = dict(submit)
        self._operator: Any = None

    def run_task(self, context: Any) -> Any:
        """Submit a driver that runs the step, and wait for its result."""
        from diurnal.pipeline import steps

        function = getattr(steps, self.step)

        @wraps(function)  # inputs and result are deserialized by its annotations
        def run_remotely(run: RunContext, *_: Any) -> Any:
            return self._submit_and_read_result(function, run, context)

        return self.call_step(run_remotely, self.inputs, context)

    def on_kill(self) -> None:
        """Stop the submitted driver."""
        if self._operator is not None:
            self._operator.on_kill()

    def _submit_and_read_result(self, function: Callable[..., Any], run: RunContext, context: Any) -> Any:
        from airflow.sdk.exceptions import AirflowException

        from diurnal.airflow.connections import settings_for_file
        from diurnal.airflow.spark_submit_errors import check_master, missing_result_error
        from diurnal.pipeline import spark_driver

        settings = settings_for_file(self.experiment.file)
        check_master(settings.spark, self._deploy_mode)
        environment = self._driver_environment(run, settings)
        with spark_driver.submit_request(run, self.step, self.inputs) as folder, _environment_variables(environment):
            failure: Exception | None = None
            try:
                self._submit([folder.url], settings, context)
            except (AirflowException, RuntimeError, FileNotFoundError, ValueError, NameError) as error:
                failure = error
            # The result decides, not the end of spark-submit, which may fail after the driver has written it.
            try:
                return folder.read_result(function)
            except FileNotFoundError:
                raise missing_result_error(failure, self.submit) from failure

    @property
    def _deploy_mode(self) -> str | None:
        from diurnal.airflow.connections import spark_connection_extra

        mode = self.submit.get("deploy_mode") or spark_connection_extra().get("deploy-mode")
        return None if mode is None else str(mode)

    def _driver_environment(self, run: RunContext, settings: Settings) -> dict[str, str]:
        """Return variables for a driver beside this task; on a cluster, a driver has an environment of its own."""
        from diurnal.airflow.connections import spark_connection_extra

        variables = {
            "DIURNAL_WAREHOUSE": run.stores.warehouse.address.url,
            "PATH": os.pathsep.join([settings.environment.get("PATH", os.defpath), str(Path(sys.executable).parent)]),
        }
        if self._deploy_mode != "cluster":
            # In cluster mode Spark would pass the path on to a machine that has its Python elsewhere.
            variables["PYSPARK_DRIVER_PYTHON"] = settings.environment.get("PYSPARK_DRIVER_PYTHON", sys.executable)
        if not settings.origins["spark"].startswith("the Airflow connection"):
            connection = {"conn_type": "spark", "host": settings.spark, "extra": spark_connection_extra()}
            variables[f"{PREFIX}DIURNAL_SPARK"] = json.dumps(connection)
        name = getattr(run.experiment.source, "connection", None)
        if self.step == "fetch" and isinstance(name, str) and name in run.stores.connections:
            variables[f"{PREFIX}{name.upper()}"] = run.stores.connections[name]
        return variables

    def _submit(self, arguments: list[str], settings: Settings, context: Any) -> None:
        """Submit the driver, and wait until it ends."""
        from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
        from airflow.sdk.bases.operator import ExecutorSafeguard

        name = f"diurnal {self.experiment.name} {self.step}"
        options = {"application": str(_APPLICATION), "name": name, **self.submit}
        options["conf"] = {**_spark_conf(settings), **(self.submit.get("conf") or {})}
        # A later try does not resume this driver (`durable`): each try has an epoch, and only the newest may write.
        self._operator = SparkSubmitOperator(
            task_id=self.task_id, conn_id=SPARK, application_args=arguments, durable=False, **options
        )
        ExecutorSafeguard.tracker.set(self._operator)  # Airflow forbids execute() outside of a task; this is within one
        self._operator.execute(context)


def _spark_conf(settings: Settings) -> dict[str, str]:
    """Return the configuration of the session, without the keys that ``spark-defaults.conf`` sets."""
    from diurnal.runtime.spark.spark_conf import default_options

    conf = default_options(settings.spark, settings.environment.get("SPARK_CONF_DIR"))
    conf.pop("spark.app.name", None)  # it is the operator's `name`
    if settings.spark == "yarn":
        conf["spark.yarn.maxAppAttempts"] = "1"  # retries are Airflow's, which does not retry a final error
    return conf


@contextmanager
def _environment_variables(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the processes that the block starts.

    The operator's `env_vars` are not used: on YARN and Kubernetes they become arguments of a command line, which all
    users of the machine can read.
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
