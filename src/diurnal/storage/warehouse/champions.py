"""The champion of an experiment and the challenge to it, as one transaction reads them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from diurnal.storage.warehouse.tables import bets, model_versions, promotions
from diurnal.types import Bet, DataInterval, ModelVersion, Run, Standing

VERSION_COLUMNS = (
    model_versions.c.experiment,
    model_versions.c.version,
    model_versions.c.run_id,
    model_versions.c.data_interval_start,
    model_versions.c.data_interval_end,
    model_versions.c.path,
    model_versions.c.digest,
)
_NUMBERS = ("challenge", "challenger", "champion", "promotion", "year", "share", "spare", "n_batches", "payoff")


def lock_versions(connection: sa.Connection, experiment: str) -> None:
    """Let no other transaction number or promote versions of the experiment until this one ends."""
    key = sa.func.hashtextextended(f"versions of {experiment}", 0)
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))


def select_version(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> ModelVersion | None:
    """Return the version that satisfies a condition, if one does."""
    row = connection.execute(sa.select(*VERSION_COLUMNS).where(condition)).one_or_none()
    return None if row is None else to_model_version(row)


def to_model_version(row: Any) -> ModelVersion:
    """Turn a row of the columns :data:`VERSION_COLUMNS` into a version."""
    interval = DataInterval(row.data_interval_start, row.data_interval_end)
    return ModelVersion(row.experiment, row.version, row.run_id, interval, row.path, row.digest)


def select_champion(connection: sa.Connection, experiment: str, at: datetime | None = None) -> ModelVersion | None:
    """Return the version in use, now or at a moment of the past."""
    of_it = promotions.c.experiment == experiment
    newest = sa.select(sa.func.max(promotions.c.seq)).where(of_it)
    if at is not None:
        newest = newest.where(promotions.c.promoted_at <= at)
    version = sa.select(promotions.c.version).where(of_it, promotions.c.seq == newest.scalar_subquery())
    is_it = (model_versions.c.experiment == experiment) & (model_versions.c.version == version.scalar_subquery())
    return select_version(connection, is_it)


def select_standing(connection: sa.Connection, experiment: str) -> Standing:
    """Return the champion, the promotion that made it so, and the newest bet."""
    promotion = sa.select(sa.func.max(promotions.c.seq)).where(promotions.c.experiment == experiment)
    newest = sa.select(bets).where(bets.c.experiment == experiment).order_by(bets.c.data_interval_start.desc()).limit(1)
    row = connection.execute(newest).one_or_none()
    return Standing(
        champion=select_champion(connection, experiment),
        promotion=connection.execute(promotion).scalar_one(),
        last=None if row is None else _to_bet(row),
    )


def select_challenger(connection: sa.Connection, experiment: str, interval: DataInterval) -> ModelVersion | None:
    """Return the version to be scored against the champion on the batch of a data interval.

    It is that of the open challenge, else the newest one that has learnt nothing later than that, is no older than the
    champion, and has neither served nor challenged before.
    """
    standing = select_standing(connection, experiment)
    if standing.champion is None:
        return None
    of_it = model_versions.c.experiment == experiment
    if (going_on := standing.open_bet) is not None:
        return select_version(connection, of_it & (model_versions.c.version == going_on.challenger))
    served = sa.select(promotions.c.version).where(promotions.c.experiment == experiment)
    tried = sa.select(bets.c.challenger).where(bets.c.experiment == experiment)
    query = sa.select(*VERSION_COLUMNS).where(
        of_it,
        model_versions.c.data_interval_end <= interval.start,
        model_versions.c.data_interval_end >= standing.champion.interval.end,
        model_versions.c.version.not_in(served),
        model_versions.c.version.not_in(tried),
    )
    newest = query.order_by(model_versions.c.data_interval_end.desc(), model_versions.c.version.desc()).limit(1)
    row = connection.execute(newest).one_or_none()
    return None if row is None else to_model_version(row)


def place_bet(connection: sa.Connection, run: Run, bet: Bet) -> None:
    """Keep a bet; a second one on the same data interval is an error of the database."""
    new = sa.insert(bets).values(
        experiment=run.experiment,
        data_interval_start=bet.interval.start,
        data_interval_end=bet.interval.end,
        run_id=run.run_id,
        fortunes=list(bet.fortunes),
        wealth=bet.wealth,
        ended=bet.ended,
        **{name: getattr(bet, name) for name in _NUMBERS},
    )
    connection.execute(new)


def _to_bet(row: Any) -> Bet:
    return Bet(
        interval=DataInterval(row.data_interval_start, row.data_interval_end),
        fortunes=tuple(row.fortunes),
        wealth=row.wealth,
        ended=row.ended,
        **{name: getattr(row, name) for name in _NUMBERS},
    )
