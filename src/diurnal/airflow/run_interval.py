"""The data interval of a Dag run: one rule for all tasks.

It is that of ``conf["batch"]`` if given, else of the run's partition key, else the data interval of the Dag run. It
does not depend on the clock.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from diurnal.errors import UsageError
from diurnal.experiment import Experiment
from diurnal.types import DataInterval

_HINT = 'trigger it with a logical date, or with the configuration {"batch": "2026-11-23"}'


def run_data_interval(experiment: Experiment, dag_run: Any) -> DataInterval:
    """Return the data interval of a Dag run.

    Parameters
    ----------
    experiment : Experiment
        Its schedule defines the data intervals, the same ones as on the command line.
    dag_run : DagRun
        Airflow's.

    Raises
    ------
    UsageError
        If the Dag run has none.
    """
    batch = (dag_run.conf or {}).get("batch") or getattr(dag_run, "partition_key", None)
    if batch is not None:
        if not isinstance(batch, str):
            raise UsageError(f"the run {dag_run.run_id} has batch={batch!r}, which is not a string", hint=_HINT)
        return experiment.calendar.interval_on(batch)
    end: datetime | None = dag_run.data_interval_end
    if end is None:
        raise UsageError(f"the run {dag_run.run_id} has no data interval, so there is no batch to fetch", hint=_HINT)
    # For a cron schedule this is Airflow's own data interval. A manual run of a timedelta schedule has an interval that
    # ends when it was triggered, and one without a schedule has an empty interval: both get the last one that was
    # complete by then.
    if experiment.schedule is None:  # a manual run, whose interval ends when it was triggered
        end -= experiment.label_delay
    return experiment.calendar.last_complete_interval(end)


def is_forced(dag_run: Any) -> bool:
    """Return whether a Dag run shall run again even if a result exists.

    Raises
    ------
    UsageError
        If ``force`` in its configuration is not a boolean.
    """
    force = (dag_run.conf or {}).get("force", False)
    if not isinstance(force, bool):
        raise UsageError(
            f"the run {dag_run.run_id} has force={force!r} in its configuration, which is not a boolean",
            hint='write {"force": true}, or remove it',
        )
    return force
