"""What a night of many experiments costs: one day of each, in one local Airflow, beside their fits.

The experiments are copies of one on the tutorial's data, each with files of its own. All runs are triggered at once, as
at midnight, and the night ends with the last task. The fits are measured in one warm process: the seconds of CPU of
`tune` and of `refit`. An experiment costs, beside its fits, its share of the night without its share of the cores'
time for them. A Dag of empty tasks, as many as a day has and as often, shows what is Airflow's own.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from airflow_tasks import cpu, diurnal

from diurnal.airflow.local import AirflowHome
from diurnal.airflow.local.rest_client import RestClient
from diurnal.airflow.local.trigger import sign_in, trigger_run
from diurnal.errors import TransientError
from diurnal.runtime import Settings
from diurnal.types.calendar import Calendar

EXPERIMENT = '''
from diurnal import experiment
from diurnal.sources import SklearnDataset


@experiment(source=SklearnDataset("breast_cancer"), target="label", start_date="2026-01-01")
def {name}():
    """Classify tumours."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return GridSearchCV(pipeline, {{"logisticregression__C": [0.01, 0.1, 1, 10]}}, cv=3)
'''

DAG = """
from datetime import UTC, datetime

from diurnal.airflow import build_dag

dag = build_dag("{name}", end_date=datetime(2026, 3, 1, tzinfo=UTC))  # so that Airflow creates no runs itself
"""

EMPTY = '''
from airflow.sdk import dag, task
import pendulum


@dag(schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz="UTC"))
def {name}():
    @task
    def nothing():
        """Do nothing."""

    storage, fetch, save, split, tune, evaluate, record, refit, publish, promote = (
        nothing.override(task_id=f"nothing_{{i}}")() for i in range(10)
    )
    storage >> fetch >> [save, split]
    split >> tune >> [evaluate, refit]
    evaluate >> record >> publish >> promote
    refit >> publish


{name}()
'''

FITS = """
import statistics, time
from diurnal.experiment import find
from diurnal.experiment.run_context import RunContext
from diurnal.pipeline.local_run import run
from diurnal.runtime import Settings
from diurnal.storage.stores import open_stores
from diurnal.types.calendar import Calendar

settings = Settings.load()
experiment = find("night_000", settings.experiments)
stores = open_stores(settings)
took = []
for day in range(1, 8):
    began, used = time.process_time(), {}
    def end(step, _):
        global began
        used[step], began = time.process_time() - began, time.process_time()
    interval = Calendar("@daily").interval_on(f"2026-01-{day:02d}")
    run(RunContext(experiment, interval, stores, requested_by="benchmark", force=True), on_end=end)
    took.append([used["tune"] + used["refit"], sum(used.values())])
stores.warehouse.close()
print(*(statistics.median(column) for column in zip(*took[1:])))
"""

PARSE = """
import statistics, sys, time
from pathlib import Path
from airflow.dag_processing.dagbag import DagBag

bag, folder, took = DagBag(sys.argv[1], collect_dags=False), Path(sys.argv[1]), []
for file in sorted(folder.glob("night_*.py")):
    began = time.process_time()
    assert bag.process_file(str(file))
    took.append(time.process_time() - began)
print(statistics.median(took))
"""


def write_project(project: Path, n_experiments: int, n_dags: int) -> tuple[list[str], list[str]]:
    """Write experiments, a Dag file for each, and empty Dags; return the ids of the Dags that run, and the empty ones.

    There may be more Dag files than experiments that run, to measure how long a file takes to parse.
    """
    project.mkdir()
    (project / "diurnal.toml").write_text("")
    empty = [f"empty_{i:03d}" for i in range(n_experiments)]
    names = [f"night_{i:03d}" for i in range(max(n_experiments, n_dags))]
    for folder, files in (
        ("experiments", dict.fromkeys(names, EXPERIMENT)),
        ("dags", dict.fromkeys(names, DAG) | dict.fromkeys(empty, EMPTY)),
    ):
        (project / folder).mkdir()
        for name, text in files.items():
            (project / folder / f"{name}.py").write_text(text.format(name=name))
    return names[:n_experiments], empty


class Night:
    """A run of each of some Dags for one data interval, all triggered at once."""

    def __init__(self, home: AirflowHome, dag_ids: list[str], date: str, idle: float = 0.0) -> None:
        client, used = sign_in(home), cpu(home)
        interval = Calendar("@daily").interval_on(date)
        self.n = len(dag_ids)
        began = time.perf_counter()
        runs = [trigger_run(client, dag_id, interval) for dag_id in dag_ids]
        while self._count_active(client):
            time.sleep(2)
        self.seconds = (time.perf_counter() - began) / self.n
        time.sleep(2)  # until the last supervisor has gone
        self.cpu = (cpu(home) - used - idle * (time.perf_counter() - began)) / self.n
        tasks = [task for run in runs for task in run.tasks()]
        assert {task["state"] for task in tasks} == {"success"}, {task["task_id"]: task["state"] for task in tasks}
        self.task = statistics.mean(task["duration"] for task in tasks)
        self.n_tasks = len(tasks) // self.n

    @staticmethod
    def _count_active(client: RestClient) -> int:
        states = ("queued", "running")
        try:
            answers = [client.get("dags", "~", "dagRuns", state=state, limit=1) for state in states]
        except TransientError:  # the API server of a busy machine
            return 1
        return sum(content["total_entries"] for _, content in answers)


def run_script(script: str, *words: str) -> str:
    done = subprocess.run([sys.executable, "-c", script, *words], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.splitlines()[-1]


def measure(project: Path, n_experiments: int, n_dags: int) -> None:
    dag_ids, empty_ids = write_project(project, n_experiments, n_dags)
    os.environ["DIURNAL_PROJECT"] = str(project)
    home = AirflowHome(Settings.load(project))
    parse = float(run_script(PARSE, str(project / "dags")))
    diurnal("airflow", "up", "--detach", "--port", "0")
    try:
        for ids in (empty_ids, dag_ids):  # the first makes tables and views, and starts the workers
            Night(home, ids, "2026-02-01")
        used = cpu(home)
        time.sleep(20)
        idle = (cpu(home) - used) / 20
        empty, ours = (Night(home, ids, "2026-02-02", idle) for ids in (empty_ids, dag_ids))
        fits, day = (float(x) for x in run_script(FITS).split())
    finally:
        diurnal("airflow", "down")
    cores = os.cpu_count() or 1
    print(f"{n_experiments} experiments on {cores} cores, {ours.n_tasks} tasks each; seconds for each experiment")
    print(f"{'':28}{'of the night':>14}{'of CPU':>10}{'a task':>10}")
    for name, night in (("empty tasks", empty), ("a day", ours)):
        print(f"{name:28}{night.seconds:14.2f}{night.cpu:10.2f}{night.task:10.2f}")
    print(f"{'its fits, in one process':28}{fits / cores:14.2f}{fits:10.2f}")
    print(f"{'a day in one process':28}{day / cores:14.2f}{day:10.2f}")
    print(f"Airflow takes {idle:.2f} of a core between the runs, with {len(list(home.dags.glob('*.py')))} Dag files")
    print(f"an experiment costs beside its fits {ours.seconds - fits / cores:.2f} s (aim: 3 s)")
    print(
        f"a Dag file is parsed in {1000 * parse:.1f} ms of CPU, the median of {max(n_dags, n_experiments)} (aim: 8 ms)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=20)
    parser.add_argument("--dags", type=int, default=200, help="the number of Dag files that are parsed")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o711)  # as root, PostgreSQL's own account passes through it
        measure(Path(scratch) / "project", words.experiments, words.dags)


if __name__ == "__main__":
    main()
