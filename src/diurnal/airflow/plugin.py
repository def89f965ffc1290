"""What runs inside of Airflow's scheduler: each run of an experiment has a note that names its data interval.

The id of a scheduled run names the moment after which it starts, which is the end of its data interval.
"""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun


@hookimpl
def on_dag_run_running(dag_run: DagRun) -> None:
    """Write the note, where there is none yet; Airflow logs an error of a listener and goes on."""
    dag: Any = getattr(dag_run, "dag", None)
    if dag is None or "diurnal" not in (dag.tags or ()) or "storage" not in dag.task_dict:
        return
    if not dag_run.note and (said := note_of(dag_run, dag.start_date)):
        dag_run.note = said


def note_of(run: Any, start: datetime | None) -> str | None:
    """Give the note of a run: the batch that it names, else its data interval.

    Airflow makes a run without tasks for a logical date before the start date, and it succeeds: the note says so.
    """
    from diurnal.types import DataInterval

    if start is not None and run.logical_date is not None and run.logical_date < start:
        return f"{run.logical_date:%Y-%m-%dT%H:%MZ} lies before the start date: no task is run"
    named = (run.conf or {}).get("batch")
    if named is not None:
        return f"batch {named}"
    if run.data_interval_start is None or run.data_interval_start == run.data_interval_end:
        return None
    return f"data interval {DataInterval(run.data_interval_start, run.data_interval_end)}"


class DiurnalPlugin(AirflowPlugin):
    """The plugin, which Airflow finds by the entry point ``airflow.plugins``."""

    name = "diurnal"
    listeners = [sys.modules[__name__]]  # noqa: RUF012 - Airflow declares it so, and reads it only
