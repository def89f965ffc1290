"""Deletion of what is older than its retention; each deletion is a row of the append-only table `deletions`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from diurnal.storage.warehouse.connection import Row, WarehouseConnection
from diurnal.storage.warehouse.row_copies import delete_load
from diurnal.storage.warehouse.tables import (
    deletions,
    experiments,
    failures,
    heads,
    loads,
    model_versions,
    packages,
    prediction_heads,
    prediction_loads,
    profiles,
    splits,
)
from diurnal.storage.warehouse.visible_rows import batch_relation, prediction_relation

RUN_FILES_OF_KIND = {"candidates": ("candidates",), "evaluations": ("evaluation", "evaluation_sample")}
"""Columns of `experiments` with the paths of files, by kind of data."""


@dataclass(frozen=True)
class Expiry:
    """Which data of an experiment are too old.

    Attributes
    ----------
    experiment : str
        Name of the experiment.
    limit : datetime
        Data intervals that end before are too old.
    settled : datetime
        What was written or claimed later may belong to an attempt in progress, and stays.
    """

    experiment: str
    limit: datetime
    settled: datetime


class RetentionQueries(WarehouseConnection):
    """The table `deletions`, and the rows of expired data."""

    def expired_batches(self, expiry: Expiry) -> list[Row]:
        """Return the packages of batches that are too old, oldest data interval first."""
        query = (
            sa.select(packages)
            .join(heads, _same_interval(heads, packages))
            .where(
                packages.c.experiment == expiry.experiment,
                packages.c.role == "batch",
                packages.c.created_at < expiry.settled,
                heads.c.claimed_at < expiry.settled,
                heads.c.data_interval_end < expiry.limit,
            )
        )
        return self.rows(query.order_by(packages.c.data_interval_start, packages.c.digest))

    def delete_batches(
        self, expiry: Expiry, start: datetime, digests: Collection[str], *, requested_by: str
    ) -> list[Row]:
        """Delete batches of a data interval, their train and test packages, and their copies in PostgreSQL.

        The data interval keeps its head, with the digest of its batch: it had one.

        Returns
        -------
        list of dict
            The rows of `packages` that were deleted. Empty if an attempt has claimed the data interval meanwhile.
        """
        name = expiry.experiment
        with self.transaction("delete_batches", name) as connection:
            is_head = (heads.c.experiment == name) & (heads.c.data_interval_start == start)
            head = connection.execute(sa.select(heads.c.claimed_at).where(is_head).with_for_update()).one_or_none()
            if head is None or head.claimed_at >= expiry.settled:
                return []
            connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
            copies = sa.select(loads.c.load_id).where(_is_at(loads, name, start), loads.c.digest.in_(digests))
            connection.execute(sa.update(heads).where(is_head, heads.c.load_id.in_(copies)).values(load_id=None))
            for load_id in connection.execute(copies).scalars().all():
                delete_load(connection, loads, batch_relation(name), load_id)
            deleted = _delete_packages(connection, name, start, digests)
            rows = [{"kind": row["role"], **_of_package(row)} for row in deleted]
            record_deletions(connection, name, "retention", requested_by, rows)
            return deleted

    def expired_run_files(self, expiry: Expiry, kind: str, kept_versions: Collection[int]) -> list[Row]:
        """Return the runs whose files of a kind are too old, except those of some versions."""
        columns = [experiments.c[column] for column in RUN_FILES_OF_KIND[kind]]
        query = sa.select(experiments.c.run_id, experiments.c.data_interval_start, *columns).where(
            experiments.c.experiment == expiry.experiment,
            experiments.c.data_interval_end < expiry.limit,
            experiments.c.recorded_at < expiry.settled,
            sa.or_(*(column.is_not(None) for column in columns)),
            experiments.c.model_version.is_(None) | experiments.c.model_version.not_in(list(kept_versions)),
        )
        return self.rows(query.order_by(experiments.c.data_interval_start, experiments.c.run_id))

    def delete_run_files(self, expiry: Expiry, kind: str, runs: Iterable[Row], *, requested_by: str) -> None:
        """Let runs refer to no files of a kind any more; the rows of the runs stay."""
        columns, runs = RUN_FILES_OF_KIND[kind], list(runs)
        of_runs = sa.update(experiments).where(experiments.c.run_id.in_([run["run_id"] for run in runs]))
        deleted = [
            {"data_interval_start": run["data_interval_start"], "kind": column, "path": run[column]}
            for run in runs
            for column in columns
            if run[column]
        ]
        with self.transaction("delete_run_files", expiry.experiment) as connection:
            connection.execute(of_runs.values(dict.fromkeys(columns)))
            record_deletions(connection, expiry.experiment, "retention", requested_by, deleted)

    def expired_profiles(self, expiry: Expiry, kept_batches: Collection[str]) -> list[Row]:
        """Return the profiles that are too old, except those of some batches."""
        columns = [column for column in profiles.c if column.name != "summary"]
        query = (
            sa.select(*columns)
            .join(heads, _same_interval(heads, profiles))
            .where(
                profiles.c.experiment == expiry.experiment,
                profiles.c.created_at < expiry.settled,
                heads.c.data_interval_end < expiry.limit,
            )
        )
        rows = self.rows(query.order_by(profiles.c.data_interval_start))
        return [row for row in rows if row["batch_digest"] not in kept_batches]

    def delete_profiles(self, expiry: Expiry, rows: Iterable[Row], *, requested_by: str) -> None:
        """Delete profiles."""
        rows = list(rows)
        with self.transaction("delete_profiles", expiry.experiment) as connection:
            for row in rows:
                same = profiles.c.batch_digest == row["batch_digest"]
                connection.execute(
                    sa.delete(profiles).where(_is_at(profiles, expiry.experiment, row["data_interval_start"]), same)
                )
            deleted = [{"kind": "profile", **_of_package(row)} for row in rows]
            record_deletions(connection, expiry.experiment, "retention", requested_by, deleted)

    def expired_predictions(self, expiry: Expiry) -> list[Row]:
        """Return the loads of predictions that are too old, visible or not."""
        query = sa.select(prediction_loads).where(
            prediction_loads.c.experiment == expiry.experiment,
            prediction_loads.c.state == "complete",
            prediction_loads.c.data_interval_end < expiry.limit,
            prediction_loads.c.completed_at < expiry.settled,
        )
        return self.rows(query.order_by(prediction_loads.c.data_interval_start, prediction_loads.c.load_id))

    def delete_predictions(self, expiry: Expiry, load: Row, *, requested_by: str) -> bool:
        """Delete a load of predictions; return False if an attempt has claimed its data interval meanwhile."""
        name, start = expiry.experiment, load["data_interval_start"]
        with self.transaction("delete_predictions", name) as connection:
            is_head = _is_at(prediction_heads, name, start)
            query = sa.select(prediction_heads).where(is_head).with_for_update()
            head = connection.execute(query).one_or_none()
            if head is not None and head.claimed_at >= expiry.settled:
                return False
            connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
            shown = is_head & (prediction_heads.c.load_id == load["load_id"])
            connection.execute(sa.update(prediction_heads).where(shown).values(load_id=None))
            delete_load(connection, prediction_loads, prediction_relation(name), load["load_id"])
            deleted = {"kind": "predictions", "data_interval_start": start, "n_rows": load["n_rows"]}
            record_deletions(connection, name, "retention", requested_by, [deleted])
            return True

    def forget_quarantine(self, experiment: str, urls: Collection[str]) -> None:
        """Let failures refer to no folder of a rejected batch that is going to be deleted."""
        named = sa.update(failures).where(failures.c.experiment == experiment, failures.c.quarantine.in_(list(urls)))
        with self.transaction("forget_quarantine", experiment) as connection:
            connection.execute(named.values(quarantine=None))

    def claimed_since(self, experiment: str, since: datetime) -> list[Row]:
        """Return the data intervals that an attempt has claimed since a time."""
        query = sa.select(heads.c.data_interval_start, heads.c.data_interval_end)
        return self.rows(query.where(heads.c.experiment == experiment, heads.c.claimed_at >= since))

    def deletions(self, experiment: str, kind: str = "batch") -> list[Row]:
        """Return the rows of `deletions` of an experiment's batches, or of another kind, oldest deletion first."""
        query = sa.select(deletions).where(deletions.c.experiment == experiment, deletions.c.kind == kind)
        return self.rows(query.order_by(deletions.c.deletion_id))

    def versions_without_batches(self, experiment: str) -> dict[int, list[Row]]:
        """Return, for each version that cannot be replayed, the batches of its run that were deleted or replaced."""
        if not self.deletions(experiment):
            return {}
        query = sa.select(model_versions.c.version, experiments.c.packages).join(
            experiments, experiments.c.run_id == model_versions.c.run_id
        )
        runs = self.rows(query.where(model_versions.c.experiment == experiment).order_by(model_versions.c.version))
        is_batch = (packages.c.experiment == experiment) & (packages.c.role == "batch")
        kept = {row["path"] for row in self.rows(sa.select(packages.c.path).where(is_batch))}
        lost = {
            run["version"]: [one for one in run["packages"] if one["path"] not in kept or "replaces" in one]
            for run in runs
        }
        return {version: batches for version, batches in lost.items() if batches}

    def vacuum_rows(self, experiment: str) -> None:
        """Free the room of deleted rows in the tables of batches and predictions, so that it is used again."""
        with self.transaction() as connection:
            tables = [
                one.table
                for one in (batch_relation(experiment), prediction_relation(experiment))
                if connection.execute(sa.select(sa.func.to_regclass(one.table))).scalar_one()
            ]
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("SET statement_timeout = 0")
            for table in tables:
                connection.exec_driver_sql(f"VACUUM {table}")
            connection.exec_driver_sql("RESET statement_timeout")


def record_deletions(
    connection: sa.Connection, experiment: str, reason: str, requested_by: str, rows: Collection[Mapping[str, Any]]
) -> None:
    """Add rows to the table `deletions`; columns that a row lacks are null."""
    optional = dict.fromkeys(column.name for column in deletions.c if column.nullable)
    values = {"experiment": experiment, "reason": reason, "deleted_by": requested_by}
    if rows:
        connection.execute(sa.insert(deletions), [{**optional, **row, **values} for row in rows])


def _delete_packages(connection: sa.Connection, name: str, start: datetime, digests: Collection[str]) -> list[Row]:
    """Delete batches, their splits, and the train and test packages that no other split of the interval has."""
    gone = sa.delete(splits).where(_is_at(splits, name, start), splits.c.batch_digest.in_(digests))
    sides = connection.execute(gone.returning(splits.c.train_digest, splits.c.test_digest)).all()
    wanted = {("batch", digest) for digest in digests}
    wanted |= {(role, digest) for pair in sides for role, digest in zip(("train", "test"), pair, strict=True)}
    kept = connection.execute(
        sa.select(splits.c.train_digest, splits.c.test_digest).where(_is_at(splits, name, start))
    ).all()
    wanted -= {(role, digest) for pair in kept for role, digest in zip(("train", "test"), pair, strict=True)}
    is_wanted = sa.tuple_(packages.c.role, packages.c.digest).in_(sorted(wanted))
    deleted = sa.delete(packages).where(_is_at(packages, name, start), is_wanted).returning(packages)
    return [dict(row) for row in connection.execute(deleted).mappings()]


def _of_package(row: Row) -> Row:
    return {name: row.get(name) for name in ("data_interval_start", "path", "digest", "n_rows")}


def _is_at(table: sa.Table, experiment: str, start: datetime) -> sa.ColumnElement[bool]:
    return (table.c.experiment == experiment) & (table.c.data_interval_start == start)


def _same_interval(one: sa.Table, other: sa.Table) -> sa.ColumnElement[bool]:
    return (one.c.experiment == other.c.experiment) & (one.c.data_interval_start == other.c.data_interval_start)
