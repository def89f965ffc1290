"""Requests a second of `diurnal serve`, of `mlflow models serve`, and of a plain FastAPI application with joblib.

One row in a request, one worker each, on the model of the tutorial and on a forest of 200 trees. The load comes from
wrk on the same machine, so that ratios count. Where other programs run as well, compare the time of the processor that
a server takes for a request. The last columns are the latency of 64 clients that pause after each answer, so that they
send half as many requests as the server can answer; and that of a server with a constant answer for the same clients,
which is the part of wrk and of the machine. Run it by `make bench-serving`, which installs wrk and MLflow.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
import pyarrow as pa

EXPERIMENTS = """
from diurnal import experiment
from diurnal.sources import SklearnDataset


@experiment(source=SklearnDataset("breast_cancer"), target="label", start_date="2026-01-01")
def tutorial():
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), PCA(10), LogisticRegression())


@experiment(source=SklearnDataset("breast_cancer"), target="label", start_date="2026-01-01")
def forest():
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(200, random_state=0)
"""
FASTAPI = """
import joblib
import pandas as pd
from fastapi import FastAPI
from pydantic import BaseModel

model = joblib.load({path!r})


class Rows(BaseModel):
    instances: list[list[float]]


app = FastAPI()


@app.post("/invocations")
def predict(rows: Rows) -> dict:
    frame = pd.DataFrame(rows.instances, columns=model.feature_names_in_)
    return {{"predictions": model.predict(frame).tolist()}}
"""
CONSTANT = """
import asyncio
import sys

import httptools
import uvloop


class Constant(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.parser = transport, httptools.HttpRequestParser(self)

    def data_received(self, data):
        self.parser.feed_data(data)

    def on_message_complete(self):
        self.transport.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\n{}")


async def serve():
    server = await asyncio.get_running_loop().create_server(Constant, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


uvloop.run(serve())
"""
CLIENTS = (1, 8, 64)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=4, help="of each measurement")
    parser.add_argument(
        "--mlflow",
        type=lambda path: Path(path).absolute(),
        help="the Python of an environment with MLflow; left out without it",
    )
    parser.add_argument("--models", nargs="+", default=["tutorial", "forest"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="diurnal-bench-") as folder:
        project = make_project(Path(folder))
        print(
            f"{'model':9} {'server':16} {'ready':>7} {'memory':>8}",
            *(f"{n:>3} clients: req/s, p50, p99 ms, CPU us" for n in CLIENTS),
            "half load: req/s, p99 ms, constant answer: p99 ms",
        )
        (project / "constant.py").write_text(CONSTANT)
        with started(project, [sys.executable, "constant.py", "PORT"], "{}") as (port, pid, _):
            for name in arguments.models:
                for server, command in commands(project, name, arguments.mlflow).items():
                    measure(project, name, server, command, (port, pid), arguments.seconds)
        measure_arrow(project)
        subprocess.run(
            [sys.executable, "-m", "diurnal", "warehouse", "stop"], cwd=project, check=False, capture_output=True
        )


def make_project(folder: Path) -> Path:
    """Create a project with a version of each model."""
    project = folder / "project"
    (project / "experiments").mkdir(parents=True)
    (project / "diurnal.toml").write_text("[diurnal]\n")
    (project / "experiments" / "served.py").write_text(EXPERIMENTS)
    for name in ("tutorial", "forest"):
        subprocess.run([sys.executable, "-m", "diurnal", "run", name], cwd=project, check=True, capture_output=True)
    return project


def commands(project: Path, name: str, mlflow: Path | None) -> dict[str, list[str]]:
    """Return the command of each server; ``PORT`` stands for the port."""
    import diurnal

    model = diurnal.load_model(name, project=project)
    joblib.dump(model, project / f"{name}.joblib")
    (project / f"{name}_app.py").write_text(FASTAPI.format(path=str(project / f"{name}.joblib")))
    ours = [sys.executable, "-m", "diurnal", "serve", name, "--port", "PORT"]
    found = {
        "diurnal": ours,
        "diurnal --exact": [*ours, "--exact"],
        "fastapi + joblib": [
            sys.executable,
            "-m",
            "uvicorn",
            f"{name}_app:app",
            "--port",
            "PORT",
            "--log-level",
            "error",
        ],
    }
    if mlflow is not None:
        program = (
            f"import joblib, mlflow.sklearn\nmodel = joblib.load('{name}.joblib')\n"
            f"mlflow.sklearn.save_model(model, '{name}_mlflow', serialization_format='cloudpickle')"
        )
        subprocess.run([str(mlflow), "-c", program], check=True, capture_output=True, cwd=project)
        found["mlflow"] = [
            str(mlflow), "-m", "mlflow", "models", "serve", "-m", str(project / f"{name}_mlflow"),
            "--env-manager", "local", "--port", "PORT", "--workers", "1",
        ]  # fmt: skip
    return found


def measure(project: Path, name: str, server: str, command: list[str], constant: tuple[int, int], seconds: int) -> None:
    """Print the row of a server; `constant` is the port and the process of the server with a constant answer."""
    row = example_row(project, name)
    body = json.dumps({"instances": [row]} if server != "mlflow" else mlflow_body(project, name, row))
    script = project / "post.lua"
    script.write_text(
        f"wrk.method = 'POST'\nwrk.headers['Content-Type'] = 'application/json'\nwrk.body = [==[{body}]==]\n"
    )
    with started(project, command, body) as (port, pid, ready):
        loads = [load(port, pid, script, n, seconds) for n in CLIENTS]
        pause = 2000 * CLIENTS[-1] / loads[-1].rate  # milliseconds on average, besides the latency
        with script.open("a") as file:
            file.write(f"function delay() return math.random(0, {2 * round(pause)}) end\n")
        half, least = (load(*one, script, CLIENTS[-1], seconds) for one in ((port, pid), constant))
        megabytes = memory_of(pid) / 1e6
    cells = [f"{one.rate:15.0f} {one.p50:7.2f} {one.p99:8.2f} {one.microseconds:8.0f}" for one in loads]
    print(
        f"{name:9} {server:16} {ready:6.1f}s {megabytes:6.0f}MB",
        *cells,
        f"{half.rate:15.0f} {half.p99:8.2f} {least.p99:8.2f}",
        flush=True,
    )


class Load(NamedTuple):
    """Requests a second, latencies in milliseconds, and the time of the processor for a request."""

    rate: float
    p50: float
    p99: float
    microseconds: float


def load(port: int, pid: int, script: Path, n_clients: int, seconds: int) -> Load:
    """Load a server."""
    url = f"http://127.0.0.1:{port}/invocations"
    words = ["wrk", "-t1", f"-c{n_clients}", f"-d{seconds}s", "--timeout", "30s", "--latency", "-s", str(script), url]
    before = processor_seconds(pid)
    text = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    if failed := re.search(r"Non-2xx.*: (\d+)|Socket errors.*", text):
        raise RuntimeError(failed[0])
    microseconds = 1e6 * (processor_seconds(pid) - before) / int(re.search(r"(\d+) requests in", text)[1])
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])
    p50, p99 = (milliseconds(re.search(rf"^\s+{p}%\s+(\S+)", text, re.MULTILINE)[1]) for p in (50, 99))
    return Load(rate, p50, p99, microseconds)


def milliseconds(text: str) -> float:
    """Return a time of wrk in milliseconds."""
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}[unit]


@contextmanager
def started(project: Path, command: list[str], body: str):
    """Start a server; give its port, its process and the seconds until its first answer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    begin = time.perf_counter()
    process = subprocess.Popen(
        [word.replace("PORT", str(port)) for word in command],
        cwd=project,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={
            **os.environ,
            "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false",
            "PATH": f"{Path(command[0]).parent}:{os.environ['PATH']}",  # MLflow looks for uvicorn there
        },
        start_new_session=True,
    )
    try:
        while not answers(port, body):
            if process.poll() is not None or time.perf_counter() - begin > 120:
                raise RuntimeError(f"{' '.join(command)} does not answer")
            time.sleep(0.05)
        yield port, process.pid, time.perf_counter() - begin
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        process.wait(30)


def answers(port: int, body: str) -> bool:
    """Return whether a server answers a request."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", body.encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return response.status == 200
    except urllib.error.HTTPError as error:
        raise RuntimeError(error.read().decode()) from None
    except OSError:
        return False


def processor_seconds(pid: int) -> float:
    """Return the time of the processor that a process and its descendants have taken."""
    ticks = sum(
        sum(map(int, (path / "stat").read_text().rpartition(")")[2].split()[11:13])) for path in processes_of(pid)
    )
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_of(pid: int) -> int:
    """Return the proportional memory of a process and its descendants, in bytes."""
    return sum(
        int(re.search(r"Pss:\s+(\d+)", (path / "smaps_rollup").read_text())[1]) * 1024 for path in processes_of(pid)
    )


def processes_of(pid: int) -> list[Path]:
    """Return the folders of a process and its descendants, which are in one session."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(path.name)) == pid:
                found.append(path)
        except OSError:
            continue
    return found


def example_row(project: Path, name: str) -> list[float]:
    """Return a row of the golden rows."""
    return signature_of(project, name)["golden"]["rows"][0]


def mlflow_body(project: Path, name: str, row: list[float]) -> dict:
    """Return a request of MLflow with the names of the columns, which the model needs."""
    names = [column["name"] for column in signature_of(project, name)["columns"]]
    return {"dataframe_split": {"columns": names, "data": [row]}}


def signature_of(project: Path, name: str) -> dict:
    """Return the signature of a model from its card."""
    (card,) = (project / "models" / name).glob("*/model.json")
    return json.loads(card.read_text())["signature"]


def measure_arrow(project: Path, n_rows: int = 65_536, n_requests: int = 16) -> None:
    """Print the rows a second of Arrow streams, of one client that sends one after another and of two."""
    columns = [column["name"] for column in signature_of(project, "tutorial")["columns"]]
    values = np.tile(np.array(example_row(project, "tutorial")), (n_rows, 1))
    table = pa.table(dict(zip(columns, values.T.copy(), strict=True)))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    body, row = sink.getvalue().to_pybytes(), json.dumps({"instances": [example_row(project, "tutorial")]})
    with started(project, [sys.executable, "-m", "diurnal", "serve", "tutorial", "--port", "PORT"], row) as (port, *_):
        url = f"http://127.0.0.1:{port}/experiments/tutorial/predict"
        request = urllib.request.Request(url, body, {"Content-Type": "application/vnd.apache.arrow.stream"})

        def ask(_: int) -> None:
            with urllib.request.urlopen(request) as response:
                assert pa.ipc.open_stream(response.read()).read_all().num_rows == n_rows

        for n_clients in (1, 2):
            with ThreadPoolExecutor(n_clients) as clients:
                begin = time.perf_counter()
                list(clients.map(ask, range(n_requests)))
                rate = n_rows * n_requests / (time.perf_counter() - begin)
            print(f"Arrow, {n_rows} rows x {len(columns)} columns, {n_clients} clients: {rate:,.0f} rows/s")


if __name__ == "__main__":
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt-get install wrk")
    main()
