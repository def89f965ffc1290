"""A standalone cluster of two workers, started here: a driver that is killed, and a worker that is lost in tuning."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from projects import Project
from spark_projects import EXPERIMENT, conf_dir, declare, needs_spark

pytestmark = [pytest.mark.xdist_group("spark"), pytest.mark.slow, needs_spark]

CLUSTER = """
spark.executor.memory 600m
spark.executor.cores 1
"""


class Daemon:
    """A master or a worker, with all that it starts."""

    def __init__(self, folder: Path, name: str, *words: str) -> None:
        import pyspark

        home = Path(pyspark.__file__).parent
        self.log = folder / f"{name}.log"
        environment = {**os.environ, "SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1"}
        command = [str(home / "bin" / "spark-class"), *words]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True
            )

    def says(self, pattern: str) -> str:
        """Wait for a line of its log."""
        end = time.monotonic() + 90
        while time.monotonic() < end:
            if found := re.search(pattern, self.log.read_text()):
                return found[1]
            time.sleep(0.2)
        raise TimeoutError(f"it never said {pattern}: {self.log.read_text()[-2000:]}")

    def kill(self) -> None:
        """Kill it, and all that it started."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.process.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[Daemon]]]:
    """A master on a port of its own, and two workers of one core each."""
    place = "org.apache.spark.deploy"
    daemons = [Daemon(tmp_path, "master", f"{place}.master.Master", *_own("--port"))]
    try:
        url = daemons[0].says(r"Starting Spark master at (spark://\S+)")
        for i in range(2):
            words = ("--cores", "1", "--memory", "1g", "--work-dir", str(tmp_path / f"work{i}"), url)
            daemons.append(Daemon(tmp_path, f"worker{i}", f"{place}.worker.Worker", *_own("--port"), *words))
        for worker in daemons[1:]:
            worker.says(r"(Successfully registered with master)")
        yield url, daemons[1:]
    finally:
        for daemon in reversed(daemons):
            daemon.kill()


def _own(port: str) -> tuple[str, ...]:
    return ("--host", "127.0.0.1", port, "0", "--webui-port", "0")


def test_driver_killed_and_worker_lost_leave_one_row_and_one_version(tmp_path, warehouse_url, cluster):
    url, workers = cluster
    project = Project.make(tmp_path / "project", warehouse_url)
    grid = "[0.01, 10.0]", "[0.01 * n for n in range(1, 9)]"
    pattern = str(project.folder / "incoming" / "{start:%Y-%m-%d}.parquet")
    declare(project, f"Files({pattern!r})", "key='patient', drop='ward'", text=EXPERIMENT.replace(*grid))
    project.bring("2026-11-01").to_parquet(project.folder / "incoming" / "2026-11-01.parquet", index=False)
    conf = conf_dir(tmp_path / "conf")
    with (conf / "spark-defaults.conf").open("a") as defaults:
        defaults.write(CLUSTER)
    words = ["run", "clinic", "--date", "2026-11-01"]
    environment = {
        **project.environment,
        "DIURNAL_SPARK": url,
        "SPARK_CONF_DIR": str(conf),
        "PYSPARK_PYTHON": sys.executable,
    }

    def start(**more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "diurnal", *words],
            cwd=project.folder,
            env={**environment, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    killed = start(DIURNAL_FAULT="kill@models.put:after")
    said, _ = killed.communicate(timeout=280)
    assert killed.returncode == -signal.SIGKILL, said
    again = start()
    for line in again.stdout:
        if line.startswith("split"):
            break
    time.sleep(2)  # the search is under way
    workers[1].kill()
    said, _ = again.communicate(timeout=280)
    assert again.returncode == 0, said
    with project.stores().warehouse as warehouse:
        (row,) = warehouse.runs("clinic")
        (version,) = warehouse.versions("clinic")
    assert (row["n_candidates"], row["cv_folds"], row["promoted"]) == (8, 2, True)
    assert version["version"] == 1
    assert row["n_train"] + row["n_test"] == 240
