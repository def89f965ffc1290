"""A warehouse that is connected: transactions with their settings, their fence and their named fault points."""

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
from diurnal.storage.warehouse.db_errors import translated
from diurnal.storage.warehouse.migrate import migrate
from diurnal.storage.warehouse.tables import heads, identity
from diurnal.storage.warehouse.url import Address
from diurnal.types import Run
from diurnal.types.json_values import encode_non_finite

Row = dict[str, Any]


class Connected:
    """What the groups of tables share."""

    def __init__(self, url: str) -> None:
        self.address = Address.of(url)
        self._engine = sa.create_engine(
            "postgresql+psycopg://",
            connect_args=self.address.settings(),  # not in the URL: SQLAlchemy would read it in its own way
            json_serializer=_to_json,
            pool_size=1,
            max_overflow=-1,  # a thread never waits for another one's connection
            pool_pre_ping=True,  # one that died while it was idle is replaced
        )
        self._process = os.getpid()
        try:
            with translated(self.address):
                migrate(self._engine)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the idle connections."""
        self._engine.dispose()

    @contextmanager
    def transaction(self, verb: str | None = None, experiment: str | None = None) -> Iterator[sa.Connection]:
        """Open a transaction, commit it at the end; any error rolls it back.

        Parameters
        ----------
        verb : str, optional
            Its name among the fault points.
        experiment : str, optional
            What it is about, for whoever looks at the sessions of the server.
        """
        if verb:
            fault_point(f"warehouse.{verb}:entry")
        if self._process != os.getpid():  # forked: the connections are the parent's
            self._engine.dispose(close=False)
            self._process = os.getpid()
        with translated(self.address), self._engine.connect() as connection:
            if experiment:
                named = sa.func.set_config("application_name", f"diurnal {experiment}", True)
                connection.execute(sa.select(named))
            yield connection
            if verb:
                fault_point(f"warehouse.{verb}:before")
            connection.commit()
            if verb:
                fault_point(f"warehouse.{verb}:after")

    @contextmanager
    def fenced_transaction(
        self, verb: str | None, experiment: str, start: datetime, epoch: int
    ) -> Iterator[sa.Connection]:
        """Open a transaction that holds the data interval's row and belongs to the newest attempt on it.

        Raises
        ------
        SupersededError
            If a newer attempt has claimed the interval, or none ever did.
        """
        with self.transaction(verb, experiment) as connection:
            mine = (heads.c.experiment == experiment) & (heads.c.data_interval_start == start)
            query = sa.select(heads.c.epoch, heads.c.claimed_by).where(mine).with_for_update()
            head = connection.execute(query).one_or_none()
            if head is None or head.epoch != epoch:
                now = f"attempt {head.epoch}, by {head.claimed_by}, has it" if head else "nobody has claimed it"
                raise SupersededError(f"attempt {epoch} on {experiment} {start.isoformat()} is superseded: {now}")
            yield connection

    def fenced_transaction_for(self, verb: str | None, run: Run) -> Any:
        """Open a fenced transaction for a run."""
        return self.fenced_transaction(verb, run.experiment, run.interval.start, run.epoch)

    @cached_property
    def identity(self) -> str:
        """Which warehouse this is: made once, with its tables, and kept by a dump and restore."""
        with self.transaction() as connection:
            return str(connection.execute(sa.select(identity.c.warehouse_id)).scalar_one())

    def rows(self, query: sa.Select[Any]) -> list[Row]:
        """Read rows as dictionaries."""
        with self.transaction() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]


def one(row: Mapping[Any, Any] | None) -> Row | None:
    """Make a dictionary of a row that may be missing."""
    return None if row is None else dict(row)


def _to_json(value: object) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:  # JSON, and so PostgreSQL, has no NaN: its name keeps what a missing value would lose
        return json.dumps(encode_non_finite(value), allow_nan=False)
