"""The plugin of Airflow: notes of runs in the scheduler, and the page in the API server.

Every process of Airflow imports this module, so that it imports nothing else: the page is imported when the API server
asks for it, and timetables when a Dag has one.

The note of a run names its data interval. The id of a scheduled run contains the time after which it starts, which is
the end of its data interval.
"""

from __future__ import annotations

import logging
import sys
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

_LOG = logging.getLogger(__name__)
_PREFIX = "diurnal"
_VIEWS: list[
    dict[str, Any]
] = [  # addresses have no leading slash: they are relative to Airflow's own URL, which may have a path
    {"name": "Experiments", "destination": "nav", "url_route": "diurnal", "href": f"{_PREFIX}/", "nav_top_level": True},
    {"name": "Experiment", "destination": "dag", "url_route": "experiment", "href": f"{_PREFIX}/dags/{{DAG_ID}}"},
    {
        "name": "Result",
        "destination": "dag_run",
        "url_route": "result",
        "href": f"{_PREFIX}/dags/{{DAG_ID}}/runs/{{RUN_ID}}",
    },
]


@hookimpl
def on_dag_run_running(dag_run: DagRun) -> None:
    """Set the note, unless there is one; Airflow logs an error of a listener and continues."""
    dag: Any = getattr(dag_run, "dag", None)
    if dag is None or "diurnal" not in (dag.tags or ()) or "storage" not in dag.task_dict:
        return
    if not dag_run.note and (note := run_note(dag_run, dag.start_date)):
        dag_run.note = note


def run_note(dag_run: Any, start_date: datetime | None) -> str | None:
    """Return the note of a run: its ``batch`` parameter, else its data interval.

    For a logical date before the start date, Airflow creates a run without tasks, which succeeds; its note explains
    that.
    """
    from diurnal.types import DataInterval

    if start_date is not None and dag_run.logical_date is not None and dag_run.logical_date < start_date:
        return f"{dag_run.logical_date:%Y-%m-%dT%H:%MZ} is before the start date: no task runs"
    batch = (dag_run.conf or {}).get("batch")
    if batch is not None:
        return f"batch {batch}"
    if dag_run.data_interval_start is None or dag_run.data_interval_start == dag_run.data_interval_end:
        return None
    return f"data interval {DataInterval(dag_run.data_interval_start, dag_run.data_interval_end)}"


class DiurnalPlugin(AirflowPlugin):
    """The plugin, which Airflow finds by the entry point ``airflow.plugins``."""

    name = "diurnal"

    listeners = [sys.modules[__name__]]  # noqa: RUF012 - Airflow declares it so, and reads it only

    @property
    def timetables(self) -> list[Any]:  # type: ignore[override] # read by Airflow where it reads a Dag that has one
        """Those of experiments with a `label_delay`, imported when Airflow asks for them."""
        from diurnal.airflow.delayed_timetables import DelayedCronTimetable, DelayedDeltaTimetable

        return [DelayedCronTimetable, DelayedDeltaTimetable]

    @cached_property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override] # only the API server asks for it
        """The page, unless it cannot be imported: Airflow itself must start."""
        from diurnal.page import missing_libraries

        if missing := missing_libraries():
            _LOG.warning("the page of experiments is left out; install it: pip install 'diurnal[page]' (%s)", missing)
            return []
        try:
            from diurnal.airflow.page_app import create_page
        except ImportError as error:  # another release of Airflow, whose internal modules may differ
            _LOG.warning("the page of experiments is left out; it cannot be imported with this Airflow: %s", error)
            return []
        return [{"app": create_page(), "url_prefix": f"/{_PREFIX}", "name": "diurnal"}]

    @cached_property
    def external_views(self) -> list[Any]:  # type: ignore[override] # only the API server asks for it
        """A page in the navigation, a tab of each Dag, and one of each run of a Dag."""
        icon = f"{_PREFIX}/static/icon.svg"
        return [{**view, "icon": icon} for view in _VIEWS] if self.fastapi_apps else []
