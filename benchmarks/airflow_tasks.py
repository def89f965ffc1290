"""What the local Airflow costs: to start, to stay up, and for each task beside its own work.

In one Airflow, on the same machine, in turn: a Dag of ten empty tasks in a chain, and the example's Dag. What a task
costs is told in three ways, each less what the same step takes in one warm process: seconds from being queued to its
end; seconds that it adds to a run, with the scheduler's pauses; seconds of CPU in all processes, PostgreSQL included.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

import psutil

from diurnal.airflow.local import AirflowHome, describe_status
from diurnal.airflow.local.trigger import sign_in, trigger_run
from diurnal.runtime import Settings
from diurnal.types.calendar import Calendar

EXAMPLE = Path(__file__).parents[1] / "examples" / "breast_cancer"

EMPTY = '''
from airflow.sdk import chain, dag, task
import pendulum


@dag(schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz="UTC"))
def empty():
    @task
    def nothing():
        """Do nothing."""

    chain(*[nothing.override(task_id=f"nothing_{i}")() for i in range(10)])


empty()
'''

OWN_WORK = """
import json, sys, time
import diurnal.airflow.preload
from diurnal.types.calendar import Calendar
from diurnal.experiment.run_context import RunContext
from diurnal.experiment import find
from diurnal.pipeline.local_run import run
from diurnal.runtime import Settings
from diurnal.storage.stores import open_stores

settings = Settings.load()
experiment = find("breast_cancer", settings.experiments)
stores = open_stores(settings)
took, cpu = {}, 0.0
for date in ["2025-12-01", *sys.argv[1:]]:
    def add_seconds(step, seconds):
        if date != "2025-12-01":
            took.setdefault(step, []).append(seconds)
    began = time.process_time()
    interval = Calendar("@daily").interval_on(date)
    run(RunContext(experiment, interval, stores, requested_by="benchmark"), on_end=add_seconds)
    cpu += time.process_time() - began if date != "2025-12-01" else 0
stores.warehouse.close()
print(json.dumps([took, cpu / len(sys.argv[1:])]))
"""


def diurnal(*words: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "diurnal", *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def tasks_of_runs(home: AirflowHome, dag_id: str, dates: list[str]) -> list[list[dict]]:
    """Trigger runs one after the other; the tasks of each."""
    client, found = sign_in(home), []
    for date in dates:
        run = trigger_run(client, dag_id, Calendar("@daily").interval_on(date))
        run.wait(lambda _: None, timeout=300)
        status, answer = client.get("dags", dag_id, "dagRuns", run.run_id, "taskInstances")
        assert status == 200
        found.append(answer["task_instances"])
    return found


def seconds_of(task: dict, since: str) -> float:
    return (datetime.fromisoformat(task["end_date"]) - datetime.fromisoformat(task[since])).total_seconds()


def seconds_of_run(tasks: list[dict]) -> float:
    ends = [datetime.fromisoformat(task["end_date"]) for task in tasks]
    return (max(ends) - min(datetime.fromisoformat(task["start_date"]) for task in tasks)).total_seconds()


def processes(home: AirflowHome) -> list[psutil.Process]:
    """Give every process of the running Airflow, and of its PostgreSQL."""
    about = describe_status(home)
    sessions = {about["launcher"], *about["components"].values()}
    postmaster = int((home.server.folder / "cluster" / "postmaster.pid").read_text().split()[0])
    servers = [psutil.Process(postmaster), *psutil.Process(postmaster).children()]
    return [p for p in psutil.process_iter() if os.getsid(p.pid) in sessions] + servers


def cpu(home: AirflowHome) -> float:
    """Give the seconds of CPU that all processes and their dead children have used."""
    return sum(sum(p.cpu_times()[:4]) for p in processes(home))


class Measured:
    """Runs of one Dag, and what they took."""

    def __init__(self, dag_id: str, home: AirflowHome) -> None:
        self._dag_id, self._home = dag_id, home
        self.runs: list[list[dict]] = []
        self._cpu: list[tuple[float, float]] = []

    def run(self, date: str) -> None:
        began, before = time.perf_counter(), cpu(self._home)
        self.runs += tasks_of_runs(self._home, self._dag_id, [date])
        time.sleep(2)  # until the last supervisor has gone
        self._cpu.append((cpu(self._home) - before, time.perf_counter() - began))

    def of_tasks(self, task_id: str | None = None) -> float:
        chosen = [task for tasks in self.runs for task in tasks if task_id in (None, task["task_id"])]
        return statistics.median(seconds_of(task, "queued_when") for task in chosen)

    def of_runs(self) -> float:
        return statistics.median(map(seconds_of_run, self.runs))

    def of_cpu(self, idle: float) -> float:
        return statistics.median(used - idle * seconds for used, seconds in self._cpu)


def days(first: str, n: int) -> list[str]:
    start = datetime.fromisoformat(first)
    return [f"{start + timedelta(days=i):%Y-%m-%d}" for i in range(n)]


def measure(project: Path, repeats: int) -> None:
    home = AirflowHome(Settings.load(project))
    first = diurnal("airflow", "up", "--detach", "--port", "0")
    try:
        tasks_of_runs(home, "breast_cancer", ["2026-02-01"])  # the first makes tables and starts the workers
        diurnal("airflow", "down")
        again = diurnal("airflow", "up", "--detach", "--port", "0")
        tasks_of_runs(home, "empty", ["2026-02-01"])
        empty, ours = Measured("empty", home), Measured("breast_cancer", home)
        for date in days("2026-03-01", repeats):  # in turn, as the machine is not equally quiet all the time
            empty.run(date)
            ours.run(date)
        told = subprocess.run(
            [sys.executable, "-c", OWN_WORK, *days("2025-10-01", repeats)],
            check=True,
            capture_output=True,
            text=True,
        )
        took, own_cpu = json.loads(told.stdout.splitlines()[-1])
        own = {step: statistics.median(each) for step, each in took.items()}
        time.sleep(20)
        before = cpu(home)
        time.sleep(30)
        idle = (cpu(home) - before) / 30
        memory = sum(p.memory_full_info().pss for p in processes(home)) / 2**20
    finally:
        down = diurnal("airflow", "down")
    table(empty, ours, own)
    ways(empty, ours, own, own_cpu, idle)
    print(f"seconds to healthy: {first:.1f} at the first start, {again:.1f} later; to end: {down:.1f}")
    print(f"idle: {100 * idle:.0f} % of a core, {memory:.0f} MB (PostgreSQL included)")


def table(empty: Measured, ours: Measured, own: dict[str, float]) -> None:
    print(f"{'task':<14}{'took':>8}{'own work':>10}{'beside':>8}   (seconds, medians of {len(ours.runs)} runs)")
    for step in ["storage", *own]:
        took = ours.of_tasks(step)
        print(f"{step:<14}{took:8.2f}{own.get(step, 0):10.2f}{took - own.get(step, 0):8.2f}")
    print(f"an empty task {empty.of_tasks():8.2f}\n")


def ways(empty: Measured, ours: Measured, own: dict[str, float], own_cpu: float, idle: float) -> None:
    beside = statistics.median(ours.of_tasks(step) - own.get(step, 0) for step in ["storage", *own])
    links = 8  # in a row: save_batch runs beside split, record beside refit
    in_a_row = sum(own.values()) - own["save_batch"] - own["record"]
    rows = [
        ("seconds from queued to its end", empty.of_tasks(), beside),
        ("seconds that it adds to a run", empty.of_runs() / 10, (ours.of_runs() - in_a_row) / links),
        ("seconds of CPU", empty.of_cpu(idle) / 10, (ours.of_cpu(idle) - own_cpu) / 10),
    ]
    print(f"{'what a task costs beside its own work':<40}{'empty':>8}{'ours':>8}{'ratio':>8}   (aim: 1.5)")
    for name, bare, our in rows:
        print(f"{name:<40}{bare:8.2f}{our:8.2f}{our / bare:8.2f}")
    print(f"a run of the example takes {ours.of_runs():.1f} s, {sum(own.values()):.1f} s of them its own work")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o711)  # as root, PostgreSQL's own account passes through it
        project = Path(scratch) / "project"
        shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns("data", "models", "__pycache__", "scoring.py"))
        (project / "dags" / "empty.py").write_text(EMPTY)
        os.environ["DIURNAL_PROJECT"] = str(project)
        measure(project, repeats)


if __name__ == "__main__":
    main()
