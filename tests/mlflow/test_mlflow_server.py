"""The mirror in a real MLflow server, read back by MLflow's own client."""

import json
import signal
import socket
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from diurnal.errors import ConfigurationError, InvalidModelError
from diurnal.mlflow import mirror_experiment
from diurnal.mlflow.tracking_server import TrackingServer
from diurnal.runtime.mlflow_address import MlflowAddress
from diurnal.storage.load_model import load_version
from mlflow_servers import PYTHON, MlflowServer, needs_mlflow
from projects import Project, patients

pytestmark = [needs_mlflow, pytest.mark.system, pytest.mark.xdist_group("mlflow"), pytest.mark.timeout(600)]

POINTS = [
    "mlflow.create_run:before",
    "mlflow.create_run:after",
    "mlflow.model:before",
    "mlflow.create_version:before",
    "mlflow.create_version:after",
    "mlflow.complete:before",
]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    server = MlflowServer(tmp_path_factory.mktemp("mlflow"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def mlflow(running, clinic):
    """A server that has nothing of the project."""
    running.forget("clinic")
    clinic.mlflow = running.url
    return running


@pytest.fixture
def sync(mlflow, clinic_stores):
    def sync(*, complete=True, stores=clinic_stores):
        address = MlflowAddress.parse(mlflow.url, "MLFLOW_TRACKING_URI", {})
        with TrackingServer(address) as server:
            return mirror_experiment(stores, "clinic", server, complete=complete)

    return sync


def counts(result):
    return result.runs, result.versions, result.aliases, result.duplicates, result.left


READ = """
import json, mlflow, pandas as pd
from mlflow import MlflowClient
client = MlflowClient()
found = client.get_experiment_by_name("clinic")
run = client.search_runs([found.experiment_id], order_by=["start_time DESC"])[0]
table = client.load_table(found.experiment_id, "candidates.json", run_ids=[run.info.run_id])
model = mlflow.pyfunc.load_model("models:/clinic@champion")
dated = mlflow.pyfunc.load_model("models:/clinic@DATE")
rows = pd.read_json("rows.json", orient="records")
print(json.dumps({
    "params": run.data.params, "metrics": run.data.metrics, "tags": run.data.tags, "status": run.info.status,
    "dataset": run.inputs.dataset_inputs[0].dataset.digest,
    "columns": list(table), "best": table.iloc[0]["rank_test_score"], "n_candidates": len(table),
    "inputs": model.metadata.signature.inputs.to_dict(),
    "labels": model.predict(rows).tolist(),
    "probabilities": model.predict(rows, params={"predict_method": "predict_proba"}).to_numpy().tolist(),
    "dated": dated.predict(rows).tolist(),
}))
"""


def test_mlflow_reads_what_diurnal_has(mlflow, sync, clinic_stores):
    assert counts(sync()) == (2, 2, 2, 0, 0)
    rows = patients("2026-11-25", 20)[["age", "pressure"]]
    rows.to_json(mlflow.folder / "rows.json", orient="records")
    today = datetime.now(UTC).date().isoformat()
    read = mlflow.evaluate(READ.replace("DATE", today))
    run = clinic_stores.warehouse.runs("clinic")[0]
    version = clinic_stores.warehouse.version("clinic", 2)
    assert read["params"]["logisticregression__C"] == json.dumps(run["best_params"]["logisticregression__C"])
    assert read["metrics"]["test_score"] == run["test_score"]
    assert read["status"] == "FINISHED"
    expected = {
        "diurnal.run_id": run["run_id"],
        "diurnal.experiment": "clinic",
        "diurnal.data_interval_start": "2026-11-21T00:00:00+00:00",
        "diurnal.data_interval_end": "2026-11-22T00:00:00+00:00",
        "diurnal.batch_digest": run["batch_digest"],
        "diurnal.code_digest": run["code_digest"],
        "diurnal.version": "2",
    }
    assert {key: read["tags"].get(key) for key in expected} == expected
    assert read["dataset"] == run["batch_digest"][:36]
    assert (read["n_candidates"], read["best"]) == (3, 1)
    assert {"logisticregression__C", "mean_test_score", "split2_test_score"} <= set(read["columns"])
    assert [one["name"] for one in read["inputs"]] == ["age", "pressure"]
    model = load_version(clinic_stores.models, version, clinic_stores.code)
    assert read["labels"] == read["dated"] == model.predict(rows).tolist()
    assert read["probabilities"] == pytest.approx(model.predict_proba(rows), rel=0, abs=1e-12)


def test_mlflow_serves_the_champion(mlflow, sync, clinic_stores):
    sync()
    rows = patients("2026-11-25", 20)[["age", "pressure"]]
    model = load_version(clinic_stores.models, clinic_stores.warehouse.version("clinic", 2), clinic_stores.code)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["models", "serve", "-m", "models:/clinic@champion", "--env-manager", "local", "--port", str(port)]
    serving = subprocess.Popen(
        [str(PYTHON), "-m", "mlflow", *words],
        env=mlflow.environment,
        cwd=mlflow.folder,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        answer = _ask(f"http://127.0.0.1:{port}/invocations", {"dataframe_split": rows.to_dict(orient="split")})
    finally:
        _end_session(serving)
    assert answer == {"predictions": model.predict(rows).tolist()}


def _ask(url, content):
    request = urllib.request.Request(url, json.dumps(content).encode(), {"content-type": "application/json"})
    deadline = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read()) from None
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.3)


def _end_session(process):
    import os

    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_what_is_there_is_not_copied_again(mlflow, sync):
    sync()
    runs = mlflow.runs("clinic")
    assert counts(sync()) == counts(sync(complete=False)) == (0, 0, 0, 0, 0)
    assert mlflow.runs("clinic") == runs
    assert mlflow.versions("clinic") == {1: 1, 2: 2}


def test_a_killed_copy_is_completed(mlflow, clinic):
    for point in POINTS:
        killed = clinic.command("mlflow", "sync", "clinic", fault=f"kill@{point}")
        assert killed.returncode == -signal.SIGKILL, (point, killed.stderr)
    done = clinic.command("mlflow", "sync", "clinic", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["duplicates"] == 0
    assert sorted(run["tags"]["diurnal.version"] for run in mlflow.runs("clinic")) == ["1", "2"]
    assert {run["status"] for run in mlflow.runs("clinic")} == {"FINISHED"}
    assert mlflow.versions("clinic") == {1: 1, 2: 2}


def test_concurrent_copies_add_everything_once(mlflow, clinic):
    with ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(lambda _: clinic.command("mlflow", "sync"), range(4)))
    assert [one.returncode for one in ended] == [0] * 4, [one.stderr for one in ended]
    assert len(mlflow.runs("clinic")) == 2
    assert mlflow.versions("clinic") == {1: 1, 2: 2}


def test_runs_and_versions_that_are_there_twice_are_removed(mlflow, sync):
    """A server that was slow has created them after its client had given up."""
    sync()
    twice = mlflow.runs("clinic")[0]
    tags = [{"key": key, "value": value} for key, value in twice["tags"].items()]
    mlflow.call("POST", "runs/create", {"experiment_id": twice["experiment_id"], "tags": tags})
    found = mlflow.call("GET", "model-versions/get?name=clinic&version=2")["model_version"]
    copied = {name: found[name] for name in ("name", "source", "run_id", "tags")}
    mlflow.call("POST", "model-versions/create", copied)
    assert counts(sync()) == (0, 0, 0, 2, 0)
    assert {run["run_id"] for run in mlflow.runs("clinic")} >= {twice["run_id"]}
    assert len(mlflow.runs("clinic")) == 2
    assert mlflow.versions("clinic") == {1: 1, 2: 2}


def test_everything_is_made_again_after_a_loss(mlflow, sync):
    sync()
    mlflow.forget("clinic")
    assert counts(sync(complete=False)) == (2, 2, 2, 0, 0)
    assert mlflow.versions("clinic") == {1: 1, 2: 2}


def test_what_was_deleted_in_mlflow_comes_back(mlflow, sync):
    sync()
    deleted = mlflow.runs("clinic")[0]["run_id"]
    mlflow.call("POST", "runs/delete", {"run_id": deleted})
    mlflow.call("DELETE", "model-versions/delete", {"name": "clinic", "version": "1"})
    assert counts(sync())[:2] == (2, 1)
    assert len(mlflow.runs("clinic")) == 2
    assert mlflow.versions("clinic") == {2: 2, 3: 1}


def test_aliases_follow_promotions_and_those_of_users_stay(mlflow, tmp_path, another_url):
    project = Project.make(tmp_path / "another", another_url, "drop='ward', promotion='always'")
    project.mlflow = mlflow.url
    for date in ("2026-11-20", "2026-11-21"):
        project.bring(date)
        done = project.command("run", "clinic", "--date", date)
        assert done.returncode == 0, done.stderr
    today = datetime.now(UTC).date().isoformat()
    _check_aliases(project, mlflow, done, {"champion": 2, today: 2})
    for alias, version in (("champion", 1), ("mine", 1), ("2020-01-01", 1)):
        mlflow.call("POST", "registered-models/alias", {"name": "clinic", "alias": alias, "version": str(version)})
    done = project.command("rollback", "clinic", "--to", "1", "--yes")
    assert done.returncode == 0, done.stderr
    _check_aliases(project, mlflow, done, {"champion": 1, today: 1, "mine": 1})
    mlflow.call("POST", "registered-models/alias", {"name": "clinic", "alias": "champion", "version": "2"})
    project.command("mlflow", "sync")
    assert mlflow.aliases("clinic")["champion"] == 1


def _check_aliases(project, mlflow, done, expected):
    """Check what a command has set; on a busy machine MLflow may need more than a second, which the command prints."""
    if "did not answer within" in done.stderr:
        project.command("mlflow", "sync")
    assert mlflow.aliases("clinic") == expected, done.stderr


def test_another_projects_experiment_is_not_changed(mlflow, sync, tmp_path, another_url):
    sync()
    project = Project.make(tmp_path / "another", another_url)
    project.bring("2026-11-20")
    stores = project.stores()
    with stores.warehouse:
        project.run("2026-11-20", stores)
        with pytest.raises(ConfigurationError, match="an experiment clinic that belongs to another warehouse"):
            sync(stores=stores)
    assert mlflow.versions("clinic") == {1: 1, 2: 2}


def test_a_damaged_or_deleted_model_does_not_stop_the_others(mlflow, sync, tmp_path, another_url):
    project = Project.make(tmp_path / "another", another_url)
    stores = project.stores()
    with stores.warehouse:
        for date in ("2026-11-20", "2026-11-21"):
            project.bring(date)
            project.run(date, stores)
        path = project.folder / "models" / stores.warehouse.version("clinic", 1)["path"] / "model.skops"
        data = path.read_bytes()
        path.write_bytes(data[:-1])
        with pytest.raises(InvalidModelError):
            stores.models.open_file(*(stores.warehouse.version("clinic", 1)[name] for name in ("path", "digest")))
        result = sync(stores=stores)
        assert counts(result)[:2] == (1, 1)
        assert result.left == len(result.problems) == 1
        path.write_bytes(data)
        assert counts(sync(complete=False, stores=stores))[:2] == (1, 1)
        assert mlflow.versions("clinic") == {1: 2, 2: 1}
        path.unlink()  # as a retention does
        mlflow.call("DELETE", "model-versions/delete", {"name": "clinic", "version": "2"})
        assert counts(sync(stores=stores))[:2] == (0, 0)
        mlflow.forget("clinic")
        assert counts(sync(stores=stores))[:2] == (2, 1)
        assert counts(sync(stores=stores))[:2] == (0, 0)
