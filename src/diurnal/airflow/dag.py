"""From an experiment to a Dag: the sentence of :mod:`diurnal.pipeline.flow`, told in Airflow's tasks."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from airflow.sdk import (
    DAG,
    CronDataIntervalTimetable,
    DeltaDataIntervalTimetable,
    ExceptionRetryPolicy,
    Param,
    RetryAction,
    RetryRule,
    TaskGroup,
)

from diurnal.airflow import assets
from diurnal.airflow.dag_docs import doc_of
from diurnal.airflow.operators import CutShards, Promote, ScoreShard, Step, Storage, last_word
from diurnal.errors import ExperimentError, did_you_mean
from diurnal.experiment import Experiment, find
from diurnal.pipeline import flow
from diurnal.runtime import Settings
from diurnal.types.schedule import PRESETS

_PREPARE = ("prepare", "The batch is cut into train and test, and copied to the warehouse beside.")
_AFTER = ("after_tuning", "The result is recorded, and the winner is fitted on all rows beside.")
_TUNING = ("tuning", "The search is cut into shards, each scored by a task of its own.")
_GROUPS = {"split": _PREPARE, "save_batch": _PREPARE, "tune": _TUNING, "record": _AFTER, "refit": _AFTER}
_SHARDS = ("cut_shards", "score_shard")
# What no other try will mend. By their names: whatever else goes wrong is tried again.
_FINAL = (
    "BatchRejectedError",
    "CodeChangedError",
    "ConfigurationError",
    "ExperimentError",
    "InvalidModelError",
    "PermissionDeniedError",
    "CorruptPackageError",
    "UsageError",
)
_PARAMS = {"batch": "which batch a run is about", "force": "whether a run makes one more result"}
_CALLBACKS = ("on_failure_callback", "on_retry_callback")
_OURS = ("task_id", "experiment", "step", "given", "shard")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def build_dag(
    experiment: Experiment | str,
    *,
    dag_id: str | None = None,
    per_step: Mapping[str, Mapping[str, Any]] | None = None,
    default_args: Mapping[str, Any] | None = None,
    spark_submit: Mapping[str, Any] | None = None,
    **dag_kwargs: Any,
) -> DAG:
    """Make the Dag of an experiment.

    Its tasks are ``storage`` and the steps of the day. Schedule, start date, catchup, retries, active runs, tags and
    owner are as the experiment declares them; its docstring begins the Dag's documentation. Beside it there is
    ``<dag_id>.champion``, by which a person promotes a version or rolls back, and with ``promotion="approve"``
    ``<dag_id>.approval``, which asks a person. Airflow finds them by itself.

    Parameters
    ----------
    experiment : Experiment or str
        The experiment, or a reference to it (``"breast_cancer"``, ``"experiments/churn.py:churn"``), which is looked
        for in the project that the Dag file lies in.
    dag_id : str, optional
        The experiment's name unless given.
    per_step : Mapping of str to Mapping, optional
        Airflow's arguments of single tasks, by step: ``{"tune": {"pool": "large", "executor_config": ...}}``.
    default_args : Mapping, optional
        Airflow's arguments of all tasks, such as ``pool``, ``queue``, ``executor`` or ``execution_timeout``.
    spark_submit : Mapping, optional
        For an experiment of Spark: its four steps that need Spark are submitted, by Airflow's SparkSubmitOperator with
        these of its arguments, such as ``{"deploy_mode": "cluster", "driver_memory": "4g"}``. None: each task is itself
        the driver.
    **dag_kwargs
        Any other argument of Airflow's ``DAG``, such as ``access_control`` or ``dagrun_timeout``; they win over what
        the experiment declares, but for its schedule and start date: these say which batches there are. `tags` and
        `params` are added to the experiment's own.

    Returns
    -------
    airflow.sdk.DAG

    Raises
    ------
    ExperimentError
        If the experiment is broken, or an argument is not allowed: Airflow shows it as the file's import error.
    ConfigurationError
        If steps shall be submitted and Airflow's provider for Spark is not installed.
    NotFoundError
        If there is no such experiment.
    """
    if isinstance(experiment, str):
        experiment = _named(experiment, sys._getframe(1).f_code.co_filename)
    _check(experiment, per_step or {}, dag_kwargs, cuts=spark_submit is None)
    kinds: dict[str, Callable[..., Step]] = {"promote": Promote}
    if spark_submit is not None:
        from diurnal.airflow.spark_submit import STEPS, submitted

        kinds |= dict.fromkeys(STEPS, submitted(experiment.name, spark_submit))
    made: dict[str, Any] = {
        "default_args": words_for_tasks(experiment, default_args or {}),
        **_merged(_for_dag(experiment, dag_id or experiment.name), dag_kwargs),
    }
    with DAG(dag_id or experiment.name, **made) as dag:
        _tell(experiment, per_step or {}, kinds)
    _beside(experiment, dag, default_args or {})
    return dag


def _beside(experiment: Experiment, dag: DAG, default_args: Mapping[str, Any]) -> None:
    """Make the Dags by which people decide: of each promotion where the policy says so, and of any by hand."""
    from diurnal.airflow.champion_dag import build_champion_dag

    asks = f"{dag.dag_id}.approval" if experiment.promotion == "approve" else None
    if asks is not None:
        from diurnal.airflow.approval_dag import build_approval_dag

        build_approval_dag(experiment, dag_id=asks)
    build_champion_dag(
        experiment,
        dag_id=f"{dag.dag_id}.champion",
        asks=asks,
        tags=sorted(dag.tags),
        access_control=dag.access_control,
        default_args=words_for_tasks(experiment, default_args),
    )


def _named(reference: str, dag_file: str) -> Experiment:
    """Find the experiment in the project of a Dag file."""
    return find(reference, Settings.load(beside=Path(dag_file).parent).experiments)


def _check(experiment: object, per_step: Mapping[str, Any], words: Mapping[str, Any], *, cuts: bool) -> None:
    if not isinstance(experiment, Experiment):
        raise ExperimentError(
            f"build_dag takes an experiment or the name of one, not a {type(experiment).__name__}",
            hint="put @experiment(...) above the function, and give build_dag the function",
        )
    known = ["storage", *flow.names(), *(_SHARDS if cuts and experiment.n_tuning_shards > 1 else ())]
    for name in per_step:
        if name not in known:
            raise ExperimentError(
                f"there is no step {name!r}{did_you_mean(name, known)}", hint=f"the steps are {', '.join(known)}"
            ).add_location(f"the Dag of {experiment.name}")
        if taken := [word for word in _OURS if word in per_step[name]]:
            raise ExperimentError(
                f"per_step of {name} has {taken[0]!r}, which the step says itself", hint="leave it out"
            ).add_location(f"the Dag of {experiment.name}")
    for name in _PARAMS.keys() & (words.get("params") or {}).keys():
        raise ExperimentError(
            f"params has {name!r}, which says {_PARAMS[name]}", hint="give your parameter another name"
        ).add_location(f"the Dag of {experiment.name}")
    if isinstance(words.get("tags"), str):
        raise ExperimentError(
            f"tags={words['tags']!r} is a text; Airflow takes a list of them", hint=f"write tags=[{words['tags']!r}]"
        ).add_location(f"the Dag of {experiment.name}")
    for name in ("schedule", "start_date"):
        if name in words:
            raise ExperimentError(
                f"{name} says which batches there are, so it belongs to the experiment, not to its Dag",
                hint=f"write @experiment({name}=...) in {experiment.place}",
            ).add_location(f"the Dag of {experiment.name}")


def _for_dag(experiment: Experiment, dag_id: str) -> dict[str, Any]:
    """Say in Airflow's words for a Dag what the experiment declares."""
    schedule = experiment.schedule
    timetable: Any = None
    if isinstance(schedule, str):
        # explicit, as a bare cron expression means a moment in Airflow 3, and we mean the interval that has ended
        timetable = CronDataIntervalTimetable(PRESETS.get(schedule, schedule), timezone=experiment.timezone)
    elif schedule is not None:
        timetable = DeltaDataIntervalTimetable(schedule)
    counted = isinstance(schedule, timedelta)
    return {
        "schedule": timetable,
        "start_date": experiment.start_date or (_EPOCH if counted else None),
        "catchup": experiment.catchup,
        "max_active_runs": experiment.max_active_runs,
        "tags": ["diurnal", *experiment.tags],
        "description": experiment.description.partition("\n")[0],
        "doc_md": doc_of(experiment, dag_id),
        "params": {
            "batch": Param(None, type=["null", "string"], description="Which batch: a date such as 2026-11-23."),
            "force": Param(False, type="boolean", description="Make one more result even where there is one."),
        },
    }


def _merged(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Give the words of a Dag: theirs, with our tags and params beside their own."""
    tags = [*ours["tags"], *(theirs.get("tags") or ())]
    return {
        **ours,
        **theirs,
        "tags": list(dict.fromkeys(tags)),
        "params": {**ours["params"], **(theirs.get("params") or {})},
    }


def words_for_tasks(experiment: Experiment, default_args: Mapping[str, Any]) -> dict[str, Any]:
    """Say in Airflow's words for tasks what holds for all of them."""
    ours = {
        "owner": experiment.owner,
        "retries": experiment.retries,
        "retry_delay": timedelta(seconds=60),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(minutes=15),
        "retry_policy": ExceptionRetryPolicy(
            rules=[
                RetryRule(
                    exception=[f"diurnal.errors.{name}" for name in _FINAL],
                    action=RetryAction.FAIL,
                    reason="another try would end the same",
                )
            ]
        ),
    }
    callbacks = {name: [*_listed(default_args.get(name)), last_word] for name in _CALLBACKS}
    return {**ours, **default_args, **callbacks}


def _tell(
    experiment: Experiment, per_step: Mapping[str, Mapping[str, Any]], kinds: Mapping[str, Callable[..., Step]]
) -> None:
    """Tell the sentence: each step is a task, of its own kind if it has one, and storage comes first."""
    groups: dict[str, TaskGroup] = {}
    docs = _docs_of_steps()
    fans_out = experiment.n_tuning_shards > 1 and "tune" not in kinds
    storage = Storage(**_words("storage", per_step, experiment=experiment, doc_md=inspect.getdoc(Storage)))

    def step(name: str, *given: Any) -> Any:
        with _group(name, fans_out, groups):
            if name == "tune" and fans_out:
                given = (*given, _fan_out(experiment, given[0], per_step))
            words = _words(
                name,
                per_step,
                experiment=experiment,
                step=name,
                given=given,
                inlets=assets.inlets(experiment.name, name),
                outlets=assets.outlets(experiment.name, name),
                doc_md=docs[name],
            )
            made = kinds.get(name, Step)(**words)
        if not given:
            storage.set_downstream(made)
        return made.output

    flow.flow(step)


def _words(step: str, per_step: Mapping[str, Mapping[str, Any]], /, **ours: Any) -> dict[str, Any]:
    """Give the words of a task: those of `per_step` win, and their assets and callbacks come beside ours."""
    theirs = per_step.get(step, {})
    together = {name: [*ours.get(name, ()), *_listed(theirs[name])] for name in ("inlets", "outlets") if name in theirs}
    callbacks = {name: [*_listed(theirs[name]), last_word] for name in _CALLBACKS if name in theirs}
    return {"task_id": step, **ours, **theirs, **together, **callbacks}


def _listed(given: Any) -> list[Any]:
    return list(given) if isinstance(given, (list, tuple)) else [given] if given else []


@cache
def _docs_of_steps() -> dict[str, str]:
    """Read what the steps say of themselves off their file: to import it would cost every parse more than all else."""
    text = (Path(flow.__file__).parent / "steps.py").read_text(encoding="utf-8")
    found = re.findall(r'^def ([a-z]\w*)\(.*?\) -> [^\n]*:\n    """(.*?)"""', text, re.DOTALL | re.MULTILINE)
    return {name: inspect.cleandoc(doc) for name, doc in found}


def _fan_out(experiment: Experiment, samples: Any, per_step: Mapping[str, Mapping[str, Any]]) -> Any:
    """Cut the search into shards and score each in a task of its own; gives what `tune` puts together."""
    ours = {"experiment": experiment, "given": [samples]}
    cut = CutShards(
        **_words("cut_shards", per_step, **ours, step="cut_shards", doc_md=inspect.getdoc(CutShards)),
    )
    words = _words("score_shard", per_step, **ours, step="score_shard", doc_md=inspect.getdoc(ScoreShard))
    scored = ScoreShard.partial(map_index_template="{{ label }}", **words).expand(shard=cut.output)
    return scored.output


def _group(step: str, fans_out: bool, groups: dict[str, TaskGroup]) -> AbstractContextManager[Any]:
    """Give the task group that a step belongs to; its name is no part of the step's."""
    if step not in _GROUPS or (step == "tune" and not fans_out):
        return nullcontext()
    name, tooltip = _GROUPS[step]
    if name not in groups:
        groups[name] = TaskGroup(name, prefix_group_id=False, tooltip=tooltip)
    return groups[name]
