"""The Dag of an experiment: the steps of :mod:`diurnal.pipeline.flow` as Airflow tasks."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, TaskGroup
from airflow.sdk.definitions._internal.contextmanager import DagContext

from diurnal.airflow import assets
from diurnal.airflow.champion_dag import build_champion_dag
from diurnal.airflow.dag_arguments import declared_dag_kwargs, merge_dag_kwargs, validate_dag_arguments
from diurnal.airflow.operators import (
    PrepareStorageOperator,
    ScoreShardOperator,
    SplitSearchOperator,
    StepOperator,
    log_error_last,
)
from diurnal.airflow.step_docs import STEP_DOCS
from diurnal.airflow.task_defaults import CALLBACKS, as_list, task_default_args
from diurnal.experiment import Experiment, find
from diurnal.pipeline import flow
from diurnal.runtime import Settings

_PREPARE = ("prepare", "Split the batch, and copy it to the warehouse at the same time.")
_AFTER = ("after_tuning", "Record the result, and fit the best candidate on all rows at the same time.")
_TUNING = ("tuning", "Split the search into shards, and score each in a task of its own.")
_GROUPS = {"split": _PREPARE, "save_batch": _PREPARE, "tune": _TUNING, "record": _AFTER, "refit": _AFTER}
_SHARD_TASKS = ("cut_shards", "score_shard")

StepKwargs = Mapping[str, Mapping[str, Any]]


def build_dag(
    experiment: Experiment | str,
    *,
    dag_id: str | None = None,
    step_kwargs: StepKwargs | None = None,
    default_args: Mapping[str, Any] | None = None,
    spark_submit: Mapping[str, Any] | None = None,
    dag_file: str | Path | None = None,
    **dag_kwargs: Any,
) -> DAG:
    """Return the Dag of an experiment.

    Its tasks are ``storage`` and the steps of the pipeline. Schedule, start date, catchup, retries, active runs, tags
    and owner are those that the experiment declares; its docstring is the first part of the Dag's documentation.

    It also creates the Dag ``<dag_id>.champion``, for promotion and rollback by hand, and with ``promotion="approve"``
    the Dag ``<dag_id>.approval``, which asks a person. Airflow finds both without further code.

    Parameters
    ----------
    experiment : Experiment or str
        The experiment, or a reference to it (``"breast_cancer"``, ``"experiments/churn.py:churn"``), which is looked
        up in the project of the Dag file.
    dag_id : str, optional
        The experiment's name by default.
    step_kwargs : Mapping of str to Mapping, optional
        Airflow's arguments of single tasks, by step: ``{"tune": {"pool": "large", "executor_config": ...}}``.
    default_args : Mapping, optional
        Airflow's arguments of all tasks, such as ``pool``, ``queue``, ``executor`` or ``execution_timeout``.
    spark_submit : Mapping, optional
        For a Spark experiment: its four Spark steps are submitted by Airflow's SparkSubmitOperator with these
        arguments, such as ``{"deploy_mode": "cluster", "driver_memory": "4g"}``. None: each task is itself the driver.
    dag_file : str or Path, optional
        A file of the project that a reference is looked up in. By default, the Dag file that Airflow imports; outside
        of Airflow, the script that runs.
    **dag_kwargs
        Any other argument of Airflow's ``DAG``, such as ``access_control`` or ``dagrun_timeout``. They override what
        the experiment declares, except its schedule and start date, which define the data intervals. `tags` and
        `params` are added to the experiment's own.

    Returns
    -------
    airflow.sdk.DAG

    Raises
    ------
    ExperimentError
        If the experiment or an argument is not valid: Airflow shows it as the import error of the file.
    ConfigurationError
        If `spark_submit` is given and Airflow's provider for Spark is not installed.
    NotFoundError
        If there is no such experiment.
    """
    if "per_step" in dag_kwargs:
        step_kwargs = dag_kwargs.pop("per_step")
        warnings.warn("build_dag(per_step=) is deprecated; use step_kwargs=", DeprecationWarning, stacklevel=2)
    step_kwargs = step_kwargs or {}
    if isinstance(experiment, str):
        experiment = find_in_project(experiment, dag_file or current_dag_file())
    is_submitted = spark_submit is not None
    validate_dag_arguments(experiment, step_kwargs, dag_kwargs, _task_ids(experiment, is_submitted=is_submitted))
    operators: dict[str, Callable[..., StepOperator]] = {}
    if spark_submit is not None:
        from diurnal.airflow.spark_submit import SPARK_STEPS, submit_operator_factory

        operators = dict.fromkeys(SPARK_STEPS, submit_operator_factory(experiment.name, spark_submit))
    dag_id = dag_id or experiment.name
    kwargs = merge_dag_kwargs(declared_dag_kwargs(experiment, dag_id), dag_kwargs)
    with DAG(dag_id, default_args=task_default_args(experiment, default_args or {}), **kwargs) as dag:
        _build_tasks(experiment, step_kwargs, operators)
    _build_decision_dags(experiment, dag, default_args or {})
    return dag


def find_in_project(reference: str, dag_file: str | Path | None) -> Experiment:
    """Return an experiment of the project of a Dag file; without one, of the project of the working directory."""
    folder = None if dag_file is None else Path(dag_file).parent
    return find(reference, Settings.load(relative_to=folder).experiments)


def current_dag_file() -> str | None:
    """Return the Dag file that Airflow imports at present, else the script that runs; None in an interactive session.

    Airflow imports each Dag file as a module, and keeps the name of that module to register the Dags of the file.
    """
    module = sys.modules.get(DagContext.current_autoregister_module_name or "__main__")
    return getattr(module, "__file__", None)


def _task_ids(experiment: object, *, is_submitted: bool) -> list[str]:
    has_shards = not is_submitted and getattr(experiment, "n_tuning_shards", 1) > 1
    return ["storage", *flow.step_names(), *(_SHARD_TASKS if has_shards else ())]


def _build_decision_dags(experiment: Experiment, dag: DAG, default_args: Mapping[str, Any]) -> None:
    """Build the Dags by which a person decides: on each new version with ``promotion="approve"``, and at any time."""
    approval_dag_id = f"{dag.dag_id}.approval" if experiment.promotion == "approve" else None
    if approval_dag_id is not None:
        from diurnal.airflow.approval_dag import build_approval_dag  # only here, as it imports Airflow's HITL operators

        build_approval_dag(experiment, dag_id=approval_dag_id)
    build_champion_dag(
        experiment,
        dag_id=f"{dag.dag_id}.champion",
        approval_dag_id=approval_dag_id,
        tags=sorted(dag.tags),
        access_control=dag.access_control,
        default_args=task_default_args(experiment, default_args),
    )


def _build_tasks(
    experiment: Experiment, step_kwargs: StepKwargs, operators: Mapping[str, Callable[..., StepOperator]]
) -> None:
    """Create a task for each step of the pipeline, with its own operator if it has one; ``storage`` runs first."""
    groups: dict[str, TaskGroup] = {}
    has_shards = experiment.n_tuning_shards > 1 and "tune" not in operators
    storage = PrepareStorageOperator(**_task_kwargs("storage", step_kwargs, experiment=experiment))

    def add_step(name: str, *inputs: Any) -> Any:
        with _task_group(name, has_shards, groups):
            if name == "tune" and has_shards:
                inputs = (*inputs, _expand_shards(experiment, inputs[0], step_kwargs))
            kwargs = _task_kwargs(
                name,
                step_kwargs,
                experiment=experiment,
                step=name,
                inputs=inputs,
                inlets=assets.step_inlets(experiment.name, name),
                outlets=assets.step_outlets(experiment.name, name),
            )
            task = operators.get(name, StepOperator)(**kwargs)
        if not inputs:
            storage.set_downstream(task)
        return task.output

    flow.define_flow(add_step)


def _task_kwargs(step: str, step_kwargs: StepKwargs, /, **declared: Any) -> dict[str, Any]:
    """Return the arguments of a task: `step_kwargs` override ours; assets and callbacks are added to ours."""
    overrides = step_kwargs.get(step, {})
    shared = [name for name in ("inlets", "outlets") if name in overrides]
    merged = {name: [*declared.get(name, ()), *as_list(overrides[name])] for name in shared}
    callbacks = {name: [*as_list(overrides[name]), log_error_last] for name in CALLBACKS if name in overrides}
    return {"task_id": step, "doc_md": STEP_DOCS[step], **declared, **overrides, **merged, **callbacks}


def _expand_shards(experiment: Experiment, samples: Any, step_kwargs: StepKwargs) -> Any:
    """Add a task that splits the search, and a mapped task for each shard; return the scores, an input of `tune`."""
    kwargs = {"experiment": experiment, "inputs": [samples]}
    split = SplitSearchOperator(**_task_kwargs("cut_shards", step_kwargs, **kwargs, step="cut_shards"))
    kwargs = _task_kwargs("score_shard", step_kwargs, **kwargs, step="score_shard")
    scores = ScoreShardOperator.partial(map_index_template="{{ label }}", **kwargs).expand(shard=split.output)
    return scores.output


def _task_group(step: str, has_shards: bool, groups: dict[str, TaskGroup]) -> AbstractContextManager[Any]:
    """Return the task group of a step; the name of the group is not part of the task id."""
    if step not in _GROUPS or (step == "tune" and not has_shards):
        return nullcontext()
    name, tooltip = _GROUPS[step]
    if name not in groups:
        groups[name] = TaskGroup(name, prefix_group_id=False, tooltip=tooltip)
    return groups[name]
