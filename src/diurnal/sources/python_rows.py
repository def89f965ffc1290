"""Conversion of rows of Python values to record batches of one schema.

The type of a column is known only after its last row: the first thousands may all be null. Each chunk is therefore
written to a temporary file in its own types, and read again in the common types at the end.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from diurnal.errors import BatchRejectedError, Problem
from diurnal.sources.record_batches import mixed_types_problem

Chunk = Mapping[str, list[Any]]


def build_batches(chunks: Iterable[Chunk]) -> Iterator[pa.RecordBatch]:
    """Convert chunks of columns to record batches; a column that a chunk lacks is null.

    Raises
    ------
    BatchRejectedError
        If a column has several types. Whole numbers and fractions have a common type: float.
    """
    types: dict[str, pa.DataType] = {}
    n_rows = n_chunks = 0
    with tempfile.TemporaryDirectory(prefix="diurnal-") as folder:
        for chunk in chunks:
            batch = _chunk_to_batch(chunk, n_rows)
            for name, chunk_type in zip(batch.schema.names, batch.schema.types, strict=True):
                types[name] = _common_type(name, types.get(name, pa.null()), chunk_type, n_rows)
            with pa.ipc.new_file(_chunk_path(folder, n_chunks), batch.schema) as writer:
                writer.write_batch(batch)
            n_chunks, n_rows = n_chunks + 1, n_rows + batch.num_rows
        for i in range(n_chunks):
            with pa.memory_map(_chunk_path(folder, i)) as source:
                yield _cast_to_types(pa.ipc.open_file(source).get_batch(0), types)


def _chunk_path(folder: str, i: int) -> str:
    return str(Path(folder) / f"{i}.arrow")


def _chunk_to_batch(chunk: Chunk, before: int) -> pa.RecordBatch:
    arrays, problems = [], []
    for name, cells in chunk.items():
        try:
            array = pa.array(cells)
        except (pa.ArrowException, OverflowError) as error:
            problems.append(_conversion_problem(name, cells, before, error))
            continue
        arrays.append(array.cast(pa.float64()) if pa.types.is_decimal(array.type) else array)
    if problems:
        raise BatchRejectedError(problems, hint="use one type in each column")
    return pa.RecordBatch.from_arrays(arrays, names=list(chunk))


def _conversion_problem(name: str, cells: list[Any], before: int, error: Exception) -> Problem:
    large = [i for i, cell in enumerate(cells, before + 1) if isinstance(cell, int) and not -(2**63) <= cell < 2**63]
    if large:
        message = f"{name} holds whole numbers that do not fit in 64 bits; keep an id as text"
        return Problem("integer-too-large", message, name, tuple(large[:20]), len(large))
    if all(isinstance(cell, int | float | None) and not isinstance(cell, bool) for cell in cells):
        return _inexact_problem(name)
    mixed = mixed_types_problem(name, cells)
    if mixed is None:
        return Problem("unsupported-type", f"{name} cannot be read: {error}", name)
    return Problem(mixed.code, mixed.message, name, tuple(row + before for row in mixed.rows), mixed.count)


def _inexact_problem(name: str) -> Problem:
    message = f"{name} holds fractions, and whole numbers beyond 2**53 that are no float; keep an id as text"
    return Problem("integer-not-exact", message, name)


def _common_type(name: str, one: pa.DataType, other: pa.DataType, before: int) -> pa.DataType:
    if pa.types.is_null(other) or one == other:
        return one
    if pa.types.is_null(one):
        return other
    if {one, other} == {pa.int64(), pa.float64()}:
        return pa.float64()
    message = f"{name} mixes types: {one} before row {before + 1}, {other} from that row on"
    raise BatchRejectedError([Problem("mixed-types", message, name)], hint="use one type in each column")


def _cast_to_types(batch: pa.RecordBatch, types: Mapping[str, pa.DataType]) -> pa.RecordBatch:
    arrays = []
    for name, expected in types.items():
        array = batch.column(name) if name in batch.schema.names else pa.nulls(batch.num_rows, expected)
        try:
            arrays.append(array.cast(expected))
        except pa.ArrowInvalid:
            raise BatchRejectedError([_inexact_problem(name)], hint="use one type in each column") from None
    return pa.RecordBatch.from_arrays(arrays, names=list(types))
