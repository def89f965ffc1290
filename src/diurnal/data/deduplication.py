"""Putting rows in the order of their hash, finding those that say the same and those that contradict.

Rows that agree on everything are one sample, seen twice: the first is kept, the others are counted. Rows that
agree on the experiment's key and differ elsewhere contradict each other; inside a batch that refuses it, and
across batches (:mod:`diurnal.data.merge`) the later one corrects the earlier.

Where content does not identify a row, all rows are kept: those with one hash stand side by side, in the order of a hash
of all their columns.
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
GATHERED_BYTES = 32 * 2**20
MOST_BITS = 8  # of one dealing: so many files are open at a time
BITS = 64  # of a hash
_HASH, _CONTENT = "\0hash", "\0content"  # beside the columns, in buckets: no column can be named so


@dataclass
class Deduplication:
    """What the ordering of a batch found.

    Attributes
    ----------
    key : tuple of str
        The columns that identify a sample; empty where its features do.
    keep_duplicates : bool
        Whether rows that agree on everything are samples of their own.
    n_duplicates : int
        Rows that were dropped, as each said what another one said.
    conflicts : list of str
        Keys (the first 20) whose rows contradict each other.
    n_conflicts : int
        How many such keys there are.
    """

    key: tuple[str, ...] = ()
    keep_duplicates: bool = False
    n_duplicates: int = 0
    conflicts: list[str] = field(default_factory=list)
    n_conflicts: int = 0

    def merge(self, other: Deduplication) -> None:
        """Add what the ordering of other rows found."""
        self.n_duplicates += other.n_duplicates
        self.n_conflicts += other.n_conflicts
        self.conflicts = [*self.conflicts, *other.conflicts][:20]

    def raise_on_conflicts(self) -> None:
        """Raise BatchRejectedError if rows with one key differ."""
        if self.n_conflicts:
            listed = ", ".join(self.conflicts)
            more = f" and {self.n_conflicts - len(self.conflicts)} more" if self.n_conflicts > 20 else ""
            key = ", ".join(self.key)
            what = f"{self.n_conflicts} values of the key {key!r} come with rows that differ: {listed}{more}"
            raise BatchRejectedError(
                [Problem("key-conflict", what, column=key, count=self.n_conflicts)],
                hint="let the source give one row for each key, or declare a key that tells the rows apart",
            )


def sort_by_hash(
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    hasher: Hasher,
    arrangement: Deduplication,
    folder: Path,
    n_bytes: int = 0,
    *,
    bucket_bytes: int = BUCKET_BYTES,
) -> Iterator[tuple[Hashes, pa.Table]]:
    """Give the rows in the order of their hash, without repeated ones unless these are kept.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        The rows.
    schema : pyarrow.Schema
        Their types.
    hasher : callable
        Gives the hashes of a record batch's rows.
    arrangement : Deduplication
        Where to count what is found.
    folder : pathlib.Path
        Where to keep buckets on disk.
    n_bytes : int
        About how large the rows are.
    bucket_bytes : int
        What is ordered in memory at once; more is dealt into buckets on disk.

    Yields
    ------
    numpy.ndarray of uint64, pyarrow.Table
        Ordered rows and their hashes, bucket after bucket; one without rows if there are none.
    """
    import pyarrow as pa

    bits = _bits(n_bytes, bucket_bytes)
    if not bits:
        table = pa.Table.from_batches(batches, schema=schema)
        yield sort_and_deduplicate(table, hasher(table), arrangement)
        return
    hashed = (batch.append_column(_HASH, pa.array(hasher(batch))) for batch in _gathered(batches, schema))
    buckets = _buckets(hashed, folder, bucket_bytes, bits, arrangement)
    empty = True
    while held := list(islice(buckets, 1)):  # and not a loop over them, whose name would hold one while it is written
        empty = False
        yield _settled(held.pop(), schema, arrangement)
    if empty:
        yield hasher(schema.empty_table()), schema.empty_table()


def _settled(bucket: pa.Table, schema: pa.Schema, arrangement: Deduplication) -> tuple[Hashes, pa.Table]:
    return sort_and_deduplicate(bucket.select(schema.names), bucket.column(_HASH).to_numpy(), arrangement)


def _bits(n_bytes: int, bucket_bytes: int) -> int:
    """Give the number of leading bits that deal so many bytes into buckets of that size."""
    return min(MOST_BITS, max(0, -(-n_bytes // bucket_bytes) - 1).bit_length())


def _gathered(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Put small batches together, so that each bucket gets more than a few rows at a time."""
    import pyarrow as pa

    waiting: list[pa.RecordBatch] = []
    n_bytes = 0
    for batch in batches:
        waiting.append(batch)
        n_bytes += batch.nbytes
        if n_bytes >= GATHERED_BYTES:
            yield pa.Table.from_batches(waiting, schema=schema).combine_chunks().to_batches()[0]
            waiting, n_bytes = [], 0
    yield from waiting


def _buckets(
    batches: Iterable[pa.RecordBatch],
    folder: Path,
    bucket_bytes: int,
    bits: int,
    arrangement: Deduplication,
    used: int = 0,
) -> Iterator[pa.Table]:
    """Deal rows into files by the next `bits` of their hash, and give these one by one, in order.

    One that is still twice as large as it should be is dealt again, by further bits. Rows that agree on the whole hash
    are dealt by the hash of all their columns; rows that agree on that one too are equal.
    """
    import pyarrow as pa

    for path in _deal(batches, folder, bits, used):
        more = _bits(path.stat().st_size // 2, bucket_bytes)
        with pa.OSFile(str(path)) as source:
            reader = pa.ipc.open_file(source)
            rows: Iterator[pa.RecordBatch] = (reader.get_batch(i) for i in range(reader.num_record_batches))
            end = used + bits
            if not more:
                yield pa.Table.from_batches(rows, schema=reader.schema)
            elif end == 2 * BITS:
                yield from _equal(rows, arrangement)
            else:
                below = path.with_suffix("")
                below.mkdir()
                rows = map(_with_content, rows) if end == BITS else rows
                more = min(more, -end % BITS or BITS)  # the bits of one hash are used up before those of the other
                yield from _buckets(rows, below, bucket_bytes, more, arrangement, end)
        path.unlink()


def _equal(batches: Iterable[pa.RecordBatch], arrangement: Deduplication) -> Iterator[pa.Table]:
    """Give equal rows that are more than memory should hold: piece by piece, or one of them."""
    import pyarrow as pa

    for i, batch in enumerate(batches):
        table = pa.Table.from_batches([batch])
        if arrangement.keep_duplicates:
            yield table
        elif i:
            arrangement.n_duplicates += table.num_rows
        else:
            arrangement.n_duplicates += table.num_rows - 1
            yield table.slice(0, 1)


def _with_content(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Add the hash of all columns."""
    import pyarrow as pa

    return batch.append_column(_CONTENT, pa.array(_contents(batch, [n for n in batch.schema.names if n != _HASH])))


def _contents(rows: pa.RecordBatch | pa.Table, columns: list[str]) -> Hashes:
    """Hash all that rows say."""
    from diurnal.data.row_hash import hash_rows

    return hash_rows(rows, columns, "row")


def _deal(batches: Iterable[pa.RecordBatch], folder: Path, bits: int, used: int) -> list[Path]:
    import numpy as np
    import pyarrow as pa

    writers: dict[int, Any] = {}
    column = _HASH if used < BITS else _CONTENT
    for batch in batches:
        hashes = batch.column(column).to_numpy()
        numbers = (hashes << np.uint64(used % BITS) >> np.uint64(BITS - bits)).astype(np.int64)
        order = np.argsort(numbers, kind="stable")
        dealt = batch.take(pa.array(order))
        found, starts = np.unique(numbers[order], return_index=True)
        for number, start, end in zip(found.tolist(), starts, [*starts[1:], len(order)], strict=True):
            if number not in writers:
                writers[number] = pa.ipc.new_file(folder / f"{number:03d}.arrow", batch.schema)
            writers[number].write_batch(dealt.slice(start, end - start))
    for writer in writers.values():
        writer.close()
    pa.default_memory_pool().release_unused()  # hundreds of small pieces leave it in shreds
    return [folder / f"{number:03d}.arrow" for number in sorted(writers)]


def sort_and_deduplicate(table: pa.Table, hashes: Hashes, arrangement: Deduplication) -> tuple[Hashes, pa.Table]:
    """Order rows by hash, and those of one hash by a hash of all their columns.

    Of rows that are equal one is kept, unless the arrangement says to keep them all.

    Parameters
    ----------
    table : pyarrow.Table
        All rows of some range of hashes.
    hashes : numpy.ndarray of uint64
        Theirs.
    arrangement : Deduplication
        Where to count what is found.

    Returns
    -------
    numpy.ndarray of uint64, pyarrow.Table
        The hashes and the rows that are kept, in order.
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
    contents = _contents(table.take(pa.array(places)), table.column_names)
    ranked = np.lexsort((contents, ordered[tied]))
    order[tied], contents = places[ranked], contents[ranked]
    if arrangement.keep_duplicates:
        return ordered, table.take(pa.array(order))
    repeated = (contents[1:] == contents[:-1]) & (ordered[tied][1:] == ordered[tied][:-1])
    arrangement.n_duplicates += int(repeated.sum())
    kept = np.delete(order, tied[1:][repeated])
    if arrangement.key:
        _note_conflicts(table, hashes[kept], kept, arrangement)
    return hashes[kept], table.take(pa.array(kept))


def _ties(ordered: Hashes) -> Iterator[tuple[int, int]]:
    """Give the runs of equal values, as half-open ranges of places."""
    import numpy as np

    same = np.flatnonzero(ordered[1:] == ordered[:-1])
    for run in np.split(same, np.flatnonzero(np.diff(same) > 1) + 1):
        if len(run):
            yield int(run[0]), int(run[-1]) + 2


def _note_conflicts(table: pa.Table, hashes: Hashes, places: Any, arrangement: Deduplication) -> None:
    """Note the keys that still have several rows, which are few: equal ones are gone."""
    import pyarrow as pa

    for start, end in _ties(hashes):
        rows = table.select(list(arrangement.key)).take(pa.array(places[start:end])).to_pylist()
        keys = [tuple(row.values()) for row in rows]
        for key in {key for key in keys if keys.count(key) > 1}:  # two keys may share a hash
            arrangement.n_conflicts += 1
            if len(arrangement.conflicts) < 20:
                arrangement.conflicts.append(repr(key[0] if len(key) == 1 else key))
