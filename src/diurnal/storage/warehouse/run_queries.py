"""Runs: one row for each, with its input, its search and its scores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from diurnal.errors import UsageError, did_you_mean
from diurnal.storage.warehouse.connection import Row, WarehouseConnection, row_to_dict
from diurnal.storage.warehouse.tables import experiments, heads, model_versions
from diurnal.types import DataInterval, Run

# Columns that the warehouse sets.
_OWN_COLUMNS = frozenset({"recorded_at", "decided_at", "promoted", "reason", "model_version"})


class RunQueries(WarehouseConnection):
    """The table `experiments`."""

    def run(self, run_id: str) -> Row | None:
        """Return the row of a run, with the columns of the table; None if it is not recorded."""
        query = sa.select(experiments).where(experiments.c.run_id == run_id)
        return next(iter(self.rows(query)), None)

    def runs(self, experiment: str | None = None) -> list[Row]:
        """Return the rows of all runs, of one experiment or of all, newest data interval first."""
        query = sa.select(experiments).order_by(
            experiments.c.data_interval_start.desc(), experiments.c.recorded_at.desc(), experiments.c.run_id
        )
        return self.rows(query if experiment is None else query.where(experiments.c.experiment == experiment))

    def equal_runs(self, run: Run) -> list[Row]:
        """Return the newest ten other runs of the same experiment, data, code and contract, newest first."""
        query = sa.select(experiments).where(
            experiments.c.experiment == run.experiment,
            experiments.c.window_digest == run.window_digest,
            experiments.c.code_digest == run.code_digest,
            experiments.c.contract_version == run.contract,
            experiments.c.run_id != run.run_id,
        )
        return self.rows(query.order_by(experiments.c.recorded_at.desc()).limit(10))

    def count_finished_runs(self, experiment: str, interval: DataInterval, window_digest: str, code_digest: str) -> int:
        """Return the number of finished runs of the same data and code, which is the number of the next repeat."""
        query = sa.select(sa.func.count()).where(
            experiments.c.experiment == experiment,
            experiments.c.data_interval_start == interval.start,
            experiments.c.data_interval_end == interval.end,
            experiments.c.window_digest == window_digest,
            experiments.c.code_digest == code_digest,
            experiments.c.decided_at.is_not(None),
        )
        with self.transaction() as connection:
            return int(connection.execute(query).scalar_one())

    def finished_intervals(self, experiment: str) -> dict[datetime, datetime]:
        """Return the data intervals that need no further run, as a dictionary from start to end.

        They have a finished run, or a batch whose window has too little training data.
        """
        finished = sa.select(experiments.c.data_interval_start, experiments.c.data_interval_end).where(
            experiments.c.experiment == experiment, experiments.c.decided_at.is_not(None)
        )
        insufficient = sa.select(heads.c.data_interval_start, heads.c.data_interval_end).where(
            heads.c.experiment == experiment, heads.c.lacking.is_not(None)
        )
        with self.transaction() as connection:
            return dict(tuple(row) for row in connection.execute(sa.union(finished, insufficient)))

    def record_run(self, run: Run, row: Mapping[str, Any]) -> Row:
        """Store the result of a run.

        Parameters
        ----------
        run : Run
            The run.
        row : Mapping of str to Any
            The other columns of the table `experiments`. A score that is not a finite number is stored as null.

        Returns
        -------
        dict
            The stored row. Once the run's model is published, the row does not change, except that its table of
            candidates may be replaced by one of the same search.

        Raises
        ------
        SupersededError
            If a newer attempt has claimed the data interval.
        UsageError
            If a column is unknown or missing.
        """
        identity = _run_columns(run)
        _check_row_columns(row, identity)
        finite = {key: None if _is_not_finite(value) else value for key, value in row.items()}
        values = {**finite, **identity, "recorded_at": sa.func.clock_timestamp()}
        upsert = insert(experiments).values(values)
        changed = {key: upsert.excluded[key] for key in values if key != "run_id"}
        published = sa.exists().where(model_versions.c.run_id == run.run_id)
        upsert = upsert.on_conflict_do_update(index_elements=["run_id"], set_=changed, where=~published)
        with self.fenced_transaction_for("record_run", run) as connection:
            connection.execute(upsert)
            connection.execute(_replace_candidates(run, finite))
            stored = connection.execute(sa.select(experiments).where(experiments.c.run_id == run.run_id)).mappings()
            return row_to_dict(stored.one()) or {}


def _replace_candidates(run: Run, row: Mapping[str, Any]) -> sa.Update:
    """Refer to another table of candidates if its search has the recorded scores: the file of the former was lost."""
    same_scores = [
        experiments.c[name].is_not_distinct_from(row.get(name)) for name in ("cv_score_mean", "cv_score_std")
    ]
    of_search = sa.update(experiments).where(experiments.c.run_id == run.run_id, *same_scores)
    return of_search.where(experiments.c.candidates != row.get("candidates")).values(candidates=row.get("candidates"))


def _run_columns(run: Run) -> Row:
    return {
        "run_id": run.run_id,
        "experiment": run.experiment,
        "data_interval_start": run.interval.start,
        "data_interval_end": run.interval.end,
        "epoch": run.epoch,
        "repeat": run.repeat,
        "batch_digest": run.batch_digest,
        "window_digest": run.window_digest,
        "code_digest": run.code_digest,
        "code": run.code or None,
        "contract_version": run.contract or None,
    }


def _check_row_columns(row: Mapping[str, Any], identity: Row) -> None:
    allowed = set(experiments.c.keys()) - set(identity) - _OWN_COLUMNS
    if unknown := sorted(set(row) - allowed - set(identity)):
        suggestion = did_you_mean(unknown[0], allowed)
        message = f"the table experiments has no column {unknown[0]!r} for a run's result{suggestion}"
        raise UsageError(message, hint=f"the columns are {', '.join(sorted(allowed))}")
    required = {c.name for c in experiments.c if not c.nullable and c.server_default is None} - set(identity)
    if missing := sorted(required - set(row)):
        message = f"a run's result needs the columns {', '.join(sorted(required))}; missing: {', '.join(missing)}"
        raise UsageError(message, hint="pass a value for each")


def _is_not_finite(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
