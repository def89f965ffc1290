"""Spark's day against scikit-learn's: the same rows from the same Parquet files, the same grid, from fetch to promote.

Each is a process of its own; the start of Java is in Spark's, and its peak is the sum of the peaks of its processes:
the driver, Java and Python's workers. Say SIZES as arguments: ``spark_day.py 100000 1000000``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

from scale import DAY, FEATURES, write

from diurnal import experiment
from diurnal.experiment.run_context import RunContext
from diurnal.pipeline.local_run import run
from diurnal.runtime import Settings
from diurnal.runtime.postgres import EmbeddedServer
from diurnal.sources import Files
from diurnal.storage.stores import open_stores

SIZES = (100_000, 1_000_000, 5_000_000)
PENALTIES = (0.001, 0.01, 0.1)


def declared(library: str, folder: Path):
    source = Files(f"{folder}/rows-*.parquet")

    @experiment(source=source, target="label", promotion="always")
    def scale():
        if library == "spark":
            from pyspark.ml import Pipeline
            from pyspark.ml.classification import LogisticRegression
            from pyspark.ml.evaluation import MulticlassClassificationEvaluator
            from pyspark.ml.feature import StandardScaler, VectorAssembler
            from pyspark.ml.tuning import CrossValidator, ParamGridBuilder

            log_reg = LogisticRegression(featuresCol="scaled", labelCol="label")
            pipeline = Pipeline(
                stages=[
                    VectorAssembler(inputCols=FEATURES, outputCol="raw"),
                    StandardScaler(inputCol="raw", outputCol="scaled", withMean=True),
                    log_reg,
                ]
            )
            grid = ParamGridBuilder().addGrid(log_reg.regParam, PENALTIES).build()
            judge = MulticlassClassificationEvaluator(labelCol="label", metricName="accuracy")
            return CrossValidator(estimator=pipeline, estimatorParamMaps=grid, evaluator=judge, numFolds=3)
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GridSearchCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        grid = {"logisticregression__C": [1 / penalty for penalty in PENALTIES]}
        return GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), grid, cv=3, n_jobs=-1)

    return scale


def measure(library: str, folder: Path) -> None:
    """Do the day in this process, and print what it took."""
    stores = open_stores(Settings.load(folder / library, {"DIURNAL_WAREHOUSE": os.environ["DIURNAL_WAREHOUSE"]}))
    steps: dict[str, float] = {}
    with stores.warehouse:
        day = RunContext(declared(library, folder), DAY, stores, requested_by="bench")
        row = run(day, on_end=steps.__setitem__).run
        print(json.dumps({"steps": steps, "peak": peak_of_all(), "score": row["test_score"]}))


def peak_of_all() -> float:
    """Give in MiB the sum of what this process and all that it started, and that still run, ever held."""
    parents, peaks = {}, {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            told = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        except OSError:  # it has just ended
            continue
        parents[int(told["Pid"])], peaks[int(told["Pid"])] = int(told["PPid"]), told.get("VmHWM", "0 kB")
    ours = {os.getpid()}
    for _ in parents:
        ours |= {child for child, parent in parents.items() if parent in ours}
    return sum(int(peaks[process].split()[0]) for process in ours) / 1024


def both(n_rows: int, scratch: Path) -> dict[str, float]:
    """Print the day of each for one size; gives the seconds and the peak of each."""
    folder = scratch / str(n_rows)
    folder.mkdir()
    write(n_rows, folder)
    found = {}
    for library in ("scikit-learn", "spark"):
        (folder / library).mkdir()
        with EmbeddedServer(folder / library / "warehouse") as server:
            done = subprocess.run(
                [sys.executable, __file__, "--measure", library, str(folder)],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
                env={**os.environ, "DIURNAL_WAREHOUSE": server.url("warehouse")},
            )
        told = json.loads(done.stdout.splitlines()[-1])
        found[library] = sum(told["steps"].values())
        found[f"{library}'s peak"] = told["peak"]
        listed = "  ".join(f"{name} {seconds:.1f}" for name, seconds in told["steps"].items() if seconds >= 0.05)
        line = f"{n_rows:12,} {library:>12} {found[library]:8.1f} s {told['peak']:8,.0f} MiB  {told['score']:.4f}"
        print(line, listed, flush=True)
    return found


def crossing(taken: dict[int, dict[str, float]]) -> str:
    """Say at which size Spark's day becomes the shorter one, by straight lines between what was measured."""
    ahead = {size: both["scikit-learn"] - both["spark"] for size, both in taken.items()}
    for before, after in pairwise(sorted(ahead)):
        if ahead[before] < 0 <= ahead[after]:
            at = before + (after - before) * -ahead[before] / (ahead[after] - ahead[before])
            return f"Spark's day is the shorter one from about {at:,.0f} rows on"
    first = "Spark's" if min(ahead.values()) >= 0 else "scikit-learn's"
    return f"{first} day is the shorter one at each of these sizes on this machine of {os.cpu_count()} cores"


def most_rows(taken: dict[int, dict[str, float]]) -> str:
    """Say how many rows scikit-learn's day can have on this machine, by a straight line through the two largest."""
    if len(taken) < 2:
        return "two sizes tell how many rows scikit-learn's day can have on this machine"
    (fewer, before), (more, after) = sorted(taken.items())[-2:]
    slope = (after["scikit-learn's peak"] - before["scikit-learn's peak"]) / (more - fewer)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**20
    most = more + (memory - after["scikit-learn's peak"]) / slope
    return (
        f"scikit-learn's day holds {slope * 1e6:,.0f} MiB for each further million rows: the {memory:,.0f} MiB of this "
        f"machine are full at about {most / 1e6:,.0f} million, and from there on only Spark's day ends (extrapolated)"
    )


def compare(sizes: tuple[int, ...], scratch: Path) -> None:
    """Print all sizes, and the crossing point."""
    print(f"{'rows':>12} {'library':>12} {'day':>10} {'peak':>12}  score   seconds of each step")
    taken = {size: both(size, scratch) for size in sizes}
    print(crossing(taken))
    print(most_rows(taken))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], Path(sys.argv[3]))
    else:
        with tempfile.TemporaryDirectory() as name:
            Path(name).chmod(0o755)
            compare(tuple(map(int, sys.argv[1:])) or SIZES, Path(name))
