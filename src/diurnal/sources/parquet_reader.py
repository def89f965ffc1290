"""Reader of Parquet: checksums of pages are verified, so that a damaged file is rejected instead of misread.

Only the lake and this module import ``pyarrow.parquet``. The lake reads its own files, this module those of others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from diurnal.sources.cell_conversion import CellConverter
from diurnal.sources.decompression import file_error, open_raw_file
from diurnal.sources.file_columns import select_columns
from diurnal.sources.source import BYTES_PER_BATCH, ROWS_PER_BATCH

if TYPE_CHECKING:
    from diurnal.sources.files import Files


def read_parquet(fs: Any, path: str, files: Files) -> Iterator[pa.RecordBatch]:
    """Stream a Parquet file."""
    with open_raw_file(fs, path) as stream:
        head = stream.read(4)
        if not head:
            raise file_error("no-bytes", "has no bytes")
        if head not in (b"PAR1", b"PARE"):
            raise file_error("damaged-file", f"is not Parquet; it begins with {head!r}")
        stream.seek(0)
        cells = None
        for batch in _read_batches(stream, files):
            cells = cells or CellConverter(files, batch.schema.names, untyped=False)
            yield cells.read(batch)


def _read_batches(stream: Any, files: Files) -> Iterator[pa.RecordBatch]:
    """Read batches; a file that the library cannot read is rejected."""
    try:
        yield from _iter_row_groups(stream, files)
    except pa.ArrowNotImplementedError as error:
        raise file_error("unknown-codec", f"is written in a way that cannot be read here: {error}") from error
    except (pa.ArrowException, OSError, MemoryError, UnicodeDecodeError) as error:
        code = "encrypted-file" if re.search("[Ee]ncrypt|[Dd]ecrypt", str(error)) else "damaged-file"
        raise file_error(code, f"cannot be read: {_first_error_line(error)}", "write or copy the file again") from error


def _iter_row_groups(stream: Any, files: Files) -> Iterator[pa.RecordBatch]:
    file = pq.ParquetFile(stream, page_checksum_verification=True, pre_buffer=False, buffer_size=2**20)
    schema = file.schema_arrow
    selected = None if files.usecols is None else list(select_columns(schema.names, files).names)
    groups = (file.metadata.row_group(i) for i in range(file.metadata.num_row_groups))
    n_bytes = sum(_selected_size(group, selected) for group in groups)
    if n_bytes > files.max_bytes:
        raise file_error("too-many-bytes", f"holds more than max_bytes={files.max_bytes} once decompressed")
    empty = True
    wide = max(1, file.metadata.num_rows * BYTES_PER_BATCH // max(1, n_bytes))
    for batch in file.iter_batches(min(ROWS_PER_BATCH, wide), columns=selected):
        empty = False
        yield batch if selected is None else batch.select(selected)
    if empty:
        kept = schema if selected is None else pa.schema([schema.field(name) for name in selected])
        yield pa.RecordBatch.from_pylist([], schema=kept)


def _selected_size(group: Any, selected: list[str] | None) -> int:
    """Return the size of the selected columns of a row group."""
    if selected is None:
        return int(group.total_byte_size)
    columns = (group.column(i) for i in range(group.num_columns))
    roots = tuple(f"{name}." for name in selected)
    return sum(c.total_uncompressed_size for c in columns if f"{c.path_in_schema}.".startswith(roots))


def _first_error_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:300]
