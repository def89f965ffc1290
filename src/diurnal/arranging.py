"""Putting rows in the order of their hash, finding those that say the same and those that contradict.

Rows that agree on everything are one sample, seen twice: the first is kept, the others are counted. Rows that
agree on the experiment's key and differ elsewhere contradict each other; inside a batch that refuses it, and
across batches (:func:`newest`) the later one corrects the earlier.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diurnal.errors import BatchRefused, Problem

if TYPE_CHECKING:
    import pyarrow as pa

    from diurnal.splitting import Hashes

    Hasher = Callable[["pa.RecordBatch | pa.Table"], Hashes]


@dataclass
class Arrangement:
    """What the ordering of a batch found.

    Attributes
    ----------
    key : tuple of str
        The columns that identify a sample; empty where its features do.
    n_repeated : int
        Rows that were dropped, as each said what another one said.
    conflicts : list of str
        Keys (the first 20) whose rows contradict each other.
    n_conflicts : int
        How many such keys there are.
    """

    key: tuple[str, ...] = ()
    n_repeated: int = 0
    conflicts: list[str] = field(default_factory=list)
    n_conflicts: int = 0

    def refuse_conflicts(self) -> None:
        """Raise BatchRefused if rows with one key differ."""
        if self.n_conflicts:
            listed = ", ".join(self.conflicts)
            more = f" and {self.n_conflicts - len(self.conflicts)} more" if self.n_conflicts > 20 else ""
            key = ", ".join(self.key)
            what = f"{self.n_conflicts} values of the key {key!r} come with rows that differ: {listed}{more}"
            raise BatchRefused(
                [Problem("key-conflict", what, column=key, count=self.n_conflicts)],
                advice="let the source give one row for each key, or declare a key that tells the rows apart",
            )


def arrange(
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    hasher: Hasher,
    arrangement: Arrangement,
    folder: Path,
    n_buckets: int,
) -> Iterator[pa.Table]:
    """Give the rows in the order of their hash, without repeated ones.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        The rows.
    schema : pyarrow.Schema
        Their types.
    hasher : callable
        Gives the hashes of a record batch's rows.
    arrangement : Arrangement
        Where to count what is found.
    folder : pathlib.Path
        Where to keep buckets on disk.
    n_buckets : int
        1 orders in memory; more are rounded up to a power of two, at most 1,024.

    Yields
    ------
    pyarrow.Table
        Ordered rows, bucket after bucket.
    """
    import pyarrow as pa

    if n_buckets == 1:
        dealt: Iterable[list[pa.RecordBatch]] = [list(batches)]
    else:
        dealt = _deal(batches, hasher, folder, min(10, (n_buckets - 1).bit_length()))
    for bucket in dealt:
        table = pa.Table.from_batches(bucket, schema=schema)
        yield _settle(table, hasher(table), arrangement)


def _deal(batches: Iterable[pa.RecordBatch], hasher: Hasher, folder: Path, bits: int) -> Iterator[list[pa.RecordBatch]]:
    """Deal rows into files by the leading bits of their hash, and give these back one by one."""
    import numpy as np
    import pyarrow as pa

    writers: dict[int, Any] = {}
    for batch in batches:
        buckets = (hasher(batch) >> np.uint64(64 - bits)).astype(np.int64)
        order = np.argsort(buckets, kind="stable")
        sorted_rows = batch.take(pa.array(order))
        numbers, starts = np.unique(buckets[order], return_index=True)
        for number, start, end in zip(numbers, starts, [*starts[1:], len(order)], strict=True):
            if number not in writers:
                writers[number] = pa.ipc.new_file(folder / f"bucket-{number}.arrow", batch.schema)
            writers[number].write_batch(sorted_rows.slice(start, end - start))
    for writer in writers.values():
        writer.close()
    for number in sorted(writers):
        path = folder / f"bucket-{number}.arrow"
        with pa.OSFile(str(path)) as source:
            reader = pa.ipc.open_file(source)
            yield [reader.get_batch(i) for i in range(reader.num_record_batches)]
        path.unlink()


def _settle(table: pa.Table, hashes: Hashes, arrangement: Arrangement) -> pa.Table:
    """Order one bucket by hash, and rows of one hash by a hash of all their columns, so that equal ones meet."""
    import numpy as np
    import pyarrow as pa

    from diurnal.splitting import identities

    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    same = ordered[1:] == ordered[:-1]
    if not same.any():
        return table.take(pa.array(order))
    tied = np.flatnonzero(np.append(same, False) | np.insert(same, 0, False))
    places = order[tied]
    contents = identities(table.take(pa.array(places)), table.column_names, "row")
    ranked = np.lexsort((contents, ordered[tied]))
    order[tied], contents = places[ranked], contents[ranked]
    repeated = (contents[1:] == contents[:-1]) & (ordered[tied][1:] == ordered[tied][:-1])
    arrangement.n_repeated += int(repeated.sum())
    kept = np.delete(order, tied[1:][repeated])
    if arrangement.key:
        _note_conflicts(table, hashes[kept], kept, arrangement)
    return table.take(pa.array(kept))


def _ties(ordered: Hashes) -> Iterator[tuple[int, int]]:
    """Give the runs of equal values, as half-open ranges of places."""
    import numpy as np

    same = np.flatnonzero(ordered[1:] == ordered[:-1])
    for run in np.split(same, np.flatnonzero(np.diff(same) > 1) + 1):
        if len(run):
            yield int(run[0]), int(run[-1]) + 2


def _note_conflicts(table: pa.Table, hashes: Hashes, places: Any, arrangement: Arrangement) -> None:
    """Note the keys that still have several rows, which are few: equal ones are gone."""
    import pyarrow as pa

    for start, end in _ties(hashes):
        rows = table.select(list(arrangement.key)).take(pa.array(places[start:end])).to_pylist()
        keys = [tuple(row.values()) for row in rows]
        for key in {key for key in keys if keys.count(key) > 1}:  # two keys may share a hash
            arrangement.n_conflicts += 1
            if len(arrangement.conflicts) < 20:
                arrangement.conflicts.append(repr(key[0] if len(key) == 1 else key))


def newest(tables: Sequence[pa.Table], hasher: Hasher, *, keyed: bool) -> pa.Table:
    """Merge the batches of a window, oldest first: one row for each sample, ordered by hash.

    Parameters
    ----------
    tables : sequence of pyarrow.Table
        One for each data interval, each free of repeated rows.
    hasher : callable
        Gives the hashes of a table's rows.
    keyed : bool
        Whether the experiment has a key. If so, the newest row of a key is kept; if not, rows that agree on
        their features and differ elsewhere are different observations, and only repeated ones are dropped.

    Returns
    -------
    pyarrow.Table
    """
    import numpy as np
    import pyarrow as pa

    table = pa.concat_tables(tables)
    if len(tables) == 1:
        return table
    hashes = hasher(table)
    if not keyed:
        return _settle(table, hashes, Arrangement())
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    last = np.append(ordered[1:] != ordered[:-1], True) if len(order) else np.zeros(0, dtype=bool)
    return table.take(order[last])
