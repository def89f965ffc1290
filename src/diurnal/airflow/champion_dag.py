"""The champion Dag: a person promotes a version or rolls back, with the trigger form of Airflow's UI."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Param

from diurnal.airflow import assets, open_questions
from diurnal.airflow.connections import open_stores_for_file
from diurnal.airflow.operators import ExperimentOperator
from diurnal.errors import UsageError
from diurnal.experiment import Experiment

ACTIONS = ("promote", "rollback")

_DOC = """Promote a version of **{name}**, or roll back to the previous one: *Trigger*, then fill in the form.

It does the same as `diurnal promote {name} VERSION` and `diurnal rollback {name}`. The version is loaded first, with
all checks. The table `promotions` stores the user and the reason, and the asset `{name}.champion` has a new event.
"""


def build_champion_dag(experiment: Experiment, *, dag_id: str, approval_dag_id: str | None, **dag_kwargs: Any) -> DAG:
    """Return the Dag for promotion and rollback by hand; :func:`diurnal.airflow.build_dag` calls it.

    Parameters
    ----------
    experiment : Experiment
        The experiment.
    dag_id : str
        The id of the Dag.
    approval_dag_id : str, optional
        The approval Dag, whose open question may be without effect afterwards.
    **dag_kwargs
        Other arguments of Airflow's ``DAG``.

    Returns
    -------
    airflow.sdk.DAG
    """
    with DAG(
        dag_id,
        schedule=None,
        max_active_runs=1,
        description=f"Promotes a version of {experiment.name}, or rolls back, by hand.",
        doc_md=_DOC.format(name=experiment.name),
        params={
            "action": Param("promote", enum=list(ACTIONS), description="Promote a version, or roll back to one."),
            "version": Param(
                None, type=["null", "integer"], minimum=1, description="For a rollback, empty: the previous one."
            ),
            "reason": Param("by hand, in Airflow", type="string", description="Stored in the history."),
        },
        **dag_kwargs,
    ) as dag:
        ChangeChampionOperator(
            task_id="change",
            experiment=experiment,
            approval_dag_id=approval_dag_id,
            inlets=assets.step_inlets(experiment.name, "promote"),
            outlets=assets.step_outlets(experiment.name, "promote"),
        )
    return dag


class ChangeChampionOperator(ExperimentOperator):
    """Make a version the champion, as the parameters of the run request.

    Parameters
    ----------
    approval_dag_id : str, optional
        The approval Dag.
    **kwargs
        Airflow's arguments of any task, and `experiment`.
    """

    def __init__(self, *, approval_dag_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.approval_dag_id = approval_dag_id

    def run_task(self, context: Any) -> dict[str, Any]:
        """Promote the version, or roll back."""
        from diurnal.promotion import manual_promotion

        name, params = self.experiment.name, context["params"]
        action, version = params["action"], params["version"]
        user = getattr(context["dag_run"], "triggering_user_name", None) or "unknown Airflow user"
        with open_stores_for_file(self.experiment.file) as stores:
            if version is None and action == "promote":
                raise UsageError(
                    "this run has no version to promote",
                    hint=f"fill in the version; `diurnal models {name}` lists them",
                )
            version = version or manual_promotion.previous_champion(stores.warehouse, name)
            manual_promotion.check_version_loads(stores, name, version)
            row = manual_promotion.set_champion(
                stores, name, version, requested_by=user, reason=params["reason"], action=action
            )
            assets.emit_champion_event(context, stores.warehouse, self.experiment)
        if self.approval_dag_id is not None:
            open_questions.clear_open_questions(context, self.approval_dag_id)
        self.log.info(f"version {version} is the champion of {name}; requested by {user}: {params['reason']}")
        return {"version": version, "seq": row["seq"], "by": user, "kind": action}
