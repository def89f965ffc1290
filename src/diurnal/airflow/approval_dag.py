"""A person's word: the Dag that asks whether a new model version shall become the champion.

It is a Dag of its own, triggered by each new model version, so that the next batch never waits for a person: an
open question inside the day's Dag would hold one of its active runs.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, Param, PartitionedAssetTimetable

from diurnal.airflow import approval_question, assets, open_questions
from diurnal.airflow.connections import open_beside
from diurnal.airflow.dag import words_for_tasks
from diurnal.airflow.extra_links import ChampionLink
from diurnal.airflow.operators import ExperimentTask
from diurnal.errors import UsageError
from diurnal.experiment import Experiment
from diurnal.types import DataInterval, ModelVersion

if TYPE_CHECKING:
    from diurnal.storage.stores import Stores

_DOC = """A person decides whether the newest version of **{name}** becomes the champion.

The question waits under *Required Actions*, in the run's page and on Airflow's first one. The answer, who gave it and
when are kept in the table `promotions`. One question is open at most, about the newest version: a newer version
withdraws the question about an older one, and so does a promotion that leaves it without effect.
"""


def build_approval_dag(
    experiment: Experiment, *, dag_id: str | None = None, answer_within: timedelta | None = timedelta(days=7)
) -> DAG:
    """Make the Dag that asks a person; :func:`diurnal.airflow.build_dag` makes it for ``promotion="approve"``.

    Parameters
    ----------
    experiment : Experiment
        Whose champion it is about.
    dag_id : str, optional
        ``<experiment>.approval`` unless given.
    answer_within : timedelta, optional
        How long the question stays open; then the answer is no. None: for ever.

    Returns
    -------
    airflow.sdk.DAG
    """
    with DAG(
        dag_id or f"{experiment.name}.approval",
        schedule=PartitionedAssetTimetable(assets=assets.model(experiment.name)),
        max_active_runs=16,
        tags=["diurnal", *experiment.tags],
        description=f"Asks a person whether a new version of {experiment.name} becomes the champion.",
        doc_md=_DOC.format(name=experiment.name),
        params={"version": Param(None, type=["null", "integer"], description="Ask about this model version.")},
        default_args=words_for_tasks(experiment, {}),
    ) as dag:
        candidate = Candidate(task_id=open_questions.CANDIDATE, experiment=experiment)
        question = ApprovalOperator(
            task_id=open_questions.QUESTION,
            subject="{{ ti.xcom_pull(task_ids='candidate')['subject'] }}",
            body="{{ ti.xcom_pull(task_ids='candidate')['body'] }}",
            response_timeout=answer_within,
            defaults="Reject" if answer_within else None,
        )
        crown = Crown(
            task_id="crown",
            experiment=experiment,
            inlets=assets.inlets(experiment.name, "promote"),
            outlets=assets.outlets(experiment.name, "promote"),
        )
        candidate >> question >> crown
    return dag


class Candidate(ExperimentTask):
    """Finds the version that the run is about, and writes the question."""

    def work(self, context: Any) -> dict[str, Any]:
        """Write the question, unless there is nothing to ask; questions about older versions are withdrawn."""
        number = _number(self.experiment.name, context)
        with open_beside(self.experiment.file) as stores:
            version = _version(stores, self.experiment, number)
            _skip_if_settled(stores, version)
            is_newest = _is_newest(stores, version, context["dag_run"])
            run = stores.warehouse.run(version.run_id) or {}
        _skip_if_asked(context, number)
        if is_newest:
            open_questions.ask_anew(context, self.dag_id, but=number)
        links = _links(context, self.experiment.name)
        self.log.info(f"asking about version {number} ({version.interval})")
        return {
            "version": number,
            "subject": approval_question.subject(version),
            "body": approval_question.body(version, run, links),
        }


class Crown(ExperimentTask):
    """Makes the version the champion, by the word of the person who approved it."""

    operator_extra_links = (ChampionLink(),)

    def work(self, context: Any) -> dict[str, Any]:
        """Promote it, unless a newer one has been promoted while the question was open."""
        name = self.experiment.name
        asked = context["ti"].xcom_pull(task_ids=open_questions.CANDIDATE)
        answer = context["ti"].xcom_pull(task_ids=open_questions.QUESTION) or {}
        by = (answer.get("responded_by_user") or {}).get("name") or "somebody in Airflow"
        with open_beside(self.experiment.file) as stores:
            version = _version(stores, self.experiment, asked["version"])
            _skip_if_settled(stores, version)
            reason = f"approved in Airflow, run {context['dag_run'].run_id}"
            row = stores.warehouse.set_champion(name, version.version, requested_by=by, reason=reason)
            assets.announce_champion(context, stores.warehouse, self.experiment)
        open_questions.ask_anew(context, self.dag_id)
        self.log.info(f"version {version.version} is the champion of {name}, by {by}")
        return {"version": version.version, "seq": row["seq"], "by": by}


def _number(experiment: str, context: Any) -> int:
    """Tell which version a run is about: the one that its configuration names, else the one that triggered it."""
    number = (context["dag_run"].conf or {}).get("version")
    origin = "the configuration of this run"
    if number is None:
        number, origin = _announced(experiment, context), f"the event of the asset {assets.model(experiment).name}"
    if isinstance(number, bool) or not isinstance(number, int):
        said = "no model version" if number is None else f"the model version {number!r}, which is no whole number"
        raise UsageError(
            f"{origin} names {said}",
            hint=f'trigger this Dag with the configuration {{"version": 3}}, or create the event with that as extra; '
            f"`diurnal models {experiment}` lists the versions",
        )
    return number


def _announced(experiment: str, context: Any) -> Any:
    """Give the version that the newest of the triggering events names; an event that was made by hand may name none."""
    events, model = context["triggering_asset_events"], assets.model(experiment)
    if not len(events) or not len(events[model]):
        return None
    return (events[model][-1].extra or {}).get("version")


def _version(stores: Stores, experiment: Experiment, number: int) -> ModelVersion:
    row = stores.warehouse.version(experiment.name, number)
    interval = DataInterval(row["data_interval_start"], row["data_interval_end"], experiment.timezone)
    return ModelVersion(experiment.name, number, row["run_id"], interval, row["path"], row["digest"])


def _skip_if_settled(stores: Stores, version: ModelVersion) -> None:
    """Ask nothing, and change nothing, where a rerun or a slow answer comes after the fact."""
    from airflow.sdk.exceptions import AirflowSkipException

    champion = stores.warehouse.champion(version.experiment)
    if any(row["version"] == version.version for row in stores.warehouse.promotions(version.experiment)):
        raise AirflowSkipException(f"version {version.version} has been promoted already")
    if champion is not None and champion.interval.end > version.interval.end:
        raise AirflowSkipException(
            f"the champion, version {champion.version}, has learnt from a newer data interval "
            f"({champion.interval.in_timezone(version.interval.timezone)}) than version {version.version} "
            f"({version.interval}): an old day never dethrones"
        )


def _is_newest(stores: Stores, version: ModelVersion, dag_run: Any) -> bool:
    """Tell whether no version is newer; otherwise only a person's own question goes on, until it is withdrawn."""
    from airflow.sdk.exceptions import AirflowSkipException

    newest = stores.warehouse.newest_version(version.experiment)
    if newest is None or newest.version == version.version:
        return True
    if (dag_run.conf or {}).get("version") is None or dag_run.clear_number:
        interval = newest.interval.in_timezone(version.interval.timezone)
        raise AirflowSkipException(
            f"version {newest.version} ({interval}) is newer than version {version.version} "
            f'({version.interval}); to be asked about it all the same, trigger this Dag with {{"version": '
            f"{version.version}}}"
        )
    return False


def _skip_if_asked(context: Any, number: int) -> None:
    """Ask no question twice: a run of the day that was repeated announces its version once more."""
    from airflow.sdk.exceptions import AirflowSkipException

    for run_id, version in open_questions.open_questions(context, context["dag_run"].dag_id).items():
        if version == number:
            raise AirflowSkipException(f"the question about version {number} is open already, in the run {run_id}")


def _links(context: Any, experiment: str) -> dict[str, str]:
    """Give the addresses of the runs that the question is about, in Airflow's page."""
    page = context["ti"].log_url.partition("/dags/")[0]
    found = {"this question's run": f"{page}/dags/{context['dag_run'].dag_id}/runs/{quote(context['dag_run'].run_id)}"}
    events = context["triggering_asset_events"]
    made = events[assets.model(experiment)][-1] if len(events) else None
    if made is not None and made.source_dag_id and made.source_run_id:
        found["the run that made it"] = f"{page}/dags/{made.source_dag_id}/runs/{quote(made.source_run_id)}"
    return found
