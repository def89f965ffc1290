import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

import psycopg
import pyarrow as pa
import pytest
import sqlalchemy as sa

from diurnal.errors import (
    BatchRejectedError,
    CorruptPackageError,
    Problem,
    SupersededError,
    TransientError,
)
from diurnal.types import DataInterval, Package, Run

NAME = "tides"
COLUMNS = pa.schema([("height", pa.float64()), ("harbour", pa.string())])
CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND datname = current_database() AND application_name LIKE 'diurnal%'
"""


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


def day(number=0):
    start = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=number)
    return DataInterval(start, start + timedelta(days=1))


def package(text="batch", n_rows=3):
    return Package(f"{NAME}/{text}.parquet", sha(text), n_rows)


def rows(n, harbour="Brest"):
    return [pa.record_batch({"height": [float(i) for i in range(n)], "harbour": [harbour] * n}, schema=COLUMNS)]


def claimed(warehouse, number=0, repeat=0):
    interval = day(number)
    epoch = warehouse.claim_interval(NAME, interval, requested_by="a test")
    digest = sha(f"batch {number}")
    return Run(sha(f"run {number} {repeat}"), NAME, interval, epoch, digest, digest, sha("code"), repeat)


def harbours(url):
    with psycopg.connect(url) as connection:
        query = f"SELECT data_interval_start, harbour, count(*) FROM batch_data_{NAME} GROUP BY 1, 2 ORDER BY 1, 2"
        return [(start.day, harbour, count) for start, harbour, count in connection.execute(query)]


def test_attempt_superseded_while_it_loads_shows_nothing(warehouse, warehouse_url):
    run = claimed(warehouse)

    def batches():
        yield from rows(3)
        warehouse.claim_interval(NAME, run.interval, requested_by="a newer attempt")

    with pytest.raises(SupersededError):
        warehouse.load(run, package(), COLUMNS, batches())
    assert harbours(warehouse_url) == []
    assert [load["state"] for load in warehouse.loads()] == ["loading"]


def test_load_is_seen_when_it_is_complete(warehouse, warehouse_url):
    seen = []

    def batches():
        for _ in range(4):
            seen.append(harbours(warehouse_url))
            yield from rows(20_000)

    warehouse.load(claimed(warehouse), package(n_rows=80_000), COLUMNS, batches())
    assert seen == [[]] * 4
    assert harbours(warehouse_url) == [(1, "Brest", 80_000)]


def test_correction_shows_exactly_the_new_rows(warehouse, warehouse_url):
    run, other = claimed(warehouse, 0), claimed(warehouse, 1)
    warehouse.load(run, package("first", 600), COLUMNS, rows(600, "Brest"))
    warehouse.load(other, package("other day", 2), COLUMNS, rows(2, "Dover"))
    warehouse.load(run, package("corrected", 500), COLUMNS, rows(500, "Calais"))
    assert harbours(warehouse_url) == [(1, "Calais", 500), (2, "Dover", 2)]
    assert [load["shown"] for load in warehouse.loads()] == [False, True, True]


def test_load_of_same_package_is_used_again(warehouse, warehouse_url):
    run = claimed(warehouse)
    first = warehouse.load(run, package("first", 2), COLUMNS, rows(2, "Brest"))
    warehouse.load(run, package("corrected", 1), COLUMNS, rows(1, "Calais"))
    unread = iter([])
    assert warehouse.load(run, package("first", 2), COLUMNS, unread) == first
    assert harbours(warehouse_url) == [(1, "Brest", 2)]


def test_load_keeps_every_kind_bit_exact(warehouse):
    columns = pa.schema(
        [
            ("n", pa.int64()),
            ("x", pa.float64()),
            ("b", pa.bool_()),
            ("window", pa.string()),
            ("d", pa.date32()),
            ("t", pa.timestamp("us", tz="UTC")),
            ("seen", pa.timestamp("us")),
        ]
    )
    moment = datetime(2026, 3, 29, 1, 30, 0, 1, tzinfo=UTC)
    values = [
        [2**63 - 1, -(2**63), None, 0],
        [-0.0, 5e-324, None, 0.1],
        [True, False, None, True],
        ["", "NA\\N\t'", None, "Füße 🌊"],
        [date(1678, 1, 1), date(2024, 2, 29), None, date(2261, 1, 1)],
        [moment, datetime(1969, 12, 31, tzinfo=UTC), None, moment],
        [moment.replace(tzinfo=None), None, None, datetime(2026, 10, 25, 2, 30)],  # noqa: DTZ001
    ]
    batch = pa.record_batch(
        [pa.array([None, *v], field.type) for v, field in zip(values, columns, strict=True)], columns
    )
    run = claimed(warehouse)
    load_id = warehouse.load(run, package(n_rows=4), columns, [batch.slice(1)])
    read = pa.Table.from_batches(warehouse.load_rows(NAME, load_id, columns))
    assert read.equals(pa.Table.from_batches([batch.slice(1)]))
    assert str(read["x"][0]) == "-0.0"


def test_load_with_another_number_of_rows_is_refused(warehouse, warehouse_url):
    with pytest.raises(CorruptPackageError, match=r"has 2 rows.* has 3"):
        warehouse.load(claimed(warehouse), package(n_rows=3), COLUMNS, rows(2))
    assert harbours(warehouse_url) == []


def test_load_raises_what_its_batches_raise(warehouse):
    def batches():
        yield from rows(1)
        raise BatchRejectedError([Problem("changed", "the file is not what it was")])

    with pytest.raises(BatchRejectedError, match="not what it was"):
        warehouse.load(claimed(warehouse), package(), COLUMNS, batches())


def test_load_of_longest_name_and_no_rows(warehouse):
    name = "a" * 50
    run = Run(
        "r", name, day(), warehouse.claim_interval(name, day(), requested_by="a test"), sha("b"), sha("b"), sha("c")
    )
    load_id = warehouse.load(run, package(n_rows=0), COLUMNS, [])
    assert sum(batch.num_rows for batch in warehouse.load_rows(name, load_id, COLUMNS)) == 0


def test_same_package_loaded_twice_at_once_is_one_load(warehouse, warehouse_url):
    run = claimed(warehouse)
    with ThreadPoolExecutor(4) as pool:
        loads = list(pool.map(lambda _: warehouse.load(run, package(n_rows=9), COLUMNS, rows(9)), range(4)))
    assert len(set(loads)) == 1
    assert harbours(warehouse_url) == [(1, "Brest", 9)]
    assert [load["load_id"] for load in warehouse.loads()] == loads[:1]


def test_discard_unused_loads_spares_complete_and_young_ones(warehouse, warehouse_url):
    run = claimed(warehouse)
    shown = warehouse.load(run, package("first", 3), COLUMNS, rows(3))
    with pytest.raises(CorruptPackageError):
        warehouse.load(run, package("broken", 9), COLUMNS, rows(3))
    assert warehouse.discard_unused_loads(timedelta(hours=1)) == 0
    assert warehouse.discard_unused_loads(timedelta(0)) == 1
    assert [load["load_id"] for load in warehouse.loads()] == [shown]
    assert harbours(warehouse_url) == [(1, "Brest", 3)]


@pytest.mark.parametrize("during", ["the transaction", "the copy"])
def test_session_that_is_cut_can_be_tried_again(warehouse, warehouse_url, during):
    run = claimed(warehouse)

    def cut():
        with psycopg.connect(warehouse_url, autocommit=True) as connection:
            connection.execute(CUT)

    def batches():
        yield from rows(20_000)
        cut()
        yield from rows(20_000)

    def work():
        if during == "the copy":
            return warehouse.load(run, package(n_rows=40_000), COLUMNS, batches())
        with warehouse.transaction() as connection:
            cut()
            return connection.execute(sa.text("SELECT 1"))

    with pytest.raises(TransientError):
        work()
    warehouse.load(run, package(n_rows=3), COLUMNS, rows(3))
    assert harbours(warehouse_url) == [(1, "Brest", 3)]
