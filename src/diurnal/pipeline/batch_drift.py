"""Drift of a batch: its profile against those of the batches that the champion was trained on."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from diurnal.errors import PermissionDeniedError, TransientError, did_you_mean
from diurnal.pipeline.batch_profiles import read_profiles
from diurnal.types.drift_thresholds import PREDICTION

if TYPE_CHECKING:
    from diurnal.data import Schema
    from diurnal.data.profiles import Profile
    from diurnal.experiment.run_context import RunContext
    from diurnal.types import Run

MAX_COLUMNS = 50
_log = logging.getLogger(__name__)


def measure_drift(
    context: RunContext, run: Run, champion: int | None, schema: Schema
) -> tuple[dict[str, Any] | None, list[str]]:
    """Compare the batch of a run with the training window of the champion.

    Parameters
    ----------
    context : RunContext
        The context of the run.
    run : Run
        The run.
    champion : int or None
        The version of the champion.
    schema : Schema
        The version of the contract that the run reads rows through.

    Returns
    -------
    dict or None
        The column `drift` of the run's row. None without a champion or without profiles, or if the comparison is
        switched off.
    list of str
        At most one warning for all columns that have drifted, and one if `drift=` names unknown columns.
    """
    thresholds = context.experiment.drift
    if champion is None or thresholds.is_off:
        return None, []
    try:
        drift = _compare_with_window(context, run, champion, schema)
    except (TransientError, PermissionDeniedError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - drift is no reason to fail a run
        _log.warning("the drift of the batch is not measured", exc_info=error)
        return None, [f"drift: not measured: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"]
    return drift, [*_unknown_columns(thresholds.columns, schema), *_drift_warnings(drift)]


def _compare_with_window(context: RunContext, run: Run, champion: int, schema: Schema) -> dict[str, Any] | None:
    from diurnal.data.drift import compare_profiles, sort_by_effect

    stores, name = context.stores, context.experiment.name
    current = _merged_profile(context, [run.batch_digest], schema)
    trained = stores.warehouse.run(stores.warehouse.version(name, champion)["run_id"])
    if current is None or trained is None:
        return None
    digests = [package["digest"] for package in trained["packages"]]
    reference = _merged_profile(context, digests, schema)
    if reference is None:
        return None
    compared = sort_by_effect(compare_profiles(reference, current, context.experiment.drift))
    return {
        "reference": {"version": champion, "run_id": trained["run_id"], "n_rows": reference.n_rows},
        "columns": compared[:MAX_COLUMNS],
        "n_columns": len(compared),
        "n_drifted": sum(one["drifted"] for one in compared),
    }


def _merged_profile(context: RunContext, batch_digests: Sequence[str], schema: Schema) -> Profile | None:
    """Return the profile of some batches together; None if none of them has a profile."""
    from diurnal.data.profiles import merge_profiles

    rows = context.stores.warehouse.profiles_of(context.experiment.name, set(batch_digests))
    return merge_profiles(read_profiles(context.stores, rows), schema) if rows else None


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
