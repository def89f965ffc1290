"""Rows of a source in a temporary file on the local disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa


class TempArrowFile:
    """Rows of a source, written to a temporary file so that they can be read more than once.

    Parameters
    ----------
    folder : pathlib.Path
        The folder of the file.
    batches : iterable of pyarrow.RecordBatch
        The rows.

    Attributes
    ----------
    n_rows, n_bytes : int
        The number of rows, and their size in memory.
    """

    NAME = "spool.arrow"

    def __init__(self, folder: Path, batches: Iterable[pa.RecordBatch]) -> None:
        self.path = folder / self.NAME
        self.schema: pa.Schema | None = None
        writer: Any = None
        self.n_rows = self.n_bytes = 0
        try:
            for batch in batches:
                if writer is None:
                    self.schema = batch.schema
                    writer = pa.ipc.new_file(self.path, batch.schema)
                writer.write_batch(batch)
                self.n_rows += batch.num_rows
                self.n_bytes += batch.nbytes
        finally:
            if writer is not None:
                writer.close()

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        if self.schema is None:
            return
        with pa.OSFile(str(self.path)) as source:  # not a memory map: mapped pages count as memory of the process
            reader = pa.ipc.open_file(source)
            if not reader.num_record_batches:
                yield pa.RecordBatch.from_pylist([], schema=self.schema)
            for i in range(reader.num_record_batches):
                yield reader.get_batch(i)
