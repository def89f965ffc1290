"""Failures: a row for each attempt that a step ended with an error."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from diurnal.storage.warehouse.connection import Row, WarehouseConnection
from diurnal.storage.warehouse.tables import failures
from diurnal.types import DataInterval

SCORE = "score"
"""The step that scores a batch. Its failures end with a later scoring, and do not change the result of a run."""


class FailureQueries(WarehouseConnection):
    """The table `failures`."""

    def add_failure(
        self,
        experiment: str,
        interval: DataInterval,
        step: str,
        error: Mapping[str, Any],
        *,
        quarantine: str | None = None,
    ) -> None:
        """Store that a step failed.

        Parameters
        ----------
        experiment : str
            Name of the experiment.
        interval : DataInterval
            The data interval.
        step : str
            Name of the step.
        error : Mapping of str to Any
            The error, as :meth:`diurnal.errors.DiurnalError.to_dict` returns it.
        quarantine : str, optional
            The URL of the folder of a rejected batch.
        """
        new = sa.insert(failures).values(
            experiment=experiment,
            data_interval_start=interval.start,
            data_interval_end=interval.end,
            step=step,
            error=dict(error),
            quarantine=quarantine,
        )
        with self.transaction("add_failure", experiment) as connection:
            connection.execute(new)

    def resolve_failures(self, experiment: str, step: str, until: datetime) -> None:
        """Mark the failures of a step as resolved, in the data intervals that start at a moment or before."""
        unresolved = (
            (failures.c.experiment == experiment) & (failures.c.step == step) & failures.c.resolved_at.is_(None)
        )
        query = sa.update(failures).where(unresolved, failures.c.data_interval_start <= until)
        with self.transaction(None, experiment) as connection:
            connection.execute(query.values(resolved_at=sa.func.clock_timestamp()))

    def failures(
        self, experiment: str | None = None, *, since: datetime | None = None, limit: int | None = None
    ) -> list[Row]:
        """Return failures of one experiment or of all, newest first.

        Parameters
        ----------
        experiment : str, optional
            Name of the experiment.
        since : datetime, optional
            The earliest start of a data interval.
        limit : int, optional
            The maximal number of rows.
        """
        query = sa.select(failures).order_by(failures.c.failure_id.desc()).limit(limit)
        if experiment is not None:
            query = query.where(failures.c.experiment == experiment)
        if since is not None:
            query = query.where(failures.c.data_interval_start >= since)
        return self.rows(query)
