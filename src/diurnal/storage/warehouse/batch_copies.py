"""Copies of batches in SQL tables: each load is immutable, and the view shows it once a pointer refers to it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from diurnal.errors import CorruptPackageError, TransientError
from diurnal.runtime.fault_injection import fault_point
from diurnal.storage.warehouse import batch_view
from diurnal.storage.warehouse.column_layout import ColumnLayout
from diurnal.storage.warehouse.connection import Row, WarehouseConnection
from diurnal.storage.warehouse.db_errors import translate_db_errors
from diurnal.storage.warehouse.tables import batch_rows, heads, loads
from diurnal.types import Package, Run

if TYPE_CHECKING:
    import pyarrow as pa
    from adbc_driver_manager import dbapi

    from diurnal.data import Schema

ROWS_PER_CHUNK = 16_384  # which the driver converts to PostgreSQL's format at once
CELLS_PER_CHUNK = 2**22  # of wide rows


class LoadQueries(WarehouseConnection):
    """The table `loads`, and the table of rows and the view of each experiment."""

    def load(
        self,
        run: Run,
        package: Package,
        columns: pa.Schema,
        batches: Iterable[pa.RecordBatch],
        *,
        leading: Collection[str] = (),
        contract: Schema | None = None,
        replacing: int | None = None,
    ) -> int:
        """Copy a package to the warehouse and make it the visible batch of the run's data interval.

        Parameters
        ----------
        run : Run
            The run of the batch.
        package : Package
            The package. If it has a complete load, that is used, and `batches` is not read.
        columns : pa.Schema
            Of the batches: int64, float64, bool, string, date32, timestamp[us] and timestamp[us, UTC].
        batches : iterable of pa.RecordBatch
            The rows. Memory does not grow with their number.
        leading : collection of str
            The columns that become columns of the table where PostgreSQL does not allow so many.
        contract : Schema, optional
            The newest version of the contract, which the view follows.
        replacing : int, optional
            A load of the package with damaged rows, which is not used and is deleted with the switch to the new one.

        Returns
        -------
        int
            The visible load.

        Raises
        ------
        SupersededError
            If a newer attempt has claimed the interval.
        CorruptPackageError
            If the number of rows is not that of the package.
        """
        with self.fenced_transaction_for(None, run) as connection:
            complete = load_id = _find_complete(connection, run, package)
            if load_id is None or load_id == replacing:
                complete = None
                layout = batch_view.prepare_table(connection, run.experiment, columns, leading, contract)
                load_id = _start_copy(connection, run, package)
        if complete is None:
            self._copy(run, load_id, package, layout, batches)
        with self.fenced_transaction_for("load", run) as connection:
            if replacing is not None:
                _clear_pointer(connection, replacing)
                _delete_load(connection, run.experiment, replacing)
            return _switch_pointer(connection, run, package, load_id)

    def discard_load(self, run: Run, load_id: int) -> None:
        """Delete a load that is not visible."""
        with self.fenced_transaction_for("discard_load", run) as connection:
            _delete_load(connection, run.experiment, load_id)

    def _copy(
        self, run: Run, load_id: int, package: Package, layout: ColumnLayout, batches: Iterable[pa.RecordBatch]
    ) -> None:
        import pyarrow as pa

        table = batch_rows(run.experiment)
        rows = _LoadStream(load_id, layout, batches)
        reader = pa.RecordBatchReader.from_batches(rows.schema, rows.chunks())
        with self._arrow() as (connection, cursor):
            try:
                cursor.adbc_ingest(table.strip('"'), reader, mode="append")
            except Exception:
                if rows.error is not None:  # the driver only reports its text
                    raise rows.error from None
                raise
            if rows.count != package.n_rows:
                message = f"{package.path} has {rows.count} rows; its row in the warehouse has {package.n_rows}"
                raise CorruptPackageError(message, hint="check the lake: diurnal verify")
            # Autovacuum does this later, but the embedded server rarely runs that long. Without it, a query for one
            # data interval reads the rows of all of them.
            cursor.execute(f"SELECT brin_summarize_new_values('batch_load_{run.experiment}')")
            cursor.execute(f"ANALYZE {table} (load_id)")
            fault_point("warehouse.load_rows:before")
            connection.commit()
            fault_point("warehouse.load_rows:after")

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

    def loads(self) -> list[Row]:
        """Return all loads, with the columns of the table and the boolean `shown`: whether the view shows it."""
        shown = sa.exists().where(heads.c.load_id == loads.c.load_id)
        return self.rows(sa.select(loads, shown.label("shown")).order_by(loads.c.load_id))

    def load_rows(
        self, experiment: str, load_id: int, columns: pa.Schema, contract: Schema | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Stream the rows of one load as they were loaded, in an undefined order."""
        with self.transaction() as connection:
            layout = batch_view.find_layout(
                columns, contract, batch_view.column_types(connection, batch_rows(experiment))
            )
        listed = ", ".join(map(_quote_name, layout.types()))
        query = f"SELECT {listed} FROM {batch_rows(experiment)} WHERE load_id = {int(load_id)}"
        with self._arrow() as (_, cursor):
            cursor.execute(query)
            for batch in cursor.fetch_record_batch():
                yield layout.from_rows(batch)

    def discard_unused_loads(self, older_than: timedelta) -> int:
        """Delete loads that are not complete, such as those of killed attempts.

        Parameters
        ----------
        older_than : timedelta
            By the server's clock; the copy of a younger load may be in progress.

        Returns
        -------
        int
            The number of deleted loads.
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
                _delete_load(connection, experiment, load_id)
            return len(rows)


class _LoadStream:
    """A stream of batches for the driver: cut into chunks, with the id of the load, and counted."""

    def __init__(self, load_id: int, layout: ColumnLayout, batches: Iterable[pa.RecordBatch]) -> None:
        self._load_id, self._layout, self._batches = load_id, layout, batches
        self.schema = self._marked(_batch_without_rows(layout.schema)).schema
        self.count = 0
        self.error: BaseException | None = None

    def chunks(self) -> Iterator[pa.RecordBatch]:
        n_rows = max(1, min(ROWS_PER_CHUNK, CELLS_PER_CHUNK // max(1, len(self._layout.schema))))
        try:
            for batch in self._batches:
                for start in range(0, batch.num_rows, n_rows):
                    chunk = batch.slice(start, n_rows)
                    self.count += chunk.num_rows
                    yield self._marked(chunk)
        except BaseException as error:
            self.error = error
            raise

    def _marked(self, chunk: pa.RecordBatch) -> pa.RecordBatch:
        import pyarrow as pa

        mark = pa.repeat(pa.scalar(self._load_id, pa.int64()), chunk.num_rows)
        return self._layout.to_rows(chunk).add_column(0, pa.field("load_id", pa.int64()), mark)


def _find_complete(connection: sa.Connection, run: Run, package: Package) -> int | None:
    query = sa.select(loads.c.load_id).where(
        loads.c.experiment == run.experiment,
        loads.c.data_interval_start == run.interval.start,
        loads.c.digest == package.digest,
        loads.c.state == "complete",
    )
    load_id: int | None = connection.execute(query).scalar_one_or_none()
    return load_id


def _start_copy(connection: sa.Connection, run: Run, package: Package) -> int:
    new = sa.insert(loads).values(
        experiment=run.experiment,
        data_interval_start=run.interval.start,
        digest=package.digest,
        n_rows=package.n_rows,
        epoch=run.epoch,
    )
    return int(connection.execute(new.returning(loads.c.load_id)).scalar_one())


def _switch_pointer(connection: sa.Connection, run: Run, package: Package, load_id: int) -> int:
    """Complete the load and point to it; if another load of the package was completed first, point to that one."""
    first = _find_complete(connection, run, package)
    if first is None:
        incomplete = sa.update(loads).where(loads.c.load_id == load_id, loads.c.state == "loading")
        complete = incomplete.values(state="complete", completed_at=sa.func.clock_timestamp())
        if connection.execute(complete).rowcount == 0:
            message = f"load {load_id} was deleted as unused before it was complete"
            raise TransientError(message, hint="try again; run gc with a minimum age that is longer than a copy takes")
    elif first != load_id:
        _delete_load(connection, run.experiment, load_id)
    head = (heads.c.experiment == run.experiment) & (heads.c.data_interval_start == run.interval.start)
    connection.execute(sa.update(heads).where(head).values(load_id=first or load_id))
    return first or load_id


def _clear_pointer(connection: sa.Connection, load_id: int) -> None:
    connection.execute(sa.update(heads).where(heads.c.load_id == load_id).values(load_id=None))


def _delete_load(connection: sa.Connection, experiment: str, load_id: int) -> None:
    connection.execute(sa.text(f"DELETE FROM {batch_rows(experiment)} WHERE load_id = :load_id"), {"load_id": load_id})
    connection.execute(sa.delete(loads).where(loads.c.load_id == load_id))


def _quote_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _batch_without_rows(schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    return pa.RecordBatch.from_pylist([], schema=schema)
