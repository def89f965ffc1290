"""A day of Spark in Airflow, whose drivers are submitted: by the provider's operator, with a real `spark-submit`."""

import json
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from airflow_home import Runner
from projects import Project, patients
from spark_projects import conf_dir, declare, needs_spark

pytestmark = [pytest.mark.xdist_group("spark"), pytest.mark.slow, needs_spark]

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
    declare(made, f"Files({pattern!r})", "key='patient', drop='ward', tuning_tasks=3")
    (made.folder / "dags").mkdir()
    (made.folder / "dags" / "clinic.py").write_text(DAG)
    conf_dir(made.folder / "conf")
    return made


@pytest.fixture
def run(airflow, project):
    def run(date, **settings):
        told = {
            "DIURNAL_WAREHOUSE": project.warehouse_url,
            "DIURNAL_SPARK": "local[2]",
            "SPARK_CONF_DIR": str(project.folder / "conf"),
            **settings,
        }
        wish = {"dag": "clinic", "logical_date": None, "conf": {"batch": date}}
        seen = airflow.run(project.folder, told, wish)
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


def test_a_submitted_day_is_the_day_of_the_command_line(run, project, server):
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
    assert not list((project.folder / "data" / ".tmp").glob("diurnal-*")), "no letter stays behind"

    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute("create database by_command_on_spark")
    try:
        other = Project(project.folder, server.url("by_command_on_spark"))
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
    finally:
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            connection.execute("drop database by_command_on_spark with (force)")
