"""Removal of an experiment: all of its rows in one transaction; one row of `removals` stays."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from diurnal.storage.warehouse import tables
from diurnal.storage.warehouse.batch_queries import lock_claims
from diurnal.storage.warehouse.connection import Row, WarehouseConnection
from diurnal.storage.warehouse.promotion_listener import CHANNEL
from diurnal.storage.warehouse.tables import experiments, heads, prediction_heads, removals
from diurnal.storage.warehouse.visible_rows import VisibleRows, batch_relation, prediction_relation

_IN_ORDER = (
    tables.prediction_heads,
    tables.prediction_loads,
    tables.bets,
    tables.promotions,
    tables.model_versions,
    tables.experiments,
    tables.heads,
    tables.loads,
)
"""Tables to which others refer, each after those that refer to it."""


class RemovalQueries(WarehouseConnection):
    """The table `removals`, and the rows of an experiment in all tables."""

    def stored_experiments(self) -> set[str]:
        """Return the names of all experiments that have a row in any table, or whose removal has not ended."""
        names = [sa.select(table.c.experiment) for table in _tables_of_experiments()]
        unfinished = sa.select(removals.c.experiment).where(removals.c.files_deleted_at.is_(None))
        with self.transaction() as connection:
            return set(connection.execute(sa.union(*names, unfinished)).scalars())

    def count_rows(self, experiment: str) -> Row:
        """Return the number of rows of an experiment in each table that has some, and the bytes of its own tables.

        Returns
        -------
        dict
            The number of rows by table; ``"bytes"``: the size of the tables of batches and predictions, indexes
            included.
        """
        with self.transaction() as connection:
            return _count_rows(connection, experiment)

    def remove_experiment(self, experiment: str, *, requested_by: str) -> Row | None:
        """Delete all rows of an experiment, and its tables and views, in one transaction.

        Attempts under way are superseded: each of their writes fails.

        Parameters
        ----------
        experiment : str
            Name of the experiment.
        requested_by : str
            The user who removes it.

        Returns
        -------
        dict or None
            The row of `removals`. None if the experiment has no row in any table.
        """
        with self.transaction("remove_experiment", experiment) as connection:
            lock_claims(connection, experiment, shared=False)
            lock_heads(connection, experiment)
            counts = _count_rows(connection, experiment)
            if not any(counts.values()):
                return None
            removal = sa.insert(removals).values(
                experiment=experiment, removed_by=requested_by, epoch=_highest_epoch(experiment), counts=counts
            )
            row = dict(connection.execute(removal.returning(removals)).mappings().one())
            _delete_rows(connection, experiment)
            for relation in _relations(experiment):
                connection.exec_driver_sql(f"DROP VIEW IF EXISTS {relation.view}")
                connection.exec_driver_sql(f"DROP TABLE IF EXISTS {relation.table}")
            connection.execute(sa.select(sa.func.pg_notify(CHANNEL, experiment)))
            return row

    def unfinished_removals(self, experiment: str) -> list[Row]:
        """Return the removals of an experiment whose files may not all be deleted, oldest first."""
        query = sa.select(removals).where(removals.c.experiment == experiment, removals.c.files_deleted_at.is_(None))
        return self.rows(query.order_by(removals.c.removal_id))

    def finish_removal(self, removal_id: int) -> None:
        """Record that the files of a removal are deleted."""
        done = sa.update(removals).where(removals.c.removal_id == removal_id)
        with self.transaction("finish_removal") as connection:
            connection.execute(done.values(files_deleted_at=sa.func.clock_timestamp()))


def lock_heads(connection: sa.Connection, experiment: str) -> None:
    """Wait for the writes of attempts that are in a transaction, and let no other one begin until this one ends."""
    for table in (heads, prediction_heads):
        query = sa.select(table.c.epoch).where(table.c.experiment == experiment)
        connection.execute(query.order_by(table.c.data_interval_start).with_for_update()).all()


def _tables_of_experiments() -> list[sa.Table]:
    """Return the tables with rows of experiments, each after those that refer to it."""
    others = [table for table in tables.metadata.tables.values() if "experiment" in table.c and table is not removals]
    return [*(table for table in others if table not in _IN_ORDER), *_IN_ORDER]


def _relations(experiment: str) -> tuple[VisibleRows, VisibleRows]:
    return batch_relation(experiment), prediction_relation(experiment)


def _count_rows(connection: sa.Connection, experiment: str) -> Row:
    found: dict[str, Any] = {}
    for table in _tables_of_experiments():
        query = sa.select(sa.func.count()).select_from(table).where(table.c.experiment == experiment)
        found[table.name] = connection.execute(query).scalar_one()
    size = sa.text("SELECT coalesce(pg_total_relation_size(to_regclass(:name)), 0)")
    sizes = [connection.execute(size, {"name": one.table}).scalar_one() for one in _relations(experiment)]
    return {**{name: n for name, n in found.items() if n}, "bytes": sum(map(int, sizes))}


def _highest_epoch(experiment: str) -> sa.ColumnElement[int]:
    """Return the highest epoch of all attempts; those of a new experiment of that name begin above it."""
    highest = [
        sa.func.coalesce(
            sa.select(sa.func.max(table.c.epoch)).where(table.c.experiment == experiment).scalar_subquery(), 0
        )
        for table in (heads, prediction_heads, removals)
    ]
    return sa.func.greatest(*highest)


def _delete_rows(connection: sa.Connection, experiment: str) -> None:
    connection.execute(sa.select(sa.func.set_config("diurnal.removal", experiment, True)))
    runs = sa.update(experiments).where(experiments.c.experiment == experiment)
    connection.execute(runs.values(champion_version=None, model_version=None))  # runs and versions name each other
    for table in _tables_of_experiments():
        connection.execute(sa.delete(table).where(table.c.experiment == experiment))
