"""The layout of the columns of a batch in a table of PostgreSQL.

A column keeps its name if PostgreSQL allows it: up to 63 bytes, and not a name that the warehouse or PostgreSQL itself
uses. Any other column gets a short name that depends on the full one only.

A table has at most 1,600 columns, and a row without its long texts fits on a page of 8 kB, which is about 1,000
numbers. Further columns are cells of one JSON object in the column ``other_columns``, by their full names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

MAX_NAME_BYTES = 63  # PostgreSQL truncates a longer name
OTHERS = "other_columns"
RESERVED = frozenset({"load_id", "data_interval_start", OTHERS, "ctid", "xmin", "xmax", "cmin", "cmax", "tableoid", ""})
MAX_COLUMNS = 1_590  # of 1,600, some of which the warehouse uses
ROW_BYTES = 8_000  # of the 8,160 bytes of a page
_SIZES = {
    "string": 25,
    "large_string": 25,
}  # PostgreSQL stores longer texts elsewhere; other types take at most eight bytes
_TYPES = {
    "int64": "bigint",
    "double": "double precision",
    "bool": "boolean",
    "string": "text",
    "large_string": "text",
    "date32[day]": "date",
    "timestamp[us, tz=UTC]": "timestamptz",
    "timestamp[us]": "timestamp",
}


def sql_type(arrow_type: pa.DataType) -> str:
    """Return the PostgreSQL type of a column."""
    return _TYPES[str(arrow_type)]


def typed_name(name: str, column_type: str) -> str:
    """Return the name of a further column for the values of another type."""
    return f"{_name_prefix(name)}_{blake2b(f'{name} {column_type}'.encode(), digest_size=4).hexdigest()}"


def sql_names(names: Sequence[str]) -> dict[str, str]:
    """Return the name in PostgreSQL of each column, by its full name.

    Examples
    --------
    >>> sql_names(["Sepal Length (cm)", "xmin"])
    {'Sepal Length (cm)': 'Sepal Length (cm)', 'xmin': 'xmin_db29f1af'}
    """
    legal = {name for name in names if len(name.encode()) <= MAX_NAME_BYTES and name not in RESERVED}
    sql = {}
    for name in names:
        sql[name] = name if name in legal else next(short for short in _short_names(name) if short not in legal)
    return sql


def _short_names(name: str) -> Iterator[str]:
    """Yield short names for a name; the first one is used unless another column has it."""
    salt = name
    while True:
        yield f"{_name_prefix(name)}_{blake2b(salt.encode(), digest_size=4).hexdigest()}"
        salt += name or " "


def _name_prefix(name: str) -> str:
    return name.encode()[:50].decode(errors="ignore") or "column"


@dataclass(frozen=True)
class ColumnLayout:
    """The position of each column of a batch in its table.

    Attributes
    ----------
    schema : pyarrow.Schema
        The schema of the batch, in the contract's types.
    columns : Mapping of str to str
        From the full name of each column of the table to its name in it.
    others : tuple of str
        The full names of the columns that are cells of ``other_columns``.
    """

    schema: pa.Schema
    columns: Mapping[str, str]
    others: tuple[str, ...]

    @classmethod
    def new(cls, schema: pa.Schema, leading: Collection[str] = ()) -> ColumnLayout:
        """Return the layout of a new table; `leading` columns have priority where there is no room for all."""
        fitting = _select_fitting(schema, leading)
        return cls._of(schema, fitting)

    @classmethod
    def existing(cls, schema: pa.Schema, names: Collection[str]) -> ColumnLayout:
        """Return the layout of a table that has columns of these names."""
        return cls._of(schema, {name for name, short in sql_names(schema.names).items() if short in names})

    @classmethod
    def _of(cls, schema: pa.Schema, fitting: Collection[str]) -> ColumnLayout:
        names = sql_names(schema.names)
        columns = {name: names[name] for name in schema.names if name in fitting}
        return cls(schema, columns, tuple(name for name in schema.names if name not in fitting))

    def types(self) -> dict[str, str]:
        """Return the type of each column of the table, by its name in it."""
        types = {short: _TYPES[str(self.schema.field(name).type)] for name, short in self.columns.items()}
        return types | ({OTHERS: "jsonb"} if self.others else {})

    def comments(self) -> dict[str, str]:
        """Return the full names of columns with a short one, by the short one."""
        return {short: name for name, short in self.columns.items() if short != name}

    def to_rows(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Convert rows of the batch to rows of the table."""
        import pyarrow as pa

        arrays = [batch.column(name) for name in self.columns]
        if self.others:
            # the binary form of jsonb is one byte for its version, then the text
            objects = [b"\x01" + text for text in _encode_objects(batch, self.others)]
            arrays.append(pa.array(objects, pa.binary()))
        return pa.RecordBatch.from_arrays(arrays, names=list(self.types()))

    def from_rows(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Convert rows of the table to rows of the batch; a negative zero in ``other_columns`` becomes zero."""
        import pyarrow as pa

        columns: dict[str, Any] = {name: batch.column(short) for name, short in self.columns.items()}
        if self.others:
            columns |= _decode_objects(batch.column(OTHERS).to_pylist(), self.schema, self.others)
        arrays = [columns[field.name].cast(field.type) for field in self.schema]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def _select_fitting(schema: pa.Schema, leading: Collection[str]) -> set[str]:
    """Return the names of the columns that fit into a row: the leading ones, then the others in order."""
    ordered = sorted(schema, key=lambda field: field.name not in leading)
    n_free, fitting = ROW_BYTES - len(schema) // 8, set()
    for field in ordered[:MAX_COLUMNS]:
        n_free -= _SIZES.get(str(field.type), 8)
        if n_free < 0:
            break
        fitting.add(field.name)
    return fitting


def _encode_objects(batch: pa.RecordBatch, names: Sequence[str]) -> Iterable[bytes]:
    """Yield the cells of each row that are not null, as a JSON object."""
    import msgspec
    import pyarrow as pa

    columns = []
    for name in names:
        column = batch.column(name)
        columns.append((column.cast(pa.string()) if pa.types.is_temporal(column.type) else column).to_pylist())
    for row in zip(*columns, strict=True):
        yield msgspec.json.encode({name: cell for name, cell in zip(names, row, strict=True) if cell is not None})


def _decode_objects(texts: Sequence[str], schema: pa.Schema, names: Sequence[str]) -> dict[str, pa.Array]:
    import msgspec
    import pyarrow as pa

    rows = [msgspec.json.decode(text) for text in texts]
    columns = {}
    for name in names:
        arrow_type = schema.field(name).type
        cells = [row.get(name) for row in rows]
        if pa.types.is_floating(arrow_type):
            cells = [None if cell is None else float(cell) for cell in cells]
        columns[name] = pa.array(cells, pa.string() if pa.types.is_temporal(arrow_type) else arrow_type)
    return columns
