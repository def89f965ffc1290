"""Columns over time: one value of each batch's profile, and the drift that runs have recorded.

The profiles of 1,100 batches with 200 columns are 40 MB of JSON, so that PostgreSQL selects what a chart needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, distinct_on

from diurnal.storage.warehouse.connection import Row, WarehouseConnection
from diurnal.storage.warehouse.profile_queries import IS_PRESENT
from diurnal.storage.warehouse.tables import experiments, heads, packages, profiles


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
        has_profile = sa.exists().where(IS_PRESENT).label("has_profile")
        is_package = sa.and_(
            packages.c.experiment == heads.c.experiment,
            packages.c.data_interval_start == heads.c.data_interval_start,
            packages.c.role == "batch",
            packages.c.digest == heads.c.batch_digest,
        )
        columns = (heads.c.data_interval_start, heads.c.data_interval_end, heads.c.batch_digest, packages.c.n_rows)
        query = sa.select(*columns, has_profile).join(packages, is_package).where(heads.c.experiment == experiment)
        return self.rows(query.order_by(heads.c.data_interval_start.desc()).limit(limit))[::-1]

    def batches_around(self, experiment: str, moment: datetime) -> dict[str, Row | None]:
        """Return the present batch of a moment, and those before and after it.

        Returns
        -------
        dict
            ``"at"``: the batch of the newest data interval that begins at or before the moment; ``"before"`` and
            ``"after"``. Each is None, or a row with its data interval and digest.
        """
        columns = (heads.c.data_interval_start, heads.c.data_interval_end, heads.c.batch_digest)
        start = heads.c.data_interval_start
        query = sa.select(*columns).where(heads.c.experiment == experiment, heads.c.batch_digest.is_not(None))
        until = self.rows(query.where(start <= moment).order_by(start.desc()).limit(2))
        after = self.rows(query.where(start > moment).order_by(start).limit(1))
        at, before, next_one = (next(iter(found), None) for found in (until, until[1:], after))
        return {"at": at, "before": before, "after": next_one}

    def profile_summary(self, experiment: str, start: datetime, batch_digest: str) -> Row | None:
        """Return the summary of the profile of a batch; None without a profile."""
        query = sa.select(profiles.c.summary).where(
            profiles.c.experiment == experiment,
            profiles.c.data_interval_start == start,
            profiles.c.batch_digest == batch_digest,
        )
        with self.transaction() as connection:
            summary: Row | None = connection.execute(query).scalar_one_or_none()
        return summary

    def profiled_columns(self, experiment: str) -> dict[str, Row]:
        """Return the columns of the newest profile, each with its summary; empty without a profile."""
        query = sa.select(profiles.c.data_interval_start, profiles.c.batch_digest).join(heads, IS_PRESENT)
        query = query.where(profiles.c.experiment == experiment).order_by(profiles.c.data_interval_start.desc())
        newest = next(iter(self.rows(query.limit(1))), None)
        if newest is None:
            return {}
        summary = self.profile_summary(experiment, newest["data_interval_start"], newest["batch_digest"])
        return dict((summary or {}).get("columns") or {})

    def column_series(self, experiment: str, column: str, since: datetime, *, limit: int | None = None) -> list[Row]:
        """Return the summary of one column in each present batch, oldest first; with `limit`, in the newest ones.

        Returns
        -------
        list of dict
            The data interval, the number of rows, and ``summary``: None where the batch has no such column.
        """
        summary = profiles.c.summary["columns"][sa.bindparam("column", column, sa.Text())].label("summary")
        n_rows = sa.cast(profiles.c.summary["n_rows"].astext, sa.BigInteger).label("n_rows")
        query = sa.select(profiles.c.data_interval_start, heads.c.data_interval_end, n_rows, summary)
        query = query.join(heads, IS_PRESENT).where(
            profiles.c.experiment == experiment, profiles.c.data_interval_start >= since
        )
        return self.rows(query.order_by(profiles.c.data_interval_start.desc()).limit(limit))[::-1]

    def drift_cells(self, experiment: str, starts: Sequence[datetime], per_cell: int) -> list[Row]:
        """Return the drift of each column over time, in cells of some data intervals.

        Parameters
        ----------
        experiment : str
            Name of the experiment.
        starts : sequence of datetime
            The data intervals, oldest first.
        per_cell : int
            The number of data intervals of a cell.

        Returns
        -------
        list of dict
            ``column``, ``role``, ``cells``: the strongest drift in each cell, in multiples of the column's threshold,
            by the number of the cell, ``largest``, ``newest`` (of the last data interval, None if it was not measured)
            and ``n_drifted``. The strongest column is first.
        """
        parameters = {"experiment": experiment, "starts": list(starts), "per_cell": per_cell, "last": len(starts)}
        with self.transaction() as connection:
            return [dict(row) for row in connection.execute(_DRIFT_CELLS, parameters).mappings()]

    def drift_over_time(self, experiment: str, since: datetime, column: str) -> list[Row]:
        """Return the drift of one column in the newest run of each data interval, oldest first.

        Parameters
        ----------
        experiment : str
            Name of the experiment.
        since : datetime
            The start of the first data interval.
        column : str
            The column.

        Returns
        -------
        list of dict
            ``data_interval_start``, ``column``, ``role``, ``effect``, ``threshold``, ``drifted`` and
            ``new_categories``.
        """
        newest = (
            sa.select(experiments.c.data_interval_start, experiments.c.drift)
            .ext(distinct_on(experiments.c.data_interval_start))
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
_DRIFT_CELLS = sa.text("""
WITH measured AS (
    SELECT DISTINCT ON (data_interval_start) data_interval_start, drift
    FROM experiments
    WHERE experiment = :experiment AND data_interval_start = ANY (CAST(:starts AS timestamptz[])) AND drift IS NOT NULL
    ORDER BY data_interval_start, recorded_at DESC
), ratios AS (
    SELECT "column", role, place, effect / threshold AS ratio
    FROM measured
    JOIN unnest(CAST(:starts AS timestamptz[])) WITH ORDINALITY AS places (start, place) ON start = data_interval_start
    CROSS JOIN LATERAL jsonb_to_recordset(drift -> 'columns')
        AS found ("column" text, role text, effect double precision, threshold double precision)
    WHERE threshold > 0 AND effect IS NOT NULL
), cells AS (
    SELECT "column", max(role) AS role, (place - 1) / CAST(:per_cell AS bigint) AS cell, max(ratio) AS ratio,
        max(ratio) FILTER (WHERE place = :last) AS newest, count(*) FILTER (WHERE ratio > 1) AS n_drifted
    FROM ratios GROUP BY "column", cell
)
SELECT "column", max(role) AS role, json_object_agg(cell, round(CAST(ratio AS numeric), 3)) AS cells,
    max(ratio) AS largest, max(newest) AS newest, CAST(sum(n_drifted) AS integer) AS n_drifted
FROM cells GROUP BY "column" ORDER BY largest DESC, "column"
""")
