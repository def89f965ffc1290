"""Runs Python programs, each in a process that is forked from one which has imported the libraries already.

A program is a real process: it has its own environment, working directory and exit status, and signals kill it.
Only the seconds of imports are saved. Requests come as JSON, one a line; each is answered by the exit status.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LIBRARIES = (
    "adbc_driver_postgresql.dbapi",
    "alembic.command",
    "croniter",
    "diurnal.backends.sklearn",
    "diurnal.cli.commands",
    "diurnal.cli.intervals",
    "diurnal.cli.progress",
    "diurnal.cli.run_results",
    "diurnal.data.profile_builder",
    "diurnal.data.row_identity",
    "diurnal.data.validation",
    "diurnal.experiment.contract_agreement",
    "diurnal.mlflow.mirror",
    "diurnal.pipeline.batch_drift",
    "diurnal.pipeline.batch_profiles",
    "diurnal.pipeline.dry_run",
    "diurnal.pipeline.evaluation_files",
    "diurnal.pipeline.live_scores",
    "diurnal.pipeline.local_run",
    "diurnal.pipeline.predict",
    "diurnal.pipeline.quarantine",
    "diurnal.pipeline.steps",
    "diurnal.pipeline.store_verification",
    "diurnal.pipeline.window_split",
    "diurnal.promotion.champion_comparison",
    "diurnal.promotion.decision",
    "diurnal.search",
    "diurnal.sources.csv_reader",
    "diurnal.storage.lake",
    "diurnal.storage.models",
    "diurnal.storage.models.skops_format",
    "diurnal.storage.models.states.pandas_tables",
    "diurnal.storage.models.states.sklearn_requests",
    "diurnal.storage.models.states.state_node",
    "diurnal.storage.stores",
    "diurnal.storage.warehouse",
    "narwhals._pandas_like.namespace",
    "pandas",
    "pyarrow.csv",
    "s3fs",
    "skops.io",
    "sklearn.gaussian_process",
    "sklearn.linear_model",
    "sklearn.model_selection",
    "sklearn.multiclass",
    "sklearn.neural_network",
    "sqlalchemy.dialects.postgresql.psycopg",
)
COMMAND_LINE = """
import sys
from diurnal.cli import main
sys.argv[0] = "diurnal"
main()
"""


class Forks:
    """The process that forks, started at its first use.

    Parameters
    ----------
    libraries : tuple of str
        The modules that it imports before it forks.
    env : mapping, optional
        The environment in which it imports them; by default, that of this process.
    """

    def __init__(self, libraries: tuple[str, ...] = LIBRARIES, env: Mapping[str, str] | None = None) -> None:
        self._libraries, self._env = libraries, env
        self._server: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def run(self, program: str, *arguments: str, cwd: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a program as ``python -c`` does; without a fork if another one runs, as there is one at a time."""
        if not self._lock.acquire(blocking=False):
            call = [sys.executable, "-c", program, *arguments]
            return subprocess.run(call, cwd=cwd, env=env, capture_output=True, text=True, timeout=120, check=False)
        try:
            return self._fork(program, arguments, cwd, env)
        finally:
            self._lock.release()

    def _fork(
        self, program: str, arguments: tuple[str, ...], cwd: Path, env: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        request = {"program": program, "arguments": arguments, "cwd": str(cwd), "env": {**env}}
        with tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder, "stdout"), Path(folder, "stderr")
            server = self._started()
            server.stdin.write(json.dumps({**request, "out": str(out), "err": str(err)}) + "\n")
            server.stdin.flush()
            status = int(server.stdout.readline())
            printed = [path.read_text(encoding="utf-8") for path in (out, err)]
        return subprocess.CompletedProcess([program, *arguments], status, *printed)

    def _started(self) -> Any:
        if self._server is None:
            call = [sys.executable, "-W", "ignore::DeprecationWarning", __file__, *self._libraries]
            self._server = subprocess.Popen(
                call, env=self._env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        return self._server


def serve(libraries: list[str]) -> None:
    """Fork a process for each request, and answer with its exit status."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # a library may print while it is imported
    gc.set_threshold(10_000)
    for name in libraries:
        importlib.import_module(name)
    gc.freeze()  # a search for cycles in a fork would visit, and so copy, each object that it shares with this process
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            _become(request)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        answers.write(f"{status}\n")
        answers.flush()


def _become(request: dict[str, Any]) -> None:
    """Be the program that is asked for, and end as it does."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv, sys.path[0] = ["-c", *request["arguments"]], ""
    status = _status_of(request["program"])
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _status_of(program: str) -> int:
    """Run a program in this process, and give the exit status that the interpreter gives."""
    try:
        exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
            return 1
        return end.code or 0
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    serve(sys.argv[1:])
