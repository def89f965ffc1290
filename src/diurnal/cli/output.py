"""Tables and progress for people, JSON for machines."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import click

from diurnal.cli import intervals_and_runs
from diurnal.errors import BatchRejectedError, DiurnalError, NotEnoughDataError, SupersededError

if TYPE_CHECKING:
    from diurnal.pipeline.local_run import RunResult
    from diurnal.pipeline.replay import Replay
    from diurnal.runtime import Settings
    from diurnal.storage.stores import Stores
    from diurnal.types import DataInterval, ModelVersion

RUN_COLUMNS = [
    "data_interval_start",
    "version",
    "best_params",
    "cv_score_mean",
    "test_score",
    "twin_score",
    "champion_score",
    "promoted",
    "reason",
]
MODEL_COLUMNS = ["version", "champion", "data_interval_start", "run_id", "digest", "path"]
_STATES = ("done", "already done", "refused", "not enough data", "superseded")
_MISSED: dict[type[DiurnalError], str] = {
    BatchRejectedError: "refused",
    NotEnoughDataError: "not enough data",
    SupersededError: "superseded",
}
_LONG = ("best_params", "reason", "description", "run_id", "digest", "path", "name", "removed")
PROMOTION_COLUMNS = ["seq", "version", "kind", "promoted_at", "promoted_by", "reason"]


def rows(found: Sequence[dict[str, Any]], json_: bool, columns: Sequence[str]) -> None:
    """Print a list: JSON with all its keys, or a table of those of some columns that it has."""
    if json_:
        click.echo(json.dumps(list(found), indent=2, default=_jsonable))
        return
    if not found:
        click.echo("none")
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    console = _console()
    columns = [column for column in columns if any(column in row for row in found)]
    cells = [[_short(row.get(column)) for column in columns] for row in found]
    widths = [max(map(len, values)) for values in zip(*cells, strict=True)]
    short = sum(
        2 + max(width, _narrow(column)) for column, width in zip(columns, widths, strict=True) if column not in _LONG
    )
    long = max(12, (console.width - short) // max(1, sum(column in _LONG for column in columns)) - 2)
    for column in columns:
        table.add_column(column.replace("_", "\n"), no_wrap=True, max_width=long if column in _LONG else None)
    for line in cells:
        table.add_row(*line)
    console.print(table)


def _narrow(column: str) -> int:
    """Tell how wide a heading is whose words stand below each other."""
    return max(map(len, column.split("_")))


def report(values: dict[str, Any], json_: bool) -> None:
    """Print one thing's values, a line each."""
    if json_:
        click.echo(json.dumps(values, indent=2, default=_jsonable))
        return
    width = max(map(len, values))
    for name, value in values.items():
        for i, line in enumerate(value if isinstance(value, list) and value else [value]):
            click.echo(f"{name if i == 0 else '':<{width}}  {_short(line, 200)}")


def checked(values: dict[str, Any], faults: Sequence[DiurnalError], json_: bool) -> None:
    """Print what a check found: what the experiment is, and each fault with its cure."""
    listed = [{"location": fault.location, "message": fault.message, "hint": fault.hint} for fault in faults]
    if json_:
        report(values | {"faults": listed}, json_)
        return
    report(values, json_)
    click.echo("no fault was found" if not faults else f"\n{len(faults)} fault{'s' * (len(faults) > 1)}:")
    for fault in faults:
        click.echo(f"\n{fault}")


def outcome(done: RunResult, json_: bool, settings: Settings, stores: Stores) -> None:
    """Print how a run ended: its row, its scores and where things are."""
    row = intervals_and_runs.as_row(done)
    if json_:
        click.echo(json.dumps(row, indent=2, default=_jsonable))
        return
    if done.already:
        click.echo("This run was already done: same data, same code. --force makes one more.\n")
    score, serving = row["scoring"], stores.warehouse.champion(row["experiment"])
    cv = "not tuned" if row["cv_score_mean"] is None else f"{row['cv_score_mean']:.4f} ± {row['cv_score_std']:.4f}"
    compared, against = _compared(row)
    report(
        {
            "run": row["run_id"],
            "data interval": f"{_short(row['data_interval_start'])} to {_short(row['data_interval_end'])}",
            "samples": f"{row['n_train']} train, {row['n_test']} test",
            "candidates": f"{row['n_candidates']} on {row['cv_folds']} folds",
            "best parameters": row["best_params"],
            f"{score}, cross-validated": cv,
            f"{score}, test": row["test_score"],
            compared: against,
            "version": row["version"],
            "promoted": f"{'yes' if row['promoted'] else 'no'}: {row['reason']}",
            "champion now": _serving(serving, row),
            "warnings": row["warnings"] or ["none"],
            "lake": stores.lake.root,
            "models": stores.models.root,
            "warehouse": intervals_and_runs.where(settings),
        },
        json_=False,
    )


def replayed(found: Replay, json_: bool) -> None:
    """Print what came out of a replay, and what differs."""
    if json_:
        click.echo(json.dumps({**asdict(found), "equal": found.equal}, indent=2, default=_jsonable))
        return
    came = "came out equal" if found.equal else f"came out different in {len(found.results)} results"
    click.echo(f"version {found.version} of {found.experiment} {came}: its digest is {found.digest[:12]}")
    for heading, listed in (("results", found.results), ("not as it was", found.surroundings)):
        if listed:
            click.echo(f"\n{heading}:")
            rows([vars(one) for one in listed], False, ["what", "recorded", "replayed"])


def not_enough(interval: DataInterval, lacking: NotEnoughDataError, json_: bool) -> None:
    """Print that a run ended without a result, as its window is too small."""
    if json_:
        row = {"state": "not enough data", "data_interval_start": interval.local.start, "reason": lacking.message}
        click.echo(json.dumps(row, indent=2, default=_jsonable))
    else:
        click.echo(f"diurnal: note: {lacking}", err=True)


def _compared(row: dict[str, Any]) -> tuple[str, str]:
    """Say how twin and champion did on the rows that neither had seen."""
    found = row["comparison"]
    if not found:
        return f"{row['scoring']} on rows new to both", "not compared"
    from diurnal.pipeline.promotion import format_difference
    from diurnal.types import Comparison

    twin, champion = _short(found["twin_score"]), _short(found["champion_score"])
    said = f"twin {twin}, champion {champion}{format_difference(Comparison(**found))}"
    return f"{row['scoring']} on {found['n_compared']} rows new to both", said


def _serving(champion: ModelVersion | None, row: dict[str, Any]) -> str:
    """Say which version serves now: it need not be the one that a run of some time ago promoted."""
    if champion is None:
        return "none"
    if champion.version == row["version"]:
        return f"version {champion.version}, this run's"
    if not row["promoted"]:
        return f"version {champion.version}"
    return f"version {champion.version}; this run's version {row['version']} was promoted when it ran"


def backfilled(done: intervals_and_runs.Done, json_: bool) -> None:
    """Print how a backfill ended, a line for each data interval."""
    listed = []
    for interval, outcome, refusal in done:
        state = _MISSED[type(refusal)] if refusal else "already done" if outcome and outcome.already else "done"
        row = (
            intervals_and_runs.as_row(outcome)
            if outcome
            else {"data_interval_start": interval.local.start, "reason": str(refusal)}
        )
        listed.append({"state": state, **row})
    scores = ["test_score", "twin_score", "champion_score"]
    rows(listed, json_, ["data_interval_start", "state", "version", *scores, "promoted", "reason"])
    if not json_:
        counts = {state: sum(row["state"] == state for row in listed) for state in _STATES}
        said = ", ".join(f"{n} {state}" for state, n in counts.items() if n or state in _STATES[:3])
        click.echo(f"\n{len(listed)} data intervals: {said}")


def _console() -> Any:
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=200)


def _short(value: Any, limit: int = 60) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.4f}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d" if (value.hour, value.minute) == (0, 0) else "%Y-%m-%d %H:%M")
    if isinstance(value, dict):
        value = ", ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in value.items())
    text = str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _jsonable(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value)
