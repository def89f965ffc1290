"""The processes of a server: signals, workers that are killed, and a parent that is."""

import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest

from serving_projects import children_of, serving, wait_until

PREDICT = "/experiments/clinic/predict"


def is_closed(url):
    try:
        return httpx.get(f"{url}/ping", timeout=1) is None
    except httpx.TransportError:
        return True


def start_slow_request(url):
    """Send a part of a request, whose other part the server waits for."""
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    connection.sendall(head.encode())
    assert connection.recv(1000).startswith(b"HTTP/1.1 100")
    connection.sendall(b"[")
    return connection


def test_a_request_is_answered_after_sigterm_and_a_second_signal_ends_the_server(clinic):
    clinic.set_champion(2)
    with serving(clinic) as (url, process, _):
        with start_slow_request(url) as connection:
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: is_closed(url))
            connection.sendall(b"]")
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        assert process.wait(5) == 0
    with serving(clinic) as (url, process, _), start_slow_request(url):
        process.send_signal(signal.SIGINT)
        wait_until(lambda: is_closed(url))
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == -signal.SIGTERM


@pytest.mark.system
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_workers_end_after_a_signal_to_all_processes(clinic, number):
    with serving(clinic, "--workers", "2") as (url, process, lines):
        wait_until(lambda: not is_closed(url))
        with start_slow_request(url) as connection:
            for pid in (process.pid, *children_of(process.pid)):  # as Ctrl-C does
                if pid == process.pid or number == signal.SIGINT:
                    os.kill(pid, number)
            wait_until(lambda: is_closed(url))
            connection.sendall(b"]")
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        assert process.wait(5) == 0
    assert "Traceback" not in "".join(lines)


@pytest.mark.system
def test_workers_end_when_their_parent_is_killed(clinic):
    with serving(clinic, "--workers", "2") as (url, process, _):
        wait_until(lambda: not is_closed(url))
        process.kill()
        process.wait(5)
        wait_until(lambda: is_closed(url))


@pytest.mark.system
def test_a_new_worker_serves_the_version_in_use_and_not_that_of_the_start(clinic):
    clinic.set_champion(1)
    with serving(clinic, "--workers", "2") as (url, process, _), httpx.Client(base_url=url, timeout=20) as client:
        clinic.set_champion(2)

        def version():
            return httpx.post(f"{url}{PREDICT}", content=clinic.body).json()["version"]

        wait_until(lambda: {version() for _ in range(10)} == {2})
        for pid in children_of(process.pid):
            os.kill(pid, signal.SIGKILL)
        started = time.monotonic()
        answer = httpx.post(f"{url}{PREDICT}", content=clinic.body, timeout=20).json()
        assert time.monotonic() - started < 5
        assert clinic.is_right(answer)
        assert {version() for _ in range(20)} == {2}
        counts = client.get("/metrics").text
        assert (
            'diurnal_serving_requests_total{experiment="clinic",protocol="records",status="200",version="2"}' in counts
        )


@pytest.mark.system
def test_workers_predict_with_openmp_that_their_parent_has_used(tmp_path):
    """GNU OpenMP: a forked process waits forever for the threads of its parent."""
    program = """
import os, sys, signal, socket
import numpy as np, xgboost
from diurnal.serving.serving_process import PredictionServer
X = np.random.default_rng(0).normal(size=(2000, 5))
model = xgboost.XGBClassifier(n_jobs=2, n_estimators=5)
server = PredictionServer.__new__(PredictionServer)
server._watch = type("Watch", (), {"load_all": lambda self: model.fit(X, X[:, 0] > 0).predict(X)})()
server.load()
pid = os.fork()
if not pid:
    signal.alarm(20)
    model.predict(X)
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    assert subprocess.run([sys.executable, "-c", program], check=False, cwd=tmp_path).returncode == 0
