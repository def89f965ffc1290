"""Profiles of batches: a row for each, which refers to a package of the lake."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, insert

from diurnal.storage.warehouse.batch_queries import require_batch
from diurnal.storage.warehouse.connection import Row, WarehouseConnection
from diurnal.storage.warehouse.tables import experiments, heads, profiles
from diurnal.types import Package

IS_PRESENT = sa.and_(
    heads.c.experiment == profiles.c.experiment,
    heads.c.data_interval_start == profiles.c.data_interval_start,
    heads.c.batch_digest == profiles.c.batch_digest,
)
"""Whether the batch of a profile is the present one of its data interval."""
_FILES = [column for column in profiles.c if column.name != "summary"]  # which is much larger than the others


class ProfileQueries(WarehouseConnection):
    """The table `profiles`."""

    def add_profile(
        self, experiment: str, start: datetime, batch_digest: str, package: Package, summary: Mapping[str, Any]
    ) -> None:
        """Store the profile of a batch; one that exists is replaced.

        Parameters
        ----------
        experiment : str
            Name of the experiment.
        start : datetime
            The start of the data interval of the batch.
        batch_digest : str
            The digest of the batch.
        package : Package
            The profile in the lake.
        summary : Mapping of str to Any
            A few numbers for each column.

        Raises
        ------
        SupersededError
            If the batch was deleted meanwhile.
        """
        values = {"path": package.path, "digest": package.digest, "summary": dict(summary)}
        new = insert(profiles).values(
            experiment=experiment, data_interval_start=start, batch_digest=batch_digest, **values
        )
        identity = ["experiment", "data_interval_start", "batch_digest"]
        with self.claimed_transaction("add_profile", experiment, start) as connection:
            require_batch(connection, experiment, start, batch_digest)
            connection.execute(new.on_conflict_do_update(index_elements=identity, set_=values))

    def profiles(self, experiment: str | None = None, *, since: datetime | None = None) -> list[Row]:
        """Return the profiles of the present batches, of one experiment or of all, oldest data interval first."""
        query = sa.select(profiles, heads.c.data_interval_end).join(heads, IS_PRESENT)
        query = query.order_by(profiles.c.experiment, profiles.c.data_interval_start)
        if experiment is not None:
            query = query.where(profiles.c.experiment == experiment)
        if since is not None:
            query = query.where(profiles.c.data_interval_start >= since)
        return self.rows(query)

    def profile_files(self, experiment: str | None = None) -> list[Row]:
        """Return the profiles of all batches without their summaries, also of batches that were replaced since."""
        query = sa.select(*_FILES).order_by(*profiles.c[:3])
        return self.rows(query if experiment is None else query.where(profiles.c.experiment == experiment))

    def profile_files_of(self, experiment: str, batch_digests: Collection[str]) -> list[Row]:
        """Return the profiles of some batches without their summaries, oldest data interval first."""
        query = sa.select(*_FILES).where(
            profiles.c.experiment == experiment, profiles.c.batch_digest.in_(list(batch_digests))
        )
        return self.rows(query.order_by(profiles.c.data_interval_start))

    def training_summaries(self, run_id: str, *, limit: int = 100) -> list[dict[str, Any]]:
        """Return the summaries of the profiles of the batches that a run has learnt from, of the newest ones.

        Parameters
        ----------
        run_id : str
            The run.
        limit : int
            The maximal number of batches.
        """
        window = sa.func.jsonb_array_elements(experiments.c.packages).table_valued(sa.column("value", JSONB))
        digests = sa.select(window.c.value["digest"].astext).select_from(experiments).join(window, sa.true())
        query = (
            sa.select(profiles.c.summary)
            .join(experiments, experiments.c.experiment == profiles.c.experiment)
            .where(experiments.c.run_id == run_id)
            .where(profiles.c.batch_digest.in_(digests.where(experiments.c.run_id == run_id)))
            .order_by(profiles.c.data_interval_start.desc())
            .limit(limit)
        )
        return [row["summary"] for row in self.rows(query)]
