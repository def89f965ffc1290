"""Files and streams in Arrow's own format as a source: Feather, ``.arrow``."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from diurnal.sources.cell_conversion import CellConverter
from diurnal.sources.child_process import read_in_child_process
from diurnal.sources.decompression import file_error
from diurnal.sources.file_columns import select_columns

if TYPE_CHECKING:
    from diurnal.sources.files import Files


def read_feather(fs: Any, path: str, files: Files) -> Iterator[pa.RecordBatch]:
    """Stream an Arrow file; record batches have the size with which they were written."""
    with read_in_child_process(fs, path, files, {"format": "feather"}) as stream:
        try:
            reader = pa.ipc.open_stream(io.BufferedReader(stream))
        except pa.ArrowInvalid as error:
            raise file_error("damaged-file", f"is no Arrow file that can be read: {error}") from None
        selected = list(select_columns(reader.schema.names, files).names) if files.usecols is not None else None
        cells = CellConverter(files, selected or reader.schema.names, untyped=False)
        empty = True
        for batch in reader:
            empty = False
            yield cells.read(batch if selected is None else batch.select(selected))
        if empty:
            none = pa.RecordBatch.from_pylist([], schema=reader.schema.remove_metadata())
            yield cells.read(none if selected is None else none.select(selected))
