"""Read access to packages of earlier versions of a contract in the columns of the newest version.

Packages are not rewritten. A column that a package lacks is null, a renamed column has its present name, and a column
whose kind became wider is cast.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from diurnal.data.schema import Column, Kind, Schema, arrow_type

if TYPE_CHECKING:
    import pyarrow as pa

WIDER: dict[Kind, tuple[Kind, ...]] = {"int": ("float", "text"), "date": ("timestamp", "text")}
"""For each kind the wider kinds: each value has exactly one representation in them."""


def stored_names(schema: Schema, columns: Sequence[str], present: Sequence[str]) -> list[str]:
    """Return the names that columns of the contract have in a package; missing columns are left out."""
    found = (schema.find_name(name, present) for name in columns)
    return [name for name in found if name is not None]


def read_in_newest_schema(
    batches: Iterable[pa.RecordBatch], schema: Schema, columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Convert rows of any version of a contract to the names and kinds of the newest one.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        Rows of a package.
    schema : Schema
        The newest version of the contract.
    columns : sequence of str
        The columns to read; dropped columns are allowed.

    Examples
    --------
    >>> import pyarrow as pa
    >>> columns = (Column("price", "float", former=("cost",)), Column("size", "int"))
    >>> schema = Schema(columns, target="price", origins=(("cost", "int"),))
    >>> old = pa.RecordBatch.from_pydict({"cost": [3]})
    >>> [batch.to_pylist() for batch in read_in_newest_schema([old], schema, schema.names)]
    [[{'price': 3.0, 'size': None}]]
    """
    import pyarrow as pa

    expected = [schema.column(name) for name in columns]
    for batch in batches:
        arrays = [_read_column(batch, schema, column) for column in expected]
        yield pa.RecordBatch.from_arrays(arrays, names=list(columns)) if arrays else batch.select([])


def _read_column(batch: pa.RecordBatch, schema: Schema, column: Column) -> pa.Array:
    import pyarrow as pa

    name, expected = schema.find_name(column.name, batch.schema.names), arrow_type(column.kind)
    if name is None:
        return pa.nulls(batch.num_rows, expected)
    # an int beyond 2**53 is rounded, as in scikit-learn
    return batch.column(name) if batch.column(name).type == expected else batch.column(name).cast(expected, safe=False)
