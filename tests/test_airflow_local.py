"""The local Airflow: the real one, started, used and ended."""

import doctest
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from configparser import ConfigParser
from pathlib import Path

import psutil
import psycopg
import pytest

from diurnal.airflow.local import Home, address, configuration
from diurnal.airflow.local.address import Address
from diurnal.settings import Settings, embedded_server

EXAMPLE = Path(__file__).parents[1] / "examples" / "breast_cancer"
pytestmark = pytest.mark.xdist_group("airflow")  # with --dist=loadgroup, no two of them compete for the cores


@pytest.fixture
def folder():
    """A folder that PostgreSQL's own account passes through, where root runs the tests."""
    with tempfile.TemporaryDirectory(prefix="diurnal-tests-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.fixture(scope="module")
def project():
    with tempfile.TemporaryDirectory(prefix="diurnal-tests-") as folder:
        Path(folder).chmod(0o711)
        project = Path(folder) / "project"
        shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns("data", "models", "predictions", "__pycache__"))
        yield project
        diurnal(project, "airflow", "down")


def command(project, *words):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "DIURNAL_"))}
    return {
        "args": [sys.executable, "-m", "diurnal", *words],
        "cwd": project,
        "env": {**inherited, "DIURNAL_PROJECT": str(project)},
        "text": True,
    }


def diurnal(project, *words):
    return subprocess.run(**command(project, *words), capture_output=True, timeout=240, check=False)


def status(project):
    return json.loads(diurnal(project, "airflow", "status", "--json").stdout)


def left_of(sessions):
    """Give the processes of some sessions that live."""
    left = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) in sessions and process.status() != psutil.STATUS_ZOMBIE:
                left.append(process.cmdline())
        except (ProcessLookupError, psutil.Error):
            continue
    return left


@pytest.mark.slow
def test_up_runs_the_examples_dag_and_down_leaves_nothing(project):
    up = diurnal(project, "airflow", "up", "--detach", "--port", "0")
    assert up.returncode == 0, up.stderr
    about = status(project)
    assert about["healthy"]
    assert about["address"] in up.stdout

    password = json.loads(Path(about["password file"]).read_text())["admin"]
    assert password not in up.stdout
    for name in ("password.json", "keys.json", "airflow.cfg"):
        assert stat.S_IMODE((Path(about["home"]) / name).stat().st_mode) == 0o600
    with pytest.raises(urllib.error.HTTPError, match="401") as refused:
        urllib.request.urlopen(f"{about['address']}/api/v2/dags")
    refused.value.close()

    again = diurnal(project, "airflow", "up")
    assert again.returncode == 2
    assert about["address"] in again.stderr

    done = diurnal(project, "airflow", "trigger", "breast_cancer", "--date", "2026-01-01", "--wait", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    with psycopg.connect(embedded_server(Settings.load(project, {})).url("warehouse")) as connection:
        kept = connection.execute("SELECT test_score FROM experiments WHERE run_id = %s", [row["run_id"]]).fetchall()
    assert kept == [(row["test_score"],)]

    assert diurnal(project, "airflow", "down").returncode == 0
    assert left_of({about["launcher"], *about["components"].values()}) == []
    assert not (project / "data" / "warehouse" / "cluster" / "postmaster.pid").exists()
    assert status(project)["running"] is False


@pytest.mark.slow
def test_up_ends_all_of_it_when_a_component_dies(project):
    with subprocess.Popen(**command(project, "airflow", "up", "--port", "0"), stderr=-1, stdout=-3) as launcher:
        deadline = time.monotonic() + 120
        while not (about := status(project)).get("healthy") and time.monotonic() < deadline:
            time.sleep(0.5)
        os.kill(about["components"]["dag-processor"], signal.SIGKILL)
        said = launcher.communicate(timeout=90)[1]
    assert launcher.returncode == 75
    assert "the dag-processor has ended by itself (-9)" in said
    assert "dag-processor.log" in said
    assert left_of(set(about["components"].values())) == []


@pytest.mark.parametrize("how", [[], ["--detach"]])
def test_up_refuses_a_port_that_is_taken(folder, how):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        refused = diurnal(folder, "airflow", "up", "--port", str(port), *how)
    assert refused.returncode == 78
    assert f"the port {port} of 127.0.0.1 is taken" in refused.stderr
    assert "--port" in refused.stderr


def test_down_and_trigger_say_that_nothing_runs(folder):
    assert "no Airflow of this project is running" in diurnal(folder, "airflow", "down").stdout
    shutil.copytree(EXAMPLE / "experiments", folder / "experiments")
    refused = diurnal(folder, "airflow", "trigger", "breast_cancer")
    assert refused.returncode == 2
    assert "diurnal airflow up" in refused.stderr


def test_environment_keeps_knobs_and_drops_what_would_lead_to_another_airflow(folder):
    stray = {
        "AIRFLOW_HOME": "/elsewhere",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://production/airflow",
        "AIRFLOW__CORE__FERNET_KEY_CMD": "cat key",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__PARALLELISM": "7",
        "AIRFLOW_CONN_PLANT": "postgresql://plant",
    }
    home = Home(Settings.load(folder, stray))
    found = configuration.environment(home, Address("127.0.0.1", 8080))
    assert found["AIRFLOW_HOME"] == str(home.folder)
    assert set(stray) & set(found) == {"AIRFLOW_HOME", "AIRFLOW__CORE__PARALLELISM", "AIRFLOW_CONN_PLANT"}


def test_write_gives_what_airflow_reads_back(folder):
    home = Home(Settings.load(folder / "50% off", {}))
    (folder / "50% off").mkdir()
    parser = ConfigParser()
    parser.read_string(configuration.write(home, Address("127.0.0.1", 8080)))
    assert parser["core"]["dags_folder"] == str(home.dags)
    assert parser["core"]["simple_auth_manager_all_admins"] == "False"
    assert parser["api_auth"]["jwt_secret"] == home.keys()["jwt_secret"]


def test_examples_of_address_run():
    assert doctest.testmod(address).attempted == 2  # pytest's own search for them leaves this package out
    assert doctest.testmod(address).failed == 0


def test_preload_imports_all_that_it_names_and_no_threads_of_polars(tmp_path):
    program = """
import sys
from diurnal.airflow.preload import NAMES
print([name for name in NAMES if name not in sys.modules], "polars" in sys.modules)
"""
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path)}
    said = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[-1] == "[] False"
