"""Open questions of the Dag that asks for approval: which there are, and withdrawing them.

A task cannot answer for another one, but it may clear a run of a Dag, as Airflow's ``TriggerDagRunOperator`` does with
``reset_dag_run``. A cleared run begins anew: its first task looks whether there is still something to ask, and skips
the rest if there is not.
"""

from __future__ import annotations

from typing import Any

CANDIDATE, QUESTION = "candidate", "approve"  # the tasks that write the question, and ask it
_ENDED = ("success", "failed", "skipped", "upstream_failed", "removed")


def open_questions(context: Any, dag_id: str) -> dict[str, int]:
    """Give the runs whose question is asked or about to be, but for this run: which version each is about."""
    ti, own = context["ti"], (context["dag_run"].dag_id, context["dag_run"].run_id)
    states = ti.get_task_states(dag_id=dag_id, task_ids=[QUESTION])
    waiting = [run_id for run_id, tasks in states.items() if tasks.get(QUESTION) not in _ENDED]
    asked = {
        run_id: ti.xcom_pull(task_ids=CANDIDATE, dag_id=dag_id, run_id=run_id)
        for run_id in waiting
        if (dag_id, run_id) != own
    }
    return {run_id: question["version"] for run_id, question in asked.items() if question}


def ask_anew(context: Any, dag_id: str, *, but: int | None = None) -> None:
    """Clear the runs of open questions, so that each is asked again only if its answer still has an effect.

    Parameters
    ----------
    context : Context
        The task's.
    dag_id : str
        The Dag that asks.
    but : int, optional
        Questions about this version are left alone.
    """
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import TriggerDagRun

    for run_id, version in open_questions(context, dag_id).items():
        if version != but:
            clear = TriggerDagRun(dag_id=dag_id, run_id=run_id, reset_dag_run=True)
            task_runner.SUPERVISOR_COMMS.send(clear)
            context["task"].log.info(f"the question about version {version} is withdrawn, or asked anew: run {run_id}")
