"""``diurnal trace``: what is known of one sample."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from diurnal.cli.options import json_option, name_argument
from diurnal.cli.project_session import open_project_stores, resolve_experiment_name

if TYPE_CHECKING:
    from diurnal.pipeline.key_trace import KeyTrace

_PREDICTIONS = [
    "data_interval_start",
    "version",
    "prediction",
    "probabilities",
    "visible_from",
    "visible_until",
    "truth",
    "truth_interval",
    "in_sample",
]
_VERSIONS = [
    "version",
    "run_id",
    "code_digest",
    "window_start",
    "window_end",
    "n_batches",
    "n_deleted_batches",
    "has_predicted",
    "has_learnt",
]
_ROWS = ["data_interval_start", "role", "n_rows", "is_current", "path"]


@click.command()
@name_argument
@click.argument("key", metavar="KEY...", nargs=-1, required=True)
@json_option
def trace(name: str, key: tuple[str, ...], json_: bool) -> None:
    """List what is known of one sample: predictions, versions, truth, and its rows.

    KEY is the value of the key; of several columns, COLUMN=VALUE for each. Without a key, it is the row_hash in the
    view predictions_NAME.

    The predictions are all that were ever visible, with the model version that made each, and the truth if a batch has
    it. The versions are those that have predicted the sample or learnt from it. The rows are in packages of the lake,
    also in those that a correction has replaced.
    """
    from diurnal.cli.table_output import print_json
    from diurnal.pipeline.key_trace import trace_key

    with open_project_stores() as stores:
        experiment = resolve_experiment_name(stores, name)
        found = trace_key(stores, experiment, list(key))
        timezone = stores.warehouse.timezone_of(experiment)
    if json_:
        print_json(asdict(found))
    else:
        _print_trace(found, timezone)


def _print_trace(found: KeyTrace, timezone: str) -> None:
    from diurnal.cli.intervals import localize_intervals
    from diurnal.cli.table_output import print_table

    key = ", ".join(f"{column}={value}" for column, value in found.key.items())
    if not (found.predictions or found.rows):
        click.echo(f"nothing is stored of {key} in {found.experiment}")
    parts: dict[str, tuple[list[dict[str, Any]], list[str]]] = {
        f"predictions of {key}": (found.predictions, _PREDICTIONS),
        "versions": ([{**row, "n_batches": len(row["batches"])} for row in found.versions], _VERSIONS),
        "rows in the lake": (found.rows, _ROWS),
    }
    for i, (heading, (rows, columns)) in enumerate((title, part) for title, part in parts.items() if part[0]):
        click.echo(("\n" if i else "") + heading)
        print_table(localize_intervals(rows, timezone), False, columns)
    if found.missing:
        click.echo(f"\n{len(found.missing)} packages are not in the lake and were not searched", err=True)
