"""Reading packages of earlier versions through the newest version of a contract.

Packages stay as they are. A column that a package does not have is null, a column that was renamed has its present
name, and a column whose kind became wider is cast.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from diurnal.data.schema import Column, Kind, Schema, arrow_type

if TYPE_CHECKING:
    import pyarrow as pa

WIDER: dict[Kind, tuple[Kind, ...]] = {"int": ("float", "text"), "date": ("timestamp", "text")}
"""For each kind the kinds that it may become: each of its values has one writing in them."""


def stored_names(schema: Schema, columns: Sequence[str], present: Sequence[str]) -> list[str]:
    """Give the names in a package of some columns of the contract; those that it does not have are left out."""
    found = (schema.find_name(name, present) for name in columns)
    return [name for name in found if name is not None]


def read_in_newest_schema(
    batches: Iterable[pa.RecordBatch], schema: Schema, columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Give rows of any version of a contract in the names and kinds of the newest one.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        Rows of a package.
    schema : Schema
        The newest version of the contract.
    columns : sequence of str
        Which of its columns are wanted; those that are gone may be among them.

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

    wanted = [schema.column(name) for name in columns]
    for batch in batches:
        arrays = [_column(batch, schema, column) for column in wanted]
        yield pa.RecordBatch.from_arrays(arrays, names=list(columns)) if arrays else batch.select([])


def _column(batch: pa.RecordBatch, schema: Schema, column: Column) -> pa.Array:
    import pyarrow as pa

    name, wanted = schema.find_name(column.name, batch.schema.names), arrow_type(column.kind)
    if name is None:
        return pa.nulls(batch.num_rows, wanted)
    # an int beyond 2**53 is rounded, as scikit-learn would
    return batch.column(name) if batch.column(name).type == wanted else batch.column(name).cast(wanted, safe=False)
