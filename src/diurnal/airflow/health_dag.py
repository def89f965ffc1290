"""The health Dag: looks at all experiments at regular times, and fails if there are findings.

Airflow's own notifiers and callbacks thus send the alarms. The Dag does not depend on the Dags of the experiments: it
also finds those that are paused, removed or cannot be imported.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, BaseOperator

from diurnal.airflow.dag import current_dag_file
from diurnal.airflow.operators import exit_with_supervisor, ignore_airflow_deprecations, log_error_last
from diurnal.airflow.task_defaults import CALLBACKS, as_list
from diurnal.errors import DiurnalError

if TYPE_CHECKING:
    from diurnal.pipeline.health_report import HealthReport
    from diurnal.runtime import Settings

_DOC = """Looks at all experiments of diurnal, as `diurnal doctor` does: overdue, rejected, failed, drifted, without a
champion. The task fails if there is a finding, so that Airflow's notifiers send an alarm. A finding that lasts fails
the task again after {remind}; until then, its runs are skipped. The log of the task, and its XCom `findings`, have all
findings with what to do next.
"""


def build_health_dag(
    dag_id: str = "diurnal_health",
    *,
    experiments: Collection[str] = (),
    schedule: Any = "*/15 * * * *",
    tolerance: timedelta = timedelta(hours=1),
    max_champion_age: timedelta | None = None,
    remind_after: timedelta = timedelta(hours=24),
    default_args: Mapping[str, Any] | None = None,
    dag_file: str | Path | None = None,
    **dag_kwargs: Any,
) -> DAG:
    """Return a Dag that looks at all experiments from outside, and fails if something is wrong.

    Parameters
    ----------
    dag_id : str
        The id of the Dag.
    experiments : collection of str
        Names of experiments. Empty: all of the project and of the warehouse.
    schedule
        As for Airflow's ``DAG``.
    tolerance : datetime.timedelta
        How late a result may be, in addition to the durations of earlier runs.
    max_champion_age : datetime.timedelta, optional
        The largest age of a champion. None: any age.
    remind_after : datetime.timedelta
        How long a finding that lasts does not fail the task again; its runs are skipped. Zero: each run fails.
    default_args : Mapping, optional
        Airflow's arguments of the task, such as ``on_failure_callback`` with notifiers, ``queue`` or ``pool``.
    dag_file : str or Path, optional
        A file of the project. By default, the Dag file that Airflow imports.
    **dag_kwargs
        Any other argument of Airflow's ``DAG``, such as ``on_failure_callback`` with notifiers.

    Returns
    -------
    airflow.sdk.DAG
    """
    arguments = dict(default_args or {})
    callbacks = {name: [*as_list(arguments.get(name)), log_error_last] for name in CALLBACKS}
    file = dag_file or current_dag_file()
    defaults: dict[str, Any] = {
        "catchup": False,
        "max_active_runs": 1,
        "description": "Looks at all experiments, and fails if something is wrong.",
        "doc_md": _DOC.format(remind=_describe_duration(remind_after)),
    }
    tags = list(dict.fromkeys(["diurnal", *(dag_kwargs.pop("tags", None) or ())]))
    arguments = {"owner": "diurnal", "retries": 0, **arguments, **callbacks}
    with DAG(dag_id, schedule=schedule, default_args=arguments, tags=tags, **defaults | dag_kwargs) as dag:
        HealthOperator(
            task_id="doctor",
            file=None if file is None else str(file),
            experiments=sorted(experiments),
            tolerance=tolerance,
            max_champion_age=max_champion_age,
            remind_after=remind_after,
        )
    return dag


class HealthOperator(BaseOperator):
    """Look at experiments, and fail if there are findings that are to be known.

    Parameters
    ----------
    file : str, optional
        A file of the project. None: the project of the working directory.
    experiments : list of str
        Names of experiments. Empty: all.
    tolerance, max_champion_age, remind_after
        As for :func:`build_health_dag`.
    **kwargs
        Airflow's arguments of any task.
    """

    ui_color = "#f3e6f5"

    def __init__(
        self,
        *,
        file: str | None = None,
        experiments: list[str] | None = None,
        tolerance: timedelta = timedelta(hours=1),
        max_champion_age: timedelta | None = None,
        remind_after: timedelta = timedelta(hours=24),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.file = file
        self.experiments = experiments or []
        self.tolerance = tolerance
        self.max_champion_age = max_champion_age
        self.remind_after = remind_after

    def execute(self, context: Any) -> None:
        """Look at the experiments; findings are logged, and an XCom."""
        exit_with_supervisor()
        with ignore_airflow_deprecations():
            try:
                self._check_health(context)
            except DiurnalError as error:
                raise error.with_traceback(None) from None

    def _check_health(self, context: Any) -> None:
        from airflow.sdk.exceptions import AirflowSkipException

        from diurnal.pipeline.alarms import AlarmChannel
        from diurnal.pipeline.health import Thresholds
        from diurnal.pipeline.health_report import inspect_deployment

        thresholds = Thresholds(tolerance=self.tolerance, champion_age=self.max_champion_age)
        with _open_deployment(self.file) as settings:
            report = inspect_deployment(settings, self.experiments, thresholds=thresholds)
        context["ti"].xcom_push(key="findings", value=[finding.to_dict() for finding in report.findings])
        channel = AlarmChannel(settings, f"airflow-{self.dag_id}", remind_after=self.remind_after)
        is_due = channel.is_due(report)
        channel.remember(report, sent=is_due)
        if is_due:
            raise DiurnalError(_describe_report(report))
        if report.findings:
            self.log.warning(_describe_report(report))
            raise AirflowSkipException("the findings are known; the task fails again when there is another one")
        self.log.info(str(report))


@contextmanager
def _open_deployment(file: str | None) -> Iterator[Settings]:
    """Yield the settings of a project; its embedded warehouse runs until the end, unless nothing has run there yet."""
    from diurnal.airflow.connections import settings_for_file
    from diurnal.storage.stores import embedded_server

    settings = settings_for_file(file or str(Path.cwd() / "dag.py"))
    server = embedded_server(settings)
    with ExitStack() as stack:
        if server is not None and server.is_created:
            stack.enter_context(server)
            settings = replace(settings, warehouse=server.url("warehouse"))
        yield settings


def _describe_report(report: HealthReport) -> str:
    return "\n\n".join([str(report), *map(str, report.findings)])


def _describe_duration(duration: timedelta) -> str:
    hours = duration / timedelta(hours=1)
    return f"{hours:g} hour{'s' * (hours != 1)}"
