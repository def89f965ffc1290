"""What the local Airflow costs: to start, to stay up, and for each task beside its own work.

In one Airflow, on the same machine: a Dag of ten empty tasks in a chain, and the example's Dag. What a task costs is
the time from being queued to its end, less what the same step takes in one warm process. The median of all tasks of
all runs is told.
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

from diurnal import intervals
from diurnal.airflow.local import Home, describe
from diurnal.airflow.local.triggering import sign_in, trigger
from diurnal.settings import Settings

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
import json, sys
import diurnal.airflow.preload
from diurnal import intervals
from diurnal.day import Day
from diurnal.experiment import find
from diurnal.flow import run
from diurnal.settings import Settings, open_stores

settings = Settings.load()
experiment = find("breast_cancer", settings.experiments)
stores = open_stores(settings)
took = {}
for date in ["2025-12-01", *sys.argv[1:]]:
    def watch(step, seconds):
        if seconds >= 0 and date != "2025-12-01":
            took.setdefault(step, []).append(seconds)
    run(Day(experiment, intervals.on("@daily", date), stores, by="benchmark"), watch=watch)
stores.warehouse.close()
print(json.dumps(took))
"""


def diurnal(*words: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "diurnal", *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def tasks_of_runs(home: Home, dag_id: str, dates: list[str]) -> list[list[dict]]:
    """Trigger runs one after the other; the tasks of each."""
    client, found = sign_in(home), []
    for date in dates:
        run = trigger(client, dag_id, intervals.on("@daily", date))
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


def processes(home: Home) -> list[psutil.Process]:
    """Give every process of the running Airflow, and of its PostgreSQL."""
    about = describe(home)
    sessions = {about["launcher"], *about["components"].values()}
    postmaster = int((home.server.folder / "cluster" / "postmaster.pid").read_text().split()[0])
    servers = [psutil.Process(postmaster), *psutil.Process(postmaster).children()]
    return [p for p in psutil.process_iter() if os.getsid(p.pid) in sessions] + servers


def cpu(home: Home) -> float:
    return sum(sum(p.cpu_times()[:2]) for p in processes(home))


def days(first: str, n: int) -> list[str]:
    start = datetime.fromisoformat(first)
    return [f"{start + timedelta(days=i):%Y-%m-%d}" for i in range(n)]


def measure(project: Path, repeats: int) -> None:
    home = Home(Settings.load(project))
    first = diurnal("airflow", "up", "--detach", "--port", "0")
    try:
        tasks_of_runs(home, "breast_cancer", ["2026-02-01"])  # the first makes tables and starts the workers
        diurnal("airflow", "down")
        again = diurnal("airflow", "up", "--detach", "--port", "0")
        tasks_of_runs(home, "empty", ["2026-02-01"])
        empty = tasks_of_runs(home, "empty", days("2026-03-01", repeats))
        ours = tasks_of_runs(home, "breast_cancer", days("2026-03-01", repeats))
        told = subprocess.run(
            [sys.executable, "-c", OWN_WORK, *days("2025-10-01", repeats)],
            check=True,
            capture_output=True,
            text=True,
        )
        own = {step: statistics.median(took) for step, took in json.loads(told.stdout.splitlines()[-1]).items()}
        time.sleep(20)
        before = cpu(home)
        time.sleep(30)
        idle = (cpu(home) - before) / 30
        memory = sum(p.memory_full_info().pss for p in processes(home)) / 2**20
    finally:
        down = diurnal("airflow", "down")
    report(empty, ours, own)
    print(f"seconds to healthy: {first:.1f} at the first start, {again:.1f} later; to end: {down:.1f}")
    print(f"idle: {100 * idle:.0f} % of a core, {memory:.0f} MB (PostgreSQL included)")


def report(empty: list[list[dict]], ours: list[list[dict]], own: dict[str, float]) -> None:
    bare = statistics.median(seconds_of(task, "queued_when") for tasks in empty for task in tasks)
    print(f"{'task':<14}{'took':>8}{'own work':>10}{'beside':>8}   (seconds, medians of {len(ours)} runs)")
    beside = []
    for step in ["storage", *own]:
        took = statistics.median(seconds_of(t, "queued_when") for tasks in ours for t in tasks if t["task_id"] == step)
        beside.append(took - own.get(step, 0))
        print(f"{step:<14}{took:8.2f}{own.get(step, 0):10.2f}{beside[-1]:8.2f}")
    print(f"an empty task {bare:8.2f}")
    cost = statistics.median(beside)
    print(f"\na task of ours costs {cost:.2f} s beside its own work: {cost / bare:.2f} times an empty one (aim: 1.5)")
    run, work = statistics.median(map(seconds_of_run, ours)), sum(own.values())
    print(f"a run of ten empty tasks: {statistics.median(map(seconds_of_run, empty)):.1f} s")
    print(f"a run of the example: {run:.1f} s, of which {work:.1f} s are its own work")


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
