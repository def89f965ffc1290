"""Merge of the batches of a window into one row for each sample, sorted by hash.

Across batches, equal rows are one sample. Of rows with the same key, that of the newest batch is kept.

The merge streams: each batch is sorted by the hash of its rows (:mod:`diurnal.data.deduplication`), and a cursor holds
the rows of each batch that are read and not merged yet. All rows below the smallest last hash of the cursors are
complete, as no batch can have further rows there; they are merged and yielded. For example, if one cursor holds the
hashes 1, 4, 9 and another one 2, 5, the rows below 5 are merged: 1, 2, 4. The row with hash 5 waits, since the second
batch may continue with another row of this hash.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from diurnal.data.deduplication import Deduplication, sort_and_deduplicate

if TYPE_CHECKING:
    import pyarrow as pa

    from diurnal.data.row_hash import Hasher


def merge_tables(tables: Sequence[pa.Table], hasher: Hasher, *, keyed: bool) -> pa.Table:
    """Merge the batches of a window, oldest first: one row for each sample, ordered by hash.

    Parameters
    ----------
    tables : sequence of pyarrow.Table
        One for each data interval, each without duplicates.
    hasher : callable
        Returns the hashes of the rows of a table.
    keyed : bool
        Whether the experiment has a key. If so, the newest row of a key is kept. If not, rows with equal features that
        differ elsewhere are different observations, and only equal rows are dropped.

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
        return sort_and_deduplicate(table, hashes, Deduplication())[1]
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    # the sort is stable, so that the last row of a run of equal hashes is the newest
    last = np.append(ordered[1:] != ordered[:-1], True) if len(order) else np.zeros(0, dtype=bool)
    return table.take(order[last])


def merge_streams(streams: Sequence[Iterable[pa.RecordBatch]], hasher: Hasher, *, keyed: bool) -> Iterator[pa.Table]:
    """Merge the batches of a window as :func:`merge_tables` does, with a part of each batch in memory.

    Parameters
    ----------
    streams : sequence of iterable of pyarrow.RecordBatch
        One for each data interval, oldest first, each sorted by hash and without duplicates.
    hasher, keyed
        As for :func:`merge_tables`.

    Yields
    ------
    pyarrow.Table
        One row for each sample, sorted by hash.
    """
    import pyarrow as pa

    if len(streams) == 1:
        yield from (pa.Table.from_batches([batch]) for batch in streams[0])
        return
    cursors = [_StreamCursor(stream, hasher) for stream in streams]
    while any(len(cursor.hashes) for cursor in cursors):
        border = min((cursor.hashes[-1] for cursor in cursors if not cursor.is_last), default=None)
        table = merge_tables([cursor.take_below(border) for cursor in cursors], hasher, keyed=keyed)
        if table.num_rows:
            yield table
        for cursor in cursors:
            if not cursor.is_last and (not len(cursor.hashes) or cursor.hashes[-1] == border):
                cursor.advance()


def exclude_known(
    rows: Iterable[pa.RecordBatch | pa.Table], known: Sequence[Iterable[pa.RecordBatch]], hasher: Hasher
) -> Iterator[pa.Table]:
    """Exclude the rows whose hash is in other batches, with a part of each in memory.

    Parameters
    ----------
    rows : iterable of pyarrow.RecordBatch or pyarrow.Table
        In the order of their hash.
    known : sequence of iterable of pyarrow.RecordBatch
        Each sorted by hash; only their identity is read.
    hasher : callable
        Returns the hashes of the rows of a table.

    Yields
    ------
    pyarrow.Table
        The remaining rows of each batch.
    """
    import numpy as np
    import pyarrow as pa

    others = [_HashWindow(stream, hasher) for stream in known]
    for batch in rows:
        hashes = hasher(batch)
        is_known = np.zeros(len(hashes), dtype=bool)
        if len(hashes):
            for other in others:
                is_known |= np.isin(hashes, other.between(hashes[0], hashes[-1]))
        yield _as_table(batch).filter(pa.array(~is_known))


def exclude_known_groups(
    rows: Iterable[pa.RecordBatch | pa.Table], known: Sequence[Iterable[pa.RecordBatch]], hasher: Hasher
) -> Iterator[pa.Table]:
    """Exclude the rows whose group is in other batches, with a hash of each group in memory.

    Parameters
    ----------
    rows : iterable of pyarrow.RecordBatch or pyarrow.Table
        In any order.
    known : sequence of iterable of pyarrow.RecordBatch
        In any order; only their group is read.
    hasher : callable
        Returns the hashes of the groups of the rows of a table.

    Yields
    ------
    pyarrow.Table
        The remaining rows of each batch.
    """
    import numpy as np
    import pyarrow as pa

    groups = np.zeros(0, dtype=np.uint64)
    for stream in known:
        for batch in stream:
            groups = np.union1d(groups, hasher(batch))
    for batch in rows:
        yield _as_table(batch).filter(pa.array(~np.isin(hasher(batch), groups)))


def _as_table(rows: pa.RecordBatch | pa.Table) -> pa.Table:
    import pyarrow as pa

    return rows if isinstance(rows, pa.Table) else pa.Table.from_batches([rows])


class _HashWindow:
    """The hashes of a sorted stream; hashes below the last query are discarded."""

    def __init__(self, stream: Iterable[pa.RecordBatch], hasher: Hasher) -> None:
        import numpy as np

        self._hashes = (hasher(batch) for batch in stream)
        self._kept = np.zeros(0, dtype=np.uint64)

    def between(self, first: Any, last: Any) -> Any:
        """Return the hashes from `first` to `last` at least; `first` must not decrease between calls."""
        import numpy as np

        kept = [self._kept[np.searchsorted(self._kept, first) :]]
        while not len(kept[-1]) or kept[-1][-1] <= last:
            further = next(self._hashes, None)
            if further is None:
                break
            kept.append(further[np.searchsorted(further, first) :])
        self._kept = np.concatenate(kept)
        return self._kept


class _StreamCursor:
    """The rows of one stream that are read and not merged yet."""

    def __init__(self, stream: Iterable[pa.RecordBatch], hasher: Hasher) -> None:
        import pyarrow as pa

        self._stream, self._hasher = iter(stream), hasher
        first = next(self._stream)
        self._table, self.hashes = pa.Table.from_batches([first]), hasher(first)
        self.is_last = False
        if not len(self.hashes):
            self.advance()

    def advance(self) -> None:
        """Read the next rows, or reach the end."""
        import numpy as np
        import pyarrow as pa

        batch = next((batch for batch in self._stream if batch.num_rows), None)
        if batch is None:
            self.is_last = True
            return
        self._table = pa.concat_tables([self._table, pa.Table.from_batches([batch])])
        self.hashes = np.concatenate([self.hashes, self._hasher(batch)])

    def take_below(self, border: Any) -> pa.Table:
        """Take the rows whose hash is below the border, so that rows of one hash stay together. None: take all."""
        import numpy as np

        end = len(self.hashes) if border is None else int(np.searchsorted(self.hashes, border))
        taken, self._table, self.hashes = self._table.slice(0, end), self._table.slice(end), self.hashes[end:]
        return taken
