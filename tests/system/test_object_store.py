"""The lake and the models in an object store: a server that speaks S3, as Amazon's and MinIO's do."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field

import pandas as pd
import pytest

from projects import FORKS, Project, patients

pytest.importorskip("s3fs")
pytestmark = [pytest.mark.system, pytest.mark.xdist_group("store")]


@dataclass
class RemoteProject(Project):
    """A project whose lake and models are elsewhere."""

    store: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, **self.store}


@pytest.fixture(scope="module")
def endpoint():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while True:
        try:
            request = urllib.request.Request(f"{address}/bucket", method="PUT")
            urllib.request.urlopen(request, timeout=5).close()
            break
        except (OSError, urllib.error.URLError):
            assert time.monotonic() < deadline, "the object store does not start"
            time.sleep(0.1)
    yield address
    server.terminate()
    server.wait()


@pytest.fixture
def project(tmp_path, warehouse_url, endpoint):
    project = RemoteProject.make(tmp_path / "project", warehouse_url)
    project.store = {
        "DIURNAL_LAKE": f"s3://bucket/{tmp_path.name}/lake",
        "DIURNAL_MODELS": f"s3://bucket/{tmp_path.name}/models",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": "hunter2",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for date in ("2026-11-01", "2026-11-02"):
        project.bring(date)
    return project


def ok(done):
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_days_are_run_kept_verified_and_served(project, tmp_path):
    words = ["--from", "2026-11-01", "--to", "2026-11-02"]
    assert "2 done" in ok(project.command("backfill", "clinic", *words))
    assert "2 already done" in ok(project.command("backfill", "clinic", *words))
    assert "objects OK" in ok(project.command("verify"))
    patients("2026-11-09").drop(columns="ill").to_csv(tmp_path / "rows.csv", index=False)
    ok(project.command("predict", "clinic", str(tmp_path / "rows.csv"), "-o", str(tmp_path / "out.csv")))
    assert set(pd.read_csv(tmp_path / "out.csv")["prediction"]) == {"yes", "no"}
    assert not (project.folder / "data").exists()
    assert not (project.folder / "models").exists()


@pytest.mark.parametrize("point", ["kill@lake.put:after", "kill@models.put:before"])
def test_a_killed_run_goes_on(project, point):
    assert project.command("run", "clinic", "--date", "2026-11-01", fault=point).returncode < 0
    ok(project.command("run", "clinic", "--date", "2026-11-01"))
    assert len(json.loads(ok(project.command("runs", "clinic", "--json")))) == 1
    ok(project.command("gc", "--older-than", "0"))
    assert "objects OK" in ok(project.command("verify"))


def test_a_key_and_an_experiment_are_deleted(project):
    ok(project.command("run", "clinic", "--date", "2026-11-01"))
    before = objects(project, "batches")
    assert "2 packages, 1 row" in ok(project.command("erase", "clinic", "2026-11-01-0007", "--yes"))
    assert "objects OK" in ok(project.command("verify"))
    after = objects(project, "batches")
    assert (len(after), before & after) == (1, set())
    ok(project.command("remove", "clinic", "--yes"))
    assert objects(project, "clinic") == set()


def objects(project, text):
    """Return the paths of the stored objects that have a text in them."""
    import s3fs

    store = s3fs.S3FileSystem(
        key="someone", secret="hunter2", endpoint_url=project.store["AWS_ENDPOINT_URL"], use_listings_cache=False
    )
    root = project.store["DIURNAL_LAKE"].removesuffix("/lake")
    return {path for path in store.find(root) if text in path.split("/lake/")[-1].split("/models/")[-1]}


def test_a_store_that_is_not_there_is_said_without_a_secret(project):
    project.store["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9"
    done = project.command("run", "clinic", "--date", "2026-11-01")
    assert done.returncode == 75, done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr


def test_a_store_that_refuses_is_said(project):
    project.store["DIURNAL_LAKE"] = "s3://another/lake"
    done = project.command("run", "clinic", "--date", "2026-11-01")
    assert done.returncode in (77, 78), done.stderr
    assert "bucket does not exist" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_name_with_an_offset_is_a_key_like_any_other(project):
    project.declare("drop='ward', timezone='Europe/Berlin'")
    project.bring("2026-03-29")
    done = project.command("run", "clinic", "--date", "2026-03-29")
    assert done.returncode == 0, done.stderr
    assert "clinic-20260329T000000+0100-" in done.stdout
    assert project.command("verify").returncode == 0
    again = project.command("run", "clinic", "--date", "2026-03-29")
    assert "already done" in again.stdout, again.stderr


MIRRORED = """
import fsspec
from diurnal.mlflow.artifact_store import ArtifactStore
from diurnal.mlflow.tracking_server import TrackingServer
from diurnal.runtime.mlflow_address import MlflowAddress

with TrackingServer(MlflowAddress("http://127.0.0.1:9", "a test")) as server:
    ArtifactStore(server, "s3://bucket/mlflow/run/artifacts").put("model/MLmodel", b"{}", 2)
print(fsspec.open("s3://bucket/mlflow/run/artifacts/model/MLmodel").open().read())
"""


def test_files_of_mlflow_go_to_its_object_store(project):
    """A server with --no-serve-artifacts leaves the files of runs to its clients."""
    assert ok(FORKS.run(MIRRORED, cwd=project.folder, env=project.environment)) == "b'{}'\n"
