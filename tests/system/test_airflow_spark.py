"""A day of Spark in Airflow, whose drivers are submitted: by the provider's operator, with a real `spark-submit`."""

import json
import stat
import subprocess
import sys

import psycopg
import pytest

from airflow_home import Runner
from projects import Project, patients
from spark_projects import conf_dir, declare, needs_spark

pytestmark = [pytest.mark.xdist_group("submit"), needs_spark]

DAG = """
from diurnal.airflow import build_dag
dag = build_dag("clinic", spark_submit={"driver_memory": "900m"}, default_args={"retries": 0})
"""
STEPS = ("fetch", "tune", "evaluate", "refit")


@pytest.fixture(scope="module")
def airflow(tmp_path_factory):
    runner = Runner(tmp_path_factory.mktemp("airflow"))
    yield runner
    runner.close()


@pytest.fixture
def project(tmp_path, warehouse_url):
    made = Project.make(tmp_path / "project", warehouse_url)
    pattern = str(made.folder / "incoming" / "{start:%Y-%m-%d}.parquet")
    declare(made, f"Files({pattern!r})", "key='patient', drop='ward', n_tuning_shards=3")
    (made.folder / "dags").mkdir()
    (made.folder / "dags" / "clinic.py").write_text(DAG)
    conf_dir(made.folder / "conf")
    return made


@pytest.fixture
def run(airflow, project):
    def run(date, **settings):
        environment = {
            "DIURNAL_WAREHOUSE": project.warehouse_url,
            "DIURNAL_SPARK": "local[2]",
            "SPARK_CONF_DIR": str(project.folder / "conf"),
            **settings,
        }
        wish = {"dag": "clinic", "logical_date": None, "conf": {"batch": date}}
        seen = airflow.run(project.folder, environment, wish)
        assert not seen["import_errors"]
        return seen["runs"][0]

    return run


def bring(project, date, rows=None):
    rows = patients(date) if rows is None else rows
    rows.to_parquet(project.folder / "incoming" / f"{date}.parquet", index=False)
    return rows


def query(url, sql):
    with psycopg.connect(url) as connection:
        return connection.execute(sql).fetchall()


@pytest.mark.slow
def test_a_submitted_day_is_the_day_of_the_command_line(run, project, another_url):
    bring(project, "2026-11-01")
    seen = run("2026-11-01")
    assert seen["state"] == "success", seen["log"][-5000:]
    assert set(seen["tasks"]) == {"storage", "fetch", "save_batch", "split", "tune", "evaluate", "record", "refit",
                                  "publish", "promote"}  # fmt: skip
    assert seen["log"].count("Spark-Submit cmd: spark-submit --master local[2]") == len(STEPS)
    assert "--driver-memory 900m" in seen["log"]
    for step in STEPS:
        assert f"diurnal clinic {step}" in seen["log"]
    kept = "select batch_digest, best_params, test_scores, n_train, n_test, promoted, library_versions from experiments"
    in_airflow = query(project.warehouse_url, kept)
    assert in_airflow[0][5]
    assert {"pyspark", "java"} <= set(in_airflow[0][6])
    assert query(project.warehouse_url, "select version from model_versions") == [(1,)]
    assert not list((project.folder / "data" / ".tmp").glob("diurnal-*")), "no request stays behind"

    other = Project(project.folder, another_url)
    done = subprocess.run(
        [sys.executable, "-m", "diurnal", "run", "clinic", "--date", "2026-11-01"],
        cwd=project.folder,
        env={**other.environment, "DIURNAL_SPARK": "local[2]", "SPARK_CONF_DIR": str(project.folder / "conf")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert query(other.warehouse_url, kept) == in_airflow


CLUSTER = """#!{python}
# Stands in for a cluster: the driver gets the arguments of spark-submit, and has an environment of its own.
import json, os, subprocess, sys
args = sys.argv[1:]
with open({record!r}, "a") as record:
    request = json.load(open(args[-1].removeprefix("file://") + "/request.json"))
    record.write(json.dumps([args, request, os.environ.get("PYSPARK_DRIVER_PYTHON")]) + chr(10))
known = ("PATH", "HOME", "LANG", "JAVA_HOME", "SPARK_CONF_DIR")
own = {{name: os.environ[name] for name in known if name in os.environ}}
here = [arg for arg in args if arg not in ("--deploy-mode", "cluster")]
here[here.index("yarn")] = "local[2]"
own |= {{"DIURNAL_WAREHOUSE": {warehouse!r}, "PYSPARK_DRIVER_PYTHON": {python!r}}}
sys.exit(subprocess.run(["spark-submit", *here], env=own).returncode)
"""


@pytest.mark.system
def test_on_a_cluster_no_secret_is_an_argument_and_a_rejected_batch_is_final(run, project):
    record, program = project.folder / "submissions.jsonl", project.folder / "spark-submit-on-a-cluster"
    program.write_text(CLUSTER.format(python=sys.executable, record=str(record), warehouse=project.warehouse_url))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    options = {"spark_binary": str(program), "conf": {"spark.ui.enabled": "false"}}
    (project.folder / "dags" / "clinic.py").write_text(
        f"from diurnal.airflow import build_dag\ndag = build_dag('clinic', spark_submit={options!r})\n"
    )
    bring(project, "2026-11-01", patients("2026-11-01").rename(columns={"ill": "sick"}))
    told = project.warehouse_url + "&password=canary%2Fsecret"
    connection = json.dumps({"conn_type": "spark", "host": "local", "extra": {"deploy-mode": "cluster"}})
    seen = run("2026-11-01", DIURNAL_WAREHOUSE=told, DIURNAL_SPARK="yarn", AIRFLOW_CONN_DIURNAL_SPARK=connection)
    assert seen["state"] == "failed"
    assert seen["tasks"]["fetch"] == ["failed", 1], "one try, though it has five retries"
    assert "missing-column" in seen["log"].partition("Task failed with exception")[2]
    ((args, request, python),) = [json.loads(line) for line in record.read_text().splitlines()]
    assert args[args.index("--master") + 1] == "yarn"
    assert args[args.index("--deploy-mode") + 1] == "cluster", "the rest is the connection's"
    assert "spark.yarn.maxAppAttempts=1" in args
    assert request["step"] == "fetch"
    assert python is None, "a cluster's own Python is elsewhere"
    assert "canary" not in record.read_text() + seen["log"] + json.dumps(seen["travelled"])


@pytest.mark.system
def test_a_driver_that_is_killed_is_worth_another_try(run, project):
    bring(project, "2026-11-01")
    file = project.folder / "experiments" / "clinic.py"
    docstring = '"""Tell who is ill."""'
    suicide = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    file.write_text(file.read_text().replace(docstring, f"{docstring}\n    {suicide}"))
    seen = run("2026-11-01")
    assert seen["state"] == "failed"
    said = seen["log"].partition("Task failed with exception")[2]
    assert "TransientError: clinic 2026-11-01 fetch: the driver ended without a result" in said


def test_a_worker_without_java_says_what_to_install(run, project):
    bring(project, "2026-11-01")
    seen = run("2026-11-01", JAVA_HOME=str(project.folder))
    assert seen["state"] == "failed"
    said = seen["log"].partition("Task failed with exception")[2]
    assert "ConfigurationError: clinic 2026-11-01 fetch: spark-submit needs Java 17 or newer" in said
