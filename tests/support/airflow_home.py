"""An isolated Airflow for tests: a home of its own, and processes of its own.

Airflow reads its settings when it is imported, changes the logging of the process it is in, and warns of much; so no
test imports it.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from forking import Forks

FOUND = "what was found: "


def environment(home: Path, dags: Path) -> dict[str, str]:
    """Give the environment of an Airflow that knows nothing of the one who runs the tests."""
    home.mkdir(parents=True, exist_ok=True)
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "DIURNAL_"))}
    return inherited | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
    }


def tell(home: Path, dags: Path, program: str, *arguments: str) -> Any:
    """Run a program that sets `answer`, in a process with its own Airflow, and give that."""
    ending = f"\nimport json; print('\\n' + {FOUND!r} + json.dumps(answer, default=str))"
    done = _forks().run(program + ending, *arguments, cwd=home, env=environment(home, dags))
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return json.loads(done.stdout.rpartition(FOUND)[2])


@cache
def _forks() -> Forks:
    """Give the process that has imported Airflow; settings of a program's own environment win over its settings."""
    home = Path(tempfile.mkdtemp(prefix="diurnal-tests-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    return Forks(("airflow.dag_processing.dagbag",), environment(home, home / "dags"))


class Runner:
    """A process that carries out runs of Dags: see :mod:`airflow_runs`."""

    def __init__(self, home: Path) -> None:
        program = Path(__file__).with_name("airflow_runs.py")
        self._log = (home / "stderr.log").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, str(program)],
            env=environment(home, home / "dags"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def run(self, project: Path, environment: Mapping[str, str], *wishes: Mapping[str, Any]) -> Any:
        """Carry out runs of a project's Dags, each given by ``dag``, ``logical_date`` and ``conf``."""
        return self._ask({"project": str(project), "environment": environment, "wishes": wishes})

    def browse(self, project: Path, environment: Mapping[str, str], *requests: Mapping[str, Any]) -> Any:
        """Send requests to the API server, each given by `path`, `user`, `method`, `headers` and `form`.

        Returns
        -------
        dict
            The `routes` of the page, the `views` of the plugin, and the `responses`.
        """
        return self._ask({"project": str(project), "environment": environment, "requests": requests})

    def _ask(self, request: Mapping[str, Any]) -> Any:
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, Path(self._log.name).read_text()[-3000:]
        return json.loads(answer)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=120)
        self._process.stdout.close()
        self._log.close()
