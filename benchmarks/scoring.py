"""How long `diurnal score` takes beside the bare predictions of its model, and how much memory.

The rows have a key and 30 floats. The bare time is that of ``model.predict`` and ``model.predict_proba`` on frames in
memory, in chunks of the size that scoring has. Scoring also reads the rows from Parquet, validates them, and copies
keys, predictions and probabilities into the warehouse. It is measured on a batch that is stored, and on the source of
an interval that has no batch yet, whose rows are sorted and whose digest is computed first. Each measurement is a
process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

EXPERIMENTS = """
from diurnal import experiment
from diurnal.sources import Files

declared = dict(source=Files("rows/{start:%Y-%m-%d}.parquet", max_bytes=2**40), target="label", start_date="2026-01-01",
                sample=20_000)


@experiment(**declared, key="id")
def linear():
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), PCA(10), LogisticRegression())


@experiment(**declared, key="id")
def boosting():
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=100, random_state=0, early_stopping=False)


@experiment(**declared, key="id")
def forest():
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(100, max_depth=12, random_state=0)
"""
FEATURES = [f"x{i}" for i in range(30)]
TRAINED, STORED, UNSTORED = (datetime(2026, 11, day, tzinfo=UTC) for day in (21, 22, 23))
SCORED = {STORED: "stored batch", UNSTORED: "source"}
CHUNK = 65_536


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--models", nargs="+", default=["linear", "boosting", "forest"])
    parser.add_argument("--rows-of", nargs="+", choices=["stored batch", "source"], default=["stored batch", "source"])
    parser.add_argument("--child", nargs=4, metavar=("PROJECT", "MODEL", "WHAT", "ROWS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        measure(*arguments.child)
        return
    print(f"{'rows':>10} {'model':9} {'measured':24} {'seconds':>8} {'CPU':>7} {'ratio':>7} {'peak':>8}")
    for n_rows in arguments.rows:
        with tempfile.TemporaryDirectory(prefix="diurnal-bench-") as folder:
            project = make_project(Path(folder), n_rows, arguments.rows_of)
            try:
                for model in arguments.models:
                    print_model(project, model, n_rows, arguments.rows_of)
            finally:
                command(project, "warehouse", "stop")


def print_model(project: Path, model: str, n_rows: int, rows_of: list[str]) -> None:
    """Print the rows of a model."""
    command(project, "run", model, "--date", f"{TRAINED:%Y-%m-%d}")
    bare = None
    for what in ("predict, predict_proba", *rows_of):
        words = [sys.executable, __file__, "--child", str(project), model, what, str(n_rows)]
        done = subprocess.run(words, cwd=project, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        bare = bare or found["seconds"]
        print(
            f"{n_rows:10,} {model:9} {what:24} {found['seconds']:7.2f}s {found['cpu']:6.2f}s"
            f" {found['seconds'] / bare:6.2f}x {found['peak']:5.0f}MiB",
            flush=True,
        )


def make_project(folder: Path, n_rows: int, rows_of: list[str]) -> Path:
    """Create a project with the Parquet files of the data intervals."""
    (folder / "experiments").mkdir()
    (folder / "rows").mkdir()
    (folder / "diurnal.toml").write_text("[diurnal]\n")
    (folder / "experiments" / "scored.py").write_text(EXPERIMENTS)
    n_scored = {start: n_rows for start in (STORED, UNSTORED) if SCORED[start] in rows_of}
    for start, n in {TRAINED: 20_000, **n_scored}.items():
        path = folder / "rows" / f"{start:%Y-%m-%d}.parquet"
        with pq.ParquetWriter(path, table_of(0, 1, start).schema) as writer:
            for first in range(0, n, CHUNK):
                writer.write_table(table_of(first, min(CHUNK, n - first), start))
    return folder


def table_of(first: int, n_rows: int, start: datetime) -> pa.Table:
    """Return rows from number `first` on, always the same."""
    rng = np.random.default_rng([first, start.day])
    X = rng.normal(size=(len(FEATURES), n_rows))
    label = np.where(X[:5].sum(axis=0) + rng.normal(size=n_rows) > 0, "yes", "no")
    return pa.table({"id": np.arange(first, first + n_rows), **dict(zip(FEATURES, X, strict=True)), "label": label})


def measure(folder: str, name: str, what: str, n_rows: str) -> None:
    """Print the seconds, those of the processor, and the peak memory of one measurement, in a process of its own."""
    from diurnal.experiment import find
    from diurnal.experiment.run_context import RunContext
    from diurnal.runtime import Settings
    from diurnal.storage.stores import open_stores
    from diurnal.types import DataInterval

    project = Path(folder)
    stores = open_stores(Settings.load(project, os.environ))
    start = STORED if what == "stored batch" else UNSTORED
    context = RunContext(
        find(name, project / "experiments"),
        DataInterval(start, start + timedelta(days=1)),
        stores,
        requested_by="bench",
    )
    if what.startswith("predict"):
        seconds, cpu = predict_bare(context, int(n_rows))
    else:
        seconds, cpu = score(context, int(n_rows), stored=what == "stored batch")
    stores.warehouse.close()
    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak": peak_mib()}))


def predict_bare(context, n_rows: int) -> tuple[float, float]:
    """Return the seconds of the bare predictions, and those of the processor."""
    from diurnal.storage.load_model import load_version, resolve_reference

    row = resolve_reference(context.stores.warehouse, f"{context.experiment.name}@champion")
    model = load_version(context.stores.models, row, context.code)
    model.predict(table_of(0, 10, UNSTORED).select(FEATURES).to_pandas())
    seconds = cpu = 0.0
    for first in range(0, n_rows, CHUNK):
        frame = table_of(first, min(CHUNK, n_rows - first), UNSTORED).select(FEATURES).to_pandas()
        begin, begin_cpu = time.perf_counter(), time.process_time()
        model.predict(frame)
        model.predict_proba(frame)
        seconds += time.perf_counter() - begin
        cpu += time.process_time() - begin_cpu
    return seconds, cpu


def score(context, n_rows: int, *, stored: bool) -> tuple[float, float]:
    """Return the seconds of scoring an interval, and those of the processor without the warehouse's."""
    from diurnal.pipeline.scored_batches import score_batch
    from diurnal.pipeline.steps import fetch

    if stored:
        fetch(context)
        Path("/proc/self/clear_refs").write_text("5")  # peak memory is measured from here
    begin, begin_cpu = time.perf_counter(), time.process_time()
    result = score_batch(context)
    assert (result.state, result.n_rows) == ("scored", n_rows)
    return time.perf_counter() - begin, time.process_time() - begin_cpu


def peak_mib() -> float:
    """Return the most memory that this process held."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def command(project: Path, *words: str) -> None:
    """Call diurnal's command."""
    words = (sys.executable, "-m", "diurnal", *words)
    done = subprocess.run(words, check=False, cwd=project, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)


if __name__ == "__main__":
    main()
