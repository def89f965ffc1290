"""What Airflow's metastore stores about Dags of experiments: which Dag is whose, its runs and their results.

Only the API server imports this module, as only it has access to the metastore. A Dag has the batch of its experiment
as the outlet of its task `fetch`, whatever its own name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from airflow.api.common.trigger_dag import trigger_dag
from airflow.models.asset import AssetEvent, AssetModel, TaskOutletAssetReference
from airflow.models.connection import Connection
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from airflow.utils.types import DagRunTriggeredByType
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from diurnal.errors import TransientError, UsageError

_URI = "x-diurnal://"
_DECISION_DAGS = (".approval", ".champion")
_UNREMARKABLE = ("success", "skipped", "removed", "upstream_failed", None)
_RESULTS = ("fetch", "candidate", "change")  # the tasks whose results name a run or a version


@dataclass(frozen=True)
class DagRunRecord:
    """A run of a Dag.

    Attributes
    ----------
    dag_id, run_id : str
        The ids in Airflow.
    state : str
        Airflow's state of the run.
    queued_at : datetime or None
        When the run was requested, or was cleared for the last time.
    tasks : tuple of (str, str)
        Tasks that run, wait or have failed, with their states.
    results : dict
        The results of the tasks that name a run or a version.
    """

    dag_id: str
    run_id: str
    state: str
    queued_at: datetime | None
    tasks: tuple[tuple[str, str], ...] = ()
    results: dict[str, Any] = field(default_factory=dict)

    @property
    def experiment_run(self) -> str | None:
        """The id of the experiment's run; None before the end of `fetch`."""
        run_id: str | None = _value_at(self.results, "fetch", "run", "run_id")
        return run_id

    @property
    def version(self) -> int | None:
        """The model version that a run of the approval Dag or of the champion Dag is about."""
        found = (_value_at(self.results, task, "version") for task in ("change", "candidate"))
        return next((version for version in found if version is not None), None)

    @property
    def is_active(self) -> bool:
        """Whether the run goes on."""
        return self.state in ("queued", "running")


def dags_by_experiment() -> dict[str, frozenset[str]]:
    """Return the ids of the Dags of each experiment; most have one."""
    query = (
        sa.select(AssetModel.uri, TaskOutletAssetReference.dag_id)
        .join(TaskOutletAssetReference, TaskOutletAssetReference.asset_id == AssetModel.id)
        .where(AssetModel.uri.like(f"{_URI}%/batch"), TaskOutletAssetReference.task_id == "fetch")
    )
    found: dict[str, set[str]] = defaultdict(set)
    with _open_session() as session:
        for uri, dag_id in session.execute(query):
            found[uri.removeprefix(_URI).removesuffix("/batch")].add(dag_id)
    return {experiment: frozenset(dag_ids) for experiment, dag_ids in found.items()}


def experiment_of(dag_id: str, dags: Mapping[str, frozenset[str]]) -> str | None:
    """Return the experiment of a Dag, also of one by which a person decides; None if it is the Dag of none.

    Examples
    --------
    >>> experiment_of("risk.champion", {"churn": frozenset({"risk"})})
    'churn'
    """
    names = {dag_id, *(dag_id.removesuffix(ending) for ending in _DECISION_DAGS)}
    return next((experiment for experiment, dag_ids in dags.items() if dag_ids & names), None)


def find_dag_run(dag_id: str, run_id: str) -> DagRunRecord | None:
    """Return a run of a Dag; None if there is no such run."""
    with _open_session() as session:
        row = session.execute(
            sa.select(DagRun._state, DagRun.queued_at).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        ).one_or_none()
        if row is None:
            return None
        tasks = session.execute(
            sa.select(TaskInstance.task_id, TaskInstance.state)
            .where(TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id)
            .order_by(TaskInstance.start_date.nulls_last(), TaskInstance.task_id, TaskInstance.map_index)
        ).all()
        states = {(task_id, str(state)): None for task_id, state in tasks if state not in _UNREMARKABLE}
        values = XComModel.get_many(run_id=run_id, key="return_value", dag_ids=dag_id, task_ids=_RESULTS)
        results: Any = session.scalars(values).all()
        return DagRunRecord(
            dag_id,
            run_id,
            str(row[0]),
            row[1],
            tuple(states),  # mapped tasks of equal states are one line
            {result.task_id: XComModel.deserialize_value(result) for result in results},
        )


def dag_run_of(experiment: str, run_id: str) -> tuple[str, str] | None:
    """Return the ids of the Dag and of its run that has stored the batch of an experiment's run.

    None if the run was not made by Airflow, or if Airflow has deleted the event of the batch.
    """
    query = (
        sa.select(AssetEvent.source_dag_id, AssetEvent.source_run_id)
        .join(AssetModel, AssetModel.id == AssetEvent.asset_id)
        .where(
            AssetModel.uri == f"{_URI}{experiment}/batch",
            AssetEvent.source_run_id.is_not(None),
            AssetEvent.extra["run_id"].as_string() == run_id,
        )
        .order_by(AssetEvent.id.desc())
        .limit(1)
    )
    with _open_session() as session:
        row = session.execute(query).one_or_none()
    return None if row is None else (str(row[0]), str(row[1]))


def find_connection(connection: str) -> Connection | None:
    """Return a connection of Airflow; None if Airflow certainly does not have it.

    Airflow passes over a metastore that does not respond; that must not pass for None, as another warehouse would be
    shown.
    """
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        return Connection.get_connection_from_secrets(connection)
    except AirflowNotFoundException:
        with _open_session() as session:
            session.execute(sa.select(Connection.conn_id).where(Connection.conn_id == connection))
        return None


def trigger_champion_dag(dag_id: str, user: str, conf: dict[str, Any]) -> str:
    """Trigger a run of the Dag for promotion and rollback by hand, in the name of a user; return the id of the run."""
    with _open_session() as session:
        dag = session.get(DagModel, dag_id)
        if dag is None or dag.is_stale:
            raise UsageError(
                f"Airflow has no Dag {dag_id}, by which it changes the champion", hint="check the import errors of Dags"
            )
        if dag.is_paused:
            raise UsageError(f"the Dag {dag_id} is paused: unpause it in Airflow, then repeat the change")
        run = trigger_dag(
            dag_id, triggered_by=DagRunTriggeredByType.UI, triggering_user_name=user, conf=conf, session=session
        )
        return str(run.run_id) if run else ""


@contextmanager
def _open_session() -> Iterator[Session]:
    try:
        with create_session(scoped=False) as session:
            yield session
    except SQLAlchemyError as error:
        raise TransientError(f"Airflow's metastore does not respond: {type(error).__name__}") from error


def _value_at(values: Any, *keys: str) -> Any:
    """Return a value of nested dictionaries; None if there is none."""
    for key in keys:
        values = values.get(key) if isinstance(values, dict) else None
    return values
