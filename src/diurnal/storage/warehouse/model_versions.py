"""Model versions and promotions: published in one transaction, promoted in one, and never forgotten."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from diurnal.errors import NotFoundError, UsageError, did_you_mean
from diurnal.storage.warehouse.connection import Connected, Row, one
from diurnal.storage.warehouse.tables import experiments, model_versions, promotions
from diurnal.types import DataInterval, Decision, ModelFile, ModelVersion, Run

_VERSION = (
    model_versions.c.experiment,
    model_versions.c.version,
    model_versions.c.run_id,
    model_versions.c.data_interval_start,
    model_versions.c.data_interval_end,
    model_versions.c.path,
    model_versions.c.digest,
)


class Versions(Connected):
    """The tables `model_versions` and `promotions`, and the decision in `experiments`."""

    def publish(self, run: Run, model: ModelFile, *, trusted: Collection[str] = ()) -> ModelVersion:
        """Give a saved model the next number of its experiment; the same run gets the same number again.

        Parameters
        ----------
        run : Run
            Who made it; it must have been recorded.
        model : ModelFile
            Where it is, its digest, its signature, and what it was fitted with.
        trusted : collection of str
            Full names of further types that it may hold.

        Raises
        ------
        SupersededError
            If a newer attempt has claimed the data interval.
        """
        numbers = sa.select(sa.func.coalesce(sa.func.max(model_versions.c.version), 0) + 1)
        with self.fenced_transaction_for("publish", run) as connection:
            _lock(connection, run.experiment)
            if (found := _found(connection, model_versions.c.run_id == run.run_id)) is not None:
                return found
            new = sa.insert(model_versions).values(
                experiment=run.experiment,
                version=numbers.where(model_versions.c.experiment == run.experiment).scalar_subquery(),
                run_id=run.run_id,
                data_interval_start=run.interval.start,
                data_interval_end=run.interval.end,
                path=model.path,
                digest=model.digest,
                signature=dict(model.signature),
                library_versions=dict(model.library_versions),
                trusted=sorted(trusted),
                environment=dict(model.environment),
            )
            published = _model_version(connection.execute(new.returning(*_VERSION)).one())
            of_run = sa.update(experiments).where(experiments.c.run_id == run.run_id)
            connection.execute(of_run.values(model_version=published.version))
            return published

    def promote(
        self,
        run: Run,
        version: ModelVersion,
        decide: Callable[[ModelVersion | None], Decision],
        *,
        requested_by: str,
        evidence: Mapping[str, Any],
    ) -> Decision:
        """Decide whether a version becomes the champion, and finish its run; a decision that was made stays.

        Parameters
        ----------
        run : Run
            Whose model it is.
        version : ModelVersion
            The challenger.
        decide : callable
            Takes the champion, or None, and gives the decision. No other promotion happens meanwhile.
        requested_by : str
            The user or run that promotes it, for display.
        evidence : Mapping of str to Any
            What the decision rests on, in JSON's types.

        Raises
        ------
        SupersededError
            If a newer attempt has claimed the data interval.
        """
        decided = experiments.c.run_id == run.run_id
        query = sa.select(experiments.c.promoted, experiments.c.reason).where(decided)
        with self.fenced_transaction_for("promote", run) as connection:
            _lock(connection, run.experiment)
            earlier = connection.execute(query).one_or_none()
            if earlier is None:
                message = f"run {run.run_id} is not recorded, so nothing can be decided about it"
                raise UsageError(message, hint="record it first")
            if earlier.promoted is not None:
                return Decision(earlier.promoted, earlier.reason)
            champion = _champion(connection, run.experiment)
            decision = decide(champion)
            if decision.promoted and (champion is None or champion.version != version.version):
                _append(
                    connection, version.experiment, version.version, "promote", requested_by, decision.reason, evidence
                )
            finished = sa.update(experiments).where(decided)
            connection.execute(
                finished.values(
                    decided_at=sa.func.clock_timestamp(), promoted=decision.promoted, reason=decision.reason
                )
            )
            return decision

    def set_champion(
        self, experiment: str, version: int, *, requested_by: str, reason: str, action: str = "promote"
    ) -> Row:
        """Make a version the champion by hand.

        Parameters
        ----------
        experiment : str
            Name of the experiment.
        version : int
            The version.
        requested_by, reason : str
            User and reason, for the history.
        action : {"promote", "rollback"}
            Type of the entry in the history.

        Returns
        -------
        dict
            The new row of the table `promotions`.

        Raises
        ------
        NotFoundError
            If there is no such version.
        UsageError
            If it is the champion already.
        """
        if action not in {"promote", "rollback"}:
            raise UsageError(f"action is {action!r}; allowed are 'promote' and 'rollback'", hint="give one of them")
        with self.transaction("set_champion", experiment) as connection:
            _lock(connection, experiment)
            _need(connection, experiment, version)
            champion = _champion(connection, experiment)
            if champion is not None and champion.version == version:
                message = f"version {version} of {experiment} is the champion already"
                raise UsageError(
                    message, hint=f"nothing is to be done; see the others with: diurnal models {experiment}"
                )
            return _append(connection, experiment, version, action, requested_by, reason, {})

    def champion(self, experiment: str, at: datetime | None = None) -> ModelVersion | None:
        """Give the version in use, now or at a moment of the past; None before the first promotion."""
        with self.transaction() as connection:
            return _champion(connection, experiment, at)

    def newest_version(self, experiment: str) -> ModelVersion | None:
        """Give the version of the newest data interval, of several the last one; None before the first."""
        query = sa.select(*_VERSION).where(model_versions.c.experiment == experiment)
        newest = query.order_by(model_versions.c.data_interval_end.desc(), model_versions.c.version.desc()).limit(1)
        with self.transaction() as connection:
            row = connection.execute(newest).one_or_none()
        return None if row is None else _model_version(row)

    def newest_promotion(self, experiment: str) -> Row | None:
        """Give the promotion that made the champion, with its version's run, data interval and digest; None before."""
        same = (model_versions.c.experiment == promotions.c.experiment) & (
            model_versions.c.version == promotions.c.version
        )
        query = (
            sa.select(
                promotions,
                *(model_versions.c[name] for name in ("run_id", "digest", "data_interval_start", "data_interval_end")),
            )
            .join(model_versions, same)
            .where(promotions.c.experiment == experiment)
            .order_by(promotions.c.seq.desc())
            .limit(1)
        )
        return next(iter(self.rows(query)), None)

    def version(self, experiment: str, version: int) -> Row:
        """Give the row of a version, with the columns of the table.

        Raises
        ------
        NotFoundError
            If there is no such version; the message says which there are.
        """
        with self.transaction() as connection:
            return _need(connection, experiment, version)

    def versions(self, experiment: str | None = None) -> list[Row]:
        """Give the rows of all versions, of one experiment or of all, newest first, and `champion`: whether it is."""
        champions = sa.table("champions", sa.column("experiment"), sa.column("version"))
        is_champion = sa.exists().where(
            champions.c.experiment == model_versions.c.experiment, champions.c.version == model_versions.c.version
        )
        query = sa.select(model_versions, is_champion.label("champion")).order_by(
            model_versions.c.experiment, model_versions.c.version.desc()
        )
        return self.rows(query if experiment is None else query.where(model_versions.c.experiment == experiment))

    def promotions(self, experiment: str | None = None) -> list[Row]:
        """Give the history of the champions, of one experiment or of all, newest first."""
        query = sa.select(promotions).order_by(promotions.c.experiment, promotions.c.seq.desc())
        return self.rows(query if experiment is None else query.where(promotions.c.experiment == experiment))


def _lock(connection: sa.Connection, experiment: str) -> None:
    """Let no other transaction number or promote versions of the experiment until this one ends."""
    key = sa.func.hashtextextended(f"versions of {experiment}", 0)
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))


def _champion(connection: sa.Connection, experiment: str, at: datetime | None = None) -> ModelVersion | None:
    of_it = promotions.c.experiment == experiment
    newest = sa.select(sa.func.max(promotions.c.seq)).where(of_it)
    if at is not None:
        newest = newest.where(promotions.c.promoted_at <= at)
    version = sa.select(promotions.c.version).where(of_it, promotions.c.seq == newest.scalar_subquery())
    is_it = (model_versions.c.experiment == experiment) & (model_versions.c.version == version.scalar_subquery())
    return _found(connection, is_it)


def _append(
    connection: sa.Connection,
    experiment: str,
    version: int,
    action: str,
    requested_by: str,
    reason: str,
    evidence: Mapping[str, Any],
) -> Row:
    next_seq = sa.select(sa.func.coalesce(sa.func.max(promotions.c.seq), 0) + 1)
    new = sa.insert(promotions).values(
        experiment=experiment,
        seq=next_seq.where(promotions.c.experiment == experiment).scalar_subquery(),
        version=version,
        kind=action,
        promoted_by=requested_by,
        reason=reason,
        evidence=dict(evidence),
    )
    return one(connection.execute(new.returning(promotions)).mappings().one()) or {}


def _need(connection: sa.Connection, experiment: str, version: int) -> Row:
    of_it = model_versions.c.experiment == experiment
    query = sa.select(model_versions).where(of_it, model_versions.c.version == version)
    if (found := one(connection.execute(query).mappings().one_or_none())) is not None:
        return found
    numbers = connection.execute(sa.select(model_versions.c.version).where(of_it).order_by("version")).scalars().all()
    if numbers:
        known = ", ".join(map(str, numbers if len(numbers) <= 5 else [numbers[0], "...", *numbers[-3:]]))
        message = f"{experiment} has no version {version}; there are {known}"
        raise NotFoundError(message, hint=f"see them with: diurnal models {experiment}")
    others = connection.execute(sa.select(model_versions.c.experiment).distinct()).scalars().all()
    near = did_you_mean(experiment, others)
    raise NotFoundError(f"{experiment} has no published version{near}", hint="publish one first: diurnal run NAME")


def _found(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> ModelVersion | None:
    row = connection.execute(sa.select(*_VERSION).where(condition)).one_or_none()
    return None if row is None else _model_version(row)


def _model_version(row: Any) -> ModelVersion:
    interval = DataInterval(row.data_interval_start, row.data_interval_end)
    return ModelVersion(row.experiment, row.version, row.run_id, interval, row.path, row.digest)
