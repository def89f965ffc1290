"""Parquet as a source: checksums of pages verified, and a damaged file refused instead of misread.

Beside the lake, this is the one place that imports ``pyarrow.parquet``: the lake reads what it wrote itself, this
reads what others wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from diurnal.sources.source import BYTES_A_BATCH, ROWS_A_BATCH
from diurnal.sources.streams import refused


def read_parquet(fs: Any, path: str, *, max_bytes: int) -> Iterator[pa.RecordBatch]:
    """Stream a Parquet file."""
    with fs.open(path, "rb") as stream:
        head = stream.read(4)
        if not head:
            raise refused("no-bytes", "has no bytes")
        if head not in (b"PAR1", b"PARE"):
            raise refused("damaged-file", f"is not Parquet; it begins with {head!r}")
        stream.seek(0)
        try:
            yield from _batches(stream, max_bytes)
        except pa.ArrowNotImplementedError as error:
            raise refused("unknown-codec", f"is written in a way that cannot be read here: {error}") from error
        except (pa.ArrowException, OSError, MemoryError, UnicodeDecodeError) as error:
            code = "encrypted-file" if re.search("[Ee]ncrypt|[Dd]ecrypt", str(error)) else "damaged-file"
            raise refused(code, f"cannot be read: {_first_line(error)}", "write or copy the file again") from error


def _batches(stream: Any, max_bytes: int) -> Iterator[pa.RecordBatch]:
    file = pq.ParquetFile(stream, page_checksum_verification=True, pre_buffer=False, buffer_size=2**20)
    groups = (file.metadata.row_group(i) for i in range(file.metadata.num_row_groups))
    n_bytes = sum(group.total_byte_size for group in groups)
    if n_bytes > max_bytes:
        raise refused("too-many-bytes", f"holds more than max_bytes={max_bytes} once decompressed")
    empty = True
    wide = max(1, file.metadata.num_rows * BYTES_A_BATCH // max(1, n_bytes))
    for batch in file.iter_batches(min(ROWS_A_BATCH, wide)):
        empty = False
        yield batch
    if empty:
        yield pa.RecordBatch.from_pylist([], schema=file.schema_arrow)


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:300]
