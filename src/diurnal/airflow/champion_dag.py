"""The Dag by which a person promotes a version or rolls back, from Airflow's own form."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Param

from diurnal.airflow import assets, open_questions
from diurnal.airflow.connections import open_beside
from diurnal.airflow.operators import ExperimentTask
from diurnal.errors import UsageError
from diurnal.experiment import Experiment

ACTIONS = ("promote", "rollback")

_DOC = """Promote a version of **{name}**, or roll back to the one before: *Trigger*, then fill in the form.

It does what `diurnal promote {name} VERSION` and `diurnal rollback {name}` do. The version is loaded first, with all
checks; who asked for it and why are kept in the table `promotions`, and the asset `{name}.champion` has a new event.
"""


def build_champion_dag(experiment: Experiment, *, dag_id: str, asks: str | None, **words: Any) -> DAG:
    """Make the Dag that changes the champion by hand; :func:`diurnal.airflow.build_dag` makes it.

    Parameters
    ----------
    experiment : Experiment
        Whose champion it is about.
    dag_id : str
        Its id.
    asks : str, optional
        The Dag that asks for approval, whose open question may be without effect afterwards.
    **words
        Airflow's, for the Dag.

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
            "action": Param(
                "promote", enum=list(ACTIONS), description="promote: to a version; rollback: to an earlier"
            ),
            "version": Param(
                None, type=["null", "integer"], minimum=1, description="For a rollback, empty: the one before."
            ),
            "reason": Param("by hand, in Airflow", type="string", description="Kept in the history."),
        },
        **words,
    ) as dag:
        Change(
            task_id="change",
            experiment=experiment,
            asks=asks,
            inlets=assets.inlets(experiment.name, "promote"),
            outlets=assets.outlets(experiment.name, "promote"),
        )
    return dag


class Change(ExperimentTask):
    """Makes a version the champion, by hand.

    Parameters
    ----------
    asks : str, optional
        The Dag that asks for approval.
    **words
        Airflow's, and `experiment`.
    """

    def __init__(self, *, asks: str | None = None, **words: Any) -> None:
        super().__init__(**words)
        self.asks = asks

    def work(self, context: Any) -> dict[str, Any]:
        """Promote the version, or roll back."""
        from diurnal.pipeline import manual_promotion

        name, wanted = self.experiment.name, context["params"]
        kind, version = wanted["action"], wanted["version"]
        by = getattr(context["dag_run"], "triggering_user_name", None) or "somebody in Airflow"
        with open_beside(self.experiment.file) as stores:
            if version is None and kind == "promote":
                raise UsageError(
                    "this run names no version to promote",
                    hint=f"fill in the version; `diurnal models {name}` lists them",
                )
            version = version or manual_promotion.predecessor(stores.warehouse, name)
            manual_promotion.try_out(stores, name, version)
            row = stores.warehouse.set_champion(name, version, requested_by=by, reason=wanted["reason"], action=kind)
            assets.announce_champion(context, stores.warehouse, self.experiment)
        if self.asks is not None:
            open_questions.ask_anew(context, self.asks)
        self.log.info(f"version {version} is the champion of {name}, by {by}: {wanted['reason']}")
        return {"version": version, "seq": row["seq"], "by": by, "kind": kind}
