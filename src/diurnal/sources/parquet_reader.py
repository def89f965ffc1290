"""Parquet as a source: checksums of pages verified, and a damaged file refused instead of misread.

Beside the lake, this is the one place that imports ``pyarrow.parquet``: the lake reads what it wrote itself, this
reads what others wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from diurnal.sources.cell_conversion import Cells
from diurnal.sources.decompression import opened_raw, refused
from diurnal.sources.file_columns import columns_of
from diurnal.sources.source import BYTES_A_BATCH, ROWS_A_BATCH

if TYPE_CHECKING:
    from diurnal.sources.files import Files


def read_parquet(fs: Any, path: str, files: Files) -> Iterator[pa.RecordBatch]:
    """Stream a Parquet file."""
    with opened_raw(fs, path) as stream:
        head = stream.read(4)
        if not head:
            raise refused("no-bytes", "has no bytes")
        if head not in (b"PAR1", b"PARE"):
            raise refused("damaged-file", f"is not Parquet; it begins with {head!r}")
        stream.seek(0)
        cells = None
        for batch in _batches(stream, files):
            cells = cells or Cells(files, batch.schema.names, untyped=False)
            yield cells.read(batch)


def _batches(stream: Any, files: Files) -> Iterator[pa.RecordBatch]:
    """Read batches; what the library cannot read is a refusal."""
    try:
        yield from _read(stream, files)
    except pa.ArrowNotImplementedError as error:
        raise refused("unknown-codec", f"is written in a way that cannot be read here: {error}") from error
    except (pa.ArrowException, OSError, MemoryError, UnicodeDecodeError) as error:
        code = "encrypted-file" if re.search("[Ee]ncrypt|[Dd]ecrypt", str(error)) else "damaged-file"
        raise refused(code, f"cannot be read: {_first_line(error)}", "write or copy the file again") from error


def _read(stream: Any, files: Files) -> Iterator[pa.RecordBatch]:
    file = pq.ParquetFile(stream, page_checksum_verification=True, pre_buffer=False, buffer_size=2**20)
    schema = file.schema_arrow
    wanted = None if files.usecols is None else list(columns_of(schema.names, files).names)
    groups = (file.metadata.row_group(i) for i in range(file.metadata.num_row_groups))
    n_bytes = sum(_size(group, wanted) for group in groups)
    if n_bytes > files.max_bytes:
        raise refused("too-many-bytes", f"holds more than max_bytes={files.max_bytes} once decompressed")
    empty = True
    wide = max(1, file.metadata.num_rows * BYTES_A_BATCH // max(1, n_bytes))
    for batch in file.iter_batches(min(ROWS_A_BATCH, wide), columns=wanted):
        empty = False
        yield batch if wanted is None else batch.select(wanted)
    if empty:
        kept = schema if wanted is None else pa.schema([schema.field(name) for name in wanted])
        yield pa.RecordBatch.from_pylist([], schema=kept)


def _size(group: Any, wanted: list[str] | None) -> int:
    """Tell how large the columns of a group are that are wanted."""
    if wanted is None:
        return int(group.total_byte_size)
    columns = (group.column(i) for i in range(group.num_columns))
    roots = tuple(f"{name}." for name in wanted)
    return sum(c.total_uncompressed_size for c in columns if f"{c.path_in_schema}.".startswith(roots))


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:300]
