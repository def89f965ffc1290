"""One row for each sample, out of the batches of a window: by what each batch promises, in the order of the hash.

Across batches rows that say the same are one sample. Of rows that agree on the experiment's key the newest is kept.
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
        return sort_and_deduplicate(table, hashes, Deduplication())[1]
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    last = np.append(ordered[1:] != ordered[:-1], True) if len(order) else np.zeros(0, dtype=bool)
    return table.take(order[last])


def merge_streams(streams: Sequence[Iterable[pa.RecordBatch]], hasher: Hasher, *, keyed: bool) -> Iterator[pa.Table]:
    """Merge the batches of a window as :func:`merge_tables` does, in memory that holds a piece of each of them.

    Parameters
    ----------
    streams : sequence of iterable of pyarrow.RecordBatch
        One for each data interval, oldest first, each in the order of its hash and free of repeated rows.
    hasher, keyed
        As for :func:`merge_tables`.

    Yields
    ------
    pyarrow.Table
        One row for each sample, in the order of the hash.
    """
    import pyarrow as pa

    if len(streams) == 1:
        yield from (pa.Table.from_batches([batch]) for batch in streams[0])
        return
    heads = [_Head(stream, hasher) for stream in streams]
    while any(len(head.hashes) for head in heads):
        border = min((head.hashes[-1] for head in heads if not head.is_last), default=None)
        table = merge_tables([head.below(border) for head in heads], hasher, keyed=keyed)
        if table.num_rows:
            yield table
        for head in heads:
            if not head.is_last and (not len(head.hashes) or head.hashes[-1] == border):
                head.read_on()


def exclude_known(
    rows: Iterable[pa.RecordBatch | pa.Table], known: Sequence[Iterable[pa.RecordBatch]], hasher: Hasher
) -> Iterator[pa.Table]:
    """Leave out the rows of a batch whose hash is in one of some others, in memory that holds a piece of each.

    Parameters
    ----------
    rows : iterable of pyarrow.RecordBatch or pyarrow.Table
        In the order of their hash.
    known : sequence of iterable of pyarrow.RecordBatch
        Each in the order of its hash; of them, only the identity is looked at.
    hasher : callable
        Gives the hashes of a table's rows.

    Yields
    ------
    pyarrow.Table
        The rows that are left of each batch.
    """
    import numpy as np
    import pyarrow as pa

    others = [_Known(stream, hasher) for stream in known]
    for batch in rows:
        hashes = hasher(batch)
        seen = np.zeros(len(hashes), dtype=bool)
        if len(hashes):
            for other in others:
                seen |= np.isin(hashes, other.between(hashes[0], hashes[-1]))
        yield _as_table(batch).filter(pa.array(~seen))


def exclude_known_groups(
    rows: Iterable[pa.RecordBatch | pa.Table], known: Sequence[Iterable[pa.RecordBatch]], hasher: Hasher
) -> Iterator[pa.Table]:
    """Leave out the rows of a batch whose group is in one of some others, in memory that holds a hash of each group.

    Parameters
    ----------
    rows : iterable of pyarrow.RecordBatch or pyarrow.Table
        In any order.
    known : sequence of iterable of pyarrow.RecordBatch
        In any order; of them, only the group is looked at.
    hasher : callable
        Gives the hashes of the groups of a table's rows.

    Yields
    ------
    pyarrow.Table
        The rows that are left of each batch.
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


class _Known:
    """The hashes of a stream, of which only those that may still be asked for are kept."""

    def __init__(self, stream: Iterable[pa.RecordBatch], hasher: Hasher) -> None:
        import numpy as np

        self._hashes = (hasher(batch) for batch in stream)
        self._kept = np.zeros(0, dtype=np.uint64)

    def between(self, first: Any, last: Any) -> Any:
        """Give the hashes from the first to the last one; whoever asks again asks for later ones."""
        import numpy as np

        kept = [self._kept[np.searchsorted(self._kept, first) :]]
        while not len(kept[-1]) or kept[-1][-1] <= last:
            further = next(self._hashes, None)
            if further is None:
                break
            kept.append(further[np.searchsorted(further, first) :])
        self._kept = np.concatenate(kept)
        return self._kept


class _Head:
    """What was read of one stream, and is not merged yet."""

    def __init__(self, stream: Iterable[pa.RecordBatch], hasher: Hasher) -> None:
        import pyarrow as pa

        self._stream, self._hasher = iter(stream), hasher
        first = next(self._stream)
        self._table, self.hashes = pa.Table.from_batches([first]), hasher(first)
        self.is_last = False
        if not len(self.hashes):
            self.read_on()

    def read_on(self) -> None:
        """Read until further rows have come, or the end."""
        import numpy as np
        import pyarrow as pa

        batch = next((batch for batch in self._stream if batch.num_rows), None)
        if batch is None:
            self.is_last = True
            return
        self._table = pa.concat_tables([self._table, pa.Table.from_batches([batch])])
        self.hashes = np.concatenate([self.hashes, self._hasher(batch)])

    def below(self, border: Any) -> pa.Table:
        """Take the rows whose hash is below the border: those of one hash are never torn apart. None: take all."""
        import numpy as np

        end = len(self.hashes) if border is None else int(np.searchsorted(self.hashes, border))
        taken, self._table, self.hashes = self._table.slice(0, end), self._table.slice(end), self.hashes[end:]
        return taken
