"""The fraction of distinct rows, in one pass and bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from diurnal.data.row_hash import mix_bits

if TYPE_CHECKING:
    from diurnal.data.row_hash import Hashes

MAX_HASHES = 2**20  # distinct hashes that are kept: 16 MiB with their counts


class DistinctRows:
    """Counts distinct rows by a hash of their cells: exactly up to :data:`MOST`, by a sample of the hashes beyond.

    The sample holds all rows whose hash is below a border, which is halved whenever they become too many (K. Beyer and
    others: "On synopses for distinct-value estimation under multiset operations", SIGMOD 2007). A row and its repeats
    are in it together, so that its fraction of distinct rows estimates that of all rows.

    Examples
    --------
    >>> rows = DistinctRows()
    >>> rows.update([pa.array([1, 1, 2, 2]), pa.array(["a", "a", "b", None])])
    >>> rows.fraction
    0.75
    """

    def __init__(self, most: int = MAX_HASHES) -> None:
        self._most = most
        self._border = np.uint64(2**64 - 1)
        self._hashes = np.zeros(0, dtype=np.uint64)
        self._counts = np.zeros(0, dtype=np.int64)

    @property
    def fraction(self) -> float:
        """Distinct rows divided by all; 1 where there is no row."""
        return len(self._hashes) / int(self._counts.sum()) if len(self._hashes) else 1.0

    def update(self, columns: Sequence[pa.Array]) -> None:
        """Read the next rows, column by column."""
        hashes = _hash_columns(columns)
        self._add(hashes, np.ones(len(hashes), dtype=np.int64))

    def merge(self, other: DistinctRows) -> None:
        """Add the rows that another process read."""
        self._border = min(self._border, other._border)
        self._add(other._hashes, other._counts)

    def _add(self, hashes: Hashes, counts: np.ndarray) -> None:
        hashes, counts = np.concatenate([self._hashes, hashes]), np.concatenate([self._counts, counts])
        kept = hashes <= self._border
        self._hashes, inverse = np.unique(hashes[kept], return_inverse=True)
        self._counts = np.bincount(inverse, weights=counts[kept], minlength=len(self._hashes)).astype(np.int64)
        while len(self._hashes) > self._most:
            self._border //= np.uint64(2)
            kept = self._hashes <= self._border
            self._hashes, self._counts = self._hashes[kept], self._counts[kept]


def _hash_columns(columns: Sequence[pa.Array]) -> Hashes:
    total: Hashes = np.zeros(len(columns[0]) if columns else 0, dtype=np.uint64)
    for column in columns:
        total = mix_bits(total * np.uint64(31) + _hash_cells(column))
    return total


def _hash_cells(column: pa.Array) -> Hashes:
    """Return a hash of each cell; a NaN is a null."""
    if pt.is_floating(column.type):
        cells = column.cast(pa.float64()).to_numpy(zero_copy_only=False) + 0.0  # -0.0 is 0.0
        cells = np.where(np.isnan(cells), np.nan, cells)  # all NaNs have one bit pattern
    elif pt.is_boolean(column.type) or pt.is_integer(column.type):
        cells = pc.fill_null(column, pa.scalar(0).cast(column.type)).to_numpy(zero_copy_only=False).astype(np.int64)
    elif pt.is_timestamp(column.type) or pt.is_date(column.type) or pt.is_time(column.type):
        whole = column.cast(pa.int32()).cast(pa.int64()) if pt.is_date32(column.type) else column.cast(pa.int64())
        cells = pc.fill_null(whole, 0).to_numpy(zero_copy_only=False)
    else:
        return _hash_texts(column)
    absent = column.is_null().to_numpy(zero_copy_only=False)
    hashed: Hashes = mix_bits(cells.view(np.uint64)) + absent.astype(np.uint64)
    return hashed


def _hash_texts(column: pa.Array) -> Hashes:
    if pt.is_string_view(column.type):
        column = column.cast(pa.large_string())
    try:
        encoded = column.dictionary_encode()
        values = np.append(pd.util.hash_array(encoded.dictionary.to_numpy(zero_copy_only=False)), np.uint64(0))
    except (pa.ArrowException, UnicodeError, TypeError):  # a later check rejects these cells
        return np.zeros(len(column), dtype=np.uint64)
    hashed: Hashes = values[pc.fill_null(encoded.indices, len(values) - 1).to_numpy(zero_copy_only=False)]
    return hashed
