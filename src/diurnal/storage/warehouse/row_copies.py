"""Copies of rows to tables of PostgreSQL, in memory that does not grow with their number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from diurnal.errors import TransientError
from diurnal.storage.warehouse.column_layout import ColumnLayout
from diurnal.storage.warehouse.connection import WarehouseConnection
from diurnal.storage.warehouse.db_errors import translate_db_errors
from diurnal.storage.warehouse.visible_rows import VisibleRows

if TYPE_CHECKING:
    import pyarrow as pa
    from adbc_driver_manager import dbapi

ROWS_PER_CHUNK = 16_384  # which are encoded at once
CELLS_PER_CHUNK = 2**22  # of wide rows


class RowCopies(WarehouseConnection):
    """The base class of queries that load rows."""

    def _copy_rows(
        self,
        name: str,
        relation: VisibleRows,
        load_id: int,
        layout: ColumnLayout,
        batches: Iterable[pa.RecordBatch],
        check_count: Callable[[int], object] = lambda _: None,
    ) -> int:
        """Copy rows under the id of a load, in one transaction, and return their number.

        Parameters
        ----------
        name : str
            The name of its fault points.
        relation : VisibleRows
            The table.
        load_id : int
            The load.
        layout : ColumnLayout
            The columns of the batches in the table.
        batches : iterable of pa.RecordBatch
            The rows.
        check_count : callable, optional
            Called with the number of rows before they are committed; its error rolls them back.
        """
        from diurnal.storage.warehouse.copy_format import HEADER, TRAILER, encode_rows  # imports NumPy

        count = 0
        with self.transaction(name, relation.experiment) as connection:
            connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
            columns = ", ".join(map(quote_name, ("load_id", *layout.types())))
            with (
                closing(connection.connection.cursor()) as cursor,
                cursor.copy(f"COPY {relation.table} ({columns}) FROM STDIN (FORMAT binary)") as copy,
                ThreadPoolExecutor(1, thread_name_prefix="diurnal-copy") as thread,
            ):
                sent = thread.submit(copy.write, HEADER)
                for chunk in _slices(batches, layout):
                    # the next chunk is made while the server receives this one
                    encoded = encode_rows(_mark(layout.to_rows(chunk), load_id))
                    sent.result()
                    sent = thread.submit(copy.write, encoded)
                    count += len(chunk)
                sent.result()
                copy.write(TRAILER)
            check_count(count)
            # Autovacuum does this later, but the embedded server rarely runs that long. Without it, a query for one
            # data interval reads the rows of all of them.
            connection.exec_driver_sql(f"SELECT brin_summarize_new_values('{relation.index}')")
            connection.exec_driver_sql(f"ANALYZE {relation.table} (load_id)")
        return count

    @contextmanager
    def _arrow(self) -> Iterator[tuple[dbapi.Connection, dbapi.Cursor]]:
        """Open a connection of the Arrow driver, which rolls back a transaction that is not committed."""
        from adbc_driver_postgresql import dbapi  # imports pandas and polars if they are installed

        with (
            translate_db_errors(self.address),
            closing(dbapi.connect(self.address.conninfo(no_timeout=True))) as connection,
            connection.cursor() as cursor,
        ):
            yield connection, cursor

    def _discard_loads(self, loads: sa.Table, relation_of: Callable[[str], VisibleRows], older_than: timedelta) -> int:
        """Delete loads that are not complete, such as those of killed attempts; return their number.

        Parameters
        ----------
        loads : sqlalchemy.Table
            The table of the loads.
        relation_of : callable
            Returns the table of the rows of an experiment.
        older_than : timedelta
            By the server's clock; the copy of a younger load may be in progress.
        """
        unused = (
            sa.select(loads.c.load_id, loads.c.experiment)
            .where(loads.c.state == "loading", loads.c.created_at < sa.func.clock_timestamp() - older_than)
            .with_for_update(skip_locked=True)
        )
        with self.transaction() as connection:
            connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
            rows = connection.execute(unused).all()
            for load_id, experiment in rows:
                delete_load(connection, loads, relation_of(experiment), load_id)
            return len(rows)


def complete_load(connection: sa.Connection, loads: sa.Table, load_id: int, **values: object) -> None:
    """Make a load complete, with further values of its row."""
    incomplete = sa.update(loads).where(loads.c.load_id == load_id, loads.c.state == "loading")
    complete = incomplete.values(state="complete", completed_at=sa.func.clock_timestamp(), **values)
    if connection.execute(complete).rowcount == 0:
        message = f"load {load_id} was deleted as unused before it was complete"
        raise TransientError(message, hint="try again; run gc with a minimum age that is longer than a load takes")


def delete_load(connection: sa.Connection, loads: sa.Table, relation: VisibleRows, load_id: int) -> None:
    """Delete a load and its rows."""
    connection.execute(sa.text(f"DELETE FROM {relation.table} WHERE load_id = :load_id"), {"load_id": load_id})
    connection.execute(sa.delete(loads).where(loads.c.load_id == load_id))


def quote_name(name: str) -> str:
    """Quote a column for a statement without parameters: a percent sign stays as it is."""
    return '"' + name.replace('"', '""') + '"'


def _slices(batches: Iterable[pa.RecordBatch], layout: ColumnLayout) -> Iterator[pa.RecordBatch]:
    n_rows = max(1, min(ROWS_PER_CHUNK, CELLS_PER_CHUNK // max(1, len(layout.schema))))
    for batch in batches:
        for start in range(0, batch.num_rows, n_rows):
            yield batch.slice(start, n_rows)


def _mark(rows: pa.RecordBatch, load_id: int) -> pa.RecordBatch:
    """Add the id of the load as the first column."""
    import pyarrow as pa

    return rows.add_column(0, "load_id", pa.repeat(pa.scalar(load_id, pa.int64()), len(rows)))
