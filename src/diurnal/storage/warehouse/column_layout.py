"""How the columns of a batch are laid out in a table of PostgreSQL.

A column keeps its name where PostgreSQL takes it: up to 63 bytes, and none of the names that the warehouse or
PostgreSQL itself uses. Another one gets a short name that depends on the full one only.

A table has at most 1,600 columns, and a row without its long texts fits on a page of 8 kB, which is about 1,000
numbers. The columns beyond are cells of one JSON object in the column ``other_columns``, by their full names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

LONGEST = 63  # bytes of a name; PostgreSQL cuts a longer one
OTHERS = "other_columns"
RESERVED = frozenset({"load_id", "data_interval_start", OTHERS, "ctid", "xmin", "xmax", "cmin", "cmax", "tableoid", ""})
MOST_COLUMNS = 1_590  # of 1,600, some of which are the warehouse's own
PAGE = 8_000  # bytes of a row, of the 8,160 that a page has room for
_SIZES = {"string": 25, "large_string": 25}  # a longer text is kept elsewhere; all else takes eight bytes at most
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


def sql_type(given: pa.DataType) -> str:
    """Give the type in PostgreSQL of a column."""
    return _TYPES[str(given)]


def typed_name(name: str, kind: str) -> str:
    """Give the name of a further column for values of another type than the first."""
    return f"{_beginning(name)}_{blake2b(f'{name} {kind}'.encode(), digest_size=4).hexdigest()}"


def sql_names(names: Sequence[str]) -> dict[str, str]:
    """Give the name in PostgreSQL of each column, by its full name.

    Examples
    --------
    >>> sql_names(["Sepal Length (cm)", "xmin"])
    {'Sepal Length (cm)': 'Sepal Length (cm)', 'xmin': 'xmin_db29f1af'}
    """
    kept = {name for name in names if len(name.encode()) <= LONGEST and name not in RESERVED}
    found = {}
    for name in names:
        found[name] = name if name in kept else next(short for short in _short_names(name) if short not in kept)
    return found


def _short_names(name: str) -> Iterator[str]:
    """Give short names for a long one; the first is taken, unless a column has that very name."""
    salt = name
    while True:
        yield f"{_beginning(name)}_{blake2b(salt.encode(), digest_size=4).hexdigest()}"
        salt += name or " "


def _beginning(name: str) -> str:
    return name.encode()[:50].decode(errors="ignore") or "column"


@dataclass(frozen=True)
class Layout:
    """Where each column of a batch is in its table.

    Attributes
    ----------
    schema : pyarrow.Schema
        The columns of the batch, in the contract's types.
    columns : Mapping of str to str
        From the full name of each one that is a column of the table to its name there.
    others : tuple of str
        Those that are cells of the column ``other_columns``.
    """

    schema: pa.Schema
    columns: Mapping[str, str]
    others: tuple[str, ...]

    @classmethod
    def new(cls, schema: pa.Schema, leading: Collection[str] = ()) -> Layout:
        """Lay out a table that is not made yet; `leading` columns come first where there is no room for all."""
        fitting = _fitting(schema, leading)
        return cls._of(schema, fitting)

    @classmethod
    def existing(cls, schema: pa.Schema, names: Collection[str]) -> Layout:
        """Give the layout of a table that has columns of these names."""
        return cls._of(schema, {name for name, short in sql_names(schema.names).items() if short in names})

    @classmethod
    def _of(cls, schema: pa.Schema, fitting: Collection[str]) -> Layout:
        names = sql_names(schema.names)
        columns = {name: names[name] for name in schema.names if name in fitting}
        return cls(schema, columns, tuple(name for name in schema.names if name not in fitting))

    def types(self) -> dict[str, str]:
        """Give the type of each column of the table, by its name there."""
        types = {short: _TYPES[str(self.schema.field(name).type)] for name, short in self.columns.items()}
        return types | ({OTHERS: "jsonb"} if self.others else {})

    def comments(self) -> dict[str, str]:
        """Give the full names of the columns that have a short one, by that."""
        return {short: name for name, short in self.columns.items() if short != name}

    def to_rows(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Give rows as the table takes them."""
        import pyarrow as pa

        arrays = [batch.column(name) for name in self.columns]
        if self.others:
            # the binary form of jsonb is one byte for its version, then the text
            objects = [b"\x01" + text for text in _objects(batch, self.others)]
            arrays.append(pa.array(objects, pa.binary()))
        return pa.RecordBatch.from_arrays(arrays, names=list(self.types()))

    def from_rows(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Give rows as they were before :meth:`to_rows`; a negative zero among the other columns is a zero."""
        import pyarrow as pa

        found: dict[str, Any] = {name: batch.column(short) for name, short in self.columns.items()}
        if self.others:
            found |= _cells(batch.column(OTHERS).to_pylist(), self.schema, self.others)
        arrays = [found[field.name].cast(field.type) for field in self.schema]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def _fitting(schema: pa.Schema, leading: Collection[str]) -> set[str]:
    """Choose the columns that fit into a row: the leading ones, then the others in order."""
    ordered = sorted(schema, key=lambda field: field.name not in leading)
    room, fitting = PAGE - len(schema) // 8, set()
    for field in ordered[:MOST_COLUMNS]:
        room -= _SIZES.get(str(field.type), 8)
        if room < 0:
            break
        fitting.add(field.name)
    return fitting


def _objects(batch: pa.RecordBatch, names: Sequence[str]) -> Iterable[bytes]:
    """Give the cells of each row that are not null, as JSON."""
    import msgspec
    import pyarrow as pa

    columns = []
    for name in names:
        column = batch.column(name)
        columns.append((column.cast(pa.string()) if pa.types.is_temporal(column.type) else column).to_pylist())
    for row in zip(*columns, strict=True):
        yield msgspec.json.encode({name: cell for name, cell in zip(names, row, strict=True) if cell is not None})


def _cells(texts: Sequence[str], schema: pa.Schema, names: Sequence[str]) -> dict[str, pa.Array]:
    import msgspec
    import pyarrow as pa

    rows = [msgspec.json.decode(text) for text in texts]
    found = {}
    for name in names:
        kind = schema.field(name).type
        cells = [row.get(name) for row in rows]
        if pa.types.is_floating(kind):
            cells = [None if cell is None else float(cell) for cell in cells]
        found[name] = pa.array(cells, pa.string() if pa.types.is_temporal(kind) else kind)
    return found
