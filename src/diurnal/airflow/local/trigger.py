"""Asking the local Airflow for the run of a data interval, and waiting for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from diurnal import errors
from diurnal.airflow.local.home import USER, Home
from diurnal.airflow.local.launcher_lock import find
from diurnal.airflow.local.rest_client import Client
from diurnal.errors import ConfigurationError, DiurnalError, NotFoundError, TransientError, UsageError, did_you_mean
from diurnal.types import DataInterval

Say = Callable[[str], None]

_TO_BE_PARSED = 60  # seconds until a new Dag file is known, twice the time between two looks
_OVER = ("success", "failed")
_ENDED = ("success", "failed", "skipped", "upstream_failed", "removed")  # states of a task that stay


def sign_in(home: Home) -> Client:
    """Give a client of a home's Airflow.

    Raises
    ------
    UsageError
        If none runs.
    """
    found = find(home)
    if found is None:
        message = f"no Airflow of {home.settings.project} is running"
        raise UsageError(message, hint="start it with `diurnal airflow up --detach`")
    return Client(found.address, USER, home.password())


@dataclass(frozen=True)
class DagRun:
    """A run of a Dag, to be waited for.

    Parameters
    ----------
    client : Client
        Whom to ask.
    dag_id, run_id : str
        Which one.
    state : str
        ``"new"`` if it was made by this call, ``"again"`` if this call cleared it, else Airflow's.
    """

    client: Client
    dag_id: str
    run_id: str
    state: str

    @property
    def said(self) -> str:
        """What is to be said of it."""
        states = {"new": "is asked for", "again": "begins again, from its first task", "failed": "has failed already"}
        return states.get(self.state, f"is there already ({self.state})")

    def wait(self, say: Say, *, timeout: float) -> None:
        """Wait for its success, and say how each task ends.

        Parameters
        ----------
        say : callable
            Told a line for each task.
        timeout : float
            Seconds.

        Raises
        ------
        DiurnalError
            If it fails; with what the failed task said, and the exit status of its kind.
        TransientError
            If it takes longer.
        """
        told: set[str] = set()
        deadline = time.monotonic() + timeout
        while True:
            _, run = self.client.get("dags", self.dag_id, "dagRuns", self.run_id)
            tasks = self.tasks()
            for task in tasks:
                line = _line(task)
                if task["state"] in _ENDED and line not in told:
                    told.add(line)
                    say(line)
            if run["state"] == "success":
                return
            if run["state"] == "failed":
                raise self._failure(tasks)
            if time.monotonic() > deadline:
                message = f"the run {self.run_id} of {self.dag_id} is not over after {timeout:.0f} s: {run['state']}"
                raise TransientError(message, hint="see its page in Airflow; it goes on by itself")
            time.sleep(0.5)

    def tasks(self) -> list[dict[str, Any]]:
        """Give its task instances, as the REST API does."""
        status, answer = self.client.get(
            "dags", self.dag_id, "dagRuns", self.run_id, "taskInstances", order_by="start_date", limit=1000
        )
        return list(answer["task_instances"]) if status == 200 else []

    def _failure(self, tasks: list[dict[str, Any]]) -> DiurnalError:
        """Say what the failed task said, with the exit status of its kind."""
        failed = [task for task in tasks if task["state"] == "failed"]
        message, kind = f"the run {self.run_id} of {self.dag_id} has failed", "DiurnalError"
        if failed:
            kind, words = self._last_words(failed[0])
            message = f"{message} in {failed[0]['task_id']}:\n{words}"
        if self.state == "failed":
            message = message.replace(" has failed", " had failed before this call", 1)
        hint = "mend it, then repeat the command with --retry, or clear the run on its page in Airflow"
        error = DiurnalError(message, hint=hint)
        error.exit_status = getattr(errors, kind, DiurnalError).exit_status
        return error

    def _last_words(self, task: dict[str, Any]) -> tuple[str, str]:
        """Give the kind of the exception that ended a task, and what it said."""
        path = ("dags", self.dag_id, "dagRuns", self.run_id, "taskInstances", task["task_id"])
        status, answer = self.client.get(*path, "logs", str(task["try_number"]), map_index=task["map_index"])
        lines = answer.get("content", []) if status == 200 else []
        raised = [line["error_detail"][0] for line in lines if isinstance(line, dict) and line.get("error_detail")]
        if not raised:
            return "DiurnalError", "it was ended from outside: its log holds no exception"
        kind, words = raised[-1]["exc_type"], raised[-1]["exc_value"]
        return kind, words if hasattr(errors, kind) else f"{kind}: {words}"


def trigger(client: Client, dag_id: str, interval: DataInterval, *, retry: bool = False) -> DagRun:
    """See to it that a Dag has a run of a data interval.

    Parameters
    ----------
    client : Client
        Whom to ask.
    dag_id : str
        The Dag.
    interval : DataInterval
        What the run is about.
    retry : bool
        Whether a run that is there, and is over or has a failed task, begins again.

    Raises
    ------
    NotFoundError
        If there is no such Dag, also after the time that a new file may take.
    ConfigurationError
        If Dag files cannot be imported, and this Dag is not known.
    UsageError
        If the Dag is paused, or Airflow refuses the run.
    """
    if _known(client, dag_id)["is_paused"]:
        raise UsageError(f"the Dag {dag_id} is paused, so that no run of it starts", hint="unpause it in Airflow")
    start, end = interval.start.isoformat(), interval.end.isoformat()
    body = {"logical_date": start, "data_interval_start": start, "data_interval_end": end}
    status, answer = client.post("dags", dag_id, "dagRuns", body={**body, "note": f"data interval {interval}"})
    if status == 409:
        _, found = client.get("dags", dag_id, "dagRuns", logical_date_gte=start, logical_date_lte=start)
        run = found["dag_runs"][0]
        there = DagRun(client, dag_id, run["dag_run_id"], run["state"])
        return _again(there) if retry else there
    if status != 200:
        message = f"Airflow refuses a run of {dag_id} for {interval}: {answer.get('detail')}"
        raise UsageError(message, hint="see the Dag's page in Airflow")
    return DagRun(client, dag_id, answer["dag_run_id"], "new")


def _again(run: DagRun) -> DagRun:
    """Clear all tasks of a run, `fetch` and what comes before it included; one that is going well is left alone."""
    states = {task["state"] for task in run.tasks()}
    if run.state not in _OVER and not states & {"failed", "upstream_failed", "up_for_retry"}:
        return run
    body = {"dry_run": False, "only_failed": False, "run_on_latest_version": True}
    status, answer = run.client.post("dags", run.dag_id, "dagRuns", run.run_id, "clear", body=body)
    if status != 200:
        message = f"Airflow does not clear the run {run.run_id} of {run.dag_id}: {answer.get('detail')}"
        raise UsageError(message, hint="see the run's page in Airflow")
    return replace(run, state="again")


def _known(client: Client, dag_id: str) -> dict[str, Any]:
    """Wait until Airflow has read the file of a Dag."""
    deadline = time.monotonic() + _TO_BE_PARSED
    while True:
        status, answer = client.get("dags", dag_id)
        if status == 200:
            return dict(answer)
        _, broken = client.get("importErrors")
        for error in broken.get("import_errors", []):
            last = error["stack_trace"].strip().splitlines()
            message = f"there is no Dag {dag_id}, and {error['filename']} cannot be imported:\n" + "\n".join(last[-8:])
            raise ConfigurationError(message, hint="mend that file; Airflow reads it again within 30 s")
        if time.monotonic() > deadline:
            _, others = client.get("dags", limit=100)
            names = [dag["dag_id"] for dag in others.get("dags", [])]
            known = ", ".join(names) or "none"
            message = f"Airflow has no Dag {dag_id!r}{did_you_mean(dag_id, names)}; it has: {known}"
            raise NotFoundError(message, hint=f'write dags/{dag_id}.py: dag = build_dag("{dag_id}")')
        time.sleep(0.5)


def _line(task: dict[str, Any]) -> str:
    name = task["task_id"] if task["map_index"] < 0 else f"{task['task_id']}[{task['map_index']}]"
    took = f"{task['duration']:6.2f} s" if task["duration"] is not None else ""
    return f"  {name:<20} {task['state'] or '-':<16} {took}"
