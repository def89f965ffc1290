"""Rows as a source gave them, on the local disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa


class Spool:
    """Rows as a source gave them, kept in a temporary file so that they can be read more than once.

    Parameters
    ----------
    folder : pathlib.Path
        Where to keep them.
    batches : iterable of pyarrow.RecordBatch
        What the source gives.

    Attributes
    ----------
    n_rows, n_bytes : int
        How many rows came, and how large they are in memory.
    """

    def __init__(self, folder: Path, batches: Iterable[pa.RecordBatch]) -> None:
        self.path = folder / "spool.arrow"
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
        with pa.OSFile(str(self.path)) as source:  # not mapped: what is mapped counts as memory, until it is needed
            reader = pa.ipc.open_file(source)
            if not reader.num_record_batches:
                yield pa.RecordBatch.from_pylist([], schema=self.schema)
            for i in range(reader.num_record_batches):
                yield reader.get_batch(i)
