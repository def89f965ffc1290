"""How fast a batch gets into the warehouse: against the server's own COPY of a file, and against pandas.to_sql.

The batch has 1,000,000 rows of 31 floats. The server's own speed is that of ``COPY ... FROM`` a CSV file on its own
disk, without a client. pandas.to_sql is given a tenth of the rows, and its time is multiplied by ten. Peak memory is
that of a process that loads the batch from its package, above what it holds before it begins.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import sqlalchemy as sa

from diurnal.data.row_hash import hash_rows
from diurnal.runtime.postgres import EmbeddedServer
from diurnal.storage.lake import Lake, PackageKey
from diurnal.storage.warehouse import Warehouse
from diurnal.types import DataInterval, Run

COLUMNS = [f"c{i}" for i in range(31)]
DAY = DataInterval(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))


def batches(n_rows: int, chunk: int = 65_536):
    for start in range(0, n_rows, chunk):
        rng = np.random.default_rng(start)
        yield pa.record_batch({name: rng.normal(size=min(chunk, n_rows - start)) for name in COLUMNS})


def peak_mib() -> float:
    """Give the most memory that this process ever held; ru_maxrss would begin with that of its parent."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def load(url: str, root: str, package, result) -> None:
    lake = Lake(root)
    with Warehouse(url) as warehouse:
        epoch = warehouse.claim_interval("bench", DAY, requested_by="bench")
        warehouse.set_batch("bench", DAY, epoch, package)
        run = Run("bench-1", "bench", DAY, epoch, package.digest, package.digest, "code")
        before = peak_mib()
        started = time.perf_counter()
        warehouse.load(run, package, next(lake.batches(package)).schema, lake.batches(package))
        seconds = time.perf_counter() - started
    result.put((seconds, peak_mib() - before))


def copy_from_file(url: str, file: Path) -> float:
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    columns = ", ".join(f"{name} double precision" for name in COLUMNS)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE copied ({columns})")
    with engine.begin() as connection:
        started = time.perf_counter()
        connection.exec_driver_sql(f"COPY copied FROM '{file}' WITH (FORMAT csv, HEADER)")
    seconds = time.perf_counter() - started
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE copied")
    return seconds


def to_sql(url: str, frame: pd.DataFrame) -> float:
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    started = time.perf_counter()
    frame.to_sql("pandas_own", engine, index=False, if_exists="replace")
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    n_rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        root.chmod(0o755)  # the server, which may run as another user, reads the CSV file itself
        lake = Lake(str(root / "lake"))
        started = time.perf_counter()
        package, _ = lake.write_package(
            PackageKey("bench", "batches", DAY.key), batches(n_rows), next(batches(1)).schema,
            lambda rows: hash_rows(rows, COLUMNS, "bench"), n_bytes=n_rows * 31 * 8,
        )  # fmt: skip
        packed = time.perf_counter() - started
        file = root / "rows.csv"
        with pa.csv.CSVWriter(file, next(batches(1)).schema) as writer:
            for batch in batches(n_rows):
                writer.write_batch(batch)
        file.chmod(0o644)
        server = EmbeddedServer(root / "warehouse")
        url = server.start()
        own = min(copy_from_file(url, file) for _ in range(2))
        context = multiprocessing.get_context("spawn")
        result = context.Queue()
        process = context.Process(target=load, args=(url, lake.root, package, result))
        process.start()
        seconds, peak = result.get(timeout=600)
        process.join()
        tenth = pa.Table.from_batches(list(batches(n_rows // 10))).to_pandas()
        pandas_own = 10 * to_sql(url, tenth)
        server.stop()
    print(f"{n_rows:,} rows x 31 floats = {n_rows * 31 * 8 / 2**20:.0f} MiB")
    print(f"packed, ordered by hash     {packed:7.2f} s")
    print(f"the server's own COPY       {own:7.2f} s   1.00 x")
    print(f"Warehouse.load              {seconds:7.2f} s   {own / seconds:.2f} x its speed (aim: at least 0.5)")
    print(f"pandas.to_sql, a tenth x 10 {pandas_own:7.2f} s   {own / pandas_own:.2f} x its speed")
    print(f"memory above the start      {peak:7.0f} MiB")


if __name__ == "__main__":
    main()
