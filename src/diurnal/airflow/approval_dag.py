"""The approval Dag: asks a person whether a new model version becomes the champion.

It is a Dag of its own, triggered by the event of each new model version, so that the next run never waits for a person:
an open question in the experiment's Dag would occupy one of its active runs.
"""

from __future__ import annotations

import warnings
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, Param, PartitionedAssetTimetable

from diurnal.airflow import assets, open_questions
from diurnal.airflow.approval_question import question_body, question_subject
from diurnal.airflow.connections import open_stores_for_file
from diurnal.airflow.extra_links import ChampionLink
from diurnal.airflow.operators import ExperimentOperator
from diurnal.airflow.task_defaults import task_default_args
from diurnal.errors import UsageError
from diurnal.experiment import Experiment
from diurnal.types import DataInterval, ModelVersion

if TYPE_CHECKING:
    from diurnal.storage.stores import Stores

_TIMEOUT = timedelta(days=7)
_DOC = """A person decides whether the newest version of **{name}** becomes the champion.

The question is shown under *Required Actions*, on the page of the run and on Airflow's home page. The table
`promotions` stores the answer, the user and the time. At most one question is open, about the newest version: a newer
version withdraws the question about an older one, and so does a promotion that leaves it without effect.
"""


def build_approval_dag(
    experiment: Experiment,
    *,
    dag_id: str | None = None,
    response_timeout: timedelta | None = _TIMEOUT,
    answer_within: timedelta | None = _TIMEOUT,
) -> DAG:
    """Return the Dag that asks a person; :func:`diurnal.airflow.build_dag` calls it for ``promotion="approve"``.

    Parameters
    ----------
    experiment : Experiment
        The experiment.
    dag_id : str, optional
        ``<experiment>.approval`` by default.
    response_timeout : timedelta, optional
        How long the question stays open; then the answer is no. None: without limit.
    answer_within : timedelta, optional
        Deprecated; the former name of `response_timeout`.

    Returns
    -------
    airflow.sdk.DAG
    """
    name = experiment.name
    if answer_within is not _TIMEOUT:
        response_timeout = answer_within
        warnings.warn("answer_within= is deprecated; use response_timeout=", DeprecationWarning, stacklevel=2)
    with DAG(
        dag_id or f"{name}.approval",
        schedule=PartitionedAssetTimetable(assets=assets.model(name)),
        max_active_runs=16,
        tags=["diurnal", *experiment.tags],
        description=f"Asks a person whether a new version of {name} becomes the champion.",
        doc_md=_DOC.format(name=name),
        params={"version": Param(None, type=["null", "integer"], description="Ask about this model version.")},
        default_args=task_default_args(experiment, {}),
    ) as dag:
        question = ApprovalQuestionOperator(task_id=open_questions.CANDIDATE, experiment=experiment)
        approval = ApprovalOperator(
            task_id=open_questions.QUESTION,
            subject="{{ ti.xcom_pull(task_ids='candidate')['subject'] }}",
            body="{{ ti.xcom_pull(task_ids='candidate')['body'] }}",
            response_timeout=response_timeout,
            defaults="Reject" if response_timeout else None,
        )
        promotion = SetChampionOperator(
            task_id="crown",  # a stored name: runs with an open question have it
            experiment=experiment,
            inlets=assets.step_inlets(name, "promote"),
            outlets=assets.step_outlets(name, "promote"),
        )
        question >> approval >> promotion
    return dag


class ApprovalQuestionOperator(ExperimentOperator):
    """Find the version that the run is about, and write the question."""

    def run_task(self, context: Any) -> dict[str, Any]:
        """Write the question, unless there is nothing to ask; questions about older versions are withdrawn."""
        number = _requested_version(self.experiment.name, context)
        with open_stores_for_file(self.experiment.file) as stores:
            version = _load_version(stores, self.experiment, number)
            _skip_if_decided(stores, version)
            is_newest = _is_newest(stores, version, context["dag_run"])
            run = stores.warehouse.run(version.run_id) or {}
        _skip_if_asked(context, number)
        if is_newest:
            open_questions.clear_open_questions(context, self.dag_id, except_version=number)
        links = _run_links(context, self.experiment.name)
        self.log.info(f"asking about version {number} ({version.interval})")
        return {
            "version": number,
            "subject": question_subject(version),
            "body": question_body(version, run, links),
        }


class SetChampionOperator(ExperimentOperator):
    """Make the approved version the champion, in the name of the user who approved it."""

    operator_extra_links = (ChampionLink(),)

    def run_task(self, context: Any) -> dict[str, Any]:
        """Promote the version, unless a newer one was promoted while the question was open."""
        from diurnal.promotion.manual_promotion import set_champion

        name = self.experiment.name
        question = context["ti"].xcom_pull(task_ids=open_questions.CANDIDATE)
        answer = context["ti"].xcom_pull(task_ids=open_questions.QUESTION) or {}
        user = (answer.get("responded_by_user") or {}).get("name") or "unknown Airflow user"
        with open_stores_for_file(self.experiment.file) as stores:
            version = _load_version(stores, self.experiment, question["version"])
            _skip_if_decided(stores, version)
            reason = f"approved in Airflow, run {context['dag_run'].run_id}"
            row = set_champion(stores, name, version.version, requested_by=user, reason=reason)
            assets.emit_champion_event(context, stores.warehouse, self.experiment)
        open_questions.clear_open_questions(context, self.dag_id)
        self.log.info(f"version {version.version} is the champion of {name}, approved by {user}")
        return {"version": version.version, "seq": row["seq"], "by": user}


def _requested_version(experiment: str, context: Any) -> int:
    """Return the version that a run is about: that of its configuration, else that of the event that triggered it."""
    number = (context["dag_run"].conf or {}).get("version")
    origin = "the configuration of this run"
    if number is None:
        number, origin = _triggering_version(experiment, context), f"the event of {assets.model(experiment).name}"
    if isinstance(number, bool) or not isinstance(number, int):
        received = "no model version" if number is None else f"version={number!r}, which is not an integer"
        raise UsageError(
            f"{origin} has {received}",
            hint=f'trigger this Dag with the configuration {{"version": 3}}, or create the event with that as extra; '
            f"`diurnal models {experiment}` lists the versions",
        )
    return number


def _triggering_version(experiment: str, context: Any) -> Any:
    """Return the version in the newest triggering event; an event that was created by hand may have none."""
    events, model = context["triggering_asset_events"], assets.model(experiment)
    if not len(events) or not len(events[model]):
        return None
    return (events[model][-1].extra or {}).get("version")


def _load_version(stores: Stores, experiment: Experiment, number: int) -> ModelVersion:
    row = stores.warehouse.version(experiment.name, number)
    interval = DataInterval(row["data_interval_start"], row["data_interval_end"], experiment.timezone)
    return ModelVersion(experiment.name, number, row["run_id"], interval, row["path"], row["digest"])


def _skip_if_decided(stores: Stores, version: ModelVersion) -> None:
    """Skip the task if the version was promoted already, or if the champion was trained on newer data."""
    from airflow.sdk.exceptions import AirflowSkipException

    champion = stores.warehouse.champion(version.experiment)
    if any(row["version"] == version.version for row in stores.warehouse.promotions(version.experiment)):
        raise AirflowSkipException(f"version {version.version} was promoted already")
    if champion is not None and champion.interval.end > version.interval.end:
        raise AirflowSkipException(
            f"the champion, version {champion.version}, was trained on a newer data interval "
            f"({champion.interval.in_timezone(version.interval.timezone)}) than version {version.version} "
            f"({version.interval}): an older interval never replaces it"
        )


def _is_newest(stores: Stores, version: ModelVersion, dag_run: Any) -> bool:
    """Return whether no version is newer; if one is, skip the task unless a person has asked for this version."""
    from airflow.sdk.exceptions import AirflowSkipException

    newest = stores.warehouse.newest_version(version.experiment)
    if newest is None or newest.version == version.version:
        return True
    if (dag_run.conf or {}).get("version") is None or dag_run.clear_number:
        interval = newest.interval.in_timezone(version.interval.timezone)
        raise AirflowSkipException(
            f"version {newest.version} ({interval}) is newer than version {version.version} ({version.interval}); "
            f'to decide on the older one, trigger this Dag with {{"version": {version.version}}}'
        )
    return False


def _skip_if_asked(context: Any, number: int) -> None:
    """Skip the task if the question is open already: a repeated run emits the event of its version again."""
    from airflow.sdk.exceptions import AirflowSkipException

    for run_id, version in open_questions.find_open_questions(context, context["dag_run"].dag_id).items():
        if version == number:
            raise AirflowSkipException(f"the question about version {number} is open already, in the run {run_id}")


def _run_links(context: Any, experiment: str) -> dict[str, str]:
    """Return the URLs of the runs that the question is about, in Airflow's UI."""
    base = context["ti"].log_url.partition("/dags/")[0]
    links = {"this question's run": f"{base}/dags/{context['dag_run'].dag_id}/runs/{quote(context['dag_run'].run_id)}"}
    events = context["triggering_asset_events"]
    event = events[assets.model(experiment)][-1] if len(events) else None
    if event is not None and event.source_dag_id and event.source_run_id:
        links["the run that published it"] = f"{base}/dags/{event.source_dag_id}/runs/{quote(event.source_run_id)}"
    return links
