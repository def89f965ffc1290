"""Predictions of batches in SQL tables: a load is immutable, and the view shows it once its data interval refers to it.

Each claim of a data interval increments its epoch, as for batches. A load becomes visible only if no newer attempt has
claimed the interval in the meantime. Loads that were visible before stay: their rows show which version served.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from diurnal.errors import SupersededError
from diurnal.storage.warehouse import batch_view
from diurnal.storage.warehouse.batch_queries import claim_head, lock_claims
from diurnal.storage.warehouse.connection import Row
from diurnal.storage.warehouse.row_copies import RowCopies, complete_load, delete_load
from diurnal.storage.warehouse.tables import prediction_heads as heads
from diurnal.storage.warehouse.tables import prediction_loads as loads
from diurnal.storage.warehouse.tables import prediction_rows, predictions_view, shown_predictions
from diurnal.storage.warehouse.visible_rows import prediction_relation
from diurnal.types import DataInterval, ScoredBatch

if TYPE_CHECKING:
    import pyarrow as pa

    from diurnal.data import Schema

FIXED_COLUMNS = tuple(prediction_relation("any").fixed)
"""The columns of the view that are equal in all rows of a load."""


class PredictionQueries(RowCopies):
    """The tables `prediction_heads` and `prediction_loads`, and the table and the view of each experiment."""

    def visible_predictions(self, experiment: str, start: datetime) -> Row | None:
        """Return the visible load of a data interval, with the columns of `prediction_loads`; None if it has none."""
        query = sa.select(loads).join(heads, heads.c.load_id == loads.c.load_id)
        rows = self.rows(query.where(heads.c.experiment == experiment, heads.c.data_interval_start == start))
        return rows[0] if rows else None

    def claim_predictions(self, experiment: str, interval: DataInterval, *, requested_by: str) -> int:
        """Begin an attempt to score a data interval, which supersedes all earlier ones; return its epoch.

        Rows are read after it: an erasure or a removal supersedes all attempts that may have read what it deletes.
        """
        claim = claim_head(heads, experiment, interval, requested_by)
        with self.transaction("claim_predictions", experiment) as connection:
            lock_claims(connection, experiment)
            return int(connection.execute(claim.returning(heads.c.epoch)).scalar_one())

    def check_scoring(self, experiment: str, interval: DataInterval, epoch: int) -> None:
        """Raise a SupersededError if an attempt to score a data interval is not the newest one any more."""
        with self.transaction() as connection:
            if (superseded := _find_newer(connection, experiment, interval, epoch)) is not None:
                raise superseded

    def load_predictions(
        self,
        scored: ScoredBatch,
        columns: pa.Schema,
        contract: Schema,
        batches: Iterable[pa.RecordBatch],
        *,
        epoch: int,
        requested_by: str,
    ) -> Row:
        """Copy the predictions of a data interval to the warehouse and make them visible; they replace others.

        Parameters
        ----------
        scored : ScoredBatch
            The rows and the model. If they have a complete load, that becomes visible, and `batches` is not read.
        columns : pa.Schema
            Of the batches: the key, ``prediction`` and the probabilities.
        contract : Schema
            These columns for all versions of the model, which the view follows.
        batches : iterable of pa.RecordBatch
            The predictions. Memory does not grow with their number.
        epoch : int
            The result of :meth:`claim_predictions`.
        requested_by : str
            The user or the service that requests it.

        Returns
        -------
        dict
            The visible load, with the columns of `prediction_loads`.

        Raises
        ------
        SupersededError
            If a newer attempt has claimed the interval.
        """
        leading = (*contract.key, contract.target)
        relation, n_rows = prediction_relation(scored.experiment), None
        attempt = (scored.experiment, scored.interval, epoch)
        with self.transaction(None, scored.experiment) as connection:
            if (superseded := _find_newer(connection, *attempt)) is not None:
                raise superseded
            load_id = complete = _find_complete(connection, scored)
            if load_id is None:
                layout = batch_view.prepare_table(connection, relation, columns, leading, contract)
                load_id = _start_load(connection, scored, epoch, requested_by)
        if complete is None:
            n_rows = self._copy_rows("prediction_rows", relation, load_id, layout, batches)
        with self.transaction("show_predictions", scored.experiment) as connection:
            superseded = _find_newer(connection, *attempt)
            if superseded is None:
                return _show_load(connection, scored, load_id, n_rows)
            if complete is None and connection.execute(sa.select(loads).where(loads.c.load_id == load_id)).first():
                delete_load(connection, loads, relation, load_id)
        raise superseded

    def prediction_loads(self, experiment: str | None = None) -> list[Row]:
        """Return the loads of predictions, of one experiment or of all, with the boolean `shown`."""
        shown = sa.exists().where(heads.c.load_id == loads.c.load_id)
        query = sa.select(loads, shown.label("shown")).order_by(loads.c.load_id)
        return self.rows(query if experiment is None else query.where(loads.c.experiment == experiment))

    def shown_predictions(self, experiment: str) -> list[Row]:
        """Return when each load of predictions became visible, oldest first; the next one of the interval ended it."""
        query = sa.select(shown_predictions).where(shown_predictions.c.experiment == experiment)
        return self.rows(query.order_by(shown_predictions.c.data_interval_start, shown_predictions.c.shown_at))

    def count_predictions(self, experiment: str, load_id: int) -> int:
        """Count the rows of a load."""
        query = sa.text(f"SELECT count(*) FROM {prediction_rows(experiment)} WHERE load_id = :load_id")
        with self.transaction() as connection:
            connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
            return int(connection.execute(query, {"load_id": load_id}).scalar_one())

    def predictions(self, experiment: str, *, since: datetime | None = None) -> pa.Table | None:
        """Return the rows of the view of predictions; None if nothing was ever scored.

        Parameters
        ----------
        experiment : str
            Name of the experiment.
        since : datetime, optional
            Only data intervals that begin then or later.
        """
        view = predictions_view(experiment)
        with self.transaction() as connection:
            exists = connection.execute(sa.select(sa.func.to_regclass(view))).scalar_one() is not None
        if not exists:
            return None
        condition = "" if since is None else f" WHERE data_interval_start >= '{since.isoformat()}'"
        with self._arrow() as (_, cursor):
            cursor.execute(f"SELECT * FROM {view}{condition}")
            return cursor.fetch_arrow_table()

    def discard_unused_predictions(self, older_than: timedelta) -> int:
        """Delete loads of predictions that are not complete, such as those of killed attempts.

        Parameters
        ----------
        older_than : timedelta
            By the server's clock; the copy of a younger load may be in progress.

        Returns
        -------
        int
            The number of deleted loads.
        """
        return self._discard_loads(loads, prediction_relation, older_than)


def _is_head(experiment: str, interval: DataInterval) -> sa.ColumnElement[bool]:
    return (heads.c.experiment == experiment) & (heads.c.data_interval_start == interval.start)


def _find_newer(
    connection: sa.Connection, experiment: str, interval: DataInterval, epoch: int
) -> SupersededError | None:
    """Lock the row of a data interval; return the error of an attempt that is not the newest one on it."""
    query = sa.select(heads.c.epoch, heads.c.claimed_by).where(_is_head(experiment, interval)).with_for_update()
    head = connection.execute(query).one_or_none()
    if head is not None and head.epoch == epoch:
        return None
    reason = f"attempt {head.epoch}, by {head.claimed_by}, has claimed it" if head else "the experiment was removed"
    return SupersededError(f"attempt {epoch} to score {experiment} {interval} is superseded: {reason}")


def _find_complete(connection: sa.Connection, scored: ScoredBatch) -> int | None:
    query = sa.select(loads.c.load_id).where(
        loads.c.experiment == scored.experiment,
        loads.c.data_interval_start == scored.interval.start,
        loads.c.source_digest == scored.source_digest,
        loads.c.version == scored.version,
        loads.c.state == "complete",
    )
    load_id: int | None = connection.execute(query).scalar_one_or_none()
    return load_id


def _start_load(connection: sa.Connection, scored: ScoredBatch, epoch: int, requested_by: str) -> int:
    new = sa.insert(loads).values(
        experiment=scored.experiment,
        data_interval_start=scored.interval.start,
        data_interval_end=scored.interval.end,
        version=scored.version,
        digest=scored.digest,
        source_digest=scored.source_digest,
        epoch=epoch,
        requested_by=requested_by,
    )
    return int(connection.execute(new.returning(loads.c.load_id)).scalar_one())


def _show_load(connection: sa.Connection, scored: ScoredBatch, load_id: int, n_rows: int | None) -> Row:
    """Complete the load, unless it was complete before, and point to it."""
    if n_rows is not None:
        complete_load(connection, loads, load_id, n_rows=n_rows)
    head = sa.update(heads).where(_is_head(scored.experiment, scored.interval))
    connection.execute(head.values(load_id=load_id, data_interval_end=scored.interval.end))
    return dict(connection.execute(sa.select(loads).where(loads.c.load_id == load_id)).mappings().one())
