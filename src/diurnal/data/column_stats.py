"""Statistics of a column while a batch is streamed, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt


@dataclass
class ColumnStats:
    """Statistics of one column.

    Attributes
    ----------
    max_distinct : int
        The maximum number of distinct values that are counted.
    categories : pyarrow.Array, optional
        The known categories of a feature of text.
    n_null : int
        Number of nulls.
    n_new : int
        Number of rows with an unknown category.
    new : list of str
        The first three unknown categories.
    """

    max_distinct: int
    categories: pa.Array | None = None
    n_null: int = 0
    n_new: int = 0
    new: list[str] = field(default_factory=list)
    low: Any = None
    high: Any = None
    _distinct: set[int] = field(default_factory=set)

    def update(self, values: pa.Array, n_lost: int) -> None:
        """Read the next cells; `n_lost` of them are null because they were rejected, and are not counted as nulls."""
        self.n_null += values.null_count - n_lost
        if values.null_count == len(values):
            return
        if pt.is_string(values.type):
            self._read_text(values)
            return
        ends = pc.min_max(values)
        low, high = ends["min"], ends["max"]
        self.low = low if self.low is None or low.as_py() < self.low.as_py() else self.low
        self.high = high if self.high is None or high.as_py() > self.high.as_py() else self.high

    def merge(self, other: ColumnStats) -> None:
        """Add the statistics of another part of the column.

        Distinct texts are stored as hashes, which are equal between processes only if these have the same
        ``PYTHONHASHSEED``. Spark starts all of its workers with one seed.
        """
        self.n_null, self.n_new = self.n_null + other.n_null, self.n_new + other.n_new
        self.new = list(dict.fromkeys([*self.new, *other.new]))[:3]
        self._distinct |= other._distinct
        if other.low is not None:
            self.low = other.low if self.low is None or other.low.as_py() < self.low.as_py() else self.low
            self.high = other.high if self.high is None or other.high.as_py() > self.high.as_py() else self.high

    def _read_text(self, values: pa.Array) -> None:
        if len(self._distinct) <= self.max_distinct:  # by hash: a set of the texts themselves could be large
            self._distinct.update(map(hash, pc.unique(values.drop_null()).to_pylist()))
        if self.categories is not None:
            new = values.filter(pc.invert(pc.is_in(values, self.categories))).drop_null()
            self.n_new += len(new)
            if len(new) and len(self.new) < 3:
                self.new = list(dict.fromkeys([*self.new, *pc.unique(new.slice(0, 1000)).to_pylist()]))[:3]

    @property
    def n_distinct(self) -> int:
        """Number of distinct texts, up to `max_distinct`."""
        return len(self._distinct)

    @property
    def is_constant(self) -> bool:
        """Whether all values are equal."""
        if self.low is None:
            return len(self._distinct) == 1
        return bool(self.low.as_py() == self.high.as_py())


def is_same(feature: pa.Array, target: pa.Array, where: pa.BooleanArray | None = None) -> bool:
    """Return whether a feature equals the target in every row; numbers of different types are compared as floats.

    If `where` is given, only the rows for which it is true are compared.
    """
    if where is not None:
        feature, target = feature.filter(where), target.filter(where)
    if feature.null_count or target.null_count:
        return False
    if feature.type == target.type:
        return bool(feature.equals(target))
    if not all(_is_number(array.type) for array in (feature, target)):
        return False
    first, second = (np.asarray(array.to_numpy(zero_copy_only=False), dtype=np.float64) for array in (feature, target))
    return bool(np.array_equal(first, second))


def _is_number(data_type: pa.DataType) -> bool:
    return bool(pt.is_integer(data_type) or pt.is_floating(data_type) or pt.is_boolean(data_type))
