"""Writing Parquet files so that equal rows give equal bytes, whatever pieces they come in."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

ROWS_A_GROUP = 131_072
CELLS_A_GROUP = 2**24


def rows_a_group(n_columns: int) -> int:
    """Give how many rows a row group has; where rows are wide it has fewer, for a writer holds one, and a reader too.

    Examples
    --------
    >>> rows_a_group(31), rows_a_group(10_000)
    (131072, 1677)
    """
    return max(1, min(ROWS_A_GROUP, CELLS_A_GROUP // max(1, n_columns)))


class OrderedFile(AbstractContextManager["OrderedFile"]):
    """Writes one file, streaming: page checksums on, and row groups of one size.

    Parameters
    ----------
    path : pathlib.Path
        A local file.
    schema : pyarrow.Schema
        The types to keep.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path, self.schema = path, schema
        self.n_rows = 0
        self._rows_a_group = rows_a_group(len(schema))
        texts = [field.name for field in schema if pa.types.is_string(field.type)]
        self._parquet = pq.ParquetWriter(
            path, schema, compression="zstd", write_page_checksum=True, use_dictionary=texts
        )
        self._waiting: list[pa.Table] = []
        self._n_waiting = 0

    def write(self, table: pa.Table) -> None:
        """Add rows."""
        self._waiting.append(table)
        self._n_waiting += table.num_rows
        while self._n_waiting >= self._rows_a_group:
            self._flush(self._rows_a_group)

    def _flush(self, n_rows: int) -> None:
        table = pa.concat_tables(self._waiting)
        self._parquet.write_table(table.slice(0, n_rows).combine_chunks(), row_group_size=self._rows_a_group)
        self._waiting = [table.slice(n_rows)]
        self._n_waiting = self._waiting[0].num_rows
        self.n_rows += min(n_rows, table.num_rows)

    def finish(self) -> int:
        """Write what still waits, and the footer; gives the number of rows."""
        if self._n_waiting:
            self._flush(self._n_waiting)
        self._parquet.close()
        return self.n_rows

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            try:
                self._parquet.close()
            except OSError:
                return  # the disk is full, say: what goes on being raised says so
        else:
            self.finish()


def write_parquet(tables: Iterable[pa.Table], path: Path) -> None:
    """Write tables, of one schema, to a local Parquet file of the user's own."""
    writer: pq.ParquetWriter | None = None
    for table in tables:
        writer = writer or pq.ParquetWriter(path, table.schema, write_page_checksum=True)
        writer.write_table(table)
    if writer is not None:
        writer.close()
