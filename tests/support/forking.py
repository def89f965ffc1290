"""Runs command lines, each in a process of its own that is forked from one which has imported the libraries already.

A command is a real process: it has its own environment, working directory and exit status, and signals kill it.
Only the two seconds of imports are saved. Requests come as JSON, one a line; each is answered by the exit status.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

LIBRARIES = (
    "adbc_driver_postgresql.dbapi",
    "alembic.command",
    "diurnal.backends.sklearn",
    "diurnal.cli.commands",
    "diurnal.data.validation",
    "diurnal.pipeline.dry_run",
    "diurnal.storage.lake",
    "diurnal.storage.models",
    "diurnal.pipeline.predict",
    "diurnal.search",
    "diurnal.storage.stores",
    "diurnal.sources.csv_reader",
    "diurnal.pipeline.steps",
    "diurnal.pipeline.verify",
    "diurnal.storage.warehouse",
    "pandas",
    "pyarrow.csv",
    "s3fs",
    "skops.io",
    "sklearn.linear_model",
    "sklearn.model_selection",
    "sqlalchemy.dialects.postgresql.psycopg",
)


class Forks:
    """The process that forks, started at its first use."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def run(
        self, arguments: list[str], cwd: Path, env: dict[str, str], cells_per_part: int | None
    ) -> subprocess.CompletedProcess[str] | None:
        """Run one command line; None if another one is running, for there is one at a time."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            out, err = cwd / ".stdout", cwd / ".stderr"
            request = {"arguments": arguments, "cwd": str(cwd), "env": env, "cells": cells_per_part}
            server = self._started()
            server.stdin.write(json.dumps({**request, "out": str(out), "err": str(err)}) + "\n")
            server.stdin.flush()
            status = int(server.stdout.readline())
            said = [path.read_text(encoding="utf-8") for path in (out, err)]
            for path in (out, err):
                path.unlink()
            return subprocess.CompletedProcess(arguments, status, *said)
        finally:
            self._lock.release()

    def _started(self) -> Any:
        if self._server is None:
            call = [sys.executable, "-W", "ignore::DeprecationWarning", __file__]
            self._server = subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self._server


def serve() -> None:
    """Fork a process for each request, and answer with its exit status."""
    for name in LIBRARIES:
        importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            _become(request)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        sys.stdout.write(f"{status}\n")
        sys.stdout.flush()


def _become(request: dict[str, Any]) -> None:
    """Be the command line that is asked for, and end as it does."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = ["diurnal", *request["arguments"]]
    if request["cells"]:
        from diurnal.storage.lake import partitions

        partitions.CELLS_PER_PART = request["cells"]
    status: Any = 1
    try:
        from diurnal.cli import main

        main()
    except SystemExit as end:
        status = end.code or 0
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else 1)


if __name__ == "__main__":
    serve()
