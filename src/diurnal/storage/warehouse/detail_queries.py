"""Queries for one run, one version or one data interval; the length of the history does not affect their duration."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from diurnal.storage.warehouse.connection import Row, WarehouseConnection
from diurnal.storage.warehouse.tables import bets, contracts, experiments, failures, heads, model_versions, promotions

_RUN_ORDER = (experiments.c.data_interval_start, experiments.c.recorded_at, experiments.c.run_id)
_BRIEF = ("run_id", "data_interval_start", "data_interval_end", "model_version", "code_digest", "code")
_MAX_FAILURES = 20
_MAX_BETS = 200


class DetailQueries(WarehouseConnection):
    """Rows around one row."""

    def previous_run(self, run: Row) -> Row | None:
        """Return the run before a run of the same experiment, in the order of data intervals, with all columns."""
        before = sa.tuple_(*_RUN_ORDER) < _run_place(run)
        query = sa.select(experiments).where(experiments.c.experiment == run["experiment"], before)
        return next(iter(self.rows(query.order_by(*(column.desc() for column in _RUN_ORDER)).limit(1))), None)

    def following_run(self, run: Row) -> Row | None:
        """Return the run after a run of the same experiment: its id, data interval, version and code."""
        after = sa.tuple_(*_RUN_ORDER) > _run_place(run)
        columns = [experiments.c[name] for name in _BRIEF]
        query = sa.select(*columns).where(experiments.c.experiment == run["experiment"], after)
        return next(iter(self.rows(query.order_by(*_RUN_ORDER).limit(1))), None)

    def newest_run_at(self, experiment: str, start: datetime) -> Row | None:
        """Return the newest run of a data interval: its id, data interval, version and code."""
        columns = [experiments.c[name] for name in _BRIEF]
        query = sa.select(*columns).where(
            experiments.c.experiment == experiment, experiments.c.data_interval_start == start
        )
        return next(iter(self.rows(query.order_by(experiments.c.recorded_at.desc()).limit(1))), None)

    def interval_failures(self, experiment: str, start: datetime) -> list[Row]:
        """Return the failed attempts of a data interval, newest first, at most 20."""
        query = sa.select(failures).where(failures.c.experiment == experiment, failures.c.data_interval_start == start)
        return self.rows(query.order_by(failures.c.failure_id.desc()).limit(_MAX_FAILURES))

    def interval_claim(self, experiment: str, start: datetime) -> Row | None:
        """Return the newest attempt of a data interval: its epoch, who claimed the interval, and when."""
        columns = (heads.c.epoch, heads.c.claimed_by, heads.c.claimed_at, heads.c.batch_digest)
        query = sa.select(*columns).where(heads.c.experiment == experiment, heads.c.data_interval_start == start)
        return next(iter(self.rows(query)), None)

    def contract_version(self, experiment: str, version: int) -> Row | None:
        """Return a version of a contract, with all columns of the table."""
        query = sa.select(contracts).where(contracts.c.experiment == experiment, contracts.c.version == version)
        return next(iter(self.rows(query)), None)

    def bets_of_challenge(self, experiment: str, challenge: int, until: datetime) -> list[Row]:
        """Return the newest bets of a challenge up to a data interval, oldest first, at most 200."""
        query = sa.select(bets.c.data_interval_start, bets.c.run_id, bets.c.payoff, bets.c.wealth, bets.c.ended).where(
            bets.c.experiment == experiment, bets.c.challenge == challenge, bets.c.data_interval_start <= until
        )
        return self.rows(query.order_by(bets.c.data_interval_start.desc()).limit(_MAX_BETS))[::-1]

    def service_periods(self, experiment: str, version: int) -> list[Row]:
        """Return the periods in which a version was the champion, oldest first.

        Returns
        -------
        list of dict
            The columns of the table `promotions` but the evidence, and `until`: the time of the next promotion, None
            if the version is the champion.
        """
        of_experiment = promotions.c.experiment == experiment
        columns = [column for column in promotions.c if column.name != "evidence"]
        until = sa.func.lead(promotions.c.promoted_at).over(order_by=promotions.c.seq).label("until")
        periods = sa.select(*columns, until).where(of_experiment).subquery()
        return self.rows(sa.select(periods).where(periods.c.version == version).order_by(periods.c.seq))

    def last_version(self, experiment: str) -> int:
        """Return the number of the version that was published last; 0 before the first one."""
        newest = sa.select(sa.func.coalesce(sa.func.max(model_versions.c.version), 0))
        with self.transaction() as connection:
            return int(connection.execute(newest.where(model_versions.c.experiment == experiment)).scalar_one())


def _run_place(run: Row) -> sa.Tuple:
    values: list[Any] = [sa.literal(run[column.name], column.type) for column in _RUN_ORDER]
    return sa.tuple_(*values)
