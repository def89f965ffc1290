"""Open questions of the approval Dag: find them, and withdraw those that are out of date.

A task cannot answer the question of another run, but it can clear that run, as Airflow's ``TriggerDagRunOperator`` does
with ``reset_dag_run``. A cleared run starts again: its first task checks whether there is still a question to ask, and
skips the rest if there is none.
"""

from __future__ import annotations

from typing import Any

CANDIDATE, QUESTION = "candidate", "approve"  # the tasks that write the question, and ask it
_ENDED = ("success", "failed", "skipped", "upstream_failed", "removed")


def find_open_questions(context: Any, dag_id: str) -> dict[str, int]:
    """Return the model version of each open question, by run id; the question of the current run is left out."""
    ti, own = context["ti"], (context["dag_run"].dag_id, context["dag_run"].run_id)
    states = ti.get_task_states(dag_id=dag_id, task_ids=[QUESTION])
    open_runs = [run_id for run_id, tasks in states.items() if tasks.get(QUESTION) not in _ENDED]
    questions = {
        run_id: ti.xcom_pull(task_ids=CANDIDATE, dag_id=dag_id, run_id=run_id)
        for run_id in open_runs
        if (dag_id, run_id) != own
    }
    return {run_id: question["version"] for run_id, question in questions.items() if question}


def clear_open_questions(context: Any, dag_id: str, *, except_version: int | None = None) -> None:
    """Clear the runs of open questions, so that each is asked again only if its answer still has an effect.

    Parameters
    ----------
    context : Context
        Airflow's.
    dag_id : str
        The approval Dag.
    except_version : int, optional
        Questions about this version are left open.
    """
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import TriggerDagRun

    for run_id, version in find_open_questions(context, dag_id).items():
        if version != except_version:
            clear = TriggerDagRun(dag_id=dag_id, run_id=run_id, reset_dag_run=True)
            task_runner.SUPERVISOR_COMMS.send(clear)
            context["task"].log.info(f"cleared the run {run_id}, which asked about version {version}")
