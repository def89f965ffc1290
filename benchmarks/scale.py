"""How time and memory grow with the rows: fetch to split, save_batch, evaluate, and Spark's day against scikit-learn's.

The batch is a stream that a source function generates, seeded chunk by chunk, of 30 columns: 29 floats and a label of
two classes; there is no key, so that a row is identified, and hashed, by all of its features. With ``--files`` the same
rows are Parquet files on disk, written before, and the source is `Files`. Each size, and each way, is a process of its
own; peak memory is that process's, all of it. The server's own speed is that of ``COPY ... FROM`` a CSV file on its own
disk, without a client.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import sqlalchemy as sa

from diurnal import experiment
from diurnal.experiment import Experiment
from diurnal.experiment.run_context import RunContext
from diurnal.pipeline.steps import evaluate, fetch, save_batch, split, tune
from diurnal.runtime import Settings
from diurnal.runtime.postgres import EmbeddedServer
from diurnal.sources import Files
from diurnal.storage.stores import open_stores
from diurnal.types import DataInterval

FEATURES = [f"x{i}" for i in range(29)]
CHUNK = 65_536
ROWS_A_FILE = 500_000
DAY = DataInterval(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))


def stream(n_rows: int):
    """Generate the rows, never more than a chunk of them at a time."""
    weights = np.random.default_rng(0).normal(size=len(FEATURES))
    for start in range(0, n_rows, CHUNK):
        rng = np.random.default_rng(start + 1)
        size = min(CHUNK, n_rows - start)
        X = rng.normal(size=(len(FEATURES), size))
        label = (weights @ X + rng.normal(size=size) > 0).astype(np.int64)
        yield pa.record_batch({**dict(zip(FEATURES, X, strict=True)), "label": label})


def write(n_rows: int, folder: Path) -> None:
    """Write the rows as Parquet files, ``rows-00000.parquet`` and so on."""
    writer, written = None, 0
    for batch in stream(n_rows):
        if writer is None or written >= ROWS_A_FILE:
            if writer is not None:
                writer.close()
            number = len(list(folder.glob("rows-*.parquet")))
            writer, written = pq.ParquetWriter(folder / f"rows-{number:05d}.parquet", batch.schema), 0
        writer.write_batch(batch)
        written += batch.num_rows
    if writer is not None:
        writer.close()


def declared(n_rows: int, folder: Path) -> Experiment:
    """Declare the experiment whose batch is that stream, or the files, where there are any."""
    files = any(folder.glob("rows-*.parquet"))

    source = Files(f"{folder}/rows-*.parquet") if files else lambda interval: stream(n_rows)  # noqa: ARG005

    @experiment(source=source, target="label", sample=100_000)
    def scale():
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression()

    return scale


def peak_mib() -> float:
    """Give the most memory that this process ever held; ru_maxrss would begin with that of its parent."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def fetch_to_split(day: RunContext, handed: Path) -> dict[str, float]:
    start = time.perf_counter()
    batch = fetch(day)
    fetched = time.perf_counter()
    samples = split(day, batch)
    done = time.perf_counter()
    assert sum(p.n_rows for p in (*samples.train, *samples.test)) == batch.package.n_rows
    handed.write_bytes(pickle.dumps(batch))
    return {"seconds": done - start, "split": done - fetched, "peak": peak_mib()}


def load(day: RunContext, handed: Path) -> dict[str, float]:
    batch = pickle.loads(handed.read_bytes())
    start = time.perf_counter()
    save_batch(day, batch)
    return {"seconds": time.perf_counter() - start, "peak": peak_mib()}


def judge(day: RunContext, handed: Path) -> dict[str, float]:
    samples = split(day, pickle.loads(handed.read_bytes()))
    found = tune(day, samples)
    start = time.perf_counter()
    evaluation = evaluate(day, samples, found)
    return {"seconds": time.perf_counter() - start, "rows": evaluation.n_test, "peak": peak_mib()}


MEASURED = {measured.__name__: measured for measured in (fetch_to_split, load, judge)}


def in_a_process(name: str, n_rows: int, folder: Path, warehouse: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", name, "--rows", str(n_rows), "--folder", str(folder)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "DIURNAL_WAREHOUSE": warehouse, "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
    )
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout)


def measure(name: str, n_rows: int, folder: Path) -> None:
    """Do one thing in this process, and print what it took."""
    settings = Settings.load(folder, {"DIURNAL_WAREHOUSE": os.environ["DIURNAL_WAREHOUSE"]})
    stores = open_stores(settings)
    try:
        taken = MEASURED[name](
            RunContext(declared(n_rows, folder), DAY, stores, requested_by="bench"), folder / "batch.pickle"
        )
    finally:
        stores.warehouse.close()
    print(json.dumps(taken))


def copy_from_file(url: str, folder: Path, n_rows: int) -> float:
    """Give the rows a second of the server's own COPY of a file."""
    file = folder / "rows.csv"
    with pa.csv.CSVWriter(file, next(stream(1)).schema) as writer:
        for batch in stream(n_rows):
            writer.write_batch(batch)
    file.chmod(0o644)
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    columns = ", ".join([*(f"{name} double precision" for name in FEATURES), "label bigint"])
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE copied ({columns})")
    with engine.begin() as connection:
        started = time.perf_counter()
        connection.exec_driver_sql(f"COPY copied FROM '{file}' WITH (FORMAT csv, HEADER)")
    seconds = time.perf_counter() - started
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE copied")
    file.unlink()
    return n_rows / seconds


def one_machine(sizes: list[int], copied: int, scratch: Path, *, files: bool) -> None:
    """Print fetch to split, save_batch, and what it takes to evaluate on the test rows, for each size."""
    print("        rows    GiB  fetch..split    rows/s  peak MiB  split s  save_batch    rows/s  peak MiB  of COPY"
          "  evaluate  test rows/s  peak MiB")  # fmt: skip
    for n_rows in sizes:
        folder = scratch / str(n_rows)
        folder.mkdir()
        if files:
            write(n_rows, folder)
        with EmbeddedServer(folder / "warehouse") as server:
            url = server.url("warehouse")
            own = copy_from_file(url, folder, min(n_rows, copied))
            kept = in_a_process("fetch_to_split", n_rows, folder, url)
            loaded = in_a_process("load", n_rows, folder, url)
            judged = in_a_process("judge", n_rows, folder, url)
        shutil.rmtree(folder)
        print(f"{n_rows:12,} {n_rows * 240 / 2**30:6.2f}"
              f" {kept['seconds']:11.1f} s {n_rows / kept['seconds']:9,.0f} {kept['peak']:9,.0f} {kept['split']:8.2f}"
              f" {loaded['seconds']:9.1f} s {n_rows / loaded['seconds']:9,.0f} {loaded['peak']:9,.0f}"
              f" {n_rows / loaded['seconds'] / own:7.2f}x"
              f" {judged['seconds']:7.1f} s {judged['rows'] / judged['seconds']:12,.0f} {judged['peak']:9,.0f}",
              flush=True)  # fmt: skip


def spark_against_scikit_learn(scratch: Path) -> None:
    """Print Spark's day against scikit-learn's, and where the one overtakes the other."""
    import spark_day

    print()
    spark_day.compare(spark_day.SIZES, scratch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, action="append", help="a size; may be given again")
    parser.add_argument("--files", action="store_true", help="the batch is Parquet files on disk, written before")
    parser.add_argument("--copied", type=int, default=2_000_000, help="rows of the file that the server copies at most")
    parser.add_argument("--measure", choices=sorted(MEASURED), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    sizes = given.rows or [1_000_000, 10_000_000, 50_000_000]
    if given.measure:
        measure(given.measure, sizes[0], given.folder)
        return
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        scratch.chmod(0o755)  # the server, which may run as another user, reads the CSV file itself
        one_machine(sizes, given.copied, scratch, files=given.files)
        spark_against_scikit_learn(scratch)


if __name__ == "__main__":
    main()
