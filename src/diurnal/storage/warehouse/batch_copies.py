"""Copies of batches in SQL tables: each load is immutable, and the view shows it once a pointer refers to it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from diurnal.errors import CorruptPackageError
from diurnal.storage.warehouse import batch_view
from diurnal.storage.warehouse.column_layout import ColumnLayout
from diurnal.storage.warehouse.connection import Row
from diurnal.storage.warehouse.row_copies import RowCopies, complete_load, delete_load, quote_name
from diurnal.storage.warehouse.tables import batch_rows, heads, loads
from diurnal.storage.warehouse.visible_rows import batch_relation
from diurnal.types import Package, Run

if TYPE_CHECKING:
    import pyarrow as pa

    from diurnal.data import Schema


class LoadQueries(RowCopies):
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
                layout = batch_view.prepare_table(
                    connection, batch_relation(run.experiment), columns, leading, contract
                )
                load_id = _start_copy(connection, run, package)
        if complete is None:
            self._copy(run, load_id, package, layout, batches)
        with self.fenced_transaction_for("load", run) as connection:
            if replacing is not None:
                _clear_pointer(connection, replacing)
                delete_load(connection, loads, batch_relation(run.experiment), replacing)
            return _switch_pointer(connection, run, package, load_id)

    def discard_load(self, run: Run, load_id: int) -> None:
        """Delete a load that is not visible."""
        with self.fenced_transaction_for("discard_load", run) as connection:
            delete_load(connection, loads, batch_relation(run.experiment), load_id)

    def _copy(
        self, run: Run, load_id: int, package: Package, layout: ColumnLayout, batches: Iterable[pa.RecordBatch]
    ) -> None:
        def check_count(n_rows: int) -> None:
            if n_rows != package.n_rows:
                message = f"{package.path} has {n_rows} rows; its row in the warehouse has {package.n_rows}"
                raise CorruptPackageError(message, hint="check the lake: diurnal verify")

        self._copy_rows("load_rows", batch_relation(run.experiment), load_id, layout, batches, check_count)

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
        listed = ", ".join(map(quote_name, layout.types()))
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
        return self._discard_loads(loads, batch_relation, older_than)


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
        complete_load(connection, loads, load_id)
    elif first != load_id:
        delete_load(connection, loads, batch_relation(run.experiment), load_id)
    head = (heads.c.experiment == run.experiment) & (heads.c.data_interval_start == run.interval.start)
    connection.execute(sa.update(heads).where(head).values(load_id=first or load_id))
    return first or load_id


def _clear_pointer(connection: sa.Connection, load_id: int) -> None:
    connection.execute(sa.update(heads).where(heads.c.load_id == load_id).values(load_id=None))
