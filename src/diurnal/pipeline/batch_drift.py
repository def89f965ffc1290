"""Drift of a batch: its profile against those of the batches that the champion was trained on."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from diurnal.data.drift import compare_columns, compare_profiles, sort_by_effect
from diurnal.data.profiles import merge_profiles, prediction_profile
from diurnal.errors import PermissionDeniedError, TransientError, did_you_mean
from diurnal.pipeline import evaluation_files
from diurnal.pipeline.batch_profiles import read_profiles
from diurnal.types.drift_thresholds import PREDICTION

if TYPE_CHECKING:
    from diurnal.data import Schema
    from diurnal.data.profiles import Profile
    from diurnal.experiment.run_context import RunContext
    from diurnal.promotion.champion_comparison import ComparisonOutcome
    from diurnal.types import Run

MAX_COLUMNS = 50
_log = logging.getLogger(__name__)


def measure_drift(
    context: RunContext,
    run: Run,
    outcome: ComparisonOutcome,
    schema: Schema,
    models: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[dict[str, Any] | None, list[str]]:
    """Compare the batch of a run with the training window of the champion.

    The predictions of the champion on the new test rows are compared with those on the test rows of its own run.

    Parameters
    ----------
    context : RunContext
        The context of the run.
    run : Run
        The run.
    outcome : ComparisonOutcome
        Of the comparison of the twin with the champion.
    schema : Schema
        The version of the contract that the run reads rows through.
    models : Mapping of str to Any
        The evaluation data of twin and champion.

    Returns
    -------
    dict or None
        The column `drift` of the run's row. None without a champion or without profiles, or if the comparison is
        switched off.
    list of str
        At most one warning for all columns that have drifted, and one if `drift=` names unknown columns.
    """
    thresholds, champion = context.experiment.drift, outcome.champion_version
    if champion is None or thresholds.is_off:
        return None, []
    try:
        row = context.stores.warehouse.version(run.experiment, champion)
        trained = context.stores.warehouse.run(row["run_id"])
        if trained is None:
            return None, []
        columns, n_rows = _compare_with_window(context, run, trained, schema)
        columns += _compare_predictions(context, trained, outcome, models)
        drift = _drift_of(champion, trained, sort_by_effect(columns), n_rows) if columns else None
    except (TransientError, PermissionDeniedError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - drift is no reason to fail a run
        _log.warning("the drift of the batch is not measured", exc_info=error)
        return None, [f"drift: not measured: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"]
    return drift, [*_unknown_columns(thresholds.columns, schema), *_drift_warnings(drift)]


def _compare_with_window(
    context: RunContext, run: Run, trained: Mapping[str, Any], schema: Schema
) -> tuple[list[dict[str, Any]], int]:
    """Return the compared columns, and the number of rows of the reference; none without profiles."""
    current = _merged_profile(context, [run.batch_digest], schema)
    reference = _merged_profile(context, [package["digest"] for package in trained["packages"]], schema)
    if current is None or reference is None:
        return [], 0
    return compare_profiles(reference, current, context.experiment.drift), reference.n_rows


def _compare_predictions(
    context: RunContext, trained: Mapping[str, Any], outcome: ComparisonOutcome, models: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the drift of the champion's predictions, in a list; an empty one if they are not known."""
    threshold, comparison = context.experiment.drift.of(PREDICTION), outcome.comparison
    if threshold is None or comparison is None or "champion" not in models or not trained["evaluation"]:
        return []
    evaluation = evaluation_files.read_evaluation(context.stores.lake, trained["evaluation"])
    known = evaluation["models"].get("twin_window") or evaluation["models"].get("twin") or {}
    reference = prediction_profile(known.get("prediction", {}), evaluation["n_rows"])
    current = prediction_profile(models["champion"].get("prediction", {}), comparison.n_compared)
    if reference is None or current is None:
        return []
    compared = compare_columns(reference, current, threshold)
    return [] if compared is None else [compared]


def _drift_of(
    champion: int, trained: Mapping[str, Any], compared: Sequence[Mapping[str, Any]], n_rows: int
) -> dict[str, Any]:
    return {
        "reference": {"version": champion, "run_id": trained["run_id"], "n_rows": n_rows},
        "columns": list(compared[:MAX_COLUMNS]),
        "n_columns": len(compared),
        "n_drifted": sum(one["drifted"] for one in compared),
    }


def _merged_profile(context: RunContext, batch_digests: Sequence[str], schema: Schema) -> Profile | None:
    """Return the profile of some batches together; None if none of them has a profile.

    Equal batches have one digest, and profiles of several data intervals: one of these is read.
    """
    rows = context.stores.warehouse.profile_files_of(context.experiment.name, set(batch_digests))
    by_digest = {row["batch_digest"]: row for row in rows}
    profiles = dict(zip(by_digest, read_profiles(context.stores, list(by_digest.values())), strict=True))
    found = [profiles[digest] for digest in batch_digests if digest in profiles]
    return merge_profiles(found, schema) if found else None


def _drift_warnings(drift: Mapping[str, Any] | None) -> list[str]:
    """Return one warning for all columns that have drifted, with the three strongest.

    Examples
    --------
    >>> columns = [{"column": "age", "effect": 0.4213, "drifted": True}, {"column": "ward", "drifted": False}]
    >>> _drift_warnings({"columns": columns, "n_columns": 30, "n_drifted": 1, "reference": {"version": 3}})
    ['drift: 1 of 30 columns differs from the training window of champion 3: age (0.42)']
    """
    if drift is None or not drift["n_drifted"]:
        return []
    strongest = [one for one in drift["columns"] if one["drifted"]][:3]
    listed = ", ".join(f"{one['column']} ({one['effect']:.2g})" for one in strongest)
    more = "" if drift["n_drifted"] <= len(strongest) else ", ..."
    verb = "differs" if drift["n_drifted"] == 1 else "differ"
    return [
        f"drift: {drift['n_drifted']} of {drift['n_columns']} columns {verb} from the training window of champion "
        f"{drift['reference']['version']}: {listed}{more}"
    ]


def _unknown_columns(named: Mapping[str, object], schema: Schema) -> list[str]:
    unknown = sorted(set(named) - set(schema.names) - {PREDICTION})
    if not unknown:
        return []
    return [f"drift= names {unknown[0]!r}, which is no column of a batch{did_you_mean(unknown[0], schema.names)}"]
