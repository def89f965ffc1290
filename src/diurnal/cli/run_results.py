"""The results of runs and backfills: as rows, and as text for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from diurnal.cli.table_output import format_value, print_fields, print_json, print_table
from diurnal.errors import BatchRejectedError, DiurnalError, NotEnoughDataError, SupersededError

if TYPE_CHECKING:
    from diurnal.pipeline.local_run import RunResult
    from diurnal.storage.stores import Stores
    from diurnal.storage.warehouse import Warehouse
    from diurnal.types import DataInterval, ModelVersion

RUN_COLUMNS = [
    "data_interval_start",
    "version",
    "best_params",
    "cv_score_mean",
    "test_score",
    "twin_score",
    "champion_score",
    "challenge",
    "promoted",
    "reason",
]
_STATES = ("done", "already done", "rejected", "not enough data", "superseded")
_ERROR_STATES: dict[type[DiurnalError], str] = {
    BatchRejectedError: "rejected",
    NotEnoughDataError: "not enough data",
    SupersededError: "superseded",
}


class IntervalResult(NamedTuple):
    """The result of one data interval of a backfill: an outcome, or the error that ended the run.

    Attributes
    ----------
    interval : DataInterval
        The data interval.
    outcome : RunResult, optional
        The outcome of a run that has one.
    error : DiurnalError, optional
        The error of a run without an outcome.
    """

    interval: DataInterval
    outcome: RunResult | None = None
    error: DiurnalError | None = None

    @property
    def is_new_champion(self) -> bool:
        """Whether this run has made a version the champion."""
        return self.outcome is not None and self.outcome.changes_champion

    @property
    def state(self) -> str:
        """How the run ended."""
        if self.error is not None:
            return _ERROR_STATES[type(self.error)]
        return "already done" if self.outcome and self.outcome.already else "done"


def read_run_rows(warehouse: Warehouse, name: str) -> list[dict[str, Any]]:
    """Return the rows of an experiment's runs, each with the version that it published, if any."""
    return [{**run, "version": run["model_version"], "twin_score": _twin_score(run)} for run in warehouse.runs(name)]


def with_wealth(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of runs with the wealth of the challenge as text, and without the column if no row has one."""
    if not any(row["challenge"] for row in rows):
        return [{name: value for name, value in row.items() if name != "challenge"} for row in rows]
    return [row | {"challenge": _format_wealth(row)} for row in rows]


def _format_wealth(row: dict[str, Any]) -> str | None:
    bet = (row["challenge"] or {}).get("bet")
    return f"v{bet['challenger']}: {bet['wealth']:.3g}/{bet['threshold']:.3g}" if bet else None


def flatten_outcome(outcome: RunResult) -> dict[str, Any]:
    """Return an outcome as one flat row."""
    return {
        **outcome.run,
        "version": outcome.version,
        "twin_score": _twin_score(outcome.run),
        "promoted": outcome.promoted,
        "reason": outcome.reason,
        "already": outcome.already,
    }


def _twin_score(run: dict[str, Any]) -> Any:
    """Return the twin's score on the rows that the champion was scored on; the test score is on more rows."""
    return run["comparison"]["twin_score"] if run["comparison"] else None


def print_outcome(outcome: RunResult, json_: bool, warehouse: str, stores: Stores) -> None:
    """Print the outcome of a run: its row, its scores and the locations of its files.

    Parameters
    ----------
    outcome : RunResult
        The outcome.
    json_ : bool
        Whether to print JSON.
    warehouse : str
        The location of the warehouse, without secrets.
    stores : Stores
        The stores of the run.
    """
    row = flatten_outcome(outcome)
    if json_:
        print_json(row)
        return
    if outcome.already:
        click.echo("This run was already done: same data, same code. --force runs it again.\n")
    champion = stores.warehouse.champion(row["experiment"])
    locations = {"lake": stores.lake.root, "models": stores.models.root, "warehouse": warehouse}
    print_fields(_outcome_fields(row, champion) | locations, json_=False)


def _outcome_fields(row: dict[str, Any], champion: ModelVersion | None) -> dict[str, Any]:
    score = row["scoring"]
    cv = "not tuned" if row["cv_score_mean"] is None else f"{row['cv_score_mean']:.4f} ± {row['cv_score_std']:.4f}"
    comparison, scores = _comparison_field(row)
    return {
        "run": row["run_id"],
        "data interval": f"{format_value(row['data_interval_start'])} to {format_value(row['data_interval_end'])}",
        "samples": f"{row['n_train']} train, {row['n_test']} test",
        "candidates": f"{row['n_candidates']} on {row['cv_folds']} folds{_tuned_by(row)}",
        "best parameters": row["best_params"],
        f"{score}, cross-validated": cv,
        f"{score}, test": row["test_score"],
        comparison: scores,
        **_challenge_fields(row),
        "version": row["version"],
        "promoted": f"{'yes' if row['promoted'] else 'no'}: {row['reason']}",
        "champion now": _champion_field(champion, row),
        "warnings": row["warnings"] or ["none"],
    }


def _tuned_by(row: dict[str, Any]) -> str:
    """Return the note of a run that has the search of an earlier one."""
    tuned_by = (row["twin"] or {}).get("tuned_by")
    return f", tuned by {tuned_by}: same data, same code" if tuned_by else ""


def _comparison_field(row: dict[str, Any]) -> tuple[str, str]:
    """Return the name and the value of the comparison of twin and champion on rows that are new to both."""
    comparison = row["comparison"]
    if not comparison:
        return f"{row['scoring']} on rows new to both", "not compared"
    from diurnal.promotion.decision import format_difference
    from diurnal.types import Comparison

    twin, champion = format_value(comparison["twin_score"]), format_value(comparison["champion_score"])
    scores = f"twin {twin}, champion {champion}{format_difference(Comparison(**comparison))}"
    return f"{row['scoring']} on {comparison['n_compared']} rows new to both", scores


def _challenge_fields(row: dict[str, Any]) -> dict[str, str]:
    """Return the state of the challenge; no field unless the policy was ``"proven"``."""
    challenge = row["challenge"]
    if not challenge:
        return {}
    match, bet = challenge.get("match"), challenge.get("bet")
    if not match or not bet:
        return {"challenge": "no bet on this batch"}
    challenger, champion = (format_value(match[f"{name}_score"]) for name in ("challenger", "champion"))
    scores = f"challenger {challenger}, champion {champion} on {match['n_compared']} rows new to both"
    wealth = f"{bet['wealth']:.3g} of {bet['threshold']:.3g} at batch {bet['n_batches']}"
    return {
        "challenge": f"version {bet['challenger']} against version {bet['champion']}: {scores}",
        "wealth": f"{wealth}, {bet['ended'] or 'open'}",
    }


def _champion_field(champion: ModelVersion | None, row: dict[str, Any]) -> str:
    """Return the current champion, which need not be the version that an earlier run promoted."""
    if champion is None:
        return "none"
    if champion.version == row["version"]:
        return f"version {champion.version}, this run's"
    if not row["promoted"]:
        return f"version {champion.version}"
    return f"version {champion.version}; this run's version {row['version']} was promoted when it ran"


def print_not_enough_data(interval: DataInterval, error: NotEnoughDataError, json_: bool) -> None:
    """Print that a run ended without a result, as its window has too few rows."""
    if json_:
        state = _ERROR_STATES[NotEnoughDataError]
        print_json({"state": state, "data_interval_start": interval.local.start, "reason": error.message})
    else:
        click.echo(f"diurnal: note: {error}", err=True)


def print_backfill(results: Sequence[IntervalResult], json_: bool) -> None:
    """Print the results of a backfill, a row for each data interval."""
    rows = []
    for result in results:
        if result.outcome:
            row = flatten_outcome(result.outcome)
        else:
            row = {"data_interval_start": result.interval.local.start, "reason": str(result.error)}
        rows.append({"state": result.state, **row})
    scores = ["test_score", "twin_score", "champion_score"]
    print_table(rows, json_, ["data_interval_start", "state", "version", *scores, "promoted", "reason"])
    if not json_:
        counts = {state: sum(row["state"] == state for row in rows) for state in _STATES}
        summary = ", ".join(f"{n} {state}" for state, n in counts.items() if n or state in _STATES[:3])
        click.echo(f"\n{len(rows)} data intervals: {summary}")
