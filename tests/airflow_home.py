"""An isolated Airflow for tests: a home of its own, and processes of its own.

Airflow reads its settings when it is imported, changes the logging of the process it is in, and warns of much; so no
test imports it. Each one hands a program to a fresh process, which ends by printing what it has found out as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOUND = "what was found: "
# Carries out runs of Dags, one after the other, and tells how each task ended and what its log said last.
RUNS = '''
import contextlib, io, json, re, sys, threading, time
from datetime import datetime
from pathlib import Path
from airflow.utils.db import initdb
initdb()
from airflow.configuration import conf
from airflow.dag_processing.dagbag import DagBag
from airflow.utils.session import create_session
from sqlalchemy import text

def answer_when_asked(dag_id, option, name):
    """Do what a click under "Required Actions" does, as soon as there is a question."""
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.api_fastapi.core_api.datamodels.hitl import UpdateHITLDetailPayload
    from airflow.api_fastapi.core_api.routes.public.hitl import update_hitl_detail
    from airflow.models.taskinstance import TaskInstance
    for _ in range(600):
        time.sleep(0.1)
        with create_session() as session:
            waiting = session.query(TaskInstance).filter_by(dag_id=dag_id, state="awaiting_input").first()
            if waiting:
                update_hitl_detail(
                    dag_id, waiting.run_id, waiting.task_id, UpdateHITLDetailPayload(chosen_options=[option]),
                    user=SimpleAuthManagerUser(username=name, role="admin"), session=session,
                )
                return

folder = conf.get("core", "dags_folder")
bag = DagBag(folder, bundle_path=Path(folder))
found = []
for wish in json.loads(sys.argv[1]):
    date = wish.get("logical_date")
    said = io.StringIO()
    if "answer" in wish:
        threading.Thread(target=answer_when_asked, args=(wish["dag"], *wish["answer"]), daemon=True).start()
    with contextlib.redirect_stdout(said):
        run = bag.dags[wish["dag"]].test(
            logical_date=date and datetime.fromisoformat(date), run_conf=wish.get("conf"),
            mark_success_pattern=wish.get("mark_success"),
        )
    log = re.sub("\\x1b\\\\[[0-9;]*m", "", said.getvalue())
    tasks = {ti.task_id: [str(ti.state), ti.try_number] for ti in run.get_task_instances()}
    found.append({"state": str(run.state), "run_id": run.run_id, "tasks": tasks, "log": log})
with create_session() as session:
    events = session.execute(text(
        "select a.name, e.partition_key, e.extra from asset_event e join asset a on a.id = e.asset_id order by e.id"
    )).all()
    xcoms = session.execute(text("select task_id, value from xcom")).all()
answer = {"import_errors": bag.import_errors, "runs": found, "xcoms": [list(row) for row in xcoms],
          "events": [[name, key, json.loads(extra)] for name, key, extra in events]}
'''


class AirflowHome:
    """A home for Airflow in a folder, with the Dags of a project.

    Parameters
    ----------
    folder : Path
        For Airflow's own things.
    dags : Path
        The folder of Dags.
    environment : Mapping of str to str
        What else the processes shall see.
    """

    def __init__(self, folder: Path, dags: Path, environment: Mapping[str, str] = {}) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "DIURNAL_"))}
        self.environment = inherited | {
            "AIRFLOW_HOME": str(folder),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
            **environment,
        }

    def tell(self, program: str, *arguments: str) -> Any:
        """Run a program that sets `answer`, and give that."""
        ending = f"\nimport json; print('\\n' + {FOUND!r} + json.dumps(answer, default=str))"
        done = subprocess.run(
            [sys.executable, "-c", program + ending, *arguments],
            env=self.environment,
            cwd=self.environment["AIRFLOW_HOME"],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return json.loads(done.stdout.rpartition(FOUND)[2])

    def run(self, *wishes: Mapping[str, Any]) -> Any:
        """Carry out runs, each given by ``dag`` and ``logical_date`` or ``conf``."""
        return self.tell(RUNS, json.dumps(wishes))
