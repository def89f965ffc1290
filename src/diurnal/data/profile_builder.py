"""Makes the profile of a batch while its rows are written.

Counts, missing values, moments, extremes and counts of categories are those of all rows. The distribution of numbers
and times is that of a systematic sample: every k-th row of each block, where k is the least power of two that keeps the
sample within :data:`MAX_SAMPLE_ROWS`. Rows of a package are in the order of a hash, so that such a sample is one of
rows at random, and repeated rows are in it in proportion. The sample depends on the blocks alone. The writer of a
package passes its row groups, whose bounds depend on the rows alone: the profile that `fetch` makes equals that of the
stored package.

Where a column has more than :data:`MAX_COUNTED` categories, those that came first are counted, and all others together.
As the order is random, frequent categories are among the first.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from diurnal.data.distributions import compress_points
from diurnal.data.profiles import ColumnKind, ColumnProfile, ColumnRole, Profile, column_roles, combine_moments
from diurnal.data.profiles import list_categories as _list_categories

if TYPE_CHECKING:
    import numpy.typing as npt

    from diurnal.data.distributions import Floats
    from diurnal.data.schema import Schema

MAX_SAMPLE_ROWS = 131_072
MAX_SAMPLE_CELLS = 2**23  # 64 MiB
MAX_COUNTED = 10_000
MAX_CATEGORY_CHARACTERS = 256
_LARGE = 1e150  # squares of larger numbers overflow
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_log = logging.getLogger(__name__)


class ProfileBuilder:
    """Profiles the rows of a batch; an error ends the profile, and not the run that writes the rows.

    Parameters
    ----------
    schema : Schema
        The columns and their roles.
    n_rows : int
        The expected number of rows, which bounds the sample from the start. A process that profiles a part of a batch
        passes that of the batch.

    Attributes
    ----------
    error : str or None
        Why there is no profile.

    Examples
    --------
    >>> from diurnal.data import Column
    >>> from diurnal.data import Schema
    >>> schema = Schema((Column("age", "int"), Column("ill", "text")), "ill")
    >>> builder = ProfileBuilder(schema)
    >>> builder.update(pa.table({"age": [30, 40, None], "ill": ["yes", "no", "no"]}))
    >>> age, ill = builder.build().columns
    >>> age.mean, age.n_missing, ill.categories, ill.counts
    (35.0, 1, ('no', 'yes'), (2, 1))
    """

    def __init__(self, schema: Schema, n_rows: int = 0) -> None:
        self.n_rows = 0
        self.error: str | None = None
        self._schema = schema
        self._roles = column_roles(schema)
        self._classes = {schema.target} if schema.task == "classification" else set[str]()
        self._columns: dict[str, _NumberColumn | _CategoryColumn] = {}
        self._n_sampled = 0
        cells = max(1, len(schema.names))
        self._max_sampled = max(1, min(MAX_SAMPLE_ROWS, MAX_SAMPLE_CELLS // cells))
        self._stride = 1 << max(0, -(-n_rows // self._max_sampled) - 1).bit_length()

    def update(self, rows: pa.Table | pa.RecordBatch) -> None:
        """Add a block of rows."""
        if self.error is not None:
            return
        try:
            self._add_block(rows)
        except Exception as error:  # noqa: BLE001 - a profile is no reason to fail a run
            self._fail(error)

    def merge(self, other: ProfileBuilder) -> None:
        """Add the rows that another builder has read, after those that were read here."""
        self.error = self.error or other.error
        if self.error is not None:
            return
        try:
            self._add_builder(other)
        except Exception as error:  # noqa: BLE001 - a profile is no reason to fail a run
            self._fail(error)

    def build(self) -> Profile | None:
        """Return the profile; None if it failed, with the reason in `error`."""
        if self.error is not None:
            return None
        try:
            if not self._columns:  # no row has come
                self._add_block(self._schema.arrow_schema.empty_table())
            return Profile(
                self.n_rows,
                tuple(
                    column.build(name, self._roles.get(name, "other"), self.n_rows)
                    for name, column in self._columns.items()
                ),
            )
        except Exception as error:  # noqa: BLE001 - a profile is no reason to fail a run
            self._fail(error)
            return None

    def _fail(self, error: Exception) -> None:
        _log.warning("no profile of the batch: %s: %s", type(error).__name__, error, exc_info=error)
        self.error, self._columns = f"{type(error).__name__}: {error}", {}

    def _add_block(self, rows: pa.Table | pa.RecordBatch) -> None:
        if not self._columns:
            self._columns = {one.name: _make_column(one, self._classes) for one in rows.schema}
        for name, column in self._columns.items():
            column.update(rows.column(name), self._stride)
        self.n_rows += rows.num_rows
        self._n_sampled += -(-rows.num_rows // self._stride)
        self._thin_sample()

    def _add_builder(self, other: ProfileBuilder) -> None:
        while self._stride < other._stride:
            self._double_stride()
        while other._stride < self._stride:
            other._double_stride()
        for name, column in other._columns.items():
            if name in self._columns:
                self._columns[name].merge(column)  # type: ignore[arg-type]  # equal names have equal kinds
            else:
                self._columns[name] = column
        self.n_rows += other.n_rows
        self._n_sampled += other._n_sampled
        self._thin_sample()

    def _thin_sample(self) -> None:
        while self._n_sampled > self._max_sampled:
            self._double_stride()

    def _double_stride(self) -> None:
        self._stride *= 2
        self._n_sampled = 0
        for column in self._columns.values():
            self._n_sampled = max(self._n_sampled, column.thin())


@dataclass
class _NumberColumn:
    """Statistics of a column of numbers or times."""

    kind: ColumnKind
    n_missing: int = 0
    n_infinite: int = 0
    n: int = 0
    mean: float = 0.0
    std: float = 0.0
    min: float = np.inf
    max: float = -np.inf
    blocks: list[Floats] = field(default_factory=list)

    def update(self, values: pa.Array | pa.ChunkedArray, stride: int) -> None:
        numbers = _to_floats(values)
        self.blocks.append(numbers[::stride].copy())
        finite = np.isfinite(numbers)
        if not finite.all():
            n_missing = int(np.isnan(numbers).sum())
            self.n_missing += n_missing
            numbers = numbers[finite]
            self.n_infinite += int((~finite).sum()) - n_missing
        if len(numbers):
            self._add_moments(len(numbers), *_moments(numbers))

    def merge(self, other: _NumberColumn) -> None:
        self.n_missing += other.n_missing
        self.n_infinite += other.n_infinite
        self.blocks += other.blocks
        if other.n:
            self._add_moments(other.n, other.mean, other.std, other.min, other.max)

    def _add_moments(self, n: int, mean: float, std: float, least: float, largest: float) -> None:
        self.min, self.max = min(self.min, least), max(self.max, largest)
        if self.min == self.max:
            self.mean, self.std = self.min, 0.0
        elif self.n:
            self.mean, self.std = combine_moments(self.n, self.mean, self.std, n, mean, std)
        else:
            self.mean, self.std = mean, std
        self.n += n

    def thin(self) -> int:
        """Drop every second row of the sample; return the number of those that are left."""
        self.blocks = [block[::2].copy() for block in self.blocks]
        return sum(map(len, self.blocks))

    def build(self, name: str, role: ColumnRole, n_rows: int) -> ColumnProfile:
        sample = np.concatenate(self.blocks) if self.blocks else np.empty(0)
        sample = sample[np.isfinite(sample)]
        if self.n and not len(sample):  # the few rows with a number are not in the sample
            sample = np.array([self.mean])
        values, weights = compress_points(sample)
        weights *= self.n / max(1, len(sample))
        return ColumnProfile(
            column=name,
            kind=self.kind,
            role=role,
            n_rows=n_rows,
            n_missing=self.n_missing,
            n_infinite=self.n_infinite,
            mean=self._finite(self.mean),
            std=self._finite(self.std),
            min=self._finite(self.min),
            max=self._finite(self.max),
            values=values,
            weights=weights,
        )

    def _finite(self, value: float) -> float | None:
        return value if self.n and np.isfinite(value) else None


@dataclass
class _CategoryColumn:
    """Counts of a column of categories."""

    n_missing: int = 0
    counts: dict[Any, int] = field(default_factory=dict)
    has_more: bool = False

    def update(self, values: pa.Array | pa.ChunkedArray, _stride: int) -> None:
        present = _to_labels(values)
        self.n_missing += len(values) - len(present)
        if self.has_more:
            known = list(self.counts)
            places = pc.index_in(present, value_set=pa.array(known, present.type))
            found = np.bincount(places.drop_null().to_numpy(), minlength=len(known))
            for category, count in zip(known, found.tolist(), strict=True):
                self.counts[category] += count
            return
        distinct = pc.value_counts(present)
        self._add_counts(distinct.field(0).to_pylist(), distinct.field(1).to_pylist())

    def merge(self, other: _CategoryColumn) -> None:
        self.n_missing += other.n_missing
        self.has_more |= other.has_more
        self._add_counts(list(other.counts), list(other.counts.values()))

    def _add_counts(self, categories: Sequence[Any], counts: Sequence[int]) -> None:
        for category, count in zip(categories, counts, strict=True):
            if category in self.counts:
                self.counts[category] += count
            elif len(self.counts) < MAX_COUNTED:
                self.counts[category] = count
            else:
                self.has_more = True

    def thin(self) -> int:
        """Do nothing: all rows are counted."""
        return 0

    def build(self, name: str, role: ColumnRole, n_rows: int) -> ColumnProfile:
        n_categories = len(self.counts) + self.has_more
        listed = _list_categories({str(category): count for category, count in self.counts.items()}, n_categories)
        return ColumnProfile(
            column=name,
            kind="category",
            role=role,
            n_rows=n_rows,
            n_missing=self.n_missing,
            values=np.empty(0),
            weights=np.empty(0),
            categories=tuple(listed),
            counts=tuple(listed.values()),
            n_categories=n_categories,
            has_more_categories=self.has_more,
            n_other=n_rows - self.n_missing - sum(listed.values()),
        )


def _make_column(column: pa.Field, classes: set[str]) -> _NumberColumn | _CategoryColumn:
    kind = "category" if column.name in classes else _kind_of(column.type)
    return _CategoryColumn() if kind == "category" else _NumberColumn(kind)


def _kind_of(data_type: pa.DataType) -> ColumnKind:
    """Return the kind of a column; types that are neither numbers nor times are categories.

    Examples
    --------
    >>> [_kind_of(one) for one in (pa.int8(), pa.bool_(), pa.date32(), pa.list_(pa.int8()))]
    ['number', 'category', 'time', 'category']
    """
    if pt.is_date(data_type) or pt.is_timestamp(data_type):
        return "time"
    if pt.is_dictionary(data_type):
        return _kind_of(data_type.value_type)
    numbers = (pt.is_integer, pt.is_floating, pt.is_decimal, pt.is_duration, pt.is_time, pt.is_null)
    return "number" if any(test(data_type) for test in numbers) else "category"


def _to_floats(values: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """Return numbers, or times in seconds, as floats; NaN where there is none."""
    if pt.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    data_type, factor = values.type, 1.0
    if pt.is_date(data_type):
        factor = 86_400.0 if pt.is_date32(data_type) else 1e-3
        values = values.cast(pa.int32() if pt.is_date32(data_type) else pa.int64())
    elif pt.is_timestamp(data_type) or pt.is_duration(data_type) or pt.is_time(data_type):
        values = values.cast(pa.int32() if pt.is_time32(data_type) else pa.int64())
        return _numpy_floats(values) / _PER_SECOND[data_type.unit]
    numbers = _numpy_floats(values)
    return numbers if factor == 1.0 else numbers * factor


def _numpy_floats(values: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.float64]:
    floats = values if pt.is_float64(values.type) else values.cast(pa.float64(), safe=False)
    array: npt.NDArray[np.float64] = (
        floats.to_numpy() if isinstance(floats, pa.ChunkedArray) else floats.to_numpy(zero_copy_only=False)
    )
    return array


def _moments(numbers: Floats) -> tuple[float, float, float, float]:
    """Return mean, standard deviation, minimum and maximum of finite numbers."""
    least, largest = float(numbers.min()), float(numbers.max())
    if least == largest:
        return least, 0.0, least, largest
    scale = max(abs(least), abs(largest))
    scale = float(np.ldexp(1.0, int(np.frexp(scale)[1]) - 1)) if scale > _LARGE else 1.0
    scaled = numbers if scale == 1.0 else numbers / scale
    mean = scaled.mean()
    centred = scaled - mean
    std = np.sqrt(np.square(centred, out=centred).mean())  # no BLAS: its threads make sums depend on the machine
    with np.errstate(over="ignore"):
        return float(mean * scale), float(std * scale), least, largest


def _to_labels(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return the values that are present, in a type that Arrow can count."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
        values = pa.concat_arrays(values.chunks) if isinstance(values, pa.ChunkedArray) else values
    if pt.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pt.is_string_view(values.type):
        values = values.cast(pa.string())
    if pt.is_floating(values.type):
        values = values.filter(pc.invert(pc.is_nan(values)))
    if pt.is_boolean(values.type) or pt.is_primitive(values.type):
        return values.drop_null()
    if pt.is_string(values.type) or pt.is_large_string(values.type):
        present = values.drop_null()
    else:
        present = pa.array([str(value) for value in values.to_pylist() if value is not None], pa.string())
    if len(present) and (pc.max(pc.binary_length(present)).as_py() or 0) > MAX_CATEGORY_CHARACTERS:
        return pc.utf8_slice_codeunits(present, 0, MAX_CATEGORY_CHARACTERS)
    return present
