"""Live scores: the table `live_scores`, and which loads of predictions and of batches they depend on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on, insert

from diurnal.storage.warehouse.connection import Row, WarehouseConnection
from diurnal.storage.warehouse.tables import (
    experiments,
    heads,
    live_scores,
    loads,
    model_versions,
    packages,
    prediction_heads,
    prediction_loads,
)


class LiveScoreQueries(WarehouseConnection):
    """The table `live_scores`."""

    def scorable_loads(
        self, experiment: str, *, until: datetime | None = None, load_id: int | None = None
    ) -> list[Row]:
        """Return the complete loads of predictions, newest data interval first, with what their live scores rest on.

        Parameters
        ----------
        experiment : str
            Name of the experiment.
        until : datetime, optional
            The start of the newest data interval.
        load_id : int, optional
            The only load to return.

        Returns
        -------
        list of dict
            The columns of `prediction_loads`, and of `live_scores` ``n_labelled``, ``truth``, ``checked_load_id`` and
            ``updated_at``, which are None if there is no row yet.
        """
        known = [live_scores.c[name] for name in ("n_labelled", "truth", "checked_load_id", "updated_at")]
        query = (
            sa.select(prediction_loads, *known)
            .outerjoin(live_scores, live_scores.c.load_id == prediction_loads.c.load_id)
            .where(prediction_loads.c.experiment == experiment, prediction_loads.c.state == "complete")
            .order_by(prediction_loads.c.data_interval_start.desc(), prediction_loads.c.load_id.desc())
        )
        if load_id is not None:
            query = query.where(prediction_loads.c.load_id == load_id)
        return self.rows(query if until is None else query.where(prediction_loads.c.data_interval_start <= until))

    def visible_batches(self, experiment: str, since: datetime) -> list[Row]:
        """Return the visible copy of the batch of each data interval from a time on, oldest first.

        Returns
        -------
        list of dict
            ``data_interval_start``, ``load_id``, and the ``path``, ``digest`` and ``n_rows`` of its package.
        """
        is_package = sa.and_(
            packages.c.experiment == loads.c.experiment,
            packages.c.data_interval_start == loads.c.data_interval_start,
            packages.c.role == "batch",
            packages.c.digest == loads.c.digest,
        )
        query = (
            sa.select(
                heads.c.data_interval_start, loads.c.load_id, packages.c.path, packages.c.digest, packages.c.n_rows
            )
            .join(loads, loads.c.load_id == heads.c.load_id)
            .join(packages, is_package)
            .where(heads.c.experiment == experiment, heads.c.data_interval_start >= since)
            .order_by(heads.c.data_interval_start)
        )
        return self.rows(query)

    def loads_of_packages(self, experiment: str, digests: Collection[str]) -> list[int]:
        """Return the complete copies of batches with some digests."""
        is_copy = (loads.c.experiment == experiment) & (loads.c.state == "complete") & loads.c.digest.in_(list(digests))
        return [row["load_id"] for row in self.rows(sa.select(loads.c.load_id).where(is_copy))]

    def save_live_score(self, row: Mapping[str, Any], *, replacing: datetime | None) -> bool:
        """Store the live scores of a load, unless another process has stored some meanwhile.

        Parameters
        ----------
        row : Mapping of str to object
            The columns of the table.
        replacing : datetime or None
            The column `updated_at` of the row that the new one replaces, as it was read before the scores were
            computed; None if there was none.

        Returns
        -------
        bool
            Whether it was stored.
        """
        values = {**row, "updated_at": sa.func.clock_timestamp()}
        new = insert(live_scores).values(values)
        stored = new.on_conflict_do_update(
            index_elements=[live_scores.c.load_id], set_=values, where=live_scores.c.updated_at == replacing
        )
        with self.transaction("save_live_score", row["experiment"]) as connection:
            return connection.execute(stored.returning(live_scores.c.load_id)).first() is not None

    def live_scores(
        self,
        experiment: str,
        *,
        since: datetime | None = None,
        version: int | None = None,
        limit: int | None = None,
    ) -> list[Row]:
        """Return what versions have predicted and how right it was, oldest data interval first.

        Of a version that has predicted a data interval more than once, the visible load counts, or the last one.

        Parameters
        ----------
        experiment : str
            Name of the experiment.
        since : datetime, optional
            Only data intervals that begin then or later.
        version : int, optional
            Only this version.
        limit : int, optional
            The maximum number of rows; the newest are returned.

        Returns
        -------
        list of dict
            The columns of `live_scores`; without truth yet, ``n_labelled`` is 0 and there is no score. ``shown`` is
            whether the predictions are visible, and ``test_score`` the score of the run that published the version.
        """
        by_load = _loads_with_scores(experiment)
        shown = sa.exists().where(prediction_heads.c.load_id == by_load.c.load_id)
        identity = [by_load.c[name] for name in ("data_interval_start", "version")]
        is_version = (model_versions.c.experiment == experiment) & (model_versions.c.version == by_load.c.version)
        scoring = sa.func.coalesce(by_load.c.scoring, experiments.c.scoring).label("scoring")
        newest = (
            sa.select(
                *(column for column in by_load.c if column.name != "scoring"),
                scoring,
                shown.label("shown"),
                experiments.c.test_score,
            )
            .join(model_versions, is_version)
            .join(experiments, experiments.c.run_id == model_versions.c.run_id)
            .ext(distinct_on(*identity))
            .order_by(*identity, shown.desc(), by_load.c.load_id.desc())
        )
        if since is not None:
            newest = newest.where(by_load.c.data_interval_start >= since)
        if version is not None:
            newest = newest.where(by_load.c.version == version)
        rows = newest.subquery()
        order = (rows.c.data_interval_start.desc(), rows.c.version.desc())
        return self.rows(sa.select(rows).order_by(*order).limit(limit))[::-1]


def _loads_with_scores(experiment: str) -> sa.Subquery:
    """Select the loads of predictions, with their live scores if they have any.

    Loads that were removed since have live scores only.
    """
    live = sa.select(live_scores).where(live_scores.c.experiment == experiment).subquery()
    complete = (prediction_loads.c.experiment == experiment) & (prediction_loads.c.state == "complete")
    loaded = sa.select(prediction_loads).where(complete).subquery()
    common = ("load_id", "experiment", "data_interval_start", "data_interval_end", "version")
    counts = ("n_labelled", "n_in_sample", "n_scored")
    no_truth = sa.case((live.c.load_id.is_(None), "there is no truth yet"), else_=live.c.reason)
    return (
        sa.select(
            *(sa.func.coalesce(live.c[name], loaded.c[name]).label(name) for name in common),
            sa.func.coalesce(live.c.n_predictions, loaded.c.n_rows).label("n_predictions"),
            *(sa.func.coalesce(live.c[name], 0).label(name) for name in counts),
            live.c.scoring,
            live.c.score,
            live.c.scores,
            no_truth.label("reason"),
            live.c.updated_at,
        )
        .select_from(live.outerjoin(loaded, live.c.load_id == loaded.c.load_id, full=True))
        .subquery()
    )
