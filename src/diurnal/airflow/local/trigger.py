"""Runs of data intervals in the local Airflow: trigger one, and wait for its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from diurnal import errors
from diurnal.airflow.local.home import USER, AirflowHome
from diurnal.airflow.local.launcher_lock import read_state
from diurnal.airflow.local.rest_client import RestClient
from diurnal.errors import ConfigurationError, DiurnalError, NotFoundError, TransientError, UsageError, did_you_mean
from diurnal.types import DataInterval

Report = Callable[[str], None]

_PARSE_TIMEOUT = 60  # seconds until a new Dag file is parsed, twice the refresh interval
_FINAL_RUN_STATES = ("success", "failed")
_FINAL_TASK_STATES = ("success", "failed", "skipped", "upstream_failed", "removed")


def sign_in(home: AirflowHome) -> RestClient:
    """Return a client of the Airflow of a home.

    Raises
    ------
    UsageError
        If it does not run.
    """
    state = read_state(home)
    if state is None:
        message = f"the Airflow of {home.settings.project} does not run"
        raise UsageError(message, hint="start it with `diurnal airflow up --detach`")
    return RestClient(state.address, USER, home.password())


@dataclass(frozen=True)
class DagRun:
    """A run of a Dag.

    Parameters
    ----------
    client : RestClient
        The Airflow of the run.
    dag_id, run_id : str
        Its ids.
    state : str
        ``"new"`` if this call has created it, ``"cleared"`` if this call has cleared it, else Airflow's.
    """

    client: RestClient
    dag_id: str
    run_id: str
    state: str

    @property
    def state_text(self) -> str:
        """The state, as the end of a sentence."""
        texts = {"new": "is triggered", "cleared": "starts again from its first task", "failed": "has failed already"}
        return texts.get(self.state, f"exists already ({self.state})")

    def wait(self, report: Report, *, timeout: float) -> None:
        """Wait for its success, and report how each task ends.

        Parameters
        ----------
        report : callable
            Called with a line for each task.
        timeout : float
            Seconds.

        Raises
        ------
        DiurnalError
            If it fails; with the message and the exit status of the error of the failed task.
        TransientError
            If it takes longer.
        """
        reported: set[str] = set()
        deadline = time.monotonic() + timeout
        while True:
            _, run = self.client.get("dags", self.dag_id, "dagRuns", self.run_id)
            tasks = self.tasks()
            for task in tasks:
                line = _task_line(task)
                if task["state"] in _FINAL_TASK_STATES and line not in reported:
                    reported.add(line)
                    report(line)
            if run["state"] == "success":
                return
            if run["state"] == "failed":
                raise self._failure(tasks)
            if time.monotonic() > deadline:
                message = f"the run {self.run_id} of {self.dag_id} has not ended after {timeout:.0f} s: {run['state']}"
                raise TransientError(message, hint="see its page in Airflow; it continues")
            time.sleep(0.5)

    def tasks(self) -> list[dict[str, Any]]:
        """Return its task instances, as in the REST API."""
        status, content = self.client.get(
            "dags", self.dag_id, "dagRuns", self.run_id, "taskInstances", order_by="start_date", limit=1000
        )
        return list(content["task_instances"]) if status == 200 else []

    def _failure(self, tasks: list[dict[str, Any]]) -> DiurnalError:
        """Return an error with the message and the exit status of the error of the failed task."""
        failed = [task for task in tasks if task["state"] == "failed"]
        message, error_type = f"the run {self.run_id} of {self.dag_id} has failed", "DiurnalError"
        if failed:
            error_type, text = self._task_error(failed[0])
            message = f"{message} in {failed[0]['task_id']}:\n{text}"
        if self.state == "failed":
            message = message.replace(" has failed", " had failed before this call", 1)
        hint = "correct the cause, then repeat the command with --retry, or clear the run in Airflow"
        error = DiurnalError(message, hint=hint)
        error.exit_status = getattr(errors, error_type, DiurnalError).exit_status
        return error

    def _task_error(self, task: dict[str, Any]) -> tuple[str, str]:
        """Return the type and the message of the exception that ended a task."""
        path = ("dags", self.dag_id, "dagRuns", self.run_id, "taskInstances", task["task_id"])
        status, content = self.client.get(*path, "logs", str(task["try_number"]), map_index=task["map_index"])
        lines = content.get("content", []) if status == 200 else []
        raised = [line["error_detail"][0] for line in lines if isinstance(line, dict) and line.get("error_detail")]
        if not raised:
            return "DiurnalError", "the task was killed: its log has no exception"
        error_type, text = raised[-1]["exc_type"], raised[-1]["exc_value"]
        return error_type, text if hasattr(errors, error_type) else f"{error_type}: {text}"


def trigger_run(client: RestClient, dag_id: str, interval: DataInterval, *, retry: bool = False) -> DagRun:
    """Create a run of a data interval, unless the Dag has one.

    Parameters
    ----------
    client : RestClient
        The Airflow of the Dag.
    dag_id : str
        The Dag.
    interval : DataInterval
        The data interval of the run.
    retry : bool
        Whether an existing run that has ended or has a failed task is cleared.

    Raises
    ------
    NotFoundError
        If there is no such Dag, even after the time that a new file takes.
    ConfigurationError
        If there is no such Dag, and a Dag file has an import error.
    UsageError
        If the Dag is paused, or Airflow rejects the run.
    """
    if _wait_for_dag(client, dag_id)["is_paused"]:
        raise UsageError(f"the Dag {dag_id} is paused, so its runs do not start", hint="unpause it in Airflow")
    start, end = interval.start.isoformat(), interval.end.isoformat()
    body = {"logical_date": start, "data_interval_start": start, "data_interval_end": end}
    status, content = client.post("dags", dag_id, "dagRuns", body={**body, "note": f"data interval {interval}"})
    if status == 409:
        _, runs = client.get("dags", dag_id, "dagRuns", logical_date_gte=start, logical_date_lte=start)
        row = runs["dag_runs"][0]
        run = DagRun(client, dag_id, row["dag_run_id"], row["state"])
        return _clear_run(run) if retry else run
    if status != 200:
        message = f"Airflow rejects a run of {dag_id} for {interval}: {content.get('detail')}"
        raise UsageError(message, hint="see the Dag's page in Airflow")
    return DagRun(client, dag_id, content["dag_run_id"], "new")


def _clear_run(run: DagRun) -> DagRun:
    """Clear all tasks of a run, from its first one; a run that is in progress without a failure is not cleared."""
    states = {task["state"] for task in run.tasks()}
    if run.state not in _FINAL_RUN_STATES and not states & {"failed", "upstream_failed", "up_for_retry"}:
        return run
    body = {"dry_run": False, "only_failed": False, "run_on_latest_version": True}
    status, content = run.client.post("dags", run.dag_id, "dagRuns", run.run_id, "clear", body=body)
    if status != 200:
        message = f"Airflow does not clear the run {run.run_id} of {run.dag_id}: {content.get('detail')}"
        raise UsageError(message, hint="see the run's page in Airflow")
    return replace(run, state="cleared")


def _wait_for_dag(client: RestClient, dag_id: str) -> dict[str, Any]:
    """Wait until Airflow has parsed the file of a Dag, and return the Dag."""
    deadline = time.monotonic() + _PARSE_TIMEOUT
    while True:
        status, content = client.get("dags", dag_id)
        if status == 200:
            return dict(content)
        _, broken = client.get("importErrors")
        for error in broken.get("import_errors", []):
            last = error["stack_trace"].strip().splitlines()
            message = f"there is no Dag {dag_id}, and {error['filename']} has an import error:\n" + "\n".join(last[-8:])
            raise ConfigurationError(message, hint="correct that file; Airflow parses it again within 30 s")
        if time.monotonic() > deadline:
            _, others = client.get("dags", limit=100)
            names = [dag["dag_id"] for dag in others.get("dags", [])]
            listed = ", ".join(names) or "none"
            message = f"Airflow has no Dag {dag_id!r}{did_you_mean(dag_id, names)}\nit has: {listed}"
            raise NotFoundError(message, hint=f'write dags/{dag_id}.py: dag = build_dag("{dag_id}")')
        time.sleep(0.5)


def _task_line(task: dict[str, Any]) -> str:
    name = task["task_id"] if task["map_index"] < 0 else f"{task['task_id']}[{task['map_index']}]"
    took = f"{task['duration']:6.2f} s" if task["duration"] is not None else ""
    return f"  {name:<20} {task['state'] or '-':<16} {took}"
