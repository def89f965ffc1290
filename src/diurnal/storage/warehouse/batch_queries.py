"""Data intervals: the attempt that works on each, its batch, and the split of the batch into train and test."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import Insert, array, insert

from diurnal.errors import SupersededError, UsageError
from diurnal.storage.warehouse.connection import Row, WarehouseConnection
from diurnal.storage.warehouse.tables import erasures, heads, packages, removals, splits
from diurnal.types import DataInterval, Package


class BatchQueries(WarehouseConnection):
    """The tables `heads`, `packages` and `splits`."""

    def claim_interval(self, experiment: str, interval: DataInterval, *, requested_by: str) -> int:
        """Begin an attempt on a data interval, which supersedes all earlier attempts.

        Parameters
        ----------
        experiment : str
            Name of the experiment.
        interval : DataInterval
            The data interval.
        requested_by : str
            The user or run that claims it, for display.

        Returns
        -------
        int
            The epoch, the fencing token that each write of the attempt passes.

        Raises
        ------
        UsageError
            If it has no batch and overlaps a data interval with one: rows would be used twice.
        """
        claim = claim_head(heads, experiment, interval, requested_by).returning(
            heads.c.epoch, heads.c.batch_digest, _latest_before_end(experiment, interval)
        )
        with self.transaction("claim_interval", experiment) as connection:
            lock_claims(connection, experiment)
            epoch, batch, other = connection.execute(claim).one()
            begin, end = other or (interval.start, interval.start)
            if batch is None and end > interval.start:
                raise _overlap_error(experiment, interval, DataInterval(begin, end, interval.timezone))
            return int(epoch)

    def claim_of(self, experiment: str, requested_by: str) -> Row | None:
        """Return the newest data interval that a user or run has claimed, unless an attempt of another has followed.

        Returns
        -------
        dict or None
            The row of the table `heads`.
        """
        query = (
            sa.select(heads)
            .where(heads.c.experiment == experiment, heads.c.claimed_by == requested_by)
            .order_by(heads.c.claimed_at.desc())
            .limit(1)
        )
        return next(iter(self.rows(query)), None)

    def set_batch(self, experiment: str, interval: DataInterval, epoch: int, package: Package) -> None:
        """Make a package the batch of a data interval. The package of a previous batch stays in the lake.

        Raises
        ------
        SupersededError
            If a newer attempt has claimed the interval.
        """
        with self.fenced_transaction("set_batch", experiment, interval.start, epoch) as connection:
            _insert_packages(connection, experiment, interval, {"batch": package})
            head = sa.update(heads).where(_is_head(experiment, interval.start))
            connection.execute(head.values(batch_digest=package.digest, data_interval_end=interval.end, lacking=None))

    def mark_insufficient(self, experiment: str, interval: DataInterval, reason: str) -> None:
        """Store why the batch of a data interval has no result: too little training data. A new batch clears it."""
        head = sa.update(heads).where(_is_head(experiment, interval.start))
        with self.transaction("mark_insufficient", experiment) as connection:
            connection.execute(head.values(lacking=reason))

    def window(
        self, experiment: str, until: DataInterval, *, last: int | None = None, since: datetime | None = None
    ) -> list[tuple[DataInterval, Package]]:
        """Return the current batches of a window, oldest first.

        Parameters
        ----------
        experiment : str
            Name of the experiment.
        until : DataInterval
            The newest interval to return; later ones are left out, whenever they were stored.
        last : int, optional
            The maximum number of batches; the newest ones are returned.
        since : datetime, optional
            Only intervals that start then or later.
        """
        is_batch = (packages.c.role == "batch") & (packages.c.digest == heads.c.batch_digest)
        same = (packages.c.experiment == heads.c.experiment) & (
            packages.c.data_interval_start == heads.c.data_interval_start
        )
        query = (
            sa.select(
                heads.c.data_interval_start,
                heads.c.data_interval_end,
                packages.c.path,
                packages.c.digest,
                packages.c.n_rows,
            )
            .join(packages, same & is_batch)
            .where(heads.c.experiment == experiment, heads.c.data_interval_start <= until.start)
            .order_by(heads.c.data_interval_start.desc())
            .limit(last)
        )
        if since is not None:
            query = query.where(heads.c.data_interval_start >= since)
        with self.transaction() as connection:
            rows = connection.execute(query).all()
        return [(DataInterval(start, end), Package(*package)) for start, end, *package in reversed(rows)]

    def newest_batch(self, experiment: str) -> datetime | None:
        """Return the start of the newest data interval that has a batch."""
        query = sa.select(sa.func.max(heads.c.data_interval_start)).where(
            heads.c.experiment == experiment, heads.c.batch_digest.is_not(None)
        )
        with self.transaction() as connection:
            start: datetime | None = connection.execute(query).scalar_one()
        return start

    def find_split(
        self, experiment: str, interval: DataInterval, batch_digest: str, test_size: float
    ) -> tuple[Package, Package] | None:
        """Return the train and the test package of a batch; None if it has not been split."""
        split = sa.select(splits.c.train_digest, splits.c.test_digest).where(
            splits.c.experiment == experiment,
            splits.c.data_interval_start == interval.start,
            splits.c.batch_digest == batch_digest,
            splits.c.test_size == test_size,
        )
        with self.transaction() as connection:
            if (digests := connection.execute(split).one_or_none()) is None:
                return None
            train, test = (
                _select_package(connection, experiment, interval, role, digest)
                for role, digest in zip(("train", "test"), digests, strict=True)
            )
            return train, test

    def save_split(
        self,
        experiment: str,
        interval: DataInterval,
        batch_digest: str,
        test_size: float,
        train: Package,
        test: Package,
        *,
        erasure: int,
    ) -> None:
        """Store the train and the test package of a batch; an earlier split with the same `test_size` stays.

        Parameters
        ----------
        experiment, interval, batch_digest, test_size
            The batch, and the declared fraction of test samples.
        train, test : Package
            The packages.
        erasure : int
            The result of :meth:`last_erasure` before they were written.

        Raises
        ------
        SupersededError
            If the data interval is not claimed, or its experiment or its batch was deleted since, or if an erasure may
            have deleted the files of the packages, as no row named them yet.
        """
        split = insert(splits).values(
            experiment=experiment,
            data_interval_start=interval.start,
            batch_digest=batch_digest,
            test_size=test_size,
            train_digest=train.digest,
            test_digest=test.digest,
        )
        with self.claimed_transaction("save_split", experiment, interval.start) as connection:
            require_batch(connection, experiment, interval.start, batch_digest)
            if _find_last_erasure(connection, experiment) != erasure:
                raise SupersededError(f"a key of {experiment} was erased while {interval} was split")
            _insert_packages(connection, experiment, interval, {"train": train, "test": test})
            connection.execute(split.on_conflict_do_nothing())

    def last_erasure(self, experiment: str) -> int:
        """Return the number of the last erasure of an experiment; 0 if there was none."""
        with self.transaction() as connection:
            return _find_last_erasure(connection, experiment)

    def current_digests(self, experiment: str) -> set[tuple[datetime, str]]:
        """Return the data interval and the digest of each present batch, and of the packages it was split into."""
        is_split = sa.and_(
            splits.c.experiment == heads.c.experiment,
            splits.c.data_interval_start == heads.c.data_interval_start,
            splits.c.batch_digest == heads.c.batch_digest,
        )
        digests = (heads.c.batch_digest, splits.c.train_digest, splits.c.test_digest)
        query = sa.select(heads.c.data_interval_start, *digests).outerjoin(splits, is_split)
        with self.transaction() as connection:
            rows = connection.execute(query.where(heads.c.experiment == experiment)).all()
        return {(start, digest) for start, *found in rows for digest in found if digest is not None}

    def packages(self) -> list[Row]:
        """Return all packages, with the columns of the table."""
        return self.rows(sa.select(packages).order_by(*packages.c[:4]))


def lock_claims(connection: sa.Connection, experiment: str, *, shared: bool = True) -> None:
    """Let the experiment not be removed until the transaction ends; if not `shared`, let no interval be claimed.

    A claim computes its first epoch from removals that have ended, so that it waits for one that has not.
    """
    lock = sa.func.pg_advisory_xact_lock_shared if shared else sa.func.pg_advisory_xact_lock
    connection.execute(sa.select(lock(sa.func.hashtextextended(f"claims of {experiment}", 0))))


def claim_head(heads: sa.Table, experiment: str, interval: DataInterval, requested_by: str) -> Insert:
    """Return the statement that begins an attempt: it increments the epoch of the head of a data interval.

    If the experiment was removed, the first epoch is above all earlier ones: attempts from before stay superseded.
    """
    removed = sa.select(sa.func.max(removals.c.epoch)).where(removals.c.experiment == experiment)
    new = insert(heads).values(
        experiment=experiment,
        data_interval_start=interval.start,
        data_interval_end=interval.end,
        epoch=sa.func.coalesce(removed.scalar_subquery(), 0) + 1,
        claimed_by=requested_by,
    )
    return new.on_conflict_do_update(
        index_elements=[heads.c.experiment, heads.c.data_interval_start],
        set_={"epoch": heads.c.epoch + 1, "claimed_by": requested_by, "claimed_at": sa.func.clock_timestamp()},
    )


def _is_head(experiment: str, start: datetime) -> sa.ColumnElement[bool]:
    return (heads.c.experiment == experiment) & (heads.c.data_interval_start == start)


def _latest_before_end(experiment: str, interval: DataInterval) -> sa.ScalarSelect[list[datetime]]:
    """Select both ends of the newest other data interval that begins before this one ends, and has a batch.

    Intervals with a batch do not overlap each other. If any of them overlaps this one, the newest of those that begin
    before its end does, so no other one needs to be compared.
    """
    other = heads.alias()
    ends = sa.select(array([other.c.data_interval_start, other.c.data_interval_end]))
    candidates = ends.where(
        other.c.experiment == experiment,
        other.c.data_interval_start < interval.end,
        other.c.data_interval_start != interval.start,
        other.c.batch_digest.is_not(None),
    )
    return candidates.order_by(other.c.data_interval_start.desc()).limit(1).scalar_subquery()


def _overlap_error(experiment: str, interval: DataInterval, other: DataInterval) -> UsageError:
    return UsageError(
        f"the data interval {interval} overlaps {other}, which has a batch: the common rows would be used twice. "
        f"The schedule or the timezone of {experiment} was changed",
        hint=f"continue after the existing ones, as `diurnal run {experiment} --next` does, or start again under "
        "another name of the experiment",
    )


def _insert_packages(
    connection: sa.Connection, experiment: str, interval: DataInterval, roles: dict[str, Package]
) -> None:
    rows = [
        {
            "experiment": experiment,
            "data_interval_start": interval.start,
            "role": role,
            "digest": package.digest,
            "path": package.path,
            "n_rows": package.n_rows,
        }
        for role, package in roles.items()
    ]
    connection.execute(insert(packages).on_conflict_do_nothing(), rows)


def _find_last_erasure(connection: sa.Connection, experiment: str) -> int:
    query = sa.select(sa.func.coalesce(sa.func.max(erasures.c.erasure_id), 0))
    return int(connection.execute(query.where(erasures.c.experiment == experiment)).scalar_one())


def require_batch(connection: sa.Connection, experiment: str, start: datetime, digest: str) -> None:
    """Reject what was made of a batch that an erasure or a retention has deleted since it was read."""
    query = sa.select(packages.c.path).where(
        packages.c.experiment == experiment,
        packages.c.data_interval_start == start,
        packages.c.role == "batch",
        packages.c.digest == digest,
    )
    if connection.execute(query).first() is None:
        raise SupersededError(f"the batch {digest[:12]} of {experiment} {start.isoformat()} was deleted meanwhile")


def _select_package(
    connection: sa.Connection, experiment: str, interval: DataInterval, role: str, digest: str
) -> Package:
    query = sa.select(packages.c.path, packages.c.digest, packages.c.n_rows).where(
        packages.c.experiment == experiment,
        packages.c.data_interval_start == interval.start,
        packages.c.role == role,
        packages.c.digest == digest,
    )
    return Package(*connection.execute(query).one())
