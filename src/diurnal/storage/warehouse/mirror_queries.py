"""What a mirror of the results in another system needs: finished runs in the order of their decisions."""

from __future__ import annotations

from datetime import date, datetime

import sqlalchemy as sa

from diurnal.storage.warehouse.connection import Row, WarehouseConnection
from diurnal.storage.warehouse.tables import experiments


class MirrorQueries(WarehouseConnection):
    """Queries of mirrors."""

    def decided_runs(self, experiment: str, after: datetime | None = None) -> list[Row]:
        """Return the rows of the finished runs of an experiment that were decided after a time, oldest decision first.

        Decisions on one experiment wait for each other, so that none is added later before one that is returned.
        """
        query = sa.select(experiments).where(experiments.c.experiment == experiment)
        query = query.where(
            experiments.c.decided_at.is_not(None) if after is None else experiments.c.decided_at > after
        )
        return self.rows(query.order_by(experiments.c.decided_at, experiments.c.run_id))

    def decided_experiments(self) -> list[str]:
        """Return the names of the experiments that have a finished run."""
        query = sa.select(experiments.c.experiment).where(experiments.c.decided_at.is_not(None)).distinct()
        return sorted(str(row["experiment"]) for row in self.rows(query))

    def decision_dates(self, experiment: str, limit: int) -> list[date]:
        """Return the newest dates, in UTC, on which runs of an experiment were decided."""
        day = sa.cast(sa.func.timezone("UTC", experiments.c.decided_at), sa.Date).label("day")
        query = sa.select(day).where(experiments.c.experiment == experiment, experiments.c.decided_at.is_not(None))
        return [row["day"] for row in self.rows(query.distinct().order_by(sa.desc("day")).limit(limit))]
