"""Packages: ordered, whole, checked, and the same whatever way the rows came."""

import hashlib
import random
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from diurnal.data.deduplication import BUCKET_BYTES, Deduplication, sort_and_deduplicate, sort_by_hash
from diurnal.data.merge import merge_streams, merge_tables
from diurnal.data.row_hash import hash_rows
from diurnal.data.train_test_split import TrainTestRoles
from diurnal.errors import BatchRejectedError, CorruptPackageError, NotFoundError
from diurnal.storage import lake as lake_module
from diurnal.storage.lake import Lake, PackageKey, TempArrowFile, compute_n_parts, part_numbers, write_part
from diurnal.types import DataInterval

DAY = DataInterval(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))
KEY = PackageKey("x", "batches", DAY.key)


def table(n=1_000, seed=0):
    rng = np.random.default_rng(seed)
    return pa.table({"key": np.arange(n), "x": rng.normal(size=n), "text": [f"t{i % 7}" for i in range(n)]})


def hasher(rows):
    return hash_rows(rows, ["key"], "x")


def roles(test_size):
    return TrainTestRoles(lambda: hasher, test_size, "x")


def write(lake, rows, *, key=("key",), n_bytes=0, chunk=300):
    return lake.write_package(KEY, rows.to_batches(max_chunksize=chunk), rows.schema, hasher, key=key, n_bytes=n_bytes)


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
    on_disk, _ = write(lake, rows, n_bytes=20 * BUCKET_BYTES)
    assert on_disk == in_memory


def test_write_cuts_row_groups_of_one_size_whatever_the_pieces(lake, tmp_path):
    n = lake_module.ROWS_PER_GROUP + 1_000
    rows = pa.table({"key": np.arange(n)})
    small, _ = write(lake, rows, chunk=10_000)
    large, _ = write(lake, rows, chunk=n)
    assert small == large
    assert small.n_rows == n


def test_write_drops_repeated_rows_and_counts_them(lake):
    rows = table()
    package, report = write(lake, pa.concat_tables([rows, rows.slice(0, 30)]))
    assert (package.n_rows, report.n_duplicates) == (1_000, 30)


def test_write_refuses_one_key_with_two_values(lake, tmp_path):
    rows = table()
    other = rows.slice(4, 2).set_column(1, "x", pa.array([99.0, 98.0]))
    with pytest.raises(BatchRejectedError, match=r"key-conflict.*2 values of the key 'key'.*4") as refusal:
        write(lake, pa.concat_tables([rows, other]))
    assert refusal.value.problems[0].count == 2
    assert not list(Path(lake.root).rglob("*.parquet"))


def test_cut_gives_each_row_one_side(lake):
    package, _ = write(lake, table())
    train, test = lake.split_package(package, roles(0.3))
    assert train.n_rows + test.n_rows == 1_000
    sides = [set(lake.read(side)["key"].to_pylist()) for side in (train, test)]
    assert not sides[0] & sides[1]
    assert lake.split_package(package, roles(0.3)) == (train, test)


def test_cut_of_one_row_leaves_an_empty_side_that_can_be_read(lake):
    package, _ = write(lake, table(1))
    train, test = lake.split_package(package, roles(1e-9))
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
            rows = lake.read(package)
        except CorruptPackageError:
            continue
        assert rows.equals(expected), "a flipped bit was read as other data"


def test_read_refuses_a_truncated_and_a_missing_package(lake):
    package, _ = write(lake, table())
    path = Path(lake.url(package.path))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CorruptPackageError, match="damaged"):
        lake.read(package)
    path.unlink()
    with pytest.raises(NotFoundError, match="no package"):
        lake.read(package)


def test_spool_gives_the_rows_again_and_again(tmp_path):
    rows = table()
    spool = TempArrowFile(tmp_path, iter(rows.to_batches(max_chunksize=100)))
    assert pa.Table.from_batches(iter(spool)).equals(rows)
    assert pa.Table.from_batches(iter(spool)).equals(rows)


def test_nothing_temporary_is_left(lake):
    write(lake, table())
    with pytest.raises(ZeroDivisionError):
        lake.write_package(KEY, (1 / 0 for _ in "a"), table().schema, hasher)
    assert not list(lake.leftovers())


def test_a_lake_can_be_anywhere_that_fsspec_reaches():
    lake = Lake("memory://lake-of-a-test")
    package, _ = write(lake, table())
    assert lake.read(package).num_rows == 1_000
    assert [name for name, _ in lake.files()] == [package.path]


def parted(tmp_path, rows, name="data", **kwargs):
    lake = Lake(str(tmp_path / name), cells_per_part=1_000)
    package, _ = lake.write_package(
        KEY, rows.to_batches(max_chunksize=300), rows.schema, hasher, n_rows=rows.num_rows, **kwargs
    )
    return lake, package


def test_write_of_many_rows_makes_parts_with_the_rows_of_one_file(tmp_path, lake):
    rows = table(5_000)
    large, package = parted(tmp_path, rows)
    assert package.path == f"x/batches/20261123T000000Z/{package.digest}.json"
    assert len(large.urls(package)) == compute_n_parts(5_000, 3, 1_000) == 16
    assert large.read(package).equals(lake.read(write(lake, rows)[0]))
    assert large.digest_of(package.path) == package.digest


def test_write_of_parts_is_the_same_in_memory_and_on_disk(tmp_path):
    rows = table(5_000)
    _, in_memory = parted(tmp_path, rows)
    _, on_disk = parted(tmp_path, rows, "other", n_bytes=5 * BUCKET_BYTES)
    assert in_memory == on_disk


def test_arrange_deals_what_is_still_too_large_again(tmp_path):
    rows = table(5_000)
    report, hashes = Deduplication(), hasher(rows)
    batches = pa.concat_tables([rows, rows.slice(0, 10)]).to_batches(max_chunksize=300)
    pieces = list(sort_by_hash(batches, rows.schema, hasher, report, tmp_path, 10_000, bucket_bytes=4_096))
    assert len(pieces) > 4, "10,000 bytes were announced, which is 4 buckets, and more came"
    assert pa.concat_tables([table for _, table in pieces]).equals(rows.take(np.argsort(hashes)))
    assert report.n_duplicates == 10
    assert not list(tmp_path.rglob("*.arrow"))


def test_write_of_parts_drops_repeated_rows_and_refuses_conflicts(tmp_path):
    rows = table(3_000)
    _, once = parted(tmp_path, rows)
    lake = Lake(str(tmp_path / "twice"), cells_per_part=1_000)
    both = pa.concat_tables([rows, rows.slice(5, 2)])
    package, report = lake.write_package(KEY, both.to_batches(), rows.schema, hasher, n_rows=3_000)
    assert (package, report.n_duplicates) == (once, 2)
    other = pa.concat_tables([rows, rows.slice(4, 1).set_column(1, "x", pa.array([99.0]))])
    with pytest.raises(BatchRejectedError, match="key-conflict"):
        lake.write_package(
            replace(KEY, experiment="y"), other.to_batches(), rows.schema, hasher, key=("key",), n_rows=3_000
        )
    assert not list(Path(lake.root).glob("y/batches/*/*"))


def test_parts_written_elsewhere_in_any_order_are_the_same_package(tmp_path):
    rows = table(5_000)
    _, package = parted(tmp_path, rows)
    other = Lake(str(tmp_path / "other"), cells_per_part=1_000)
    hashes, ordered = sort_and_deduplicate(rows, hasher(rows), Deduplication())
    numbers = part_numbers(hashes, 16)
    written = [
        write_part(other.address, KEY.parts_folder, i, [ordered.filter(pa.array(numbers == i))], rows.schema)
        for i in reversed(range(16))
    ]
    assert other.write_manifest(KEY, written, rows.schema, n_parts=16) == package


def test_one_part_is_the_file_that_few_rows_are(tmp_path, lake):
    rows = table()
    package, _ = write(lake, rows)
    part = write_part(lake.address, KEY.parts_folder, 0, [lake.read(package)], rows.schema)
    assert lake.write_manifest(KEY, [part], rows.schema, n_parts=1) == package


@pytest.mark.parametrize("test_size", [1e-9, 0.3, 0.5, 1 - 1e-9])
def test_cut_of_parts_gives_the_sides_of_one_file(tmp_path, lake, test_size):
    rows = table(5_000)
    large, package = parted(tmp_path, rows)
    sides = lake.split_package(write(lake, rows)[0], roles(test_size))
    cut = large.split_package(package, roles(test_size))
    assert [large.read(side).equals(lake.read(one)) for side, one in zip(cut, sides, strict=True)] == [True, True]
    assert [side.n_rows for side in cut] == [side.n_rows for side in sides]
    assert large.split_package(package, roles(test_size)) == cut


def test_cut_of_parts_writes_none_but_those_at_the_border(tmp_path):
    large, package = parted(tmp_path, table(5_000))
    before = {path.name for path in Path(large.root).glob("x/parts/*/*")}
    large.split_package(package, roles(0.3))
    assert len({path.name for path in Path(large.root).glob("x/parts/*/*")} - before) == 2


def test_read_of_parts_refuses_damage_anywhere(tmp_path):
    lake, package = parted(tmp_path, table(5_000))
    manifest, *parts = map(Path, map(lake.url, lake.files_of(package)))
    fresh = Lake(lake.root)
    whole = parts[3].read_bytes()
    parts[3].write_bytes(parts[4].read_bytes())  # sound in itself, and not what was promised
    with pytest.raises(CorruptPackageError, match="does not match its digest"):
        fresh.read(package)
    assert fresh.digest_of(package.path) not in (None, package.digest)
    parts[3].unlink()
    with pytest.raises(NotFoundError, match="no package x/parts"):
        fresh.read(package)
    assert fresh.digest_of(package.path) is None
    parts[3].write_bytes(whole)
    manifest.write_bytes(manifest.read_bytes().replace(b"5000", b"5001"))
    with pytest.raises(CorruptPackageError, match="damaged"):
        fresh.urls(package)


def test_parts_can_be_anywhere_that_fsspec_reaches(tmp_path):
    rows = table(5_000)
    lake = Lake("memory://parts-of-a-test", cells_per_part=1_000)
    package, _ = lake.write_package(KEY, rows.to_batches(), rows.schema, hasher, n_rows=5_000)
    assert package == parted(tmp_path, rows)[1]
    assert lake.urls(package)[0].startswith("memory:///parts-of-a-test/x/parts/20261123T000000Z/part-00000-")
    train, test = lake.split_package(package, roles(0.3))
    assert train.n_rows + test.n_rows == lake.read(package).num_rows == 5_000


def test_newest_keeps_the_last_row_of_a_key():
    monday = pa.table({"key": [1, 2], "x": [1.0, 2.0]})
    tuesday = pa.table({"key": [2, 3], "x": [20.0, 30.0]})
    merged = merge_tables([monday, tuesday], hasher, keyed=True)
    assert dict(zip(merged["key"].to_pylist(), merged["x"].to_pylist(), strict=True)) == {1: 1.0, 2: 20.0, 3: 30.0}


def test_newest_without_a_key_drops_only_what_repeats():
    monday = pa.table({"key": [1, 2], "y": ["a", "b"]})
    tuesday = pa.table({"key": [2, 2], "y": ["b", "c"]})
    merged = merge_tables([monday, tuesday], hasher, keyed=False)
    assert sorted(zip(merged["key"].to_pylist(), merged["y"].to_pylist(), strict=True)) == [
        (1, "a"),
        (2, "b"),
        (2, "c"),
    ]


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_merged_is_newest_whatever_the_pieces(keyed, size):
    rng = np.random.default_rng(5)

    def batch(n):
        """Give rows in order, with few keys, so that many are in several batches, and with ties of a hash."""
        keys = rng.choice(60, n, replace=not keyed)
        rows = pa.table({"key": keys, "x": rng.choice(3, n).astype(float)})
        return sort_and_deduplicate(rows, hasher(rows), Deduplication())[1]

    days = [batch(n) for n in (40, 0, 1, 55)]
    whole = merge_tables(days, hasher, keyed=keyed)
    pieces = [day.to_batches(max_chunksize=size) or [pa.RecordBatch.from_pylist([], day.schema)] for day in days]
    assert pa.concat_tables(merge_streams(pieces, hasher, keyed=keyed)).equals(whole)


def test_arrangement_without_conflicts_refuses_nothing():
    Deduplication(key=("a",)).raise_on_conflicts()


def test_files_that_another_process_deletes_meanwhile(tmp_path):
    lake = Lake(str(tmp_path))
    paths = [lake.write_bytes("x", "folds", data, ".bin") for data in (b"1", b"2")]
    files = lake.files()
    first, _ = next(files)
    gone = next(path for path in paths if path != first)
    lake.delete(gone)
    assert list(files) == []
    lake.delete(gone)
