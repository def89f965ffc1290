"""The scoring Dag: predicts a batch, and loads the predictions into the warehouse, as `diurnal score` does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Param

from diurnal.airflow import assets
from diurnal.airflow.connections import open_stores_for_file
from diurnal.airflow.dag import current_dag_file, find_in_project
from diurnal.airflow.operators import ExperimentOperator
from diurnal.airflow.task_defaults import task_default_args
from diurnal.experiment import Experiment
from diurnal.types import DataInterval

_DOC = """Predicts a batch of **{name}** with its champion, and loads the predictions into the view
`predictions_{name}` of the warehouse, as `diurnal score` does.

The batch is that of `batch` in the configuration (`{{"batch": "2026-11-23"}}`), else of the last data interval that
was complete when the run was due. With the parameter `rescore`, predictions of another version are replaced.
"""


def build_scoring_dag(
    experiment: Experiment | str,
    *,
    dag_id: str | None = None,
    schedule: Any = "champion",
    rescore: bool = False,
    default_args: Mapping[str, Any] | None = None,
    dag_file: str | Path | None = None,
    **dag_kwargs: Any,
) -> DAG:
    """Return a Dag that scores batches of an experiment.

    Parameters
    ----------
    experiment : Experiment or str
        The experiment, or a reference to it, as for :func:`build_dag`.
    dag_id : str, optional
        ``<name>.score`` by default.
    schedule
        As for Airflow's ``DAG``. ``"champion"``: each event of the asset of the champion.
    rescore : bool
        Whether a batch is scored again that another version has predicted.
    default_args : Mapping, optional
        Airflow's arguments of the task.
    dag_file : str or Path, optional
        A file of the project that a reference is looked up in. By default, the Dag file that Airflow imports.
    **dag_kwargs
        Any other argument of Airflow's ``DAG``.

    Returns
    -------
    airflow.sdk.DAG

    Raises
    ------
    NotFoundError
        If there is no such experiment.
    """
    if isinstance(experiment, str):
        experiment = find_in_project(experiment, dag_file or current_dag_file())
    defaults: dict[str, Any] = {
        "schedule": [assets.champion(experiment.name)] if schedule == "champion" else schedule,
        "catchup": False,
        "max_active_runs": 1,
        "description": f"Predicts batches of {experiment.name}.",
        "doc_md": _DOC.format(name=experiment.name),
        "params": {
            "rescore": Param(rescore, type="boolean", description="Replace the predictions of another version."),
            "version": Param(None, type=["null", "integer"], minimum=1, description="Empty: the champion."),
        },
    }
    tags = list(dict.fromkeys(["diurnal", *(dag_kwargs.pop("tags", None) or ())]))
    arguments = task_default_args(experiment, default_args or {})
    with DAG(dag_id or f"{experiment.name}.score", default_args=arguments, tags=tags, **defaults | dag_kwargs) as dag:
        ScoreOperator(task_id="score", experiment=experiment, inlets=[assets.champion(experiment.name)])
    return dag


class ScoreOperator(ExperimentOperator):
    """Predict a batch, and load the predictions; the result is an XCom."""

    def run_task(self, context: Any) -> dict[str, Any]:
        """Score the batch of the run."""
        from diurnal.experiment.run_context import RunContext
        from diurnal.pipeline.scored_batches import score_batch

        run, params = context["dag_run"], context["params"]
        interval = scored_interval(self.experiment, run)
        with open_stores_for_file(self.experiment.file) as stores:
            scoring = RunContext(self.experiment, interval, stores, requested_by=f"Airflow {run.run_id}")
            result = score_batch(scoring, version=params.get("version"), rescore=params.get("rescore", False))
        self.log.info(f"{interval}: {result.n_rows} predictions by version {result.version} ({result.state})")
        times = {name: getattr(result, name).isoformat() for name in ("data_interval_start", "data_interval_end")}
        return asdict(result) | times


def scored_interval(experiment: Experiment, dag_run: Any) -> DataInterval:
    """Return the data interval that a Dag run scores; it does not depend on the clock.

    Parameters
    ----------
    experiment : Experiment
        Its schedule defines the data intervals.
    dag_run : DagRun
        Airflow's. A run of an asset has no data interval of its own: the last one counts that was complete when it was
        due.
    """
    batch = (dag_run.conf or {}).get("batch")
    if batch is not None:
        return experiment.calendar.interval_on(str(batch))
    return experiment.calendar.last_complete_interval(dag_run.data_interval_end or dag_run.run_after)
