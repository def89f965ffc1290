"""The limits of a batch, in addition to the types of its columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from diurnal.errors import ExperimentError, did_you_mean


@dataclass(frozen=True)
class Limits:
    """Limits of a batch in addition to its schema; a batch that exceeds them is rejected.

    Attributes
    ----------
    min_rows, max_rows : int, int or None
        Minimum and maximum number of rows; None for no maximum.
    allow_empty : bool
        Whether a batch without rows is accepted with a warning. The first batch, which fixes the schema, needs rows.
    max_null : float, optional
        Maximum fraction of nulls in a feature, from 0 to 1. By default, a fraction far above that of the first batch is
        rejected: more than half of the cells that had a value then are null.
    max_cardinality : int
        Maximum number of distinct values in a feature of text.
    max_cell_bytes : int
        Maximum length of a text, in bytes of UTF-8.
    max_bytes : int or None
        Maximum size of a batch, in decompressed bytes; None for no maximum.
    extra : str
        How to treat a column that is not in the schema: ``"refuse"`` or ``"ignore"``.
    ranges : Mapping of str to (low, high)
        Minimum and maximum value of a numeric column, each of them None for no bound.

    Raises
    ------
    ExperimentError
        If a limit is not valid.

    Examples
    --------
    >>> Limits(max_null=0.1, ranges={"age": (0, 130)}).max_null
    0.1
    """

    min_rows: int = 1
    max_rows: int | None = None
    allow_empty: bool = False
    max_null: float | None = None
    max_cardinality: int = 100_000
    max_cell_bytes: int = 1_000_000
    max_bytes: int | None = 64 * 2**30
    extra: str = "refuse"
    ranges: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("min_rows", "max_rows", "max_cardinality", "max_cell_bytes", "max_bytes"):
            value, optional = getattr(self, name), name in ("max_rows", "max_bytes")
            least = 0 if name == "min_rows" else 1
            if not (value is None and optional) and (type(value) is not int or value < least):
                _reject_limit(name, value, f"a whole number of at least {least}" + (", or None" if optional else ""))
        if self.max_rows is not None and self.max_rows < self.min_rows:
            _reject_limit("max_rows", self.max_rows, f"at least min_rows, which is {self.min_rows}")
        if type(self.allow_empty) is not bool:
            _reject_limit("allow_empty", self.allow_empty, "True or False")
        if self.max_null is not None and (type(self.max_null) not in (int, float) or not 0 <= self.max_null <= 1):
            _reject_limit("max_null", self.max_null, "a fraction from 0 to 1, or None")
        if self.extra not in ("refuse", "ignore"):
            _reject_limit(
                "extra", self.extra, "'refuse' or 'ignore'" + did_you_mean(str(self.extra), ("refuse", "ignore"))
            )
        if not isinstance(self.ranges, Mapping):
            _reject_limit("ranges", self.ranges, "a mapping from a column's name to (low, high)")
        for column, bounds in self.ranges.items():
            _check_range(column, bounds)


def _check_range(column: str, bounds: Any) -> None:
    pair = isinstance(bounds, tuple | list) and len(bounds) == 2
    if not pair or any(type(b) not in (int, float, type(None)) for b in bounds):
        _reject_limit(f"ranges[{column!r}]", bounds, "a pair (low, high) of numbers, either of them None for no bound")
    low, high = bounds
    if low is not None and high is not None and not low <= high:
        _reject_limit(f"ranges[{column!r}]", bounds, "a pair whose low is not above its high")


def _reject_limit(name: str, value: Any, allowed: str) -> NoReturn:
    raise ExperimentError(
        f"Limits({name}={value!r}) is not a valid limit; allowed is {allowed}", hint=f"set {name} to an allowed value"
    )
