"""Carries out runs of Dags for tests: one process, as Airflow takes 15 seconds until its first run has begun.

Reads requests, one a line, as JSON: a project, its environment, and the runs that are wished for. Answers likewise.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

from airflow.dag_processing.dagbag import DagBag
from airflow.utils.db import initdb
from airflow.utils.session import create_session
from sqlalchemy import text

DAGS = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
PROJECT = DAGS / "project"  # Airflow reads once where its Dags are, so the projects come there
LOG = DAGS.parent / "stdout.log"
REALLY_SLEEP = time.sleep


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(LOG, os.O_RDWR | os.O_CREAT), 1)  # what Airflow prints; its loggers hold on to their streams
    gc.set_threshold(10_000)
    DAGS.mkdir()
    initdb()
    time.sleep = poll_often
    for line in sys.stdin:
        request = json.loads(line)
        for name in [name for name in os.environ if name.startswith(("DIURNAL_", "AIRFLOW_CONN_", "MLFLOW_"))]:
            del os.environ[name]
        os.environ.update(request["environment"])
        PROJECT.unlink(missing_ok=True)
        PROJECT.symlink_to(request["project"])
        answer = browse(request["requests"]) if "requests" in request else carry_out(request["wishes"])
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def carry_out(wishes):
    bag = DagBag(DAGS, bundle_path=DAGS)
    seen = {"import_errors": bag.import_errors, "runs": []}
    with create_session() as session:
        before = session.execute(text("select coalesce(max(id), 0) from asset_event")).scalar_one()
    for wish in wishes:
        if "answer" in wish:
            threading.Thread(target=answer_when_asked, args=(wish["dag"], *wish["answer"]), daemon=True).start()
        seen["runs"].append(run(bag.dags[wish["dag"]], wish))
    query = "select a.name, e.partition_key, e.extra from asset_event e join asset a on a.id = e.asset_id"
    with create_session() as session:
        events = session.execute(text(f"{query} where e.id > {before} order by e.id")).all()
    return {**seen, "events": [[name, key, json.loads(extra)] for name, key, extra in events]}


def poll_often(seconds):
    """Sleep; `dag.test` looks for the next tasks every 1/50 s, not every second, where it finds none to run."""
    is_polling = sys._getframe(1).f_code.co_name == "test"
    REALLY_SLEEP(0.02 if is_polling else seconds)


def run(dag, wish):
    date, begins = wish.get("logical_date"), LOG.stat().st_size
    done = dag.test(logical_date=date and datetime.fromisoformat(date), run_conf=wish.get("conf"))
    sys.stdout.flush()
    with create_session() as session:
        query = text("select value from xcom where run_id = :run_id")
        travelled = [value for (value,) in session.execute(query, {"run_id": done.run_id})]
    return {
        "state": str(done.state),
        "run_id": done.run_id,
        "tasks": {ti.task_id: [str(ti.state), ti.try_number] for ti in done.get_task_instances()},
        "labels": sorted(ti.rendered_map_index for ti in done.get_task_instances() if ti.map_index >= 0),
        "travelled": travelled,
        "log": LOG.read_bytes()[begins:].decode(),
    }


def browse(requests):
    """Send requests to a new API server; the name of a user begins with its role: see :mod:`airflow_auth`."""
    from airflow import plugins_manager
    from airflow.api_fastapi.app import create_app, get_auth_manager, purge_cached_app
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from starlette.testclient import TestClient

    purge_cached_app()
    for function in vars(plugins_manager).values():
        getattr(function, "cache_clear", int)()  # the page of another request has other stores
    app = create_app("core")
    (page,) = (route.app for route in app.routes if getattr(route, "path", None) == "/diurnal")

    def send(client, wish):
        headers = {"host": "airflow.example", **wish.get("headers", {})}
        if name := wish.get("user"):
            user = SimpleAuthManagerUser(username=name, role=name.partition("@")[0])
            token = get_auth_manager().generate_jwt(user)
            headers["cookie"] = f"_token={token}"
        response = client.request(
            wish.get("method", "GET"), wish["path"], headers=headers, data=wish.get("form"), follow_redirects=False
        )
        return {"status": response.status_code, "text": response.text, "headers": dict(response.headers)}

    with TestClient(app) as client:
        return {
            "routes": [[sorted(getattr(route, "methods", None) or ["GET"]), route.path] for route in page.routes],
            "views": plugins_manager._get_ui_plugins()[0],
            "responses": [send(client, wish) for wish in requests],
        }


def answer_when_asked(dag_id, option, name):
    """Do what a click under "Required Actions" does, as soon as there is a question."""
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.api_fastapi.core_api.datamodels.hitl import UpdateHITLDetailPayload
    from airflow.api_fastapi.core_api.routes.public.hitl import update_hitl_detail

    query = text("select run_id, task_id from task_instance where dag_id = :dag_id and state = 'awaiting_input'")
    for _ in range(600):
        time.sleep(0.1)
        with create_session() as session:
            waiting = session.execute(query, {"dag_id": dag_id}).first()
            if waiting:
                payload = UpdateHITLDetailPayload(chosen_options=[option])
                user = SimpleAuthManagerUser(username=name, role="admin")
                update_hitl_detail(dag_id, *waiting, payload, user=user, session=session)
                return


if __name__ == "__main__":
    main()
