"""Metadata of fits and scores beside X and y, row by row: groups, weights, and the order of the rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from diurnal.backends.sklearn.sklearn_frames import to_target
from diurnal.data import row_hash
from diurnal.errors import ExperimentError

if TYPE_CHECKING:
    from diurnal.data import Schema


@dataclass(frozen=True, eq=False)
class FitMetadata:
    """Groups and weights of the rows of X and y.

    Attributes
    ----------
    groups, sample_weight : numpy.ndarray of shape (n_samples,), optional
        As in scikit-learn.
    columns : Mapping of str to str
        The column of each, by these names.

    Examples
    --------
    >>> needs = FitMetadata(sample_weight=np.array([1.0, 2.0]), columns={"sample_weight": "w"})
    >>> sorted(needs.offered()), bool(needs), bool(FitMetadata())
    (['sample_weight', 'w'], True, False)
    """

    groups: np.ndarray | None = None
    sample_weight: np.ndarray | None = None
    columns: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.groups is not None or self.sample_weight is not None

    def named(self) -> dict[str, np.ndarray]:
        """Return each array by its name."""
        both = {"groups": self.groups, "sample_weight": self.sample_weight}
        return {name: values for name, values in both.items() if values is not None}

    def offered(self) -> dict[str, np.ndarray]:
        """Return each array by its name, and by the name of its column, which an estimator may request."""
        named = self.named()
        return {self.columns[name]: values for name, values in named.items() if name in self.columns} | named

    def weights(self) -> list[str]:
        """Return the names of the weights in :meth:`offered`."""
        return [name for name, values in self.offered().items() if values is self.sample_weight]


NO_METADATA = FitMetadata()


class MetadataCollector:
    """Collects the columns beside X and y from a stream of tables, and computes the order of the rows.

    Parameters
    ----------
    schema : Schema
        The contract, which names these columns.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._tables: list[pa.Table] = []

    def passing(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """Yield the tables unchanged, and collect their metadata."""
        names = list(self._schema.metadata.columns)
        for table in tables:
            if names:
                self._tables.append(table.select(names))
            yield table

    @property
    def orders(self) -> bool:
        """Whether the rows are put in another order than that of the stream."""
        return self._schema.metadata.order_by is not None or self._schema.keeps_duplicates

    def order(self, n_rows: int) -> npt.NDArray[np.intp]:
        """Return the positions of the rows in their order; rows of equal time stay in the order of the stream."""
        places = row_hash.stable_permutation(n_rows) if self._schema.keeps_duplicates else np.arange(n_rows)
        if self._schema.metadata.order_by is None:
            return places
        times = self._column(self._schema.metadata.order_by)
        return places[np.argsort(times[places], kind="stable")]

    def needs(self) -> FitMetadata:
        """Return the arrays, in the order of the rows."""
        named = {"groups": self._schema.metadata.groups, "sample_weight": self._schema.metadata.sample_weight}
        columns = {name: column for name, column in named.items() if column is not None}
        found = {name: self._column(column) for name, column in columns.items()}
        if found and self.orders:
            places = self.order(len(next(iter(found.values()))))
            found = {name: values[places] for name, values in found.items()}
        return FitMetadata(**found, columns=columns)

    def _column(self, name: str) -> np.ndarray:
        table = pa.concat_tables([table.select([name]) for table in self._tables])
        if missing := table.column(name).null_count:
            raise ExperimentError(
                f"the column {name!r} has no value in {missing} rows of the window",
                hint="they were stored before it was declared; run their data intervals again, or use a smaller window",
            )
        return to_target(table, name)
