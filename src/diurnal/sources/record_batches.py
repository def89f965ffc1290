"""Conversion of the output of a source to Arrow record batches of one schema."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from diurnal.data.column_names import duplicate_name_problems
from diurnal.data.schema import UNTYPED
from diurnal.data.text_notation import TYPED, Notation
from diurnal.errors import BatchRejectedError, ExperimentError, Problem
from diurnal.sources.source import BYTES_PER_BATCH, ROWS_PER_BATCH, Connections, Source
from diurnal.types import DataInterval

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_WARNINGS = b"diurnal.warnings"
_ALLOWED = "a frame of pandas or polars, an Arrow table, batch or reader, or an iterable of Arrow record batches"


def record_batches(
    source: Source | Callable[[DataInterval], Any],
    interval: DataInterval,
    connections: Connections,
    *,
    max_bytes: int | None = None,
    warn: Callable[[str], object] = lambda _: None,
) -> Iterator[pa.RecordBatch]:
    """Read a source as a stream of Arrow record batches of one schema, of at most 65,536 rows and some 64 MiB each.

    Parameters
    ----------
    source : Source or callable
        A source, or a function of a data interval.
    interval : DataInterval
        The data interval.
    connections : Mapping of str to str
        From the id of a connection to its URI.
    max_bytes : int, optional
        Maximum size of the whole stream.
    warn : callable, optional
        Called once with each warning of the source.

    Yields
    ------
    pyarrow.RecordBatch
        Dictionaries are decoded. If the source returns a header only, one batch without rows; none for no output.

    Raises
    ------
    ExperimentError
        If the source returns another type.
    BatchRejectedError
        If the output cannot be converted to Arrow, changes its columns, or is larger than `max_bytes`.
    """
    source_output = source.read(interval, connections) if isinstance(source, Source) else source(interval)
    schema: pa.Schema | None = None
    n_bytes = 0
    warned: set[str] = set()
    for received in _iter_batches(source_output):
        for warning in warnings_of(received.schema):
            if warning not in warned:
                warned.add(warning)
                warn(warning)
        batch = _without_metadata(received)
        schema = schema or batch.schema
        batch = batch if batch.schema.equals(schema, check_metadata=True) else _conform_to_schema(batch, schema)
        n_bytes += batch.nbytes
        if max_bytes is not None and n_bytes > max_bytes:
            raise BatchRejectedError(
                [Problem("too-many-bytes", f"the output of the source is larger than max_bytes={max_bytes}")]
            )
        size = min(ROWS_PER_BATCH, max(1, batch.num_rows * BYTES_PER_BATCH // max(1, batch.nbytes)))
        for start in range(0, max(1, batch.num_rows), size):
            yield batch.slice(start, size)


def with_warnings(metadata: Mapping[bytes, bytes] | None, warnings: Iterable[str]) -> dict[bytes, bytes]:
    """Add warnings to the metadata of a schema, for :func:`record_batches`."""
    return {**(metadata or {}), _WARNINGS: json.dumps(list(warnings)).encode()}


def warnings_of(schema: pa.Schema) -> list[str]:
    """Return the warnings in the metadata of a schema."""
    return [str(warning) for warning in json.loads((schema.metadata or {}).get(_WARNINGS, b"[]"))]


def _iter_batches(source_output: Any) -> Iterator[pa.RecordBatch]:
    """Yield record batches of any supported output of a source."""
    import pyarrow as pa

    if isinstance(source_output, pa.RecordBatch):
        yield source_output
    elif type(source_output).__module__.split(".")[0] == "pandas":
        yield from _table_batches(_table_from_pandas(source_output))
    elif isinstance(source_output, pa.Table):
        yield from _table_batches(source_output)
    elif hasattr(source_output, "collect") and type(source_output).__module__.split(".")[0] == "polars":
        yield from _iter_batches(source_output.collect())
    elif hasattr(source_output, "__arrow_c_stream__"):
        yield from _reader_batches(_open_reader(source_output))
    elif isinstance(source_output, Iterable) and not isinstance(source_output, str | bytes | dict):
        yield from _iterable_batches(source_output)
    else:
        raise _unsupported_rows_error(source_output)


def _open_reader(source_output: Any) -> pa.RecordBatchReader:
    import pyarrow as pa

    try:
        return pa.RecordBatchReader.from_stream(source_output)
    except pa.ArrowException as error:  # a type without support in pyarrow, such as integers of 128 bits
        message = f"a column has a type that cannot be read: {error}"
        raise BatchRejectedError([Problem("unsupported-type", message)], hint="cast it in the source") from None


def _table_batches(table: pa.Table) -> Iterator[pa.RecordBatch]:
    yield from _reader_batches(table.to_reader(ROWS_PER_BATCH))


def _reader_batches(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    empty = True
    for batch in reader:
        empty = False
        yield batch
    if empty:
        yield pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in reader.schema], schema=reader.schema)


def _iterable_batches(source_output: Iterable[Any]) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    for piece in source_output:
        if isinstance(piece, pa.RecordBatch):
            yield piece
        elif isinstance(piece, pa.Table):
            yield from _table_batches(piece)
        else:
            raise _unsupported_rows_error(piece, " in a stream")


def _unsupported_rows_error(source_output: Any, where: str = "") -> ExperimentError:
    forgot = "; did you forget `return`?" if source_output is None else ""
    name = "None" if source_output is None else f"{type(source_output).__module__}.{type(source_output).__qualname__}"
    return ExperimentError(
        f"the source returned {name}{where}; allowed is {_ALLOWED}{forgot}", hint="return one of these types"
    )


def _without_metadata(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Decode dictionaries, and drop metadata, which may differ between batches, except for those of this package."""
    import pyarrow as pa

    from diurnal.data.casts import decode_dictionary

    arrays = [decode_dictionary(array) for array in batch.columns]
    metadata = batch.schema.metadata or {}
    untyped = UNTYPED.items() <= metadata.items()
    fields = [
        pa.field(field.name, array.type, metadata=TYPED if TYPED.items() <= (field.metadata or {}).items() else None)
        for field, array in zip(batch.schema, arrays, strict=True)
    ]
    marks = Notation.from_schema(batch.schema).metadata if untyped else None
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields, metadata=marks))


def _conform_to_schema(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Reorder the columns of a later batch as in the first one; reject other columns."""
    received, before = (dict(zip(s.names, s.types, strict=True)) for s in (batch.schema, schema))
    names = [name for name in {**before, **received} if received.get(name) != before.get(name)]
    if names or batch.schema.metadata != schema.metadata:
        listed = "; ".join(
            f"{n!a} was {before.get(n, 'not there')} and then is {received.get(n, 'not there')}" for n in names[:10]
        )
        raise BatchRejectedError(
            [Problem("changing-columns", f"the columns change within the batch: {listed or 'typed and untyped'}")],
            hint="return the same columns and types in each part of the batch",
        )
    return batch.select(schema.names)


def _table_from_pandas(frame: Any) -> pa.Table:
    import pandas as pd
    import pyarrow as pa

    if not isinstance(frame, pd.DataFrame):
        raise _unsupported_rows_error(frame)
    twice = duplicate_name_problems([str(name) for name in frame.columns])
    if twice:
        raise BatchRejectedError(twice, hint="rename the columns in the source")
    frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, UnicodeError, OverflowError, TypeError, ValueError):
        problems = [problem for name in frame.columns for problem in _column_problems(str(name), frame[name])]
        if not problems:
            raise
        raise BatchRejectedError(problems, hint="use one type in each column of the source") from None


def _column_problems(name: str, column: pd.Series[Any]) -> list[Problem]:
    """Return the problems of a column of objects that cannot be converted to Arrow, with rows."""
    import pyarrow as pa

    try:
        pa.Array.from_pandas(column)
    except UnicodeError:
        rows = [i for i, cell in enumerate(column, 1) if isinstance(cell, str) and not _is_encodable(cell)]
        message = f"{name} holds text that is not valid Unicode (half of a surrogate pair)"
        return [Problem("invalid-utf8", message, name, tuple(rows[:20]), len(rows))]
    except OverflowError:
        return [Problem("integer-too-large", f"{name} holds whole numbers that do not fit in 64 bits", name)]
    except (pa.ArrowException, TypeError, ValueError) as error:
        return [mixed_types_problem(name, list(column)) or Problem("unsupported-type", f"{name}: {error}", name)]
    return []


def mixed_types_problem(name: str, cells: list[Any]) -> Problem | None:
    """Return the problem that cells have another type than most cells of their column, with rows; else None."""
    types = [type(cell).__name__ for cell in cells]
    absent = [cell is None or cell != cell for cell in cells]  # noqa: PLR0124 - NaN alone differs from itself
    counts = Counter(kind for kind, no in zip(types, absent, strict=True) if not no)
    if len(counts) < 2:
        return None
    usual = counts.most_common(1)[0][0]
    rows = [i for i, (kind, no) in enumerate(zip(types, absent, strict=True), 1) if not no and kind != usual]
    listed = ", ".join(f"{n} {kind}" for kind, n in counts.most_common())
    return Problem("mixed-types", f"{name} mixes types: {listed}", name, tuple(rows[:20]), len(rows))


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
