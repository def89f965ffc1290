"""Columns over time: one value of each batch's profile, and the drift that runs have recorded.

The profiles of 1,100 batches with 200 columns are 40 MB of JSON, so that PostgreSQL selects what a chart needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from diurnal.storage.warehouse.connection import Row, WarehouseConnection
from diurnal.storage.warehouse.tables import experiments, heads, packages, profiles

_IS_PRESENT = sa.and_(
    heads.c.experiment == profiles.c.experiment,
    heads.c.data_interval_start == profiles.c.data_interval_start,
    heads.c.batch_digest == profiles.c.batch_digest,
)


class ColumnQueries(WarehouseConnection):
    """Values of single columns from the tables `profiles` and `experiments`."""

    def batch_rows_over_time(self, experiment: str, limit: int | None = None) -> list[Row]:
        """Return the present batches, oldest first: data interval, digest, rows, and whether there is a profile.

        Parameters
        ----------
        experiment : str
            Name of the experiment.
        limit : int, optional
            The number of the newest batches to return.
        """
        has_profile = sa.exists().where(_IS_PRESENT).label("has_profile")
        is_package = sa.and_(
            packages.c.experiment == heads.c.experiment,
            packages.c.data_interval_start == heads.c.data_interval_start,
            packages.c.role == "batch",
            packages.c.digest == heads.c.batch_digest,
        )
        columns = (heads.c.data_interval_start, heads.c.data_interval_end, heads.c.batch_digest, packages.c.n_rows)
        query = sa.select(*columns, has_profile).join(packages, is_package).where(heads.c.experiment == experiment)
        return self.rows(query.order_by(heads.c.data_interval_start.desc()).limit(limit))[::-1]

    def profiled_columns(self, experiment: str) -> dict[str, Row]:
        """Return the columns of the newest profile, each with its summary; empty without a profile."""
        query = sa.select(profiles.c.summary["columns"]).join(heads, _IS_PRESENT)
        newest = query.where(profiles.c.experiment == experiment).order_by(profiles.c.data_interval_start.desc())
        with self.transaction() as connection:
            return dict(connection.execute(newest.limit(1)).scalar_one_or_none() or {})

    def column_series(self, experiment: str, column: str, since: datetime) -> list[Row]:
        """Return the summary of one column in each present batch, oldest first.

        Returns
        -------
        list of dict
            The data interval, the number of rows, and ``summary``: None where the batch has no such column.
        """
        summary = profiles.c.summary["columns"][sa.bindparam("column", column, sa.Text())].label("summary")
        n_rows = sa.cast(profiles.c.summary["n_rows"].astext, sa.BigInteger).label("n_rows")
        query = sa.select(profiles.c.data_interval_start, heads.c.data_interval_end, n_rows, summary)
        query = query.join(heads, _IS_PRESENT).where(
            profiles.c.experiment == experiment, profiles.c.data_interval_start >= since
        )
        return self.rows(query.order_by(profiles.c.data_interval_start))

    def drift_over_time(self, experiment: str, since: datetime, column: str | None = None) -> list[Row]:
        """Return the drift of the newest run of each data interval, a row for each column, oldest first.

        Parameters
        ----------
        experiment : str
            Name of the experiment.
        since : datetime
            The start of the first data interval.
        column : str, optional
            The column; all by default.

        Returns
        -------
        list of dict
            ``data_interval_start``, ``column``, ``role``, ``effect``, ``threshold``, ``drifted`` and
            ``new_categories``.
        """
        newest = (
            sa.select(experiments.c.data_interval_start, experiments.c.drift)
            .distinct(experiments.c.data_interval_start)
            .where(
                experiments.c.experiment == experiment,
                experiments.c.data_interval_start >= since,
                experiments.c.drift.is_not(None),
            )
            .order_by(experiments.c.data_interval_start, experiments.c.recorded_at.desc())
            .subquery()
        )
        found = sa.func.jsonb_array_elements(newest.c.drift["columns"]).table_valued(
            sa.column("value", JSONB), name="found"
        )
        value = found.c.value
        texts: Sequence[Any] = [value[name].astext.label(name) for name in ("column", "role")]
        numbers: Sequence[Any] = [sa.cast(value[name].astext, sa.Double).label(name) for name in _DRIFT_NUMBERS]
        drifted = sa.cast(value["drifted"].astext, sa.Boolean).label("drifted")
        query = sa.select(
            newest.c.data_interval_start, *texts, *numbers, drifted, value["new_categories"].label("new_categories")
        ).select_from(newest.join(found, sa.true()))
        if column is not None:
            query = query.where(value["column"].astext == column)
        return self.rows(query.order_by(newest.c.data_interval_start))

    def newest_drift(self, experiment: str, start: datetime) -> Row | None:
        """Return the newest run of a data interval with drift: `run_id` and `drift`."""
        query = sa.select(experiments.c.run_id, experiments.c.drift).where(
            experiments.c.experiment == experiment,
            experiments.c.data_interval_start == start,
            experiments.c.drift.is_not(None),
        )
        return next(iter(self.rows(query.order_by(experiments.c.recorded_at.desc()).limit(1))), None)


_DRIFT_NUMBERS = ("effect", "threshold")
