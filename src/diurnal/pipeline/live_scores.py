"""Live scores: how right predictions were, by the truth that came after them.

Each load of predictions has one row in the table `live_scores`. It is computed again when a batch brings truth that was
missing, or corrects it. A version is not scored by rows that it has learnt: if the data interval of a prediction, or
that of its truth, is in the training window of the version, the row is in-sample, and counted but not scored.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from diurnal.data import Schema
from diurnal.errors import PermissionDeniedError, TransientError
from diurnal.pipeline.prediction_columns import prediction_contract

if TYPE_CHECKING:
    from diurnal.experiment.run_context import RunContext
    from diurnal.pipeline.labelled_predictions import LabelledPredictions
    from diurnal.storage.stores import Stores

MAX_SEARCHED = 1_000_000
"""The number of predictions of earlier data intervals, newest first, that a run searches for those a batch labels."""

_MAX_ATTEMPTS = 5
_log = logging.getLogger(__name__)
Row = Mapping[str, Any]


def score_after_batch(context: RunContext, load_id: int) -> None:
    """Update the live scores that a batch changes; an error is logged, as it is no reason to fail a run.

    Parameters
    ----------
    context : RunContext
        The context of the run.
    load_id : int
        The load of the batch that became visible.
    """
    _log_errors(lambda: LiveScorer.of(context).update_for_batch(context.interval.start, load_id))


def score_after_prediction(context: RunContext, load_id: int) -> None:
    """Compute the live scores of a load of predictions, if there is truth already; an error is logged."""
    _log_errors(lambda: LiveScorer.of(context).update([load_id]))


def _log_errors(update: Callable[[], object]) -> None:
    try:
        update()
    except (TransientError, PermissionDeniedError, OSError):
        raise  # other parts of the step would fail as well; a retry updates the scores
    except Exception as error:  # noqa: BLE001 - scores of earlier predictions are no reason to fail a run
        _log.warning("live scores are not updated", exc_info=error)


@dataclass(frozen=True)
class LiveScorer:
    """Computes the live scores of an experiment.

    Attributes
    ----------
    stores : Stores
        The stores of the project.
    experiment : str
        Name of the experiment.
    build : callable, optional
        Returns what the experiment returns: needed only for scores that are no scorers of scikit-learn.
    """

    stores: Stores
    experiment: str
    build: Callable[[], Any] | None = None
    _runs: dict[str, Row] = field(default_factory=dict, init=False, repr=False, compare=False)
    _versions: dict[int, dict[str, Any]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, context: RunContext) -> LiveScorer:
        """Return the scorer of a context."""
        return cls(context.stores, context.experiment.name, context.experiment.build)

    def update(self, load_ids: Iterable[int] | None = None) -> int:
        """Compute the live scores that are missing or outdated; return the number of loads.

        Parameters
        ----------
        load_ids : iterable of int, optional
            Loads of predictions; all by default.
        """
        chosen = None if load_ids is None else set(load_ids)
        loads = self.stores.warehouse.scorable_loads(self.experiment)
        wanted = [load for load in loads if chosen is None or load["load_id"] in chosen]
        return self._update_loads(wanted)

    def update_for_batch(self, start: datetime, batch: int) -> int:
        """Compute the live scores that a batch changes; return the number of loads.

        Parameters
        ----------
        start : datetime
            The start of the data interval of the batch.
        batch : int
            Its load.
        """
        loads = self.stores.warehouse.scorable_loads(self.experiment, until=start)
        if not loads:
            return 0
        late = self._with_late_truth([load for load in loads if load["data_interval_start"] < start], batch)
        key, changed = _interval_key(start), []
        for load in loads:
            used = (load["truth"] or {}).get(key)
            is_own = load["data_interval_start"] == start
            if load["load_id"] in late or (used != batch if is_own else used not in (None, batch)):
                changed.append(load)
        return self._update_loads(changed, batch)

    def _with_late_truth(self, loads: Sequence[Row], batch: int) -> set[int]:
        """Return the loads of earlier data intervals for which a batch has truth that they lack."""
        searched, n_rows = [], 0
        for load in loads:
            if load["n_labelled"] is None or load["n_labelled"] < load["n_rows"]:
                n_rows += load["n_rows"]
                if n_rows > MAX_SEARCHED:
                    break
                searched.append(load)
        if not searched or not self._contract.key:
            return set()
        starts = {load["data_interval_start"] for load in searched}
        visible = self.stores.warehouse.visible_batches(self.experiment, min(starts))
        own = [one["load_id"] for one in visible if one["data_interval_start"] in starts]
        shown = prediction_contract(self._contract, self._version(searched[0]["version"]))
        return self.stores.warehouse.loads_with_late_truth(
            self.experiment, shown, self._contract, batch, [load["load_id"] for load in searched], own
        )

    def _update_loads(self, loads: Sequence[Row], batch: int | None = None) -> int:
        """Compute live scores that are not those of the present batches; return their number.

        With `batch`, only that one is searched for further truth; otherwise all later ones are.
        """
        if not loads:
            return 0
        first = min(load["data_interval_start"] for load in loads)
        batches = self.stores.warehouse.visible_batches(self.experiment, first)
        return sum(self._update_load(load, batches, batch) for load in loads)

    def _update_load(self, load: Row, batches: Sequence[Row], batch: int | None) -> bool:
        """Compute the live scores of a load, unless they are current; again if another process has stored others."""
        warehouse = self.stores.warehouse
        for _ in range(_MAX_ATTEMPTS):
            chosen = _choose_batches(load, batches, batch)
            if chosen is None:
                return False
            later = [one["load_id"] for one in batches if one["data_interval_start"] >= load["data_interval_start"]]
            checked = max(later) if len(chosen) == len(later) else load["checked_load_id"] or 0
            row = self._score_load(load, chosen, checked)
            if row is None:
                return False
            if warehouse.save_live_score(row, replacing=load["updated_at"]):
                return True
            (load,) = warehouse.scorable_loads(self.experiment, load_id=load["load_id"])
            batches = warehouse.visible_batches(self.experiment, load["data_interval_start"])
        raise TransientError(f"other processes update the live scores of load {load['load_id']}", hint="try again")

    def _score_load(self, load: Row, batches: Sequence[Row], checked: int) -> dict[str, Any] | None:
        """Return the row of `live_scores` of a load; None if its predictions were removed since."""
        from diurnal.pipeline.labelled_predictions import read_labelled_predictions

        version = self._version(load["version"])
        packages = self._run_of(version)["packages"]
        found = read_labelled_predictions(self.stores, self._contract, version, load, batches, packages)
        if not found.counts and load["n_labelled"]:
            return None
        starts = {int(one["load_id"]): one["data_interval_start"] for one in batches}
        learnt = self._learnt_intervals(version)
        in_sample = {number for number in found.counts if learnt & {starts[number], load["data_interval_start"]}}
        n_in_sample = sum(
            n if number in in_sample else n - found.unlearnt.get(number, 0) for number, n in found.counts.items()
        )
        n_scored, scores, reason = self._compute(version, found, in_sample)
        scoring = self._run_of(version)["scoring"]
        same = ("load_id", "experiment", "version", "data_interval_start", "data_interval_end")
        return {
            **{name: load[name] for name in same},
            "n_predictions": load["n_rows"],
            "n_labelled": sum(found.counts.values()),
            "n_in_sample": n_in_sample,
            "n_scored": n_scored,
            "scoring": scoring,
            "score": scores.get(scoring),
            "scores": scores,
            "reason": reason,
            "truth": {_interval_key(starts[number]): number for number in found.counts},
            "checked_load_id": checked,
        }

    def _compute(
        self, version: Row, found: LabelledPredictions, in_sample: set[int]
    ) -> tuple[int, dict[str, float | None], str | None]:
        """Return the number of scored rows, the scores, and why the declared one is missing."""
        import pyarrow as pa
        import pyarrow.compute as pc

        from diurnal.backends.recorded_scores import score_recorded
        from diurnal.pipeline.labelled_predictions import to_recorded_predictions
        from diurnal.storage.warehouse.truth_queries import BATCH

        scoring = self._run_of(version)["scoring"]
        rows = found.rows.filter(pc.invert(pc.is_in(found.rows.column(BATCH), pa.array(list(in_sample), pa.int64()))))
        if not rows.num_rows:
            learnt = f"version {version['version']} has learnt the labelled rows"
            return 0, {}, learnt if found.counts else "there is no truth yet"
        scores, reason = score_recorded(
            scoring,
            to_recorded_predictions(self._contract, version["signature"], rows),
            is_spark=str(version["path"]).endswith("spark.zip"),
            build=self.build,
        )
        if reason is None and scores.get(scoring) is None:
            reason = f"{scoring} is undefined on {rows.num_rows} rows"
        return rows.num_rows, scores, reason

    def _learnt_intervals(self, version: Row) -> set[datetime]:
        """Return the start of each data interval in the training window of a version."""
        packages = self._run_of(version)["packages"]
        return {datetime.fromisoformat(one["data_interval_start"]) for one in packages}

    def _run_of(self, version: Row) -> Row:
        if version["run_id"] not in self._runs:
            self._runs[version["run_id"]] = self.stores.warehouse.run(version["run_id"]) or {}
        return self._runs[version["run_id"]]

    def _version(self, number: int) -> dict[str, Any]:
        if number not in self._versions:
            self._versions[number] = self.stores.warehouse.version(self.experiment, number)
        return self._versions[number]

    @cached_property
    def _contract(self) -> Schema:
        return Schema.from_dict(self.stores.warehouse.schema(self.experiment) or {})


def _interval_key(start: datetime) -> str:
    """Return the start of a data interval as a key of the column `truth`, whatever timezone the session has."""
    return start.astimezone(UTC).isoformat()


def _choose_batches(load: Row, visible: Sequence[Row], batch: int | None) -> list[Row] | None:
    """Return the batches with the truth of a load; None if its live scores are those of the present batches.

    Parameters
    ----------
    load : Mapping of str to object
        A row of :meth:`Warehouse.scorable_loads`.
    visible : sequence of Mapping of str to object
        The visible batches, of earlier data intervals too.
    batch : int, optional
        The only load of a batch to search for further truth.
    """
    start = load["data_interval_start"]
    later = [one for one in visible if one["data_interval_start"] >= start]
    present = {_interval_key(one["data_interval_start"]): one["load_id"] for one in later}
    used = load["truth"] or {}
    if not later or not used.keys() <= present.keys():
        return None  # no truth yet, or batches were removed since: the scores stay as they were
    is_current = load["n_labelled"] is not None and used.items() <= present.items()
    is_searched = load["n_labelled"] == load["n_rows"] or max(present.values()) <= (load["checked_load_id"] or 0)
    if is_current and (is_searched or batch in used.values()):
        return None
    wanted = {present[key] for key in used} | {batch, present.get(_interval_key(start))}
    return later if batch is None else [one for one in later if one["load_id"] in wanted]
