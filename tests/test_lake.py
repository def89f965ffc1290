"""Packages: ordered, whole, checked, and the same whatever way the rows came."""

import hashlib
import random
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from diurnal import lake as lake_module
from diurnal.arranging import Arrangement, newest
from diurnal.errors import BatchRefused, NotFound, PackageRefused
from diurnal.lake import Lake, Spool
from diurnal.splitting import identities, is_test
from diurnal.values import DataInterval

DAY = DataInterval(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))


def table(n=1_000, seed=0):
    rng = np.random.default_rng(seed)
    return pa.table({"key": np.arange(n), "x": rng.normal(size=n), "text": [f"t{i % 7}" for i in range(n)]})


def hasher(rows):
    return identities(rows, ["key"], "x")


def write(lake, rows, *, key=("key",), n_bytes=0, chunk=300):
    return lake.write(
        "x", "batches", DAY, rows.to_batches(max_chunksize=chunk), rows.schema, hasher, key=key, n_bytes=n_bytes
    )


@pytest.fixture
def lake(tmp_path):
    return Lake(str(tmp_path / "data"))


def test_write_names_the_package_by_its_digest(lake):
    package, _ = write(lake, table())
    assert hashlib.sha256(Path(lake.url(package.path)).read_bytes()).hexdigest() == package.digest
    assert package.path == f"x/batches/20261123T000000Z/{package.digest}.parquet"
    assert lake.digest_of(package.path) == package.digest


def test_write_orders_rows_by_hash_whatever_order_they_came_in(lake):
    rows = table()
    order = list(range(rows.num_rows))
    random.Random(1).shuffle(order)
    one, _ = write(lake, rows)
    other, _ = write(lake, rows.take(order), chunk=77)
    assert one == other
    hashes = hasher(lake.read(one))
    assert (hashes[1:] >= hashes[:-1]).all()


def test_write_on_disk_gives_the_same_file_as_in_memory(lake):
    rows = table(5_000)
    in_memory, _ = write(lake, rows)
    on_disk, _ = write(lake, rows, n_bytes=20 * lake_module.BUCKET_BYTES)
    assert on_disk == in_memory


def test_write_cuts_row_groups_of_one_size_whatever_the_pieces(lake, tmp_path):
    n = lake_module.ROWS_A_GROUP + 1_000
    rows = pa.table({"key": np.arange(n)})
    small, _ = write(lake, rows, chunk=10_000)
    large, _ = write(lake, rows, chunk=n)
    assert small == large
    assert small.n_rows == n


def test_write_drops_repeated_rows_and_counts_them(lake):
    rows = table()
    package, arrangement = write(lake, pa.concat_tables([rows, rows.slice(0, 30)]))
    assert (package.n_rows, arrangement.n_repeated) == (1_000, 30)


def test_write_refuses_one_key_with_two_values(lake, tmp_path):
    rows = table()
    other = rows.slice(4, 2).set_column(1, "x", pa.array([99.0, 98.0]))
    with pytest.raises(BatchRefused, match=r"key-conflict.*2 values of the key 'key'.*4") as refusal:
        write(lake, pa.concat_tables([rows, other]))
    assert refusal.value.problems[0].count == 2
    assert not list(Path(lake.root).rglob("*.parquet"))


def test_cut_gives_each_row_one_side(lake):
    package, _ = write(lake, table())
    train, test = lake.cut("x", DAY, package, lambda rows: is_test(hasher(rows), 0.3))
    assert train.n_rows + test.n_rows == 1_000
    sides = [set(lake.read(side)["key"].to_pylist()) for side in (train, test)]
    assert not sides[0] & sides[1]
    assert lake.cut("x", DAY, package, lambda rows: is_test(hasher(rows), 0.3)) == (train, test)


def test_cut_of_one_row_leaves_an_empty_side_that_can_be_read(lake):
    package, _ = write(lake, table(1))
    train, test = lake.cut("x", DAY, package, lambda rows: np.zeros(rows.num_rows, dtype=bool))
    assert (train.n_rows, test.n_rows) == (1, 0)
    assert lake.read(test).column_names == ["key", "x", "text"]


def test_read_refuses_every_flipped_bit_of_a_page(lake):
    package, _ = write(lake, table(4_000))
    path = Path(lake.url(package.path))
    whole = path.read_bytes()
    expected = lake.read(package)
    rng = random.Random(3)
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[rng.randrange(4, len(whole) - 8)] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            found = lake.read(package)
        except PackageRefused:
            continue
        assert found.equals(expected), "a flipped bit was read as other data"


def test_read_refuses_a_truncated_and_a_missing_package(lake):
    package, _ = write(lake, table())
    path = Path(lake.url(package.path))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(PackageRefused, match="damaged"):
        lake.read(package)
    path.unlink()
    with pytest.raises(NotFound, match="no package"):
        lake.read(package)


def test_spool_gives_the_rows_again_and_again(tmp_path):
    rows = table()
    spool = Spool(tmp_path, iter(rows.to_batches(max_chunksize=100)))
    assert pa.Table.from_batches(iter(spool)).equals(rows)
    assert pa.Table.from_batches(iter(spool)).equals(rows)


def test_nothing_temporary_is_left(lake):
    write(lake, table())
    with pytest.raises(ZeroDivisionError):
        lake.write("x", "batches", DAY, (1 / 0 for _ in "a"), table().schema, hasher)
    assert not list(lake.leftovers())


def test_a_lake_can_be_anywhere_that_fsspec_reaches():
    lake = Lake("memory://lake-of-a-test")
    package, _ = write(lake, table())
    assert lake.read(package).num_rows == 1_000
    assert [name for name, _ in lake.files()] == [package.path]


def test_newest_keeps_the_last_row_of_a_key():
    monday = pa.table({"key": [1, 2], "x": [1.0, 2.0]})
    tuesday = pa.table({"key": [2, 3], "x": [20.0, 30.0]})
    merged = newest([monday, tuesday], hasher, keyed=True)
    assert dict(zip(merged["key"].to_pylist(), merged["x"].to_pylist(), strict=True)) == {1: 1.0, 2: 20.0, 3: 30.0}


def test_newest_without_a_key_drops_only_what_repeats():
    monday = pa.table({"key": [1, 2], "y": ["a", "b"]})
    tuesday = pa.table({"key": [2, 2], "y": ["b", "c"]})
    merged = newest([monday, tuesday], hasher, keyed=False)
    assert sorted(zip(merged["key"].to_pylist(), merged["y"].to_pylist(), strict=True)) == [
        (1, "a"),
        (2, "b"),
        (2, "c"),
    ]


def test_arrangement_without_conflicts_refuses_nothing():
    Arrangement(key=("a",)).refuse_conflicts()
