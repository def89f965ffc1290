"""Scoring of a batch: the predictions of the rows of a data interval are loaded into the warehouse.

The view ``predictions_<experiment>`` shows one load for each data interval, all of it or nothing. A repeated call with
the same rows and version has no effect.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from diurnal.data import Schema
from diurnal.errors import BatchRejectedError, DiurnalError, Problem
from diurnal.pipeline import live_scores
from diurnal.pipeline.attempts import recorded_attempt
from diurnal.pipeline.error_context import error_context, superseded_context
from diurnal.pipeline.prediction_columns import prediction_contract
from diurnal.pipeline.rows_to_score import RowsToScore, source_rows, stored_rows
from diurnal.pipeline.scored_rows import Progress, ScoredRows
from diurnal.storage.load_model import load_version, resolve_reference
from diurnal.storage.warehouse.failure_queries import SCORE
from diurnal.types import ScoredBatch

if TYPE_CHECKING:
    from diurnal.experiment.run_context import RunContext
    from diurnal.types import Package


@dataclass(frozen=True)
class BatchScoring:
    """The result of scoring a batch.

    Attributes
    ----------
    experiment : str
        Name of the experiment.
    data_interval_start, data_interval_end : datetime
        The data interval.
    state : str
        ``"scored"``; ``"unchanged"`` if the version has predicted the same rows before; ``"kept"`` if another version
        has predicted the data interval before, and it was not to be scored again.
    version : int
        The version whose predictions are visible.
    requested_version : int
        The version to predict with.
    n_rows : int
        Number of predictions.
    n_repeated : int
        Number of rows of the source that equal another one.
    n_before : int
        Number of predictions that were visible before; all of them are replaced.
    digest : str
        Digest of the model.
    load_id : int
        The visible load.
    seconds : float
        Duration.
    """

    experiment: str
    data_interval_start: datetime
    data_interval_end: datetime
    state: str
    version: int
    requested_version: int
    n_rows: int
    n_repeated: int
    n_before: int
    digest: str
    load_id: int
    seconds: float


def score_batch(
    context: RunContext,
    *,
    version: int | None = None,
    source: Any = None,
    rescore: bool = False,
    now: datetime | None = None,
    progress: Progress | None = None,
) -> BatchScoring:
    """Predict the rows of a data interval, and load the predictions into the warehouse.

    Parameters
    ----------
    context : RunContext
        The experiment, the data interval and the stores.
    version : int, optional
        The model version; the champion by default.
    source : Source, optional
        The source of the rows. By default they are those of the stored batch, or of the experiment's source if the
        data interval has no batch.
    rescore : bool
        Whether to score a data interval again that another version has predicted.
    now : datetime, optional
        The current time by default.
    progress : callable, optional
        Called with the number of predicted rows and the number of all rows.

    Raises
    ------
    NotFoundError
        If there is no such version, or no champion.
    BatchRejectedError
        If the data interval has not ended, or the rows are not valid: nothing changes.
    SupersededError
        If a newer attempt has claimed the data interval.

    Any other error is a row of `failures` with the step ``score``.
    """
    begin = time.monotonic()
    experiment, interval, stores = context.experiment, context.interval, context.stores
    with error_context(context, SCORE):
        _check_has_ended(context, now or datetime.now(UTC))
        row = resolve_reference(stores.warehouse, f"{experiment.name}@{version or 'champion'}")
    with recorded_attempt(context, SCORE), ExitStack() as stack:
        shown = stores.warehouse.visible_predictions(experiment.name, interval.start)
        n_repeated, n_before, state = 0, shown["n_rows"] if shown else 0, "kept"
        if shown is None or shown["version"] == row["version"] or rescore:
            # before rows are read: after an erasure or a removal of them, this attempt has no effect
            epoch = stores.warehouse.claim_predictions(experiment.name, interval, requested_by=context.requested_by)
            check = partial(stores.warehouse.check_scoring, experiment.name, interval, epoch)
            stack.enter_context(superseded_context(check))
            contract = _read_contract(context)
            package = None if source else _find_batch(context)
            rows = (
                stack.enter_context(source_rows(context, contract, row, source))
                if package is None
                else stored_rows(context, contract, row, package)
            )
            n_repeated, state = rows.n_repeated, "unchanged"
            if shown is None or (shown["version"], shown["source_digest"]) != (row["version"], rows.digest):
                shown, state = _load_predictions(context, contract, row, rows, epoch, progress), "scored"
            live_scores.score_after_prediction(context, shown["load_id"])  # also those that a killed attempt lacks
            stores.warehouse.resolve_failures(experiment.name, SCORE, interval.start)
    return BatchScoring(
        experiment=experiment.name,
        data_interval_start=interval.local.start,
        data_interval_end=interval.local.end,
        state=state,
        requested_version=row["version"],
        n_repeated=n_repeated,
        n_before=n_before,
        seconds=time.monotonic() - begin,
        **{name: shown[name] for name in ("version", "n_rows", "digest", "load_id")},
    )


def _load_predictions(
    context: RunContext,
    contract: Schema,
    row: dict[str, Any],
    rows: RowsToScore,
    epoch: int,
    progress: Progress | None,
) -> dict[str, Any]:
    shown = prediction_contract(contract, row)
    columns = _loaded_columns(shown, row["signature"])
    model = load_version(context.stores.models, row, context.code)
    scored = ScoredBatch(context.experiment.name, context.interval, row["version"], row["digest"], rows.digest)
    return context.stores.warehouse.load_predictions(
        scored,
        columns,
        shown,
        ScoredRows(context, contract, model, row["signature"], rows, columns, progress).batches(),
        epoch=epoch,
        requested_by=context.requested_by,
    )


def _loaded_columns(shown: Schema, signature: dict[str, Any]) -> pa.Schema:
    """Return the columns that a version predicts, in the types of the view."""
    golden = signature["golden"]
    labels = signature["classes"] if signature.get("classes") and golden["probabilities"] is not None else ()
    names = [*shown.key, "prediction", *(f"probability_{label}" for label in labels)]
    return pa.schema([shown.arrow_schema.field(name) for name in names])


def _find_batch(context: RunContext) -> Package | None:
    """Return the stored batch of the data interval; None if there is none."""
    interval = context.interval
    found = context.stores.warehouse.window(context.experiment.name, interval, last=1)
    return next((package for other, package in found if other.start == interval.start), None)


def _read_contract(context: RunContext) -> Schema:
    stored = context.stores.warehouse.schema(context.experiment.name)
    if stored is None:
        message = f"{context.experiment.name} has a model and no schema"
        raise DiurnalError(message, hint="restore the warehouse from a backup")
    return Schema.from_dict(stored)


def _check_has_ended(context: RunContext, now: datetime) -> None:
    """Reject a data interval that has not ended. Its labels need not be complete."""
    interval = context.interval
    if interval.end > now:
        end = f"{interval.local.end:%Y-%m-%d %H:%M} {interval.timezone}"
        message = f"the data interval {interval} is not over before {end}"
        raise BatchRejectedError([Problem("future-batch", message)], hint="score an earlier one, with --date")
