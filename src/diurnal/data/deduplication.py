"""Deduplication of a batch: its rows are sorted by their hash, duplicates are dropped, conflicts are reported.

Rows that are equal in all columns are one sample: the first is kept, the others are counted. Rows with the same key and
different values are a conflict. Within a batch, conflicts are an error; across batches the later row replaces the
earlier one (:mod:`diurnal.data.merge`). If content does not identify a row (``duplicates="keep"``), all rows are kept;
rows with the same hash are neighbours, in the order of a hash of all their columns.

A batch that fits in memory is sorted in memory. A larger one is partitioned into buckets, which are files on disk, by
the leading bits of the hash. The buckets cover consecutive ranges of hashes: sorting each of them sorts the batch.
For example, with 2 bits a hash that starts with ``01`` is in the second of four buckets. A bucket that is still too
large is partitioned by the next bits. When all 64 bits are used, its rows have the same identity; they are then
partitioned by a second hash, that of all columns. When these 64 bits are used as well, the rows are equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diurnal.errors import BatchRejectedError, Problem

if TYPE_CHECKING:
    import pyarrow as pa

    from diurnal.data.row_hash import Hasher, Hashes

BUCKET_BYTES = 64 * 2**20
COALESCED_BYTES = 32 * 2**20
MAX_PARTITION_BITS = 8  # of one partitioning: at most 2**8 files are open at the same time
HASH_BITS = 64  # bits of a hash
_HASH, _CONTENT = "\0hash", "\0content"  # further columns of a bucket; no column can have these names


@dataclass
class Deduplication:
    """Rules of the deduplication of a batch, and its counts.

    Attributes
    ----------
    key : tuple of str
        The columns that identify a sample; empty where its features do.
    keep_duplicates : bool
        Whether equal rows are different samples.
    n_duplicates : int
        Number of rows that were dropped because they equal another one.
    conflicts : list of str
        The first 20 keys whose rows are different.
    n_conflicts : int
        Number of these keys.
    """

    key: tuple[str, ...] = ()
    keep_duplicates: bool = False
    n_duplicates: int = 0
    conflicts: list[str] = field(default_factory=list)
    n_conflicts: int = 0

    def merge(self, other: Deduplication) -> None:
        """Add the counts of other rows."""
        self.n_duplicates += other.n_duplicates
        self.n_conflicts += other.n_conflicts
        self.conflicts = [*self.conflicts, *other.conflicts][:20]

    def raise_on_conflicts(self) -> None:
        """Raise BatchRejectedError if rows with one key differ."""
        if self.n_conflicts:
            listed = ", ".join(self.conflicts)
            more = f" and {self.n_conflicts - len(self.conflicts)} more" if self.n_conflicts > 20 else ""
            key = ", ".join(self.key)
            message = f"{self.n_conflicts} values of the key {key!r} have rows that differ: {listed}{more}"
            raise BatchRejectedError(
                [Problem("key-conflict", message, column=key, count=self.n_conflicts)],
                hint="return one row for each key from the source, or declare a key that distinguishes the rows",
            )


def sort_by_hash(
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    hasher: Hasher,
    deduplication: Deduplication,
    folder: Path,
    n_bytes: int = 0,
    *,
    bucket_bytes: int = BUCKET_BYTES,
) -> Iterator[tuple[Hashes, pa.Table]]:
    """Sort the rows of a batch by their hash, and drop duplicates unless they are kept.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        The rows.
    schema : pyarrow.Schema
        Their types.
    hasher : callable
        Returns the hashes of the rows of a record batch.
    arrangement : Deduplication
        The rules; its counts are updated.
    folder : pathlib.Path
        Folder of the buckets.
    n_bytes : int
        Approximate size of the rows.
    bucket_bytes : int
        Size of the rows that are sorted in memory; larger batches are partitioned into buckets on disk.

    Yields
    ------
    numpy.ndarray of uint64, pyarrow.Table
        The hashes and the sorted rows of each bucket; one table without rows if there are none.
    """
    import pyarrow as pa

    bits = _partition_bits(n_bytes, bucket_bytes)
    if not bits:
        table = pa.Table.from_batches(batches, schema=schema)
        yield sort_and_deduplicate(table, hasher(table), deduplication)
        return
    hashed = (batch.append_column(_HASH, pa.array(hasher(batch))) for batch in _coalesce_batches(batches, schema))
    buckets = _iter_buckets(hashed, folder, bucket_bytes, bits, deduplication)
    empty = True
    while loaded := list(islice(buckets, 1)):  # a for loop would keep a bucket alive while the next one is read
        empty = False
        yield _sort_bucket(loaded.pop(), schema, deduplication)
    if empty:
        yield hasher(schema.empty_table()), schema.empty_table()


def _sort_bucket(bucket: pa.Table, schema: pa.Schema, deduplication: Deduplication) -> tuple[Hashes, pa.Table]:
    return sort_and_deduplicate(bucket.select(schema.names), bucket.column(_HASH).to_numpy(), deduplication)


def _partition_bits(n_bytes: int, bucket_bytes: int) -> int:
    """Return the number of bits that partition `n_bytes` into buckets of at most `bucket_bytes`."""
    return min(MAX_PARTITION_BITS, max(0, -(-n_bytes // bucket_bytes) - 1).bit_length())


def _coalesce_batches(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Concatenate small batches, so that each write to a bucket has more than a few rows."""
    import pyarrow as pa

    waiting: list[pa.RecordBatch] = []
    n_bytes = 0
    for batch in batches:
        waiting.append(batch)
        n_bytes += batch.nbytes
        if n_bytes >= COALESCED_BYTES:
            yield pa.Table.from_batches(waiting, schema=schema).combine_chunks().to_batches()[0]
            waiting, n_bytes = [], 0
    yield from waiting


def _iter_buckets(
    batches: Iterable[pa.RecordBatch],
    folder: Path,
    bucket_bytes: int,
    bits: int,
    deduplication: Deduplication,
    used: int = 0,
) -> Iterator[pa.Table]:
    """Partition rows into files by the next `bits` of their hash, and yield the files in order.

    `used` is the number of bits by which the rows are partitioned already. A file of more than twice the size of a
    bucket is partitioned again, by further bits. Bits 0 to 63 are those of the identity, 64 to 127 those of the hash
    of all columns.
    """
    import pyarrow as pa

    for path in _write_buckets(batches, folder, bits, used):
        more = _partition_bits(path.stat().st_size // 2, bucket_bytes)
        with pa.OSFile(str(path)) as source:
            reader = pa.ipc.open_file(source)
            rows: Iterator[pa.RecordBatch] = (reader.get_batch(i) for i in range(reader.num_record_batches))
            end = used + bits
            if not more:
                yield pa.Table.from_batches(rows, schema=reader.schema)
            elif end == 2 * HASH_BITS:
                yield from _iter_equal_rows(rows, deduplication)
            else:
                below = path.with_suffix("")
                below.mkdir()
                rows = map(_append_content_hash, rows) if end == HASH_BITS else rows
                more = min(more, -end % HASH_BITS or HASH_BITS)  # stop at the end of the first hash
                yield from _iter_buckets(rows, below, bucket_bytes, more, deduplication, end)
        path.unlink()


def _iter_equal_rows(batches: Iterable[pa.RecordBatch], deduplication: Deduplication) -> Iterator[pa.Table]:
    """Yield equal rows that do not fit in memory: all batches if duplicates are kept, else one row."""
    import pyarrow as pa

    for i, batch in enumerate(batches):
        table = pa.Table.from_batches([batch])
        if deduplication.keep_duplicates:
            yield table
        elif i:
            deduplication.n_duplicates += table.num_rows
        else:
            deduplication.n_duplicates += table.num_rows - 1
            yield table.slice(0, 1)


def _append_content_hash(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Append a column with the hash of all columns."""
    import pyarrow as pa

    return batch.append_column(_CONTENT, pa.array(_hash_contents(batch, [n for n in batch.schema.names if n != _HASH])))


def _hash_contents(rows: pa.RecordBatch | pa.Table, columns: list[str]) -> Hashes:
    """Return the hash of the given columns of each row."""
    from diurnal.data.row_hash import hash_rows

    return hash_rows(rows, columns, "row")


def _write_buckets(batches: Iterable[pa.RecordBatch], folder: Path, bits: int, used: int) -> list[Path]:
    import numpy as np
    import pyarrow as pa

    writers: dict[int, Any] = {}
    column = _HASH if used < HASH_BITS else _CONTENT
    for batch in batches:
        hashes = batch.column(column).to_numpy()
        # The shift to the left drops the bits that are used already, the shift to the right keeps the next `bits`.
        numbers = (hashes << np.uint64(used % HASH_BITS) >> np.uint64(HASH_BITS - bits)).astype(np.int64)
        order = np.argsort(numbers, kind="stable")
        sorted_rows = batch.take(pa.array(order))
        found, starts = np.unique(numbers[order], return_index=True)
        for number, start, end in zip(found.tolist(), starts, [*starts[1:], len(order)], strict=True):
            if number not in writers:
                writers[number] = pa.ipc.new_file(folder / f"{number:03d}.arrow", batch.schema)
            writers[number].write_batch(sorted_rows.slice(start, end - start))
    for writer in writers.values():
        writer.close()
    pa.default_memory_pool().release_unused()  # hundreds of small allocations fragment it
    return [folder / f"{number:03d}.arrow" for number in sorted(writers)]


def sort_and_deduplicate(table: pa.Table, hashes: Hashes, deduplication: Deduplication) -> tuple[Hashes, pa.Table]:
    """Sort rows by hash, and rows with the same hash by a hash of all their columns; drop duplicates.

    Only rows that share a hash with another one ("tied" rows, which are few) are hashed a second time.

    Parameters
    ----------
    table : pyarrow.Table
        All rows of a range of hashes.
    hashes : numpy.ndarray of uint64
        The hashes of the rows.
    arrangement : Deduplication
        The rules; its counts are updated.

    Returns
    -------
    numpy.ndarray of uint64, pyarrow.Table
        The hashes and the rows that are kept, sorted.
    """
    import numpy as np
    import pyarrow as pa

    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    same = ordered[1:] == ordered[:-1]
    if not same.any():
        return ordered, table.take(pa.array(order))
    tied = np.flatnonzero(np.append(same, False) | np.insert(same, 0, False))
    places = order[tied]
    contents = _hash_contents(table.take(pa.array(places)), table.column_names)
    ranked = np.lexsort((contents, ordered[tied]))
    order[tied], contents = places[ranked], contents[ranked]
    if deduplication.keep_duplicates:
        return ordered, table.take(pa.array(order))
    repeated = (contents[1:] == contents[:-1]) & (ordered[tied][1:] == ordered[tied][:-1])
    deduplication.n_duplicates += int(repeated.sum())
    kept = np.delete(order, tied[1:][repeated])
    if deduplication.key:
        _record_conflicts(table, hashes[kept], kept, deduplication)
    return hashes[kept], table.take(pa.array(kept))


def _runs_of_equal(ordered: Hashes) -> Iterator[tuple[int, int]]:
    """Yield the runs of equal values, as half-open ranges of positions."""
    import numpy as np

    same = np.flatnonzero(ordered[1:] == ordered[:-1])
    for run in np.split(same, np.flatnonzero(np.diff(same) > 1) + 1):
        if len(run):
            yield int(run[0]), int(run[-1]) + 2


def _record_conflicts(table: pa.Table, hashes: Hashes, places: Any, deduplication: Deduplication) -> None:
    """Record the keys that have several rows after the duplicates are dropped."""
    import pyarrow as pa

    for start, end in _runs_of_equal(hashes):
        rows = table.select(list(deduplication.key)).take(pa.array(places[start:end])).to_pylist()
        keys = [tuple(row.values()) for row in rows]
        for key in {key for key in keys if keys.count(key) > 1}:  # different keys may have the same hash
            deduplication.n_conflicts += 1
            if len(deduplication.conflicts) < 20:
                deduplication.conflicts.append(repr(key[0] if len(key) == 1 else key))
