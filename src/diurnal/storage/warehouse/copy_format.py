"""The binary format of ``COPY``, into which Arrow's batches are encoded column by column.

The Arrow driver for PostgreSQL encodes cell by cell, which takes three to four times the time of the processor. The
format: https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
_EPOCH_DAYS, _EPOCH_MICROSECONDS = 10_957, 946_684_800_000_000  # 2000-01-01, where PostgreSQL's dates begin

_Array = np.ndarray[Any, Any]
_Field = tuple[_Array, _Array | None]
"""One value for all tuples or one for each, and whether a tuple has it; None if all have."""


def encode_rows(rows: pa.RecordBatch) -> memoryview:
    """Return the tuples of rows; they follow :data:`HEADER` or other tuples.

    Parameters
    ----------
    rows : pyarrow.RecordBatch
        Columns of the types int64, double, bool, date32, timestamp[us], string, large_string and binary. A binary cell
        is the binary form of any type of PostgreSQL.

    Examples
    --------
    >>> import pyarrow as pa
    >>> encode_rows(pa.record_batch({"n": [1], "text": ["a"]})).hex(" ", -2)
    '0002 0000 0008 0000 0000 0000 0001 0000 0001 61'
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if len(rows) == 0:
        return memoryview(b"")
    pieces: list[pa.Array] = []
    fields: list[_Field] = [(np.array(rows.num_columns, ">i2"), None)]
    for column in rows.columns:
        values = _fixed_size_values(column)
        if values is None:
            sizes, cells = _encode_texts(column)
            pieces += [_pack_fields([*fields, (sizes, None)], len(rows)), cells]
            fields = []
        else:
            fields += _sized_field(column, values)
    if fields:
        pieces.append(_pack_fields(fields, len(rows)))
    separator = pa.scalar(b"", pa.large_binary())
    tuples = pieces[0] if len(pieces) == 1 else pc.binary_join_element_wise(*pieces, separator)
    return memoryview(tuples.buffers()[2])


def _fixed_size_values(column: pa.Array) -> _Array | None:
    """Return the values as PostgreSQL has them, and any for nulls; None if their sizes differ."""
    import pyarrow as pa

    if pa.types.is_date32(column.type):
        return _from_epoch(column.view(pa.int32()), _EPOCH_DAYS).astype(">i4")
    if pa.types.is_timestamp(column.type):
        return _from_epoch(column.view(pa.int64()), _EPOCH_MICROSECONDS).astype(">i8")
    if pa.types.is_boolean(column.type):
        return _filled(column, False)
    if pa.types.is_primitive(column.type):
        values = _filled(column, 0)
        return values.astype(values.dtype.newbyteorder(">"))
    return None


def _filled(column: pa.Array, value: Any) -> _Array:
    values: _Array = (column.fill_null(value) if column.null_count else column).to_numpy(zero_copy_only=False)
    return values


def _from_epoch(column: pa.Array, epoch: int) -> _Array:
    values = _filled(column, 0)
    # The least integers would wrap; PostgreSQL rejects them and all others of that range. Minus infinity is the least.
    shifted: _Array = np.maximum(values, np.iinfo(values.dtype).min + 1 + epoch) - values.dtype.type(epoch)
    return shifted


def _sized_field(column: pa.Array, values: _Array) -> list[_Field]:
    """Return the sizes and the values; a null has the size -1 and no value."""
    if column.null_count == 0:
        return [(np.array(values.itemsize, ">i4"), None), (values, None)]
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    return [(np.where(valid, values.itemsize, -1).astype(">i4"), None), (values, valid)]


def _encode_texts(column: pa.Array) -> tuple[_Array, pa.Array]:
    """Return the size of each cell, which is -1 for a null, and the cells."""
    import pyarrow as pa
    import pyarrow.compute as pc

    cells = column.cast(pa.large_binary())
    sizes = pc.fill_null(pc.binary_length(cells), -1).to_numpy()
    return sizes.astype(">i4"), pc.fill_null(cells, b"") if cells.null_count else cells


def _pack_fields(fields: list[_Field], n_rows: int) -> pa.Array:
    """Return one piece for each row: the bytes of its fields, one after the other."""
    dtype = np.dtype([(f"{i}", values.dtype) for i, (values, _) in enumerate(fields)])
    packed = np.repeat(np.array([tuple(values.flat[0] for values, _ in fields)], dtype), n_rows)
    for i, (values, _) in enumerate(fields):
        if values.ndim:
            packed[f"{i}"] = values
    sizes = np.full(n_rows, dtype.itemsize)
    if all(valid is None for _, valid in fields):
        return _to_binary(packed, sizes)
    present = np.ones((n_rows, dtype.itemsize), bool)
    by_field = present.view([(f"{i}", f"u{values.itemsize}") for i, (values, _) in enumerate(fields)])[:, 0]
    for i, (values, valid) in enumerate(fields):
        if valid is not None:
            by_field[f"{i}"] *= valid  # all bytes of a value at once
            sizes -= values.itemsize * ~valid
    return _to_binary(packed.view(np.uint8)[present.ravel()], sizes)


def _to_binary(values: _Array, sizes: _Array) -> pa.Array:
    """Return the bytes of values as one binary array, whose cells have these sizes."""
    import pyarrow as pa

    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return pa.Array.from_buffers(pa.large_binary(), len(sizes), [None, pa.py_buffer(offsets), pa.py_buffer(values)])
