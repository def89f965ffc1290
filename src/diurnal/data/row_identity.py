"""Hash of the identity of rows, which stays the same through all versions of a contract.

The role of a row is a hash of its key or, without a key, of the features of the first batch. Later versions of the
contract rename columns, widen their kinds and drop some. Every row is therefore hashed as version 1 hashes it: a column
has its first name, a cell that fits the first kind is converted to it, and a dropped column is null. For example, a
key that became text in version 2 hashes ``"7"`` as the int 7.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any

from diurnal.data.row_hash import canonical_bytes, hash_rows
from diurnal.data.schema import Kind, Schema, arrow_type

if TYPE_CHECKING:
    import pyarrow as pa

    from diurnal.data.row_hash import Hasher


def identity_hasher(schema: Schema, salt: str, *, present_only: bool = False) -> Hasher:
    """Return the function that hashes the identity of rows of any version of the contract.

    Parameters
    ----------
    schema : Schema
        The newest version of the contract.
    salt : str
        The name of the experiment, or any other text that makes this hash differ from others.
    present_only : bool
        Whether dropped columns are left out. Rows that differ only in these then have the same hash.
    """
    if not schema.has_changed:
        return lambda rows: hash_rows(rows, schema.identity, salt)
    origins = [
        (root, kind, name)
        for (root, kind), name in zip(schema.origins, schema.identity, strict=True)
        if not (present_only and name in {column.name for column in schema.gone})
    ]

    def hashes(rows: pa.RecordBatch | pa.Table) -> Any:
        import pyarrow as pa

        columns = {
            root: _as_in_first_version(rows, schema.find_name(name, rows.schema.names), kind)
            for root, kind, name in origins
        }
        return hash_rows(pa.table(columns), list(columns), salt)

    return hashes


def group_hasher(schema: Schema, column: str, salt: str) -> Hasher:
    """Return the function that hashes the group of rows of any version of the contract."""
    return lambda rows: hash_rows(rows, [schema.find_name(column, rows.schema.names) or column], salt)


def _as_in_first_version(rows: pa.RecordBatch | pa.Table, name: str | None, kind: Kind) -> pa.Array:
    """Return a column as version 1 hashes it: in its first kind, or as canonical bytes where the kinds differ."""
    import pyarrow as pa

    if name is None:
        return pa.nulls(rows.num_rows, arrow_type(kind))
    column = rows.column(name)
    if column.type == arrow_type(kind):
        return column
    narrow = _NARROWING[kind]
    return pa.array([canonical_bytes(narrow(cell)) for cell in column.to_pylist()], pa.binary())


def _as_int(cell: Any) -> Any:
    if isinstance(cell, float):
        return int(cell) if cell.is_integer() and abs(cell) < 2**63 else cell
    if isinstance(cell, str):
        return (
            int(cell)
            if cell.removeprefix("-").isdecimal() and str(int(cell)) == cell and _fits_in_int64(cell)
            else cell
        )
    return cell


def _fits_in_int64(cell: str) -> bool:
    return len(cell) < 20 and -(2**63) <= int(cell) < 2**63


def _as_date(cell: Any) -> Any:
    if isinstance(cell, datetime):
        return cell.date() if cell.time() == time() else cell
    if isinstance(cell, str):
        try:
            return date.fromisoformat(cell) if len(cell) == len("2026-11-23") else cell
        except ValueError:
            return cell
    return cell


_NARROWING: dict[Kind, Callable[[Any], Any]] = {"int": _as_int, "date": _as_date}
