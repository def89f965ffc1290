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
from urllib.parse import quote, urlsplit

import psutil
import psycopg
import pytest

from browser import needs_chromium
from diurnal.airflow.local import AirflowHome, airflow_config, server_address, trigger
from diurnal.airflow.local.server_address import ServerAddress
from diurnal.errors import DiurnalError
from diurnal.runtime import Settings
from diurnal.storage.stores import embedded_server

EXAMPLE = Path(__file__).parents[2] / "examples" / "breast_cancer"
pytestmark = pytest.mark.xdist_group("airflow")  # with --dist=loadgroup, no two of them compete for the cores


@pytest.fixture
def folder():
    """A folder that PostgreSQL's own account passes through, where root runs the tests."""
    with tempfile.TemporaryDirectory(prefix="diurnal-tests-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


ASKED = """
from pathlib import Path

from diurnal import experiment


def rows(interval):
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(interval.start.day)
    age = rng.normal(50, 12, 240)
    ill = np.where(age + rng.normal(0, 5, 240) > 50, "yes", "no")
    frame = pd.DataFrame({"patient": [f"{interval}-{n}" for n in range(240)], "age": age, "ill": ill})
    return frame.assign(pulse=rng.normal(70, 8, 240)) if Path(__file__).with_name("pulse").exists() else frame


@experiment(source=rows, target="ill", key="patient", schedule="@daily", start_date="2026-01-01", promotion="approve")
def asked():
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    return GridSearchCV(LogisticRegression(), {"C": [-1.0]}, cv=3)
"""


@pytest.fixture(scope="module")
def project():
    with tempfile.TemporaryDirectory(prefix="diurnal-tests-") as folder:
        Path(folder).chmod(0o711)
        project = Path(folder) / "project"
        shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns("data", "models", "predictions", "__pycache__"))
        (project / "experiments" / "asked.py").write_text(ASKED)
        (project / "dags" / "asked.py").write_text("from diurnal.airflow import build_dag\ndag = build_dag('asked')\n")
        yield project
        diurnal(project, "airflow", "down")


@pytest.fixture(scope="module")
def up(project):
    """Return the output of the command that started the Airflow of the project."""
    return diurnal(project, "airflow", "up", "--detach", "--port", "0")


@pytest.fixture(scope="module")
def client(project, up):
    return trigger.sign_in(AirflowHome(Settings.load(project, {})))


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
    """Return the live processes of some sessions."""
    left = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) in sessions and process.status() != psutil.STATUS_ZOMBIE:
                left.append(process.cmdline())
        except (ProcessLookupError, psutil.Error):
            continue
    return left


def wait_for(seen, seconds=90):
    """Return the result of `seen` as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (found := seen()) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert found, f"not within {seconds} s"
    return found


def champions(client, name):
    """Return the versions in the events of the champion, in order."""
    _, answer = client.get("assets", "events", limit=100)
    return [event["extra"].get("version") for event in answer["asset_events"] if event["name"] == f"{name}.champion"]


def runs(client, dag_id):
    return client.get("dags", dag_id, "dagRuns", limit=100)[1]["dag_runs"]


def questions(client):
    """Return the open questions: subject, body and run."""
    _, answer = client.get("dags", "asked.approval", "dagRuns", "~", "hitlDetails", response_received="false")
    tasks = [(one, one["task_instance"]) for one in answer["hitl_details"]]
    return [
        (one["subject"], one["body"], task["dag_run_id"]) for one, task in tasks if task["state"] == "awaiting_input"
    ]


@pytest.mark.system
def test_up_runs_the_examples_dag(project, up):
    assert up.returncode == 0, up.stderr
    about = status(project)
    assert about["healthy"]
    assert about["address"] in up.stdout

    password = json.loads(Path(about["password_file"]).read_text())["admin"]
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

    forward = diurnal(project, "run", "breast_cancer", "--next", "--json")
    assert json.loads(forward.stdout)["data_interval_start"].startswith("2026-01-02"), forward.stderr
    early = diurnal(project, "airflow", "trigger", "breast_cancer", "--date", "2025-12-31", "--wait")
    assert (early.returncode, early.stdout) == (2, "")
    assert "begins before the start date of breast_cancer, 2026-01-01" in early.stderr


@pytest.mark.system
def test_a_champion_is_announced_when_it_changes(project, client):
    wait_for(lambda: champions(client, "breast_cancer"))
    listed = runs(client, "breast_cancer")
    first = next((run for run in listed if (run["logical_date"] or "").startswith("2026-01-01")), None)
    assert first is not None, listed
    assert first["note"] == "data interval 2026-01-01"
    body = {"dry_run": False, "dag_run_id": first["dag_run_id"], "task_ids": ["promote"], "only_failed": False}
    client.post("dags", "breast_cancer", "clearTaskInstances", body=body)
    trigger.DagRun(client, "breast_cancer", first["dag_run_id"], "cleared").wait(print, timeout=90)
    versions = json.loads(diurnal(project, "models", "breast_cancer", "--json").stdout)
    (champion,) = [row["version"] for row in versions if row["champion"]]
    other = next(row["version"] for row in versions if not row["champion"])
    announced = champions(client, "breast_cancer")
    assert announced[-1] == champion
    assert len(set(announced)) == len(announced), "nothing is announced twice"

    back = diurnal(project, "rollback", "breast_cancer", "--to", str(other), "--yes")
    assert (back.returncode, back.stderr) == (0, "")
    conf = {"action": "promote", "version": champion, "reason": "it was right"}
    _, run = client.post("dags", "breast_cancer.champion", "dagRuns", body={"logical_date": None, "conf": conf})
    trigger.DagRun(client, "breast_cancer.champion", run["dag_run_id"], "new").wait(print, timeout=90)
    assert champions(client, "breast_cancer") == [*announced, other, champion]
    client.post("dags", "scoring", "dagRuns", body={"logical_date": None})
    wait_for(lambda: len([run for run in runs(client, "scoring") if run["state"] == "success"]) >= 2)
    assert {run["state"] for run in runs(client, "scoring")} <= {"success", "running", "queued"}
    last = json.loads(diurnal(project, "history", "breast_cancer", "--json").stdout)[0]
    assert (last["kind"], last["reason"], last["promoted_by"]) == ("promote", "it was right", "admin")


def sign_in(page, about):
    """Sign in to Airflow's UI, which leads back to the page that was asked for."""
    page.goto(f"{about['address']}/diurnal/")
    page.wait_for_selector("input[name=username]")
    assert "/auth/login" in page.url, "a tab without a user is sent to the login"
    page.fill("input[name=username]", "admin")
    page.fill("input[name=password]", json.loads(Path(about["password_file"]).read_text())["admin"])
    page.keyboard.press("Enter")
    page.wait_for_url("**/diurnal/")


def framed(page, heading):
    """Return the frame of the page within Airflow's UI, as soon as it has a heading."""
    frame = page.frame_locator("iframe")
    frame.get_by_role("heading", name=heading, exact=True).wait_for()
    return frame


@needs_chromium
@pytest.mark.system
def test_the_page_is_in_the_navigation_and_on_the_tabs_of_dags_and_runs(project, client, chromium, tmp_path):
    about = status(project)
    base = about["address"]
    listed = runs(client, "breast_cancer")
    run = next(run["dag_run_id"] for run in listed if (run["logical_date"] or "").startswith("2026-01-01"))
    with chromium.new_context(viewport={"width": 1280, "height": 800}) as context:
        page = context.new_page()
        page.set_default_timeout(60_000)
        faults, requested = [], set()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: requested.add("{0.scheme}://{0.netloc}".format(urlsplit(request.url))))
        sign_in(page, about)

        page.goto(base)
        page.get_by_role("link", name="Experiments").click()
        frame = framed(page, "Experiments")
        page.screenshot(path=tmp_path / "navigation.png")
        frame.get_by_role("link", name="breast_cancer", exact=True).click()
        framed(page, "breast_cancer")
        page.wait_for_url("**/plugin/diurnal/diurnal/experiments/breast_cancer")
        page.reload()
        frame = framed(page, "breast_cancer")
        frame.get_by_role("link", name="Dag breast_cancer").click()
        page.wait_for_url("**/dags/breast_cancer")

        page.goto(f"{base}/dags/breast_cancer")
        page.get_by_role("link", name="Experiment", exact=True).click()
        framed(page, "breast_cancer")
        page.screenshot(path=tmp_path / "dag.png")
        page.goto(f"{base}/dags/scoring/plugin/experiment")
        page.frame_locator("iframe").get_by_text("is not the Dag of an experiment").wait_for()

        page.goto(f"{base}/dags/breast_cancer/runs/{run}")
        page.get_by_role("link", name="Result", exact=True).click()
        frame = page.frame_locator("iframe")
        frame.get_by_role("link", name="Dag run", exact=True).wait_for()
        page.screenshot(path=tmp_path / "run.png")
        frame.get_by_role("link", name="Dag run", exact=True).click()
        page.wait_for_url(f"**/dags/breast_cancer/runs/{quote(run)}*")

        for task, button, seen in (("record", "Run", "runs/breast_cancer-"), ("publish", "Model version", "versions/")):
            page.goto(f"{base}/dags/breast_cancer/runs/{run}/tasks/{task}/details")
            page.get_by_role("link", name=button, exact=True).click()
            page.wait_for_url(f"**/plugin/diurnal/diurnal/experiments/breast_cancer/{seen}*")
            page.frame_locator("iframe").get_by_role("link", name="Dag breast_cancer").wait_for()
    assert faults == []
    assert {origin for origin in requested if origin.startswith("http")} == {base}, "nothing leaves this machine"


@pytest.mark.system
def test_retry_begins_a_failed_run_again_and_one_question_is_open_about_the_newest_version(project, client):
    command = ("airflow", "trigger", "asked", "--date", "2026-01-01")
    assert diurnal(project, *command, "--wait").returncode == 2
    (project / "experiments" / "asked.py").write_text(ASKED.replace("[-1.0]", "[0.1, 1.0]"))
    stale = diurnal(project, *command, "--wait")
    assert stale.returncode == 2
    assert "had failed before this call" in stale.stderr

    failed = next(run for run in runs(client, "asked") if run["logical_date"].startswith("2026-01-01"))
    body = {"dry_run": False, "dag_run_id": failed["dag_run_id"], "only_failed": True}
    client.post("dags", "asked", "clearTaskInstances", body=body)  # what is mended is other code than the run's
    with pytest.raises(DiurnalError, match=r"the code of asked was changed since (?s:.*)\n- experiments/asked\.py"):
        trigger.DagRun(client, "asked", failed["dag_run_id"], "cleared").wait(print, timeout=90)
    assert json.loads(diurnal(project, "runs", "asked", "--json").stdout) == []

    assert "--retry" in stale.stderr
    again = diurnal(project, *command, "--retry", "--json")
    assert again.returncode == 0, again.stderr
    assert [row["data_interval_start"][:10] for row in json.loads(again.stdout)] == ["2026-01-01"]
    assert "starts again from its first task" in again.stderr

    ((subject, _, first),) = wait_for(lambda: questions(client))
    assert subject == "Promote version 1 of asked to champion?"
    assert diurnal(project, "airflow", "trigger", "asked", "--date", "2026-01-02", "--wait").returncode == 0
    wait_for(lambda: any("version 2" in one[0] for one in questions(client)))
    trigger.DagRun(client, "asked.approval", first, "cleared").wait(print, timeout=90)
    ((subject, body, second),) = questions(client)
    assert subject == "Promote version 2 of asked to champion?"
    for said in (
        "| samples | ",
        "| parameters | `C=",
        "accuracy, cross-validated | 0.",
        "[the run that published it](http",
    ):
        assert said in body

    (asset,) = client.get("assets", name_pattern="asked.model")[1]["assets"]
    client.post("assets", "events", body={"asset_id": asset["id"], "partition_key": "2026-01-03"})
    by_hand = wait_for(lambda: [run for run in runs(client, "asked.approval") if run["state"] == "failed"])[0]
    failed = trigger.DagRun(client, "asked.approval", by_hand["dag_run_id"], "new")
    with pytest.raises(DiurnalError, match="has no model version") as refused:
        failed.wait(print, timeout=5)
    assert 'with the configuration {"version": 3}' in str(refused.value)

    answer = {"chosen_options": ["Approve"], "params_input": {}}
    where = ("dags", "asked.approval", "dagRuns", second, "taskInstances", "approve", "-1", "hitlDetails")
    assert client._request_signed_in("PATCH", where, {}, answer)[0] == 200
    trigger.DagRun(client, "asked.approval", second, "new").wait(print, timeout=90)
    assert champions(client, "asked") == [2]
    assert questions(client) == []


@pytest.mark.system
def test_a_rejected_batch_is_accepted_and_its_run_is_cleared_from_fetch(project, client):
    scheduled = wait_for(lambda: [run for run in runs(client, "asked") if run["run_type"] == "scheduled"])
    newest = max(scheduled, key=lambda run: run["logical_date"])
    date = ("--date", newest["data_interval_start"][:10])

    def clear_from_fetch():
        body = {"dry_run": False, "dag_run_id": newest["dag_run_id"], "task_ids": ["fetch"], "include_downstream": True}
        status, answer = client.post("dags", "asked", "clearTaskInstances", body={**body, "only_failed": False})
        assert status == 200, answer
        trigger.DagRun(client, "asked", newest["dag_run_id"], "cleared").wait(print, timeout=120)

    clear_from_fetch()  # it began with the code of before
    (project / "experiments" / "pulse").touch()
    with pytest.raises(DiurnalError, match=r"\[extra-column\]") as rejected:
        clear_from_fetch()
    assert f"diurnal contract asked accept --date {date[1]}" in str(rejected.value)
    accepted = diurnal(project, "contract", "asked", "accept", *date, "--why", "the pulse is measured now")
    assert accepted.returncode == 0, accepted.stderr
    clear_from_fetch()
    rows = json.loads(diurnal(project, "runs", "asked", "--json").stdout)
    assert next(row["contract_version"] for row in rows if row["data_interval_start"][:10] == date[1]) == 2
    history = json.loads(diurnal(project, "contract", "asked", "history", "--json").stdout)
    assert (2, "the pulse is measured now") in [(one["version"], one["why"]) for one in history]


@pytest.mark.system
def test_a_component_that_dies_is_started_again_and_status_says_so(project, client):
    before = status(project)["components"]
    os.kill(before["dag-processor"], signal.SIGKILL)
    after = wait_for(lambda: (now := status(project))["components"] != before and now)
    (one,) = after["unexpected_ends"]
    assert (one["component"], one["reason"][:7], one["action"]) == ("dag-processor", "SIGKILL", "restarted")
    assert one["ended_at"] > after["since"]
    assert Path(one["log"]).exists()
    assert {name for name in before if before[name] != after["components"][name]} == {"dag-processor"}


@pytest.mark.system
def test_down_leaves_nothing(project, up):
    about = status(project)
    assert diurnal(project, "airflow", "down").returncode == 0
    assert left_of({about["launcher"], *about["components"].values()}) == []
    assert not (project / "data" / "warehouse" / "cluster" / "postmaster.pid").exists()
    assert status(project)["running"] is False


@pytest.mark.system
def test_up_ends_all_of_it_when_a_component_dies_again_and_again(project):
    with subprocess.Popen(**command(project, "airflow", "up", "--port", "0"), stderr=-1, stdout=-3) as launcher:
        about = wait_for(lambda: (now := status(project)).get("healthy") and now, 120)
        killed = set()
        while launcher.poll() is None:
            pid = (status(project).get("components") or {}).get("dag-processor")
            if pid and pid not in killed:
                killed.add(pid)
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.2)
        said = launcher.communicate(timeout=90)[1]
    assert launcher.returncode == 75
    assert len(killed) == 4
    assert "the dag-processor has ended unexpectedly (-9)" in said
    assert "dag-processor.log" in said
    assert left_of(set(about["components"].values())) == []
    ended = status(project)["unexpected_ends"]
    assert [one["action"] for one in ended] == ["restarted"] * 3 + ["3 restarts within 10 minutes: stopping the others"]


@pytest.mark.parametrize("how", [[], ["--detach"]])
def test_up_refuses_a_port_that_is_taken(folder, how):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        refused = diurnal(folder, "airflow", "up", "--port", str(port), *how)
    assert refused.returncode == 78
    assert f"the port {port} of 127.0.0.1 is in use" in refused.stderr
    assert "--port" in refused.stderr


def test_down_and_trigger_say_that_nothing_runs(folder):
    assert "this project's Airflow does not run" in diurnal(folder, "airflow", "down").stdout
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
    home = AirflowHome(Settings.load(folder, stray))
    found = airflow_config.process_environment(home, ServerAddress("127.0.0.1", 8080))
    assert found["AIRFLOW_HOME"] == str(home.folder)
    assert set(stray) & set(found) == {"AIRFLOW_HOME", "AIRFLOW__CORE__PARALLELISM", "AIRFLOW_CONN_PLANT"}


def test_write_gives_what_airflow_reads_back(folder):
    home = AirflowHome(Settings.load(folder / "50% off", {}))
    (folder / "50% off").mkdir()
    parser = ConfigParser()
    parser.read_string(airflow_config.render_config(home, ServerAddress("127.0.0.1", 8080)))
    assert parser["core"]["dags_folder"] == str(home.dags)
    assert parser["core"]["simple_auth_manager_all_admins"] == "False"
    assert parser["api_auth"]["jwt_secret"] == home.keys()["jwt_secret"]


@pytest.mark.parametrize(("n_files", "seconds"), [(0, "30"), (3, "30"), (200, "300")])
def test_many_dag_files_are_parsed_less_often(folder, n_files, seconds):
    home = AirflowHome(Settings.load(folder, {}))
    (home.dags / "more").mkdir(parents=True)
    for i in range(n_files):
        (home.dags / "more" / f"dag_{i}.py").touch()
    options = airflow_config.tuned_options(home)
    assert options["dag_processor"]["min_file_process_interval"] == seconds


def test_examples_of_address_run():
    assert doctest.testmod(server_address).attempted == 2  # pytest's own search for them leaves this package out
    assert doctest.testmod(server_address).failed == 0


def test_preload_imports_all_that_it_names_and_no_threads_of_polars(tmp_path):
    program = """
import sys
from diurnal.airflow.preload import NAMES
print([name for name in NAMES if name not in sys.modules], "polars" in sys.modules)
"""
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path)}
    said = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[-1] == "[] False"
