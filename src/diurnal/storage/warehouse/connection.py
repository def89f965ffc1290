"""The connection to a warehouse: transactions with their settings, fencing and fault points."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from diurnal.errors import SupersededError
from diurnal.runtime.fault_injection import fault_point
from diurnal.storage.warehouse.db_errors import translate_db_errors
from diurnal.storage.warehouse.migrate import migrate_tables
from diurnal.storage.warehouse.tables import heads, identity
from diurnal.storage.warehouse.url import WarehouseUrl
from diurnal.types import Run
from diurnal.types.json_values import encode_non_finite

Row = dict[str, Any]

_READER_POOL = 8  # idle connections of a process with many readers


class WarehouseConnection:
    """The base class of the queries."""

    def __init__(self, url: str, *, reader_timeout: int | None = None) -> None:
        self.address = WarehouseUrl.parse(url)
        is_reader = reader_timeout is not None
        self._engine = sa.create_engine(
            "postgresql+psycopg://",
            # not in the URL, which SQLAlchemy parses in another way than libpq
            connect_args=self.address.settings(reader_timeout=reader_timeout),
            json_serializer=_to_json,
            pool_size=_READER_POOL if is_reader else 1,
            max_overflow=-1,  # a thread never waits for the connection of another one
            pool_pre_ping=True,  # a connection that was lost while idle is replaced
        )
        self._process = os.getpid()
        try:
            with translate_db_errors(self.address):
                migrate_tables(self._engine)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the idle connections."""
        self._engine.dispose()

    @contextmanager
    def transaction(self, name: str | None = None, experiment: str | None = None) -> Iterator[sa.Connection]:
        """Open a transaction and commit it at the end; an error rolls it back.

        Parameters
        ----------
        name : str, optional
            The name of its fault points.
        experiment : str, optional
            The experiment, for the application name of the session.
        """
        if name:
            fault_point(f"warehouse.{name}:entry")
        if self._process != os.getpid():  # after a fork: the connections belong to the parent
            self._engine.dispose(close=False)
            self._process = os.getpid()
        with translate_db_errors(self.address), self._engine.connect() as connection:
            if experiment:
                set_name = sa.func.set_config("application_name", f"diurnal {experiment}", True)
                connection.execute(sa.select(set_name))
            yield connection
            if name:
                fault_point(f"warehouse.{name}:before")
            connection.commit()
            if name:
                fault_point(f"warehouse.{name}:after")

    @contextmanager
    def fenced_transaction(
        self, name: str | None, experiment: str, start: datetime, epoch: int
    ) -> Iterator[sa.Connection]:
        """Open a transaction that locks the row of a data interval, if the attempt is the newest one on it.

        Each claim of the interval increments its epoch. An attempt that was paused, and resumes after another one has
        claimed the interval, has an older epoch, so none of its writes succeeds.

        Raises
        ------
        SupersededError
            If a newer attempt has claimed the interval, or none ever did.
        """
        with self.transaction(name, experiment) as connection:
            is_head = (heads.c.experiment == experiment) & (heads.c.data_interval_start == start)
            query = sa.select(heads.c.epoch, heads.c.claimed_by).where(is_head).with_for_update()
            head = connection.execute(query).one_or_none()
            if head is None or head.epoch != epoch:
                reason = f"attempt {head.epoch}, by {head.claimed_by}, has claimed it" if head else "it is not claimed"
                raise SupersededError(f"attempt {epoch} on {experiment} {start.isoformat()} is superseded: {reason}")
            yield connection

    @contextmanager
    def claimed_transaction(
        self, name: str | None, experiment: str, start: datetime | None = None
    ) -> Iterator[sa.Connection]:
        """Open a transaction for a write without an epoch, such as one that any attempt makes in the same way.

        Parameters
        ----------
        name, experiment : str
            As for :meth:`transaction`.
        start : datetime, optional
            The start of the data interval that must have been claimed; by default, any of the experiment.

        Raises
        ------
        SupersededError
            If there is no such claim: the experiment was removed meanwhile.
        """
        with self.transaction(name, experiment) as connection:
            query = sa.select(heads.c.epoch).where(heads.c.experiment == experiment)
            if start is not None:
                query = query.where(heads.c.data_interval_start == start)
            if connection.execute(query.limit(1).with_for_update(key_share=True, read=True)).first() is None:
                which = "" if start is None else f" {start.isoformat()}"
                raise SupersededError(f"{experiment}{which} is not claimed: the experiment was removed meanwhile")
            yield connection

    def fenced_transaction_for(self, name: str | None, run: Run) -> Any:
        """Open a fenced transaction for a run."""
        return self.fenced_transaction(name, run.experiment, run.interval.start, run.epoch)

    def check_attempt(self, run: Run) -> None:
        """Raise a SupersededError if a newer attempt has claimed the data interval of a run."""
        self.check_claim(run.experiment, run.interval.start, run.epoch)

    def check_claim(self, experiment: str, start: datetime, epoch: int) -> None:
        """Raise a SupersededError if a newer attempt has claimed a data interval since it had an epoch."""
        with self.fenced_transaction(None, experiment, start, epoch):
            pass

    @contextmanager
    def process_lock(self, name: str, *, wait: bool) -> Iterator[bool]:
        """Let one process at a time do something; yield whether this one may.

        The lock belongs to a connection, so that it ends with a process that is killed.

        Parameters
        ----------
        name : str
            What is done.
        wait : bool
            Whether to wait until the other process has finished. If false, yield False meanwhile.
        """
        key = sa.func.hashtextextended(name, 0)
        lock = sa.func.pg_advisory_lock if wait else sa.func.pg_try_advisory_lock
        with translate_db_errors(self.address), self._engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")  # no transaction stays idle
            locked = connection.execute(sa.select(lock(key))).scalar_one() is not False
            try:
                yield locked
            finally:
                if locked:
                    connection.execute(sa.select(sa.func.pg_advisory_unlock(key)))

    @cached_property
    def identity(self) -> str:
        """The id of this warehouse, which was created with its tables; a dump and restore preserves it."""
        with self.transaction() as connection:
            return str(connection.execute(sa.select(identity.c.warehouse_id)).scalar_one())

    def rows(self, query: sa.Select[Any]) -> list[Row]:
        """Read rows as dictionaries."""
        with self.transaction() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]


def row_to_dict(row: Mapping[Any, Any] | None) -> Row | None:
    """Return a row as a dictionary; None if there is no row."""
    return None if row is None else dict(row)


def _to_json(value: object) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:  # PostgreSQL's JSON has no NaN or infinity; a string preserves them, which null would not
        return json.dumps(encode_non_finite(value), allow_nan=False)
