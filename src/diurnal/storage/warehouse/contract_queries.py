"""The versions of each experiment's contract: append-only; the newest one applies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from diurnal.storage.warehouse.connection import Row, WarehouseConnection
from diurnal.storage.warehouse.tables import contracts


class ContractQueries(WarehouseConnection):
    """The table `contracts`."""

    def schema(self, experiment: str, version: int | None = None) -> Row | None:
        """Return a version of an experiment's contract, by default the newest one; None if there is none."""
        query = sa.select(contracts.c.columns).where(contracts.c.experiment == experiment)
        if version is not None:
            query = query.where(contracts.c.version == version)
        with self.transaction() as connection:
            columns: Row | None = connection.execute(
                query.order_by(contracts.c.version.desc()).limit(1)
            ).scalar_one_or_none()
        return columns

    def contracts(self, experiment: str) -> list[Row]:
        """Return all versions of an experiment's contract, oldest first, with the columns of the table."""
        query = sa.select(contracts).where(contracts.c.experiment == experiment)
        return self.rows(query.order_by(contracts.c.version))

    def create_contract(
        self, experiment: str, columns: Mapping[str, Any], batch_digest: str, *, requested_by: str = "diurnal"
    ) -> Row:
        """Store the first version of an experiment's contract, unless there is one.

        Parameters
        ----------
        experiment : str
            Name of the experiment.
        columns : Mapping of str to Any
            The contract, in JSON's types.
        batch_digest : str
            The digest of the batch from which it was inferred.
        requested_by : str
            The user or run that ingested the first batch.

        Returns
        -------
        dict
            The stored contract, which may be an earlier one.
        """
        new = insert(contracts).values(
            experiment=experiment, version=1, columns=columns, batch_digest=batch_digest, accepted_by=requested_by
        )
        query = sa.select(contracts.c.columns).where(contracts.c.experiment == experiment)
        with self.claimed_transaction(None, experiment) as connection:
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
            The number of the new version: one more than that of the version on which it is based.
        columns : Mapping of str to Any
            The contract, in JSON's types.
        since : datetime, optional
            The start of the data interval for whose batch it is accepted.
        requested_by, why : str
            User and reason, for the history.
        changes : sequence of Mapping
            The differences from the previous version.
        batch_digest : str
            The digest of the batch from which it was inferred, if known.

        Returns
        -------
        bool
            False if a version with that number exists by now, in which case nothing is written.
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
        with self.claimed_transaction("add_contract_version", experiment) as connection:
            inserted = connection.execute(new.on_conflict_do_nothing().returning(contracts.c.version))
            return inserted.scalar_one_or_none() is not None
