"""Arguments of an experiment's Dag: those that the experiment declares, merged with those of ``build_dag``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import CronDataIntervalTimetable, DeltaDataIntervalTimetable, Param

from diurnal.airflow.dag_docs import dag_documentation
from diurnal.errors import ExperimentError, did_you_mean
from diurnal.experiment import Experiment
from diurnal.types.schedule import PRESETS

_PARAMS = {"batch": "selects the batch of a run", "force": "runs again even if a result exists"}
_RESERVED = ("task_id", "experiment", "step", "inputs", "shard")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def validate_dag_arguments(
    experiment: object,
    step_kwargs: Mapping[str, Mapping[str, Any]],
    dag_kwargs: Mapping[str, Any],
    task_ids: Collection[str],
) -> None:
    """Raise an error if an argument of ``build_dag`` is not allowed.

    Parameters
    ----------
    experiment : object
        Shall be an Experiment.
    step_kwargs, dag_kwargs : Mapping
        As in :func:`diurnal.airflow.build_dag`.
    task_ids : collection of str
        The tasks of the Dag.

    Raises
    ------
    ExperimentError
        If one is not.
    """
    if not isinstance(experiment, Experiment):
        raise ExperimentError(
            f"build_dag takes an experiment or its name, not a {type(experiment).__name__}",
            hint="decorate the function with @experiment(...), and pass it to build_dag",
        )
    try:
        for step, kwargs in step_kwargs.items():
            _validate_step_kwargs(step, kwargs, task_ids)
        _validate_dag_kwargs(dag_kwargs, experiment)
    except ExperimentError as error:
        raise error.add_location(f"the Dag of {experiment.name}") from None


def _validate_step_kwargs(step: str, kwargs: Mapping[str, Any], task_ids: Collection[str]) -> None:
    if step not in task_ids:
        raise ExperimentError(
            f"step_kwargs: there is no step {step!r}{did_you_mean(step, task_ids)}",
            hint=f"the steps are {', '.join(task_ids)}",
        )
    if reserved := [name for name in _RESERVED if name in kwargs]:
        raise ExperimentError(f"step_kwargs[{step!r}]: {reserved[0]!r} is set by the step itself", hint="remove it")


def _validate_dag_kwargs(dag_kwargs: Mapping[str, Any], experiment: Experiment) -> None:
    for name in _PARAMS.keys() & (dag_kwargs.get("params") or {}).keys():
        raise ExperimentError(
            f"params: {name!r} is a parameter of diurnal's; it {_PARAMS[name]}", hint="rename your parameter"
        )
    tags = dag_kwargs.get("tags")
    if isinstance(tags, str):
        raise ExperimentError(f"tags={tags!r} is a string; Airflow takes a list", hint=f"write tags=[{tags!r}]")
    for name in ("schedule", "start_date"):
        if name in dag_kwargs:
            raise ExperimentError(
                f"{name} defines the data intervals, so it belongs to the experiment, not to its Dag",
                hint=f"write @experiment({name}=...) in {experiment.location}",
            )


def declared_dag_kwargs(experiment: Experiment, dag_id: str) -> dict[str, Any]:
    """Return what an experiment declares, as arguments of Airflow's ``DAG``."""
    has_fixed_period = isinstance(experiment.schedule, timedelta)
    return {
        "schedule": _make_timetable(experiment),
        "start_date": experiment.start_date or (_EPOCH if has_fixed_period else None),
        "catchup": experiment.catchup,
        "max_active_runs": experiment.max_active_runs,
        "tags": ["diurnal", *experiment.tags],
        "description": experiment.description.partition("\n")[0],
        "doc_md": dag_documentation(experiment, dag_id),
        "params": {
            "batch": Param(None, type=["null", "string"], description="Batch of the run: a date such as 2026-11-23."),
            "force": Param(False, type="boolean", description="Run again even if a result exists."),
        },
    }


def _make_timetable(experiment: Experiment) -> Any:
    """Return the timetable of a schedule: runs start at the end of their data interval, or `label_delay` after it.

    A cron expression is passed as a timetable of data intervals: in Airflow 3 the bare string would mean a moment
    without an interval.
    """
    schedule = experiment.schedule
    if schedule is not None and experiment.label_delay:
        return _make_delayed_timetable(experiment, schedule)
    if isinstance(schedule, str):
        return CronDataIntervalTimetable(PRESETS.get(schedule, schedule), timezone=experiment.timezone)
    return None if schedule is None else DeltaDataIntervalTimetable(schedule)


def _make_delayed_timetable(experiment: Experiment, schedule: str | timedelta) -> Any:
    from diurnal.airflow.delayed_timetables import DelayedCronTimetable, DelayedDeltaTimetable

    if isinstance(schedule, str):
        return DelayedCronTimetable(PRESETS.get(schedule, schedule), experiment.timezone, experiment.label_delay)
    return DelayedDeltaTimetable(schedule, experiment.label_delay)


def merge_dag_kwargs(declared: Mapping[str, Any], dag_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``DAG``: `dag_kwargs` override the declared ones; `tags` and `params` are merged."""
    tags = [*declared["tags"], *(dag_kwargs.get("tags") or ())]
    params = {**declared["params"], **(dag_kwargs.get("params") or {})}
    return {**declared, **dag_kwargs, "tags": list(dict.fromkeys(tags)), "params": params}
