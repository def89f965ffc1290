"""The versions of each experiment's contract: append-only, the newest one holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from diurnal.storage.warehouse.connection import Connected, Row
from diurnal.storage.warehouse.tables import contracts


class Contracts(Connected):
    """The table `contracts`."""

    def schema(self, experiment: str, version: int | None = None) -> Row | None:
        """Give a version of the contract of an experiment's batches, the newest unless told; None: there is none."""
        query = sa.select(contracts.c.columns).where(contracts.c.experiment == experiment)
        if version is not None:
            query = query.where(contracts.c.version == version)
        with self.transaction() as connection:
            found: Row | None = connection.execute(
                query.order_by(contracts.c.version.desc()).limit(1)
            ).scalar_one_or_none()
        return found

    def contracts(self, experiment: str) -> list[Row]:
        """Give all versions of the contract of an experiment, oldest first, with the columns of the table."""
        query = sa.select(contracts).where(contracts.c.experiment == experiment)
        return self.rows(query.order_by(contracts.c.version))

    def create_contract(
        self, experiment: str, columns: Mapping[str, Any], batch_digest: str, *, requested_by: str = "diurnal"
    ) -> Row:
        """Fix the first version of the contract of an experiment's batches.

        Parameters
        ----------
        experiment : str
            Name of the experiment.
        columns : Mapping of str to Any
            The contract, in JSON's types.
        batch_digest : str
            Digest of the batch that it was read from.
        requested_by : str
            The user or run that ingested the first batch.

        Returns
        -------
        dict
            What is stored: an earlier contract stays.
        """
        new = insert(contracts).values(
            experiment=experiment, version=1, columns=columns, batch_digest=batch_digest, accepted_by=requested_by
        )
        query = sa.select(contracts.c.columns).where(contracts.c.experiment == experiment)
        with self.transaction(None, experiment) as connection:
            connection.execute(new.on_conflict_do_nothing())
            stored: Row = connection.execute(query.order_by(contracts.c.version.desc()).limit(1)).scalar_one()
        return stored

    def add_contract_version(
        self,
        experiment: str,
        version: int,
        columns: Mapping[str, Any],
        *,
        since: datetime | None,
        requested_by: str,
        why: str,
        changes: Sequence[Mapping[str, Any]],
        batch_digest: str = "",
    ) -> bool:
        """Append a version to a contract.

        Parameters
        ----------
        experiment : str
            Name of the experiment.
        version : int
            The number of the new version: one more than that of the version that it was made from.
        columns : Mapping of str to Any
            The contract, in JSON's types.
        since : datetime, optional
            The start of the data interval whose batch it was accepted for.
        requested_by, why : str
            User and reason, for the history.
        changes : sequence of Mapping
            What differs from the version before.
        batch_digest : str
            Digest of the batch that it was read from, where that is known.

        Returns
        -------
        bool
            False if another version has that number by now: nothing was written.
        """
        new = insert(contracts).values(
            experiment=experiment,
            version=version,
            columns=columns,
            batch_digest=batch_digest,
            since=since,
            accepted_by=requested_by,
            why=why,
            changes=list(changes),
        )
        with self.transaction("add_contract_version", experiment) as connection:
            made = connection.execute(new.on_conflict_do_nothing().returning(contracts.c.version))
            return made.scalar_one_or_none() is not None
