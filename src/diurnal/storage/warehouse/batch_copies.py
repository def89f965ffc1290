"""Copies of batches as rows of SQL: each load is immutable, unseen until it is complete, and shown by a pointer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from diurnal.errors import CorruptPackageError, TransientError
from diurnal.runtime.fault_injection import fault_point
from diurnal.storage.warehouse import batch_view
from diurnal.storage.warehouse.column_layout import Layout
from diurnal.storage.warehouse.connection import Connected, Row
from diurnal.storage.warehouse.db_errors import translated
from diurnal.storage.warehouse.tables import batch_rows, heads, loads
from diurnal.types import Package, Run

if TYPE_CHECKING:
    import pyarrow as pa
    from adbc_driver_manager import dbapi

    from diurnal.data import Schema

CHUNK = 16_384  # rows that the driver turns to PostgreSQL's format at once
CELLS = 2**22  # likewise, where rows are wide


class Loads(Connected):
    """The table `loads`, and for each experiment its table of rows and the view behind the pointers."""

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
        """Copy a package into the warehouse and show it as the batch of the run's data interval.

        Parameters
        ----------
        run : Run
            Whose batch it is.
        package : Package
            What is copied; a complete load of it is used again, and then `batches` is not read.
        columns : pa.Schema
            Of the batches: int64, float64, bool, string, date32, timestamp[us] and timestamp[us, UTC].
        batches : iterable of pa.RecordBatch
            The rows. Memory does not grow with their number.
        leading : collection of str
            The columns that are columns of the table even where these are more than PostgreSQL takes.
        contract : Schema, optional
            The newest version of the contract, which the view follows.
        replacing : int, optional
            A load of the package whose rows are damaged: it is not used again, and it is removed when the new one is
            shown.

        Returns
        -------
        int
            The load that the view now shows.

        Raises
        ------
        SupersededError
            If a newer attempt has claimed the interval.
        CorruptPackageError
            If the rows are not as many as the package says.
        """
        with self.fenced_transaction_for(None, run) as connection:
            complete = load_id = _complete(connection, run, package)
            if load_id is None or load_id == replacing:
                complete = None
                layout = batch_view.prepared(connection, run.experiment, columns, leading, contract)
                load_id = _begin(connection, run, package)
        if complete is None:
            self._copy(run, load_id, package, layout, batches)
        with self.fenced_transaction_for("load", run) as connection:
            if replacing is not None:
                _hide(connection, replacing)
                _discard(connection, run.experiment, replacing)
            return _show(connection, run, package, load_id)

    def discard_load(self, run: Run, load_id: int) -> None:
        """Remove a load that the view does not show."""
        with self.fenced_transaction_for("discard_load", run) as connection:
            _discard(connection, run.experiment, load_id)

    def _copy(
        self, run: Run, load_id: int, package: Package, layout: Layout, batches: Iterable[pa.RecordBatch]
    ) -> None:
        import pyarrow as pa

        table = batch_rows(run.experiment)
        rows = _Rows(load_id, layout, batches)
        reader = pa.RecordBatchReader.from_batches(rows.schema, rows.chunks())
        with self._arrow() as (connection, cursor):
            try:
                cursor.adbc_ingest(table.strip('"'), reader, mode="append")
            except Exception:
                if rows.error is not None:  # the driver knows its text only
                    raise rows.error from None
                raise
            if rows.count != package.n_rows:
                said = f"{package.path} gives {rows.count} rows; the warehouse knows it with {package.n_rows}"
                raise CorruptPackageError(said, hint="see what happened to the lake: diurnal verify")
            # Autovacuum would do it some day; the embedded server rarely lives that long, and without it the
            # view of one data interval reads the rows of all of them.
            cursor.execute(f"SELECT brin_summarize_new_values('batch_load_{run.experiment}')")
            cursor.execute(f"ANALYZE {table} (load_id)")
            fault_point("warehouse.load_rows:before")
            connection.commit()
            fault_point("warehouse.load_rows:after")

    @contextmanager
    def _arrow(self) -> Iterator[tuple[dbapi.Connection, dbapi.Cursor]]:
        """Open a connection of the driver that speaks Arrow; it rolls back what is not committed."""
        from adbc_driver_postgresql import dbapi  # imports pandas and polars, where they are installed

        with (
            translated(self.address),
            closing(dbapi.connect(self.address.conninfo(unhurried=True))) as connection,
            connection.cursor() as cursor,
        ):
            yield connection, cursor

    def loads(self) -> list[Row]:
        """Give every load, with the columns of the table, and `shown`: whether the view shows it."""
        shown = sa.exists().where(heads.c.load_id == loads.c.load_id)
        return self.rows(sa.select(loads, shown.label("shown")).order_by(loads.c.load_id))

    def load_rows(
        self, experiment: str, load_id: int, columns: pa.Schema, contract: Schema | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Stream the rows of one load, in no promised order, as they were loaded."""
        with self.transaction() as connection:
            layout = batch_view.placed(columns, contract, batch_view.types_of(connection, batch_rows(experiment)))
        listed = ", ".join(map(_quoted, layout.types()))
        query = f"SELECT {listed} FROM {batch_rows(experiment)} WHERE load_id = {int(load_id)}"
        with self._arrow() as (_, cursor):
            cursor.execute(query)
            for batch in cursor.fetch_record_batch():
                yield layout.from_rows(batch)

    def discard_unused_loads(self, older_than: timedelta) -> int:
        """Remove loads that never became complete, such as those of killed attempts.

        Parameters
        ----------
        older_than : timedelta
            By the server's clock; younger ones may still be on their way.

        Returns
        -------
        int
            How many loads were removed, with their rows.
        """
        unused = (
            sa.select(loads.c.load_id, loads.c.experiment)
            .where(loads.c.state == "loading", loads.c.created_at < sa.func.clock_timestamp() - older_than)
            .with_for_update(skip_locked=True)
        )
        with self.transaction() as connection:
            connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
            found = connection.execute(unused).all()
            for load_id, experiment in found:
                _discard(connection, experiment, load_id)
            return len(found)


class _Rows:
    """Batches on their way to the driver: cut small, marked with their load, and counted."""

    def __init__(self, load_id: int, layout: Layout, batches: Iterable[pa.RecordBatch]) -> None:
        self._load_id, self._layout, self._batches = load_id, layout, batches
        self.schema = self._marked(_no_rows(layout.schema)).schema
        self.count = 0
        self.error: BaseException | None = None

    def chunks(self) -> Iterator[pa.RecordBatch]:
        n_rows = max(1, min(CHUNK, CELLS // max(1, len(self._layout.schema))))
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


def _complete(connection: sa.Connection, run: Run, package: Package) -> int | None:
    query = sa.select(loads.c.load_id).where(
        loads.c.experiment == run.experiment,
        loads.c.data_interval_start == run.interval.start,
        loads.c.digest == package.digest,
        loads.c.state == "complete",
    )
    found: int | None = connection.execute(query).scalar_one_or_none()
    return found


def _begin(connection: sa.Connection, run: Run, package: Package) -> int:
    new = sa.insert(loads).values(
        experiment=run.experiment,
        data_interval_start=run.interval.start,
        digest=package.digest,
        n_rows=package.n_rows,
        epoch=run.epoch,
    )
    return int(connection.execute(new.returning(loads.c.load_id)).scalar_one())


def _show(connection: sa.Connection, run: Run, package: Package, load_id: int) -> int:
    """Complete the load and move the pointer; a load of the same package that was faster is taken instead."""
    first = _complete(connection, run, package)
    if first is None:
        mine = sa.update(loads).where(loads.c.load_id == load_id, loads.c.state == "loading")
        done = mine.values(state="complete", completed_at=sa.func.clock_timestamp())
        if connection.execute(done).rowcount == 0:
            message = f"load {load_id} was discarded as an unused one before it was complete"
            raise TransientError(message, hint="try again; let gc spare loads that are younger than a load takes")
    elif first != load_id:
        _discard(connection, run.experiment, load_id)
    head = (heads.c.experiment == run.experiment) & (heads.c.data_interval_start == run.interval.start)
    connection.execute(sa.update(heads).where(head).values(load_id=first or load_id))
    return first or load_id


def _hide(connection: sa.Connection, load_id: int) -> None:
    connection.execute(sa.update(heads).where(heads.c.load_id == load_id).values(load_id=None))


def _discard(connection: sa.Connection, experiment: str, load_id: int) -> None:
    connection.execute(sa.text(f"DELETE FROM {batch_rows(experiment)} WHERE load_id = :load_id"), {"load_id": load_id})
    connection.execute(sa.delete(loads).where(loads.c.load_id == load_id))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _no_rows(schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    return pa.RecordBatch.from_pylist([], schema=schema)
