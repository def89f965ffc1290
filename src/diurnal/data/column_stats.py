"""What is counted of a column while a batch streams by, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt


@dataclass
class ColumnStats:
    """Counts of one column.

    Attributes
    ----------
    max_distinct : int
        Beyond this many distinct values they are no longer counted.
    categories : pyarrow.Array, optional
        The known ones of a feature of text.
    n_null : int
        How many nulls came.
    n_new : int
        In how many rows a category came that is not known.
    new : list of str
        The first three of these.
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
        """Take a further piece; `n_lost` cells are null because they were refused, and are not counted as nulls."""
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
        """Add what was counted of another piece of the column.

        Texts are known by their hash, which differs between processes unless these were started with the same
        ``PYTHONHASHSEED``; Spark starts all of its workers so.
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
        """How many distinct values of text came, if not more than `max_distinct`."""
        return len(self._distinct)

    @property
    def is_constant(self) -> bool:
        """Whether one value came, and no other."""
        if self.low is None:
            return len(self._distinct) == 1
        return bool(self.low.as_py() == self.high.as_py())


def is_same(feature: pa.Array, target: pa.Array, where: pa.BooleanArray | None = None) -> bool:
    """Tell whether a feature equals the target in every row; numbers of two kinds are compared as numbers.

    With `where`, only the rows for which it is true count.
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


def _is_number(given: pa.DataType) -> bool:
    return bool(pt.is_integer(given) or pt.is_floating(given) or pt.is_boolean(given))
