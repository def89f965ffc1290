"""A server of predictions as a user runs it: swaps under load, outages, restarts, kills, and hostile clients."""

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pytest

from paced_load import N_CLIENTS, PacedLoad
from serving_projects import children_of, serving, wait_until


def test_an_answer_names_the_version_that_gave_it(clinic, client):
    answer = client.post("/experiments/clinic/predict", content=clinic.body)
    assert answer.status_code == 200
    assert clinic.is_right(answer.json())
    assert answer.headers["diurnal-version"] == str(answer.json()["version"])
    assert answer.headers["diurnal-digest"] == answer.json()["digest"]


def test_mlflow_and_open_inference_protocol(clinic, client):
    records = json.loads(clinic.body)
    expected = client.post("/experiments/clinic/predict", content=clinic.body).json()["predictions"]
    for path in ("/invocations", "/experiments/clinic/invocations"):
        assert client.post(path, json={"dataframe_records": records}).json() == {"predictions": expected}
    inputs = [
        {"name": name, "shape": [len(clinic.rows)], "datatype": "FP64", "data": clinic.rows[name].tolist()}
        for name in clinic.rows
    ]
    answer = client.post("/v2/models/clinic/infer", json={"id": "7", "inputs": inputs}).json()
    assert (answer["id"], answer["outputs"][0]["data"]) == ("7", expected)
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2/models/clinic").json()["inputs"][0]["name"] == "age"
    assert client.get("/v2/models/clinic/versions/9").status_code == 404
    assert client.get("/ping").status_code == 200


def test_arrow_in_and_out(clinic, client):
    table = pa.Table.from_pandas(clinic.rows)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    kind = {"content-type": "application/vnd.apache.arrow.stream"}
    answer = client.post("/experiments/clinic/predict", content=sink.getvalue().to_pybytes(), headers=kind)
    frame = pa.ipc.open_stream(answer.content).read_all()
    version = int(frame.schema.metadata[b"version"])
    np.testing.assert_allclose(frame["probability_yes"], clinic.probabilities[version][:, 1], rtol=0, atol=1e-12)


def test_openapi_examples_are_answered_as_written(client):
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        operation = operations["post"]
        example = operation["requestBody"]["content"]["application/json"]["example"]
        answer = operation["responses"]["200"]["content"]["application/json"].get("example")
        received = client.post(path, json=example)
        assert received.status_code == 200, received.text
        if answer is not None:
            assert received.json()["predictions"] == answer["predictions"]


def test_example_rows_are_predicted(client):
    rows = client.get("/experiments/clinic/example").json()
    assert len(client.post("/experiments/clinic/predict", json=rows).json()["predictions"]) == len(rows) == 2


def test_metrics_and_access_log(client):
    client.post("/experiments/clinic/predict", content="[]")
    text = client.get("/metrics").text
    assert 'diurnal_serving_version{experiment="clinic",path="compiled"} 2.0' in text
    assert re.search(
        r'diurnal_serving_requests_total\{experiment="clinic",protocol="records",status="200",version="2"\} \d', text
    )


def test_errors_have_a_status_and_a_remedy(client):
    for path, body, status in [
        ("/experiments/absent/predict", "[]", 404),
        ("/experiments/clinic/predict", "[{}]", 400),
        ("/experiments/clinic/predict", "[", 400),
        ("/experiments/clinic/predict", '[{"age": null, "pressure": 1}]', 400),
        ("/nothing", "[]", 404),
        ("/v2/models/clinic/versions/9/infer", '{"inputs": []}', 404),
        ("/experiments/clinic/predict", "[" * 100_000, 400),
    ]:
        answer = client.post(path, content=body)
        assert answer.status_code == status, (path, answer.text)
        assert "message" in answer.json()["error"] or answer.json()["error"]
        assert len(answer.content) < 4096


def swap_under_load(clinic, url, n_swaps):
    """Change the champion again and again, each time until it answers, under 200 requests a second."""
    with PacedLoad(url, "/experiments/clinic/predict", clinic.body, clinic.is_right) as load:
        for i in range(n_swaps):
            version = 1 + i % 2
            clinic.set_champion(version)
            wait_until(lambda: httpx.get(f"{url}/experiments/clinic").json()["version"] == version)  # noqa: B023
    print(f"\n{n_swaps} swaps in {load.seconds:.0f} s: {load}")  # noqa: T201 - a measurement, with pytest -s
    return load


def test_swaps_under_load_give_no_wrong_answer(clinic, running):
    load = swap_under_load(clinic, running[0], 6)
    assert (load.wrong, load.broken, len(load.digests)) == ([], [], 2)


@pytest.mark.system
def test_a_hundred_swaps_under_load(clinic, running):
    load = swap_under_load(clinic, running[0], 100)
    assert (load.wrong, load.broken, len(load.digests)) == ([], [], 2)
    assert load.rate > 50, "200 on a machine that is not busy"


def test_a_version_that_cannot_be_loaded_leaves_the_former_one(clinic, running, client):
    clinic.set_champion(2)
    wait_until(lambda: client.get("/experiments/clinic").json().get("version") == 2)
    path = Path(clinic.stores.models.url(clinic.stores.warehouse.version("clinic", 1)["path"])) / "model.skops"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"x")
    try:
        clinic.set_champion(1)
        wait_until(lambda: client.get("/experiments/clinic").json()["status"] == "degraded")
        answer = client.post("/experiments/clinic/predict", content=clinic.body).json()
        assert answer["version"] == 2
        assert 'diurnal_serving_degraded{experiment="clinic"} 1.0' in client.get("/metrics").text
    finally:
        path.write_bytes(whole)
    wait_until(lambda: client.get("/experiments/clinic").json()["version"] == 1)
    assert client.get("/experiments/clinic").json()["status"] == "serving"
    clinic.set_champion(2)
    wait_until(lambda: client.get("/experiments/clinic").json()["version"] == 2)


def test_slow_and_idle_clients_do_not_keep_others_waiting(clinic, running, client):
    host, port = running[0].removeprefix("http://").split(":")
    idle = [socket.create_connection((host, int(port))) for _ in range(200)]
    for number, connection in enumerate(idle):
        if number % 2:
            connection.sendall(b"POST /experiments/clinic/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n[")
    started = time.monotonic()
    for _ in range(20):
        assert client.post("/experiments/clinic/predict", content=clinic.body).status_code == 200
    assert time.monotonic() - started < 10
    for connection in idle:
        connection.close()
    assert client.get("/ping").status_code == 200


@pytest.mark.system
def test_a_restart_without_the_warehouse_serves_the_last_version(clinic):
    with serving(clinic) as (url, *_):
        version = httpx.post(f"{url}/experiments/clinic/predict", content=clinic.body).json()["version"]
    away = {"DIURNAL_WAREHOUSE": "postgresql://nobody@127.0.0.1:1/absent?connect_timeout=1"}
    with serving(clinic, environment=away) as (url, _, lines):
        answer = httpx.post(f"{url}/experiments/clinic/predict", content=clinic.body).json()
        assert answer["version"] == version
        assert clinic.is_right(answer)
        assert httpx.get(f"{url}/experiments/clinic").json()["status"] == "degraded"
    assert "the warehouse is away" in "".join(lines)


def test_tokens_have_scopes(clinic, tmp_path):
    tokens = tmp_path / "tokens.toml"
    for name, experiments in (("good", '["clinic"]'), ("other", '["absent"]')):
        digest = hashlib.sha256(name.encode()).hexdigest()
        with tokens.open("a") as file:
            file.write(f'[{name}]\nsha256 = "{digest}"\nexperiments = {experiments}\n')
    with serving(clinic, "clinic@1", "--tokens", str(tokens)) as (url, *_), httpx.Client(base_url=url) as client:

        def ask(token, method="POST", path="/experiments/clinic/predict"):
            return client.request(method, path, content=clinic.body, headers={"Authorization": f"Bearer {token}"})

        assert client.post("/experiments/clinic/predict", content=clinic.body).status_code == 401
        assert [ask(token).status_code for token in ("good", "other", "x")] == [200, 403, 401]
        assert ask("good").json()["version"] == 1, "a pinned version stays"
        assert ask("good", "GET", "/metrics").status_code == 403
        names = ("/v2/models/clinic", "/experiments/clinic", "/experiments/clinic/example")
        for path in ("/", "/openapi.json", "/metrics", "/v2", *names):
            assert client.get(path).status_code == 401
        assert ask("other", "GET", "/").json()["experiments"] == []
        assert client.get("/v2/health/live").status_code == 200


@pytest.mark.system
def test_a_killed_worker_is_replaced(clinic):
    with serving(clinic, "--workers", "2", "--access-log") as (url, process, _):
        wait_until(lambda: len(children_of(process.pid)) == 2)
        children = children_of(process.pid)
        os.kill(children[0], signal.SIGKILL)
        wait_until(lambda: len(children_of(process.pid)) == 2 and children[0] not in children_of(process.pid))
        for _ in range(20):
            answer = httpx.post(f"{url}/experiments/clinic/predict", content=clinic.body)
            assert clinic.is_right(answer.json())
        assert "diurnal_serving_requests_total" in httpx.get(f"{url}/metrics").text
    assert children_of(process.pid) == []


@pytest.mark.system
def test_killed_workers_give_no_wrong_answer_and_are_back_soon(clinic):
    with serving(clinic, "--workers", "2") as (url, process, _):
        wait_until(lambda: len(children_of(process.pid)) == 2)
        with PacedLoad(url, "/experiments/clinic/predict", clinic.body, clinic.is_right) as load:
            for _ in range(5):
                time.sleep(1)
                killed = children_of(process.pid)[0]
                os.kill(killed, signal.SIGKILL)
                wait_until(lambda: len(children_of(process.pid)) == 2 and killed not in children_of(process.pid))  # noqa: B023
    print(f"\n5 kills in {load.seconds:.0f} s: {load}")  # noqa: T201
    assert load.wrong == []
    assert len(load.broken) <= 5 * N_CLIENTS, "only the requests of the killed worker's connections"
    assert load.longest_gap < 2, "below 0.1 on a machine that is not busy"


def test_wrong_options_are_explained(clinic):
    result = clinic.project.command("serve", "--host", "0.0.0.0")
    assert result.returncode == 2
    assert "--tokens" in result.stderr
    result = clinic.project.command("serve", "clinic", "clinic@1", "--port", "0")
    assert result.returncode == 2
    result = clinic.project.command("serve", "absent", "--port", "0")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


@pytest.mark.system
def test_broken_requests_beside_idle_and_slow_connections(clinic):
    """The script finds no server error and no growth of memory, and valid requests are answered meanwhile."""
    script = Path(__file__).parents[2] / "benchmarks" / "serving_fuzz.py"
    clinic.set_champion(2)
    with serving(clinic) as (url, process, _):
        words = [url, "--requests", "3000", "--idle", "300", "--pid", str(process.pid)]
        found = subprocess.run([sys.executable, str(script), *words], capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stdout + found.stderr
