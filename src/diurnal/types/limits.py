"""What a batch may be like, beside the types of its columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from diurnal.errors import ExperimentError, did_you_mean


@dataclass(frozen=True)
class Limits:
    """What a batch may be like beyond its schema; outside of it the batch is refused.

    Attributes
    ----------
    min_rows, max_rows : int, int or None
        How many rows a batch has; None sets no bound.
    allow_empty : bool
        Whether a batch without rows is a warning only (never the first one, which fixes the schema).
    max_null : float, optional
        The largest share of nulls in a feature, from 0 to 1. None: refused is a share far above that of the first
        batch, so that more than half of the cells that had a value then are empty.
    max_cardinality : int
        The most distinct values in a feature of text.
    max_cell_bytes : int
        The longest cell of text, in bytes of UTF-8.
    max_bytes : int or None
        The most bytes of a whole batch, decompressed; None sets no bound.
    extra : str
        What to do with a column that the schema does not know: ``"refuse"`` or ``"ignore"``.
    ranges : Mapping of str to (low, high)
        The least and the greatest value of a numeric column, either of them None for no bound.

    Raises
    ------
    ExperimentError
        If a limit cannot be one.

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
                _refuse_limit(name, value, f"a whole number of at least {least}" + (", or None" if optional else ""))
        if self.max_rows is not None and self.max_rows < self.min_rows:
            _refuse_limit("max_rows", self.max_rows, f"at least min_rows, which is {self.min_rows}")
        if type(self.allow_empty) is not bool:
            _refuse_limit("allow_empty", self.allow_empty, "True or False")
        if self.max_null is not None and (type(self.max_null) not in (int, float) or not 0 <= self.max_null <= 1):
            _refuse_limit("max_null", self.max_null, "a share from 0 to 1, or None")
        if self.extra not in ("refuse", "ignore"):
            _refuse_limit(
                "extra", self.extra, "'refuse' or 'ignore'" + did_you_mean(str(self.extra), ("refuse", "ignore"))
            )
        if not isinstance(self.ranges, Mapping):
            _refuse_limit("ranges", self.ranges, "a mapping from a column's name to (low, high)")
        for column, bounds in self.ranges.items():
            _check_range(column, bounds)


def _check_range(column: str, bounds: Any) -> None:
    pair = isinstance(bounds, tuple | list) and len(bounds) == 2
    if not pair or any(type(b) not in (int, float, type(None)) for b in bounds):
        _refuse_limit(f"ranges[{column!r}]", bounds, "a pair (low, high) of numbers, either of them None for no bound")
    low, high = bounds
    if low is not None and high is not None and not low <= high:
        _refuse_limit(f"ranges[{column!r}]", bounds, "a pair whose low is not above its high")


def _refuse_limit(name: str, value: Any, allowed: str) -> NoReturn:
    raise ExperimentError(f"Limits({name}={value!r}) is no limit; allowed is {allowed}", hint=f"set {name} so")
