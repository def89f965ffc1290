"""The scoring Dag: its schedule and parameters, and a run of it on a real warehouse."""

import json

import psycopg
import pytest

from airflow_home import tell
from projects import Project, patients

LOOK = """
from pathlib import Path
from airflow.configuration import conf
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
folder = conf.get("core", "dags_folder")
bag = DagBag(folder, bundle_path=Path(folder))
def look(dag):
    DagSerialization.serialize_dag(dag)
    condition = getattr(dag.timetable, "asset_condition", None)
    assets = [asset.name for asset in condition.objects] if condition else []
    return {"assets": assets, "schedule": getattr(dag.timetable, "expression", None), "tags": sorted(dag.tags),
            "tasks": [task.task_id for task in dag.tasks], "catchup": dag.catchup,
            "params": {name: dag.params[name] for name in dag.params}, "queue": dag.tasks[0].queue}
answer = {"errors": bag.import_errors, "dags": {name: look(dag) for name, dag in bag.dags.items()}}
"""
DAGS = """
from diurnal.airflow import build_scoring_dag
plain = build_scoring_dag("clinic")
own = build_scoring_dag("clinic", dag_id="nightly", schedule="@daily", rescore=True, tags=["ops"],
                        default_args={"queue": "large"})
"""
DAY = "2026-11-02"

pytestmark = pytest.mark.xdist_group("airflow")


@pytest.fixture
def project(tmp_path, warehouse_url):
    made = Project.make(tmp_path / "project", warehouse_url)
    (made.folder / "dags").mkdir()
    (made.folder / "dags" / "scoring.py").write_text(DAGS)
    return made


def test_dag_follows_the_champion_or_a_schedule(project, tmp_path):
    seen = tell(tmp_path / "home", project.folder / "dags", LOOK)
    assert seen["errors"] == {}
    plain, own = seen["dags"]["clinic.score"], seen["dags"]["nightly"]
    assert plain["assets"] == ["clinic.champion"]
    assert plain["params"] == {"rescore": False, "version": None}
    assert (own["assets"], own["schedule"], own["catchup"]) == ([], "0 0 * * *", False)
    assert (own["params"]["rescore"], own["tags"], own["queue"]) == (True, ["diurnal", "ops"], "large")
    assert plain["tasks"] == own["tasks"] == ["score"]


@pytest.mark.system
def test_run_scores_its_batch_as_the_command_does(project, airflow_runner):
    project.bring("2026-11-01")
    assert project.command("run", "clinic", "--date", "2026-11-01").returncode == 0
    project.bring(DAY, patients(DAY).drop(columns="ill"))
    wishes = [{"dag": "clinic.score", "logical_date": None, "conf": {"batch": DAY}}]
    wishes.append({"dag": "nightly", "logical_date": "2026-11-03T00:00:00+00:00"})
    seen = airflow_runner.run(project.folder, {"DIURNAL_WAREHOUSE": project.warehouse_url}, *wishes)
    first, second = seen["runs"]
    assert (first["state"], second["state"]) == ("success", "success"), first["log"][-3000:] + second["log"][-3000:]
    assert "240 predictions by version 1 (scored)" in first["log"]
    assert "240 predictions by version 1 (unchanged)" in second["log"], "the run of a schedule scores its interval"
    with psycopg.connect(project.warehouse_url) as connection:
        query = "SELECT count(*), count(DISTINCT patient), min(data_interval_start)::date::text FROM predictions_clinic"
        assert connection.execute(query).fetchone() == (240, 240, DAY)
    done = project.command("score", "clinic", "--date", DAY, "--json")
    assert json.loads(done.stdout)["state"] == "unchanged"
