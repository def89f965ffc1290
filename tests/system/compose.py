"""The whole system in containers: built, started, killed piece by piece, stopped and started again.

Not collected by itself: it needs a Docker engine, and a quarter of an hour. `make compose-test` runs it, in this order.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from paced_load import PacedLoad

ROOT = Path(__file__).parents[2]
WHAT_COUNTS = "batch_digest, window_digest, code_digest, best_params, cv_score_mean, test_score, test_scores"
pytestmark = pytest.mark.timeout(1200)


class Stack:
    """A copy of what a clone holds, and the system that `docker compose` makes of it."""

    def __init__(self, folder: Path, *overlays: str) -> None:
        self.folder, self.port = folder, _free_port()
        tracked = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True).split("\0")
        for name in filter(None, tracked):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        self.files = [part for name in ("compose.yaml", *overlays) for part in ("-f", name)]
        self.environment = {
            **os.environ,
            "COMPOSE_PROJECT_NAME": f"diurnal-test-{self.port}",
            "DIURNAL_IMAGE": "diurnal:test",
            "PORT": str(self.port),
            "PAGE_PORT": str(_free_port()),
            "SERVING_PORT": str(_free_port()),
        }
        self.run(sys.executable, "deploy/environment.py")
        lines = (folder / ".env").read_text().splitlines()
        self.secrets = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))

    def run(self, *words: str) -> str:
        done = subprocess.run(words, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{words}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def compose(self, *words: str) -> str:
        return self.run("docker", "compose", *self.files, *words)

    def sql(self, query: str, *, role: str = "diurnal", database: str = "warehouse") -> list[list[str]]:
        """Ask as the README says: by psql, in the container of PostgreSQL."""
        words = ["exec", "-T", "postgres", "psql", "-U", role, "-d", database, "-AtF", "\x1f", "-c", query]
        return [line.split("\x1f") for line in self.compose(*words).splitlines()]

    def api(self, path: str, body: dict | None = None) -> dict:
        token = self._post("/auth/token", {"username": "admin", "password": self.secrets["AIRFLOW_ADMIN_PASSWORD"]})
        header = {"Authorization": f"Bearer {token['access_token']}"}
        return self._post(f"/api/v2{path}", body, header)

    def _post(self, path: str, body: dict | None, headers: dict[str, str] | None = None) -> dict:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **(headers or {})}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        with urllib.request.urlopen(request, timeout=20) as reply:
            return json.load(reply)

    def page(self, url: str, cookie: str = "") -> tuple[int, str, str]:
        """Ask for a page: give the status, the text and the cookie that it sets."""
        headers = {"Cookie": cookie} if cookie else {}
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as reply:
                return reply.status, reply.read().decode(), (reply.headers["Set-Cookie"] or "").partition(";")[0]
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode(), ""

    def trigger(self, day: str, end: str) -> None:
        start = f"{day}T00:00:00Z"
        body = {"logical_date": start, "data_interval_start": start, "data_interval_end": f"{end}T00:00:00Z"}
        _within(60, lambda: self.api("/dags/breast_cancer/dagRuns", body))

    def state(self, day: str) -> str:
        found = self.sql(
            f"SELECT state FROM dag_run WHERE dag_id = 'breast_cancer' AND data_interval_start = '{day} UTC'",
            role="airflow",
            database="airflow",
        )
        return found[0][0] if found else "none"

    def reached(self, day: str, task: str) -> bool:
        query = (
            "SELECT count(*) FROM task_instance t JOIN dag_run r ON r.run_id = t.run_id AND r.dag_id = t.dag_id "
            f"WHERE t.dag_id = 'breast_cancer' AND t.task_id = '{task}' AND r.data_interval_start = '{day} UTC' "
            "AND t.state IN ('running', 'success')"
        )
        return self.sql(query, role="airflow", database="airflow") == [["1"]]

    def wait_for_success(self, day: str, seconds: float = 420) -> None:
        def over() -> bool:
            state = self.state(day)
            assert state != "failed", self.compose("logs", "--tail", "50")
            return state == "success"

        _until(over, seconds, f"the run of {day} is {self.state(day)}")

    def results(self, day: str) -> list[list[str]]:
        where = f"WHERE data_interval_start = '{day} UTC'"
        return self.sql(f"SELECT {WHAT_COUNTS} FROM experiments {where} ORDER BY recorded_at")

    def one_result(self, day: str) -> None:
        """See that the day has one row, one version and one load, whatever was killed."""
        where = f"WHERE data_interval_start = '{day} UTC'"
        versions = f"SELECT count(*) FROM model_versions {where}"
        shown = "SELECT count(*), count(DISTINCT data_interval_start) FROM batch_data_breast_cancer"
        rows, days = self.sql(shown)[0]
        assert len(self.results(day)) == 1
        assert self.sql(versions) == [["1"]]
        assert int(rows) == 569 * int(days)

    def stop(self) -> None:
        self.compose("--profile", "*", "down", "--volumes", "--timeout", "20")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _until(true, seconds: float, otherwise: str) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, otherwise
        time.sleep(1)


def _within(seconds: float, act):
    """Act until it is let: a server that has just been started again may need a moment."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return act()
        except (OSError, urllib.error.URLError):
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


_others: list[Stack] = []


def _stack(tmp_path_factory, *overlays: str):
    for other in _others:
        other.compose("stop", "--timeout", "20")  # two at once are much for a small machine
    stack = Stack(tmp_path_factory.mktemp("clone"), *overlays)
    _others.append(stack)
    try:
        started = time.monotonic()
        stack.compose("up", "--build", "--wait")
        print(f"\nup after {time.monotonic() - started:.0f} s, image included", end=" ")
        yield stack
    finally:
        _others.remove(stack)
        stack.stop()


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    yield from _stack(tmp_path_factory)


@pytest.fixture(scope="module")
def celery(tmp_path_factory):
    yield from _stack(tmp_path_factory, "compose.celery.yaml")


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    yield from _stack(tmp_path_factory, "compose.spark.yaml")


@pytest.fixture(scope="module")
def first_day(local) -> str:
    """The day that is run without anybody's asking: the last one that is over."""
    query = "SELECT data_interval_start::date FROM dag_run WHERE dag_id = 'breast_cancer'"
    _until(lambda: local.sql(query, role="airflow", database="airflow"), 120, "no run has begun")
    return local.sql(query, role="airflow", database="airflow")[0][0]


def test_up_is_all_that_a_first_run_takes(local, first_day):
    started = time.monotonic()
    local.wait_for_success(first_day)
    print(f"\nits first run was over {time.monotonic() - started:.0f} s later", end=" ")
    local.one_result(first_day)
    assert len(list((local.folder / "data").rglob("*.parquet"))) >= 3
    assert len(list((local.folder / "models").rglob("model.skops"))) == 1


def test_the_page_is_in_airflow_and_alone(local, first_day):
    local.wait_for_success(first_day)
    in_airflow = f"http://127.0.0.1:{local.port}/diurnal/"
    assert local.page(in_airflow)[0] == 401
    user = {"username": "admin", "password": local.secrets["AIRFLOW_ADMIN_PASSWORD"]}
    token = local._post("/auth/token", user)["access_token"]
    status, text, _ = local.page(in_airflow, f"_token={token}")
    assert (status, "breast_cancer" in text) == (200, True)

    local.compose("--profile", "page", "up", "--wait", "page")
    log = local.compose("--profile", "page", "logs", "--no-log-prefix", "page")
    (link,) = re.findall(r"http://localhost:\S+", log)
    assert f":{local.environment['PAGE_PORT']}/" in link
    alone = link.partition("login")[0]
    assert local.page(alone)[0] == 401
    status, _, cookie = local.page(link)
    assert status == 200
    status, text, _ = local.page(alone, cookie)
    assert (status, "breast_cancer" in text) == (200, True)
    assert local.page(link)[0] == 401, "a link is valid once"
    local.compose("--profile", "page", "rm", "--stop", "--force", "page")


def test_neither_role_sees_the_other_database(local):
    for role, database in (("airflow", "warehouse"), ("diurnal", "airflow"), ("diurnal", "postgres")):
        with pytest.raises(AssertionError, match="permission denied"):
            local.sql("SELECT 1", role=role, database=database)


def test_nobody_is_root_and_roots_are_read_only(local):
    for service in ("postgres", "api-server", "scheduler", "dag-processor", "triggerer"):
        assert local.compose("exec", "-T", service, "id", "-u").strip() != "0", service
        with pytest.raises(AssertionError, match="Read-only file system"):
            local.compose("exec", "-T", service, "sh", "-c", "echo > /etc/passwd-")


def test_the_command_line_works_inside(local, first_day):
    runs = json.loads(local.compose("exec", "-T", "scheduler", "diurnal", "runs", "breast_cancer", "--json"))
    assert runs[0]["data_interval_start"].startswith(first_day)
    assert "objects OK" in local.compose("exec", "-T", "scheduler", "diurnal", "verify")


PREDICT = """
import json, sys
import diurnal, pandas as pd
rows = pd.DataFrame(json.loads(sys.argv[1]))
print(json.dumps([diurnal.load_model(f"breast_cancer@{v}").predict_proba(rows).tolist() for v in (1, 2)]))
"""


def _publish_another(stack: Stack, *inside: str) -> None:
    """Publish a version of a changed experiment, which predicts otherwise."""
    file = stack.folder / "examples" / "breast_cancer" / "experiments" / "breast_cancer.py"
    text = file.read_text()
    file.write_text(text.replace("range(1, 30)", "[3]"))
    try:
        stack.compose(*inside, "diurnal", "run", "breast_cancer", "--date", "2026-10-20")
    finally:
        file.write_text(text)


def test_promotions_are_served_under_load_and_without_the_warehouse(local, first_day):
    local.wait_for_success(first_day)
    inside = ("exec", "-T", "scheduler")
    _publish_another(local, *inside)
    local.compose("--profile", "serving", "up", "--wait", "serving")
    url = f"http://127.0.0.1:{local.environment['SERVING_PORT']}"
    with urllib.request.urlopen(f"{url}/openapi.json") as reply:
        path = json.load(reply)["paths"]["/experiments/breast_cancer/predict"]["post"]
    body = json.dumps(path["requestBody"]["content"]["application/json"]["example"])
    expected = json.loads(local.compose(*inside, "python", "-c", PREDICT, body).splitlines()[-1])
    versions = dict(local.sql("SELECT digest, version FROM model_versions WHERE experiment = 'breast_cancer'"))

    def is_right(answer: dict) -> bool:
        probabilities = expected[int(versions[answer["digest"]]) - 1]
        return np.allclose(answer["probabilities"], probabilities, rtol=0, atol=1e-12)

    def served() -> int:
        with urllib.request.urlopen(f"{url}/experiments/breast_cancer") as reply:
            return int(json.load(reply)["version"])

    with PacedLoad(url, "/experiments/breast_cancer/predict", body, is_right) as load:
        for _ in range(10):
            version = 3 - served()
            local.compose(*inside, "diurnal", "promote", "breast_cancer", str(version), "--yes", "--reason", "a test")
            _until(lambda: served() == version, 20, "the promotion is not served")  # noqa: B023
        local.compose("kill", "postgres")
        time.sleep(5)
    print(f"\n10 promotions, then without the warehouse: {load}", end=" ")
    assert (load.wrong, load.broken, len(load.digests)) == ([], [], 2)
    started = time.monotonic()
    local.compose("--profile", "serving", "restart", "serving")
    _within(120, served)
    print(f"\nit serves its copy {time.monotonic() - started:.0f} s after a restart without the warehouse", end=" ")
    local.compose("up", "--wait", "--no-recreate")
    local.compose("--profile", "serving", "rm", "--stop", "--force", "serving")


def test_the_same_day_without_containers_gives_the_same(local, first_day, tmp_path):
    example = tmp_path / "breast_cancer"
    shutil.copytree(local.folder / "examples" / "breast_cancer", example)
    words = [sys.executable, "-m", "diurnal", "run", "breast_cancer", "--date", first_day, "--json"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DIURNAL_")}
    done = subprocess.run(words, cwd=example, env=environment, capture_output=True, text=True, check=True)
    ours = json.loads(done.stdout)
    contained = dict(zip(WHAT_COUNTS.split(", "), local.results(first_day)[0], strict=True))
    assert ours["batch_digest"] == contained["batch_digest"]
    assert ours["code_digest"] == contained["code_digest"]
    assert ours["best_params"] == json.loads(contained["best_params"])
    assert ours["test_score"] == pytest.approx(float(contained["test_score"]), abs=1e-12)
    assert ours["cv_score_mean"] == pytest.approx(float(contained["cv_score_mean"]), abs=1e-12)


@pytest.mark.parametrize(
    ("service", "at", "day"),
    [
        ("postgres", "tune", "2026-11-01"),
        ("scheduler", "tune", "2026-11-02"),
        ("scheduler", "refit", "2026-11-03"),
        ("api-server", "split", "2026-11-04"),
        ("dag-processor", "fetch", "2026-11-05"),
        ("triggerer", "fetch", "2026-11-06"),
    ],
)
def test_one_container_killed_in_a_run_loses_nothing(local, service, at, day):
    _kill_in_a_run(local, service, at, day)


def test_postgres_restarted_in_a_run_loses_nothing(local):
    local.trigger("2026-11-07", "2026-11-08")
    _until(lambda: local.reached("2026-11-07", "fetch"), 120, "it has not begun")
    local.compose("restart", "postgres")
    local.wait_for_success("2026-11-07")
    local.one_result("2026-11-07")


def test_down_and_up_lose_nothing(local):
    before = local.sql("SELECT run_id, test_score FROM experiments ORDER BY run_id")
    runs = local.sql("SELECT count(*) FROM dag_run", role="airflow", database="airflow")
    local.compose("down", "--timeout", "20")
    local.compose("up", "--wait")
    assert local.sql("SELECT run_id, test_score FROM experiments ORDER BY run_id") == before
    assert local.sql("SELECT count(*) FROM dag_run", role="airflow", database="airflow") == runs
    assert "objects OK" in local.compose("exec", "-T", "scheduler", "diurnal", "verify")


def test_a_backup_brings_everything_back(local, tmp_path):
    backup = [sys.executable, "deploy/backup.py"]
    rows = "SELECT run_id, test_score, digest FROM experiments JOIN model_versions USING (run_id) ORDER BY run_id"
    before = local.sql(rows)
    local.run(*backup, "save", str(tmp_path / "backup"))
    assert "0 new files" in local.run(*backup, "save", str(tmp_path / "backup"))
    local.compose("down", "--volumes", "--timeout", "20")
    for name in ("data", "models"):
        for path in (local.folder / name).iterdir():
            shutil.rmtree(path)
    local.compose("up", "--wait", "postgres")
    local.run(*backup, "restore", str(tmp_path / "backup"))
    local.compose("up", "--wait")
    assert local.sql(rows) == before
    assert "objects OK" in local.compose("exec", "-T", "scheduler", "diurnal", "verify")


def test_celery_gives_the_same(local, first_day, celery):
    celery.wait_for_success(first_day)
    celery.one_result(first_day)
    local.compose("start", "postgres")
    _until(lambda: _within(60, lambda: local.results(first_day)), 60, "postgres does not come back")
    assert celery.results(first_day) == local.results(first_day)
    digests = "SELECT digest FROM model_versions WHERE data_interval_start = '{} UTC'"
    assert celery.sql(digests.format(first_day)) == local.sql(digests.format(first_day))
    local.compose("stop", "postgres")


def test_a_search_is_shared_among_the_workers(celery):
    """A new experiment, put into the folder of a running system."""
    example = celery.folder / "examples" / "breast_cancer"
    text = (example / "experiments" / "breast_cancer.py").read_text()
    shared = text.replace("def breast_cancer(", "def shared(")
    shared = shared.replace("@experiment(", "@experiment(n_tuning_shards=4, ")
    (example / "experiments" / "shared.py").write_text(shared)
    (example / "dags" / "shared.py").write_text('from diurnal.airflow import build_dag\n\ndag = build_dag("shared")\n')
    state = "SELECT state FROM dag_run WHERE dag_id = 'shared'"
    _until(lambda: celery.sql(state, role="airflow", database="airflow") == [["success"]], 300, "shared does not end")
    tasks = "SELECT hostname FROM task_instance WHERE dag_id = 'shared' AND task_id = 'score_shard'"
    hosts = [row[0] for row in celery.sql(tasks, role="airflow", database="airflow")]
    assert len(hosts) == 4
    assert len(set(hosts)) == 2
    assert celery.sql("SELECT n_candidates FROM experiments WHERE experiment = 'shared'") == [["290"]]


def test_a_worker_knows_no_secret_of_the_metastore(celery):
    names = celery.compose("exec", "-T", "worker", "env")
    for secret in ("FERNET_KEY", "JWT_SECRET", "AIRFLOW_DB_PASSWORD", "POSTGRES_PASSWORD"):
        assert celery.secrets[secret] not in names


@pytest.mark.parametrize(("service", "at", "day"), [("worker", "tune", "2026-11-02"), ("redis", "split", "2026-11-03")])
def test_a_worker_or_the_broker_killed_in_a_run_loses_nothing(celery, service, at, day):
    _kill_in_a_run(celery, service, at, day)


@pytest.mark.timeout(2400)
def test_a_day_of_spark_is_submitted_to_the_cluster(spark):
    """By the words of docs/compose.md."""
    dags = spark.folder / "examples" / "breast_cancer" / "dags"
    spark.compose("exec", "-T", "scheduler", "airflow", "pools", "set", "spark", "1", "drivers at once")
    words = 'build_dag("breast_cancer_spark", spark_submit={"pool": "spark"})'
    (dags / "breast_cancer_spark.py").write_text(f"from diurnal.airflow import build_dag\n\ndag = {words}\n")
    state = "SELECT state FROM dag_run WHERE dag_id = 'breast_cancer_spark'"
    started = time.monotonic()
    _until(lambda: spark.sql(state, role="airflow", database="airflow") == [["success"]], 1500, "it does not end")
    print(f"\nits day on Spark was over {time.monotonic() - started:.0f} s later", end=" ")
    rows = "SELECT experiment, test_score, library_versions ? 'pyspark' FROM experiments ORDER BY experiment"
    (_, here, no), (_, there, yes) = spark.sql(rows)
    assert (no, yes) == ("f", "t")
    assert float(there) == pytest.approx(float(here), abs=0.06), "each experiment splits by its own name"
    log = "\n".join(path.read_text() for path in (spark.folder / "logs").rglob("*breast_cancer_spark*/**/*.log"))
    assert log.count("Spark-Submit cmd: spark-submit --master spark://spark-master:7077") == 4
    assert spark.secrets["SPARK_SECRET"] not in log
    tries = "SELECT max(try_number) FROM task_instance WHERE dag_id = 'breast_cancer_spark'"
    assert spark.sql(tries, role="airflow", database="airflow") == [["1"]], "no step waits in vain for cores"


def _kill_in_a_run(stack: Stack, service: str, at: str, day: str) -> None:
    stack.trigger(day, f"{day[:-2]}{int(day[-2:]) + 1:02}")
    _until(lambda: stack.reached(day, at), 180, f"{at} has not begun")
    stack.compose("kill", service)
    stack.compose("up", "--wait", "--no-recreate")
    stack.wait_for_success(day)
    stack.one_result(day)
