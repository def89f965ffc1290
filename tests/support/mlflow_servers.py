"""A real MLflow server, from the environment that `make test-system` creates, and servers that do not answer."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PYTHON = Path(f"{sys.prefix}-mlflow") / "bin" / "python"
"""MLflow requires older versions of libraries that are pinned here, so that it has an environment of its own."""
needs_mlflow = pytest.mark.skipif(
    not PYTHON.exists() and not os.environ.get("CI"), reason=f"there is no MLflow in {PYTHON.parent}: make test-system"
)
_ALLOWED = ("HOME", "LANG", "TMPDIR")


class MlflowServer:
    """A server on a free port, whose database and files are in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        own = {name: os.environ[name] for name in _ALLOWED if name in os.environ}
        path = f"{PYTHON.parent}:{os.environ['PATH']}"  # `mlflow models serve` starts uvicorn by its name
        mlflow = {
            "MLFLOW_TRACKING_URI": self.url,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "GIT_PYTHON_REFRESH": "quiet",
        }
        return {**own, **mlflow, "PATH": path}

    def start(self) -> None:
        words = ["server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        places = ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db", "--artifacts-destination"]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(PYTHON), "-m", "mlflow", *words, *places, str(self.folder / "artifacts")],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 120
        while not self._is_ready():
            assert self._process.poll() is None, (self.folder / "server.log").read_text()[-2000:]
            assert time.monotonic() < deadline, "MLflow did not start"
            time.sleep(0.2)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def call(self, verb: str, method: str, content: dict[str, Any] | None = None) -> dict[str, Any]:
        """Call the API, as a client that is not diurnal's."""
        request = urllib.request.Request(f"{self.url}/api/2.0/mlflow/{method}", method=verb)
        request.add_header("content-type", "application/json")
        data = None if content is None else json.dumps(content).encode()
        with urllib.request.urlopen(request, data, timeout=60) as answer:
            return json.load(answer)

    def forget(self, name: str) -> None:
        """Rename an experiment and delete a registered model: for a client, a server that has lost both."""
        try:
            found = self.call("GET", f"experiments/get-by-name?experiment_name={name}")["experiment"]
            new = {"experiment_id": found["experiment_id"], "new_name": f"{name}-{uuid.uuid4().hex}"}
            self.call("POST", "experiments/update", new)
            self.call("DELETE", "registered-models/delete", {"name": name})
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise

    def runs(self, name: str) -> list[dict[str, Any]]:
        """Return the runs of an experiment, with their tags as a dictionary."""
        found = self.call("GET", f"experiments/get-by-name?experiment_name={name}")["experiment"]
        runs = self.call("POST", "runs/search", {"experiment_ids": [found["experiment_id"]]}).get("runs", [])
        return [{**run["info"], "tags": {tag["key"]: tag["value"] for tag in run["data"]["tags"]}} for run in runs]

    def versions(self, name: str) -> dict[int, int]:
        """Return diurnal's number of each version, by MLflow's."""
        found = self.call("GET", f"model-versions/search?filter=name%3D'{name}'").get("model_versions", [])
        tags = {int(one["version"]): {tag["key"]: tag["value"] for tag in one["tags"]} for one in found}
        return {number: int(of_it["diurnal.version"]) for number, of_it in sorted(tags.items())}

    def aliases(self, name: str) -> dict[str, int]:
        model = self.call("GET", f"registered-models/get?name={name}")["registered_model"]
        return {one["alias"]: int(one["version"]) for one in model.get("aliases", [])}

    def evaluate(self, program: str, **environment: str) -> Any:
        """Run a program with MLflow's own client; return the JSON that it prints last."""
        done = subprocess.run(
            [str(PYTHON), "-c", program],
            env=self.environment | environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                return True
        except OSError:
            return False


@contextmanager
def silent_server() -> Iterator[str]:
    """Give the URL of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def closed_port() -> str:
    """Return a URL at which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"
