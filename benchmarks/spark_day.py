"""Spark's day against scikit-learn's: the same rows from the same Parquet files, the same grid, from fetch to promote.

Each is a process of its own; the start of Java is in Spark's. Say SIZES as arguments: ``spark_day.py 100000 1000000``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
from scale import DAY, FEATURES, peak_mib, stream

from diurnal import experiment
from diurnal.day import Day
from diurnal.embedded import EmbeddedServer
from diurnal.flow import run
from diurnal.settings import Settings, open_stores
from diurnal.sources import Files

SIZES = (100_000, 1_000_000, 5_000_000)
PENALTIES = (0.001, 0.01, 0.1)
ROWS_A_FILE = 500_000


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
        day = Day(declared(library, folder), DAY, stores, by="bench")
        row = run(day, watch=steps.__setitem__).run
    print(json.dumps({"steps": steps, "peak": peak_mib(), "score": row["test_score"]}))


def both(n_rows: int, scratch: Path) -> dict[str, float]:
    """Print the day of each for one size; gives the seconds of each."""
    folder = scratch / str(n_rows)
    folder.mkdir()
    _write(n_rows, folder)
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
        listed = "  ".join(f"{name} {seconds:.1f}" for name, seconds in told["steps"].items() if seconds >= 0.05)
        print(
            f"{n_rows:12,} {library:>12} {found[library]:8.1f} s {told['peak']:8,.0f} MiB  {told['score']:.4f} {listed}"
        )
    return found


def _write(n_rows: int, folder: Path) -> None:
    writer, written, number = None, 0, 0
    for batch in stream(n_rows):
        if writer is None:
            writer = pq.ParquetWriter(folder / f"rows-{number:05d}.parquet", batch.schema)
        writer.write_batch(batch)
        written += batch.num_rows
        if written >= ROWS_A_FILE:
            writer.close()
            writer, written, number = None, 0, number + 1
    if writer is not None:
        writer.close()


def crossing(taken: dict[int, dict[str, float]]) -> str:
    """Say at which size Spark's day becomes the shorter one, by straight lines between what was measured."""
    ahead = {size: both["scikit-learn"] - both["spark"] for size, both in taken.items()}
    for before, after in pairwise(sorted(ahead)):
        if ahead[before] < 0 <= ahead[after]:
            at = before + (after - before) * -ahead[before] / (ahead[after] - ahead[before])
            return f"Spark's day is the shorter one from about {at:,.0f} rows on"
    first = "Spark's" if min(ahead.values()) >= 0 else "scikit-learn's"
    return f"{first} day is the shorter one at each of these sizes on this machine of {os.cpu_count()} cores"


def compare(sizes: tuple[int, ...], scratch: Path) -> None:
    """Print all sizes, and the crossing point."""
    print(
        f"{'rows':>12} {'library':>12} {'day':>10} {'peak':>12}  score   seconds of each step (Java's memory is beside)"
    )
    print(crossing({size: both(size, scratch) for size in sizes}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], Path(sys.argv[3]))
    else:
        with tempfile.TemporaryDirectory() as name:
            Path(name).chmod(0o755)
            compare(tuple(map(int, sys.argv[1:])) or SIZES, Path(name))
