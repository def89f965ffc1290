"""Model versions and promotions: each is stored in one transaction and never deleted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from diurnal.errors import NotFoundError, UsageError, did_you_mean
from diurnal.storage.warehouse.champions import (
    VERSION_COLUMNS,
    lock_versions,
    place_bet,
    select_challenger,
    select_champion,
    select_standing,
    select_version,
    to_model_version,
)
from diurnal.storage.warehouse.connection import Row, WarehouseConnection, row_to_dict
from diurnal.storage.warehouse.promotion_listener import PromotionListener
from diurnal.storage.warehouse.tables import bets, experiments, model_versions, promotions
from diurnal.types import Bet, DataInterval, Decision, ModelFile, ModelVersion, Run, Standing


class VersionQueries(WarehouseConnection):
    """The tables `model_versions`, `promotions` and `bets`, and the decision in `experiments`."""

    def publish(self, run: Run, model: ModelFile, *, trusted: Collection[str] = ()) -> ModelVersion:
        """Publish a stored model as the next version of its experiment; the same run gets the same version again.

        Parameters
        ----------
        run : Run
            The run of the model, which must be recorded.
        model : ModelFile
            Its path, digest and signature, and the library versions of its fit.
        trusted : collection of str
            Full names of further types that it may contain.

        Raises
        ------
        SupersededError
            If a newer attempt has claimed the data interval.
        """
        numbers = sa.select(sa.func.coalesce(sa.func.max(model_versions.c.version), 0) + 1)
        with self.fenced_transaction_for("publish", run) as connection:
            lock_versions(connection, run.experiment)
            if (existing := select_version(connection, model_versions.c.run_id == run.run_id)) is not None:
                return existing
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
            published = to_model_version(connection.execute(new.returning(*VERSION_COLUMNS)).one())
            recorded = sa.update(experiments).where(experiments.c.run_id == run.run_id)
            connection.execute(recorded.values(model_version=published.version))
            return published

    def promote(
        self,
        run: Run,
        version: ModelVersion,
        decide: Callable[[Standing], Decision],
        *,
        requested_by: str,
        evidence: Mapping[str, Any],
    ) -> Decision:
        """Decide whether a version becomes the champion, and finish its run; an earlier decision stays.

        Parameters
        ----------
        run : Run
            The run of the model.
        version : ModelVersion
            The challenger.
        decide : callable
            Takes the champion and the challenge to it, and returns the decision, with the bet if there is one. No other
            promotion or bet can happen meanwhile.
        requested_by : str
            The user or run that promotes it, for display.
        evidence : Mapping of str to Any
            The reasons for the decision, in JSON's types.

        Raises
        ------
        SupersededError
            If a newer attempt has claimed the data interval.
        """
        is_run = experiments.c.run_id == run.run_id
        query = sa.select(experiments.c.promoted, experiments.c.reason).where(is_run)
        with self.fenced_transaction_for("promote", run) as connection:
            lock_versions(connection, run.experiment)
            earlier = connection.execute(query).one_or_none()
            if earlier is None:
                message = f"run {run.run_id} is not recorded, so its model cannot be promoted"
                raise UsageError(message, hint="record it first")
            if earlier.promoted is not None:
                return Decision(earlier.promoted, earlier.reason)
            standing = select_standing(connection, run.experiment)
            decision = decide(standing)
            if decision.bet is not None:
                place_bet(connection, run, decision.bet)
                evidence = {**evidence, "bet": _bet_as_json(decision.bet)}
            new = version.version if decision.promoted else decision.proven
            if new is not None and (standing.champion is None or standing.champion.version != new):
                _append_promotion(
                    connection, version.experiment, new, "promote", requested_by, decision.reason, evidence
                )
            connection.execute(sa.update(experiments).where(is_run).values(_columns_of_decision(decision)))
            return decision

    def set_champion(
        self, experiment: str, version: int, *, requested_by: str, reason: str, action: str = "promote"
    ) -> Row:
        """Make a version the champion manually.

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
            raise UsageError(f"action is {action!r}; allowed are 'promote' and 'rollback'", hint="pass one of them")
        with self.transaction("set_champion", experiment) as connection:
            lock_versions(connection, experiment)
            _select_version_row(connection, experiment, version)
            champion = select_champion(connection, experiment)
            if champion is not None and champion.version == version:
                message = f"version {version} of {experiment} is already the champion"
                raise UsageError(message, hint=f"nothing to do; list the others with: diurnal models {experiment}")
            return _append_promotion(connection, experiment, version, action, requested_by, reason, {})

    def champion(self, experiment: str, at: datetime | None = None) -> ModelVersion | None:
        """Return the champion, now or at a time in the past; None before the first promotion."""
        with self.transaction() as connection:
            return select_champion(connection, experiment, at)

    def standing(self, experiment: str) -> Standing:
        """Return the champion and the challenge to it."""
        with self.transaction() as connection:
            return select_standing(connection, experiment)

    def challenger(self, experiment: str, interval: DataInterval) -> ModelVersion | None:
        """Return the version to score against the champion on the batch of a data interval; None if there is none."""
        with self.transaction() as connection:
            return select_challenger(connection, experiment, interval)

    def bets(self, experiment: str | None = None) -> list[Row]:
        """Return the rows of all bets, of one experiment or of all, newest first."""
        query = sa.select(bets).order_by(bets.c.experiment, bets.c.data_interval_start.desc())
        return self.rows(query if experiment is None else query.where(bets.c.experiment == experiment))

    def listen(self) -> PromotionListener:
        """Open a connection that waits for promotions of any experiment."""
        return PromotionListener(self.address)

    def newest_version(self, experiment: str) -> ModelVersion | None:
        """Return the last version of the newest data interval; None before the first one."""
        query = sa.select(*VERSION_COLUMNS).where(model_versions.c.experiment == experiment)
        newest = query.order_by(model_versions.c.data_interval_end.desc(), model_versions.c.version.desc()).limit(1)
        with self.transaction() as connection:
            row = connection.execute(newest).one_or_none()
        return None if row is None else to_model_version(row)

    def newest_promotion(self, experiment: str) -> Row | None:
        """Return the last promotion, with its version's run, data interval and digest; None before the first one."""
        same_version = (model_versions.c.experiment == promotions.c.experiment) & (
            model_versions.c.version == promotions.c.version
        )
        query = (
            sa.select(
                promotions,
                *(model_versions.c[name] for name in ("run_id", "digest", "data_interval_start", "data_interval_end")),
            )
            .join(model_versions, same_version)
            .where(promotions.c.experiment == experiment)
            .order_by(promotions.c.seq.desc())
            .limit(1)
        )
        return next(iter(self.rows(query)), None)

    def version(self, experiment: str, version: int) -> Row:
        """Return the row of a version, with the columns of the table.

        Raises
        ------
        NotFoundError
            If there is no such version; the message lists the existing ones.
        """
        with self.transaction() as connection:
            return _select_version_row(connection, experiment, version)

    def versions(self, experiment: str | None = None) -> list[Row]:
        """Return the rows of all versions, of one experiment or of all, newest first, with the boolean `champion`."""
        champions = sa.table("champions", sa.column("experiment"), sa.column("version"))
        is_champion = sa.exists().where(
            champions.c.experiment == model_versions.c.experiment, champions.c.version == model_versions.c.version
        )
        query = sa.select(model_versions, is_champion.label("champion")).order_by(
            model_versions.c.experiment, model_versions.c.version.desc()
        )
        return self.rows(query if experiment is None else query.where(model_versions.c.experiment == experiment))

    def promoted_experiments(self) -> list[str]:
        """Return the names of the experiments that have a champion."""
        query = sa.select(promotions.c.experiment).distinct().order_by(promotions.c.experiment)
        return [str(row["experiment"]) for row in self.rows(query)]

    def promotions(self, experiment: str | None = None) -> list[Row]:
        """Return the promotions, of one experiment or of all, newest first."""
        query = sa.select(promotions).order_by(promotions.c.experiment, promotions.c.seq.desc())
        return self.rows(query if experiment is None else query.where(promotions.c.experiment == experiment))


def _columns_of_decision(decision: Decision) -> dict[str, Any]:
    """Return the columns of a run that is decided."""
    values = {"decided_at": sa.func.clock_timestamp(), "promoted": decision.promoted, "reason": decision.reason}
    if decision.bet is None:
        return values
    bet = sa.cast({"bet": _bet_as_json(decision.bet)}, experiments.c.challenge.type)
    return values | {"challenge": sa.func.coalesce(experiments.c.challenge, sa.cast({}, bet.type)).op("||")(bet)}


def _bet_as_json(bet: Bet) -> dict[str, Any]:
    """Return a bet in JSON's types, without its data interval."""
    return {**{name: value for name, value in asdict(bet).items() if name != "interval"}, "threshold": bet.threshold}


def _append_promotion(
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
    return row_to_dict(connection.execute(new.returning(promotions)).mappings().one()) or {}


def _select_version_row(connection: sa.Connection, experiment: str, version: int) -> Row:
    of_experiment = model_versions.c.experiment == experiment
    query = sa.select(model_versions).where(of_experiment, model_versions.c.version == version)
    if (row := row_to_dict(connection.execute(query).mappings().one_or_none())) is not None:
        return row
    numbers = (
        connection.execute(sa.select(model_versions.c.version).where(of_experiment).order_by("version")).scalars().all()
    )
    if numbers:
        existing = ", ".join(map(str, numbers if len(numbers) <= 5 else [numbers[0], "...", *numbers[-3:]]))
        message = f"{experiment} has no version {version}; there are {existing}"
        raise NotFoundError(message, hint=f"list them with: diurnal models {experiment}")
    others = connection.execute(sa.select(model_versions.c.experiment).distinct()).scalars().all()
    suggestion = did_you_mean(experiment, others)
    raise NotFoundError(
        f"{experiment} has no published version{suggestion}", hint="publish one first: diurnal run NAME"
    )
