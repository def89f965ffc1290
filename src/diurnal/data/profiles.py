"""Profiles: what the columns of a batch, or of a window of batches, contain.

A profile has one entry for each column: counts, moments and a distribution. A number or a time has a distribution of at
most 512 weighted points (:mod:`diurnal.data.distributions`); a category has counts. Profiles of batches are merged into
that of a window. A profile is stored as a package with one row for each column; a summary of it, a few numbers for each
column, is in the warehouse.

:mod:`diurnal.data.profile_builder` makes the profile of a batch from its rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from diurnal.data.distributions import compress_points, find_quantiles
from diurnal.types.drift_thresholds import PREDICTION

if TYPE_CHECKING:
    import pyarrow as pa

    from diurnal.data.distributions import Floats
    from diurnal.data.schema import Schema

ColumnKind = Literal["number", "category", "time"]
ColumnRole = Literal["feature", "target", "prediction", "other"]

MAX_LISTED = 1_000
"""Categories of a column that a profile lists."""

MAX_SUMMARY_COLUMNS = 200
MAX_SUMMARY_CATEGORIES = 10
QUANTILES = {"q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}


@dataclass(frozen=True, kw_only=True, eq=False)
class ColumnProfile:
    """The content of one column.

    Attributes
    ----------
    column : str
        Its name.
    kind : {"number", "category", "time"}
        Times are numbers, in seconds since 1970 in UTC.
    role : {"feature", "target", "prediction", "other"}
        Its role in the contract; ``"other"`` are keys, dropped columns and metadata, and ``"prediction"`` is
        what a model predicts.
    n_rows, n_missing, n_infinite : int
        Rows; those without a value; those with an infinite one, which is in no other statistic.
    mean, std, min, max : float or None
        Of the numbers; the standard deviation is that of the population. None without a number.
    values, weights : numpy.ndarray of float64
        The distribution of the numbers: see :mod:`diurnal.data.distributions`. The weights sum to their count.
    categories : tuple of str
        The most frequent categories, at most 1,000, most frequent first.
    counts : tuple of int
        Their counts.
    n_categories : int
        Number of distinct categories.
    has_more_categories : bool
        Whether `n_categories` is a lower bound: there were too many to count.
    n_other : int
        Rows with a category that is not listed.
    """

    column: str
    kind: ColumnKind
    role: ColumnRole
    n_rows: int
    n_missing: int = 0
    n_infinite: int = 0
    mean: float | None = None
    std: float | None = None
    min: float | None = None
    max: float | None = None
    values: Floats
    weights: Floats
    categories: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    n_categories: int = 0
    has_more_categories: bool = False
    n_other: int = 0

    @property
    def missing_share(self) -> float:
        """The fraction of rows without a value; 0 without rows."""
        return self.n_missing / self.n_rows if self.n_rows else 0.0

    @property
    def n_values(self) -> int:
        """The number of rows that the distribution describes."""
        return self.n_rows - self.n_missing - self.n_infinite

    def summarize(self) -> dict[str, Any]:
        """Return a few numbers in JSON's types."""
        summary: dict[str, Any] = {"kind": self.kind, "role": self.role, "missing": round(self.missing_share, 6)}
        if self.n_infinite:
            summary["infinite"] = round(self.n_infinite / self.n_rows, 6)
        if self.kind == "category":
            shares = {
                replace_nul(name): round(count / self.n_rows, 6)
                for name, count in list(zip(self.categories, self.counts, strict=True))[:MAX_SUMMARY_CATEGORIES]
            }
            summary |= {"top": shares, "n_categories": self.n_categories}
            return summary | ({"has_more_categories": True} if self.has_more_categories else {})
        quantiles: Sequence[float | None] = [None] * len(QUANTILES)
        if len(self.values):
            quantiles = find_quantiles(self.values, self.weights, list(QUANTILES.values()))
        moments = {"mean": self.mean, "std": self.std, "min": self.min}
        return summary | moments | dict(zip(QUANTILES, quantiles, strict=True)) | {"max": self.max}


@dataclass(frozen=True, eq=False)
class Profile:
    """The content of all columns of a batch or of a window.

    Attributes
    ----------
    n_rows : int
        Number of rows.
    columns : tuple of ColumnProfile
        One for each column, in the order of the contract.
    """

    n_rows: int
    columns: tuple[ColumnProfile, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(column.column for column in self.columns)

    def summarize(self) -> dict[str, Any]:
        """Return a few numbers for each of at most 200 columns: the target, then features, then others.

        JSON in PostgreSQL has no order of keys: each column has its position.
        """
        order = {"target": 0, "feature": 1, "prediction": 2, "other": 3}
        columns = sorted(self.columns, key=lambda column: order[column.role])[:MAX_SUMMARY_COLUMNS]
        by_name = {column.column: {"position": i, **column.summarize()} for i, column in enumerate(columns)}
        return {"n_rows": self.n_rows, "columns": by_name}

    def to_table(self) -> pa.Table:
        """Return the profile as a table with one row for each column."""
        import pyarrow as pa

        fields = _table_schema()
        arrays = {
            field.name: pa.array([_plain(getattr(column, field.name)) for column in self.columns], field.type)
            for field in fields
        }
        return pa.table(arrays, fields)

    @classmethod
    def from_table(cls, table: pa.Table) -> Profile:
        """Create a profile from the result of :meth:`to_table`, perhaps of an older version."""
        rows = table.select([field.name for field in _table_schema() if field.name in table.column_names]).to_pylist()
        columns = tuple(_column_from_row(row) for row in rows)
        return cls(max((column.n_rows for column in columns), default=0), columns)


def prediction_profile(prediction: Mapping[str, Any], n_rows: int) -> ColumnProfile | None:
    """Return the profile of predictions in evaluation data; None if there are none.

    Parameters
    ----------
    prediction : Mapping of str to Any
        Either ``categories``, ``counts`` and ``n_other``, or ``values`` and ``weights``: counts may be weighted.
    n_rows : int
        The number of predictions.

    Examples
    --------
    >>> found = prediction_profile({"categories": ["no", "yes"], "counts": [1.0, 3.0]}, 8)
    >>> found.categories, found.counts
    (('yes', 'no'), (6, 2))
    """
    weights = np.asarray(prediction.get("weights", prediction.get("counts")) or [], dtype=np.float64)
    values = np.asarray(prediction.get("values") or [], dtype=np.float64)
    total = float(weights.sum()) + float(prediction.get("n_other") or 0)
    if not total > 0 or not n_rows:
        return None
    weights *= n_rows / total
    common: dict[str, Any] = {"column": PREDICTION, "role": "prediction", "n_rows": n_rows}
    if "categories" in prediction:
        counts = {name: round(count) for name, count in zip(prediction["categories"], weights.tolist(), strict=True)}
        listed = list_categories({name: count for name, count in counts.items() if count}, len(counts))
        return ColumnProfile(
            **common,
            kind="category",
            values=np.empty(0),
            weights=np.empty(0),
            categories=tuple(listed),
            counts=tuple(listed.values()),
            n_categories=len(counts),
            n_other=max(0, n_rows - sum(listed.values())) if prediction.get("n_other") else 0,
        )
    mean = float(np.average(values, weights=weights))
    std = float(np.sqrt(np.average((values - mean) ** 2, weights=weights)))
    return ColumnProfile(
        **common,
        kind="number",
        mean=mean,
        std=std,
        min=float(values.min()),
        max=float(values.max()),
        values=values,
        weights=weights,
    )


def merge_profiles(profiles: Sequence[Profile], schema: Schema) -> Profile:
    """Return the profile of several batches together.

    Parameters
    ----------
    profiles : sequence of Profile
        At least one; the newest last. They may be of earlier versions of the contract.
    schema : Schema
        The contract whose columns and names the result has. A column whose kind has changed is that of the newest
        batches with one kind.
    """
    columns = []
    present = [(profile, {column.column: column for column in profile.columns}) for profile in profiles]
    for name in schema.names:
        found = [by_name[old] for _, by_name in present if (old := schema.find_name(name, by_name)) is not None]
        same = [column for column in found if column.kind == found[-1].kind]
        if same:
            columns.append(merge_columns(same, name))
    return Profile(sum(profile.n_rows for profile in profiles), tuple(columns))


def merge_columns(columns: Sequence[ColumnProfile], name: str | None = None) -> ColumnProfile:
    """Return the profile of one column in several batches, which have the same kind.

    Counts add up. The number of distinct categories is exact where each batch lists all of its own, else a lower bound.
    """
    newest = columns[-1]
    n_rows, n_missing, n_infinite = (sum(getattr(one, key) for one in columns) for key in _COUNTS)
    counts: dict[str, int] = {}
    for one in columns:
        for category, count in zip(one.categories, one.counts, strict=True):
            counts[category] = counts.get(category, 0) + count
    n_categories = max(len(counts), *(one.n_categories for one in columns))
    listed = list_categories(counts, n_categories)
    values, weights = (np.concatenate([getattr(one, key) for one in columns]) for key in ("values", "weights"))
    if len(columns) > 1:
        values, weights = compress_points(values, weights)
    return ColumnProfile(
        column=name or newest.column,
        kind=newest.kind,
        role=newest.role,
        n_rows=n_rows,
        n_missing=n_missing,
        n_infinite=n_infinite,
        **_merge_moments([one for one in columns if one.min is not None]),
        values=values,
        weights=weights,
        categories=tuple(listed),
        counts=tuple(listed.values()),
        n_categories=n_categories,
        has_more_categories=any(one.has_more_categories for one in columns)
        or (len(columns) > 1 and any(one.n_other for one in columns)),
        n_other=n_rows - n_missing - sum(listed.values()) if newest.kind == "category" else 0,
    )


def list_categories(counts: Mapping[str, int], n_categories: int) -> dict[str, int]:
    """Return the categories that a profile lists, most frequent first.

    Where there are more than it lists, those with a single row are left out: which ones would be arbitrary.

    Examples
    --------
    >>> list_categories({"a": 1, "b": 3, "c": 1}, 3)
    {'b': 3, 'a': 1, 'c': 1}
    """
    least = 1 if n_categories <= MAX_LISTED else 2
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {category: count for category, count in ranked[:MAX_LISTED] if count >= least}


def combine_moments(
    n: int, mean: float, std: float, other_n: int, other_mean: float, other_std: float
) -> tuple[float, float]:
    """Return the mean and the standard deviation of two sets of numbers together.

    By the method of T. F. Chan, G. H. Golub and R. J. LeVeque ("Updating formulae and a pairwise algorithm for
    computing sample variances", 1979), in a form that does not overflow.

    Examples
    --------
    >>> combine_moments(2, 1.0, 1.0, 2, 3.0, 1.0)
    (2.0, 1.4142135623730951)
    """
    share = other_n / (n + other_n)
    mean_of_both = mean * (1 - share) + other_mean * share
    with np.errstate(over="ignore"):
        between = np.float64(other_mean) * np.sqrt(share * (1 - share)) - np.float64(mean) * np.sqrt(
            share * (1 - share)
        )
        within = np.hypot(std * np.sqrt(1 - share), other_std * np.sqrt(share))
        return float(mean_of_both), float(np.hypot(within, between))


def column_roles(schema: Schema) -> dict[str, ColumnRole]:
    """Return the role of each column."""
    features = set(schema.features)
    roles: dict[str, ColumnRole] = {name: "feature" if name in features else "other" for name in schema.names}
    return roles | {schema.target: "target"}


_COUNTS = ("n_rows", "n_missing", "n_infinite")


def _merge_moments(columns: Sequence[ColumnProfile]) -> dict[str, float | None]:
    if not columns:
        return {"mean": None, "std": None, "min": None, "max": None}
    least, largest = min(cast("float", c.min) for c in columns), max(cast("float", c.max) for c in columns)
    if least == largest:
        return {"mean": least, "std": 0.0, "min": least, "max": largest}
    n, mean, std = columns[0].n_values, columns[0].mean, columns[0].std
    for one in columns[1:]:
        if mean is None or std is None or one.mean is None or one.std is None:
            mean = std = None
            break
        mean, std = combine_moments(n, mean, std, one.n_values, one.mean, one.std)
        n += one.n_values
    return {"mean": mean, "std": std, "min": least, "max": largest}


def _table_schema() -> pa.Schema:
    import pyarrow as pa

    floats, integer = pa.list_(pa.float64()), pa.int64()
    return pa.schema(
        [
            *((name, pa.string()) for name in ("column", "kind", "role")),
            *((name, integer) for name in _COUNTS),
            *((name, pa.float64()) for name in ("mean", "std", "min", "max")),
            ("values", floats),
            ("weights", floats),
            ("categories", pa.list_(pa.string())),
            ("counts", pa.list_(integer)),
            ("n_categories", integer),
            ("has_more_categories", pa.bool_()),
            ("n_other", integer),
        ]
    )


def replace_nul(text: str) -> str:
    """Return a text that PostgreSQL can store in JSON."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _column_from_row(row: Mapping[str, Any]) -> ColumnProfile:
    points = {name: np.asarray(row.get(name) or [], dtype=np.float64) for name in ("values", "weights")}
    listed = {name: tuple(row.get(name) or ()) for name in ("categories", "counts")}
    return ColumnProfile(**{**row, **points, **listed})
