"""Which data interval a Dag run is about: one rule, for every task.

``conf["batch"]`` if given, else the run's partition key, else its data interval. The wall clock is no part of it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from diurnal.errors import UsageError
from diurnal.experiment import Experiment
from diurnal.types import DataInterval

_ADVICE = 'trigger it with a logical date, or with the configuration {"batch": "2026-11-23"}'


def data_interval(experiment: Experiment, run: Any) -> DataInterval:
    """Give the data interval of a Dag run.

    Parameters
    ----------
    experiment : Experiment
        Its schedule cuts time into intervals, the same ones as on the command line.
    run : DagRun
        Airflow's own.

    Raises
    ------
    UsageError
        If the run names none.
    """
    named = (run.conf or {}).get("batch") or getattr(run, "partition_key", None)
    if named is not None:
        if not isinstance(named, str):
            raise UsageError(f"the batch {named!r} of the run {run.run_id} is no text", hint=_ADVICE)
        return experiment.calendar.interval_on(named)
    end: datetime | None = run.data_interval_end
    if end is None:
        raise UsageError(f"the run {run.run_id} has no data interval, so there is no batch to fetch", hint=_ADVICE)
    # For a cron schedule this is Airflow's own data interval. A run by hand of a timedelta has one that is cut at the
    # moment of the click, and one without a schedule has an empty one: both get the last that was complete by then.
    return experiment.calendar.last_complete_interval(end)


def is_forced(run: Any) -> bool:
    """Tell whether a run shall make one more result where there already is one.

    Raises
    ------
    UsageError
        If its configuration says neither yes nor no.
    """
    force = (run.conf or {}).get("force", False)
    if not isinstance(force, bool):
        raise UsageError(
            f"force={force!r} in the configuration of the run {run.run_id} is neither true nor false",
            hint='write {"force": true}, or leave it out',
        )
    return force
