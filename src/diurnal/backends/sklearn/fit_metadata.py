"""What a fit and a score are given beside X and y, row by row: groups, weights, and the order of the rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from diurnal.backends.sklearn.sklearn_frames import vector
from diurnal.data import row_hash
from diurnal.errors import ExperimentError

if TYPE_CHECKING:
    from diurnal.data import Schema


@dataclass(frozen=True, eq=False)
class Needs:
    """Vectors beside X and y.

    Attributes
    ----------
    groups, sample_weight : numpy.ndarray of shape (n_samples,), optional
        As scikit-learn names them.
    columns : Mapping of str to str
        The columns that they come from, by these names.

    Examples
    --------
    >>> needs = Needs(sample_weight=np.array([1.0, 2.0]), columns={"sample_weight": "w"})
    >>> sorted(needs.offered()), bool(needs), bool(Needs())
    (['sample_weight', 'w'], True, False)
    """

    groups: np.ndarray | None = None
    sample_weight: np.ndarray | None = None
    columns: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.groups is not None or self.sample_weight is not None

    def named(self) -> dict[str, np.ndarray]:
        """Give each vector by its name."""
        both = {"groups": self.groups, "sample_weight": self.sample_weight}
        return {name: values for name, values in both.items() if values is not None}

    def offered(self) -> dict[str, np.ndarray]:
        """Give each vector by its name, and by that of its column, which an estimator may request it by."""
        named = self.named()
        return {self.columns[name]: values for name, values in named.items() if name in self.columns} | named

    def weights(self) -> list[str]:
        """Name the weights as :meth:`offered` does."""
        return [name for name, values in self.offered().items() if values is self.sample_weight]


NOTHING = Needs()


class Beside:
    """Takes the columns beside X and y down while tables stream by, and puts the rows in their order.

    Parameters
    ----------
    schema : Schema
        Which columns these are.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._tables: list[pa.Table] = []

    def passing(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """Give the tables as they come."""
        names = list(self._schema.metadata.columns)
        for table in tables:
            if names:
                self._tables.append(table.select(names))
            yield table

    @property
    def orders(self) -> bool:
        """Whether the rows get another order than that in which they come."""
        return self._schema.metadata.order_by is not None or self._schema.keeps_duplicates

    def order(self, n_rows: int) -> npt.NDArray[np.intp]:
        """Give the places of the rows in their order; those of one time stay as they come."""
        places = row_hash.stable_permutation(n_rows) if self._schema.keeps_duplicates else np.arange(n_rows)
        if self._schema.metadata.order_by is None:
            return places
        times = self._column(self._schema.metadata.order_by)
        return places[np.argsort(times[places], kind="stable")]

    def needs(self) -> Needs:
        """Give the vectors, in the order of the rows."""
        named = {"groups": self._schema.metadata.groups, "sample_weight": self._schema.metadata.sample_weight}
        columns = {name: column for name, column in named.items() if column is not None}
        found = {name: self._column(column) for name, column in columns.items()}
        if found and self.orders:
            places = self.order(len(next(iter(found.values()))))
            found = {name: values[places] for name, values in found.items()}
        return Needs(**found, columns=columns)

    def _column(self, name: str) -> np.ndarray:
        table = pa.concat_tables([table.select([name]) for table in self._tables])
        if missing := table.column(name).null_count:
            raise ExperimentError(
                f"the column {name!r} has no value in {missing} rows of the window",
                hint="they were kept before it was declared: run their data intervals again, or narrow the window",
            )
        return vector(table, name)
