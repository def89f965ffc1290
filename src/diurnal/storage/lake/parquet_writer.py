"""Writes Parquet files whose bytes depend on the rows only, not on how the rows are split into tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

ROWS_PER_GROUP = 131_072
CELLS_PER_GROUP = 2**24

Observer = Callable[[pa.Table], object]
"""A function of the rows of a row group."""


def row_group_size(n_columns: int) -> int:
    """Return the number of rows of a row group; wide rows have smaller groups, which fit in memory.

    Examples
    --------
    >>> row_group_size(31), row_group_size(10_000)
    (131072, 1677)
    """
    return max(1, min(ROWS_PER_GROUP, CELLS_PER_GROUP // max(1, n_columns)))


class PackageFileWriter(AbstractContextManager["PackageFileWriter"]):
    """Writes one file in a stream, with page checksums and row groups of one size.

    Parameters
    ----------
    path : pathlib.Path
        A local file.
    schema : pyarrow.Schema
        The schema of the file.
    observe : callable, optional
        Called with the rows of each row group before it is written. A reader of the file gets the same row groups.
    """

    def __init__(self, path: Path, schema: pa.Schema, observe: Observer | None = None) -> None:
        self.path, self.schema = path, schema
        self._observe = observe
        self.n_rows = 0
        self._group_size = row_group_size(len(schema))
        texts = [field.name for field in schema if pa.types.is_string(field.type)]
        self._parquet = pq.ParquetWriter(
            path, schema, compression="zstd", write_page_checksum=True, use_dictionary=texts
        )
        self._buffered: list[pa.Table] = []
        self._n_buffered = 0

    def write(self, table: pa.Table) -> None:
        """Add rows."""
        self._buffered.append(table)
        self._n_buffered += table.num_rows
        while self._n_buffered >= self._group_size:
            self._flush(self._group_size)

    def _flush(self, n_rows: int) -> None:
        table = pa.concat_tables(self._buffered)
        # one contiguous chunk for each column: Parquet's pages depend on chunks
        group = table.slice(0, n_rows).combine_chunks()
        if self._observe is not None:
            self._observe(group)
        self._parquet.write_table(group, row_group_size=self._group_size)
        self._buffered = [table.slice(n_rows)]
        self._n_buffered = self._buffered[0].num_rows
        self.n_rows += min(n_rows, table.num_rows)

    def finish(self) -> int:
        """Write the buffered rows and the footer; return the number of rows."""
        if self._n_buffered:
            self._flush(self._n_buffered)
        self._parquet.close()
        return self.n_rows

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error_type is None:
            self.finish()
            return
        try:
            self._parquet.close()
        except OSError:
            return  # such as a full disk; the original error, which propagates, reports it


def write_parquet(tables: Iterable[pa.Table], path: Path) -> None:
    """Write tables of one schema to a local Parquet file that is not in the lake."""
    writer: pq.ParquetWriter | None = None
    for table in tables:
        writer = writer or pq.ParquetWriter(path, table.schema, write_page_checksum=True)
        writer.write_table(table)
    if writer is not None:
        writer.close()
