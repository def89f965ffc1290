"""Commands that delete what is stored: ``remove``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from diurnal.cli.options import json_option, name_argument, yes_option
from diurnal.cli.project_session import (
    confirm_deletion,
    current_user,
    find_valid_experiment,
    load_settings,
    open_project_stores,
    resolve_experiment_name,
)

if TYPE_CHECKING:
    from diurnal.pipeline.removal import StoredExperiment

_NAMES = {"experiments": "runs", "model_versions": "versions", "packages": "packages", "promotions": "promotions"}


@click.command()
@name_argument
@click.option("--dry-run", is_flag=True, help="Print what is stored, and delete nothing.")
@yes_option
@json_option
def remove(name: str, dry_run: bool, yes: bool, json_: bool) -> None:
    """Delete all data of an experiment.

    These are its rows, batches, models, predictions and quarantine. It cannot be undone. A run in progress is
    superseded. If the command is interrupted, call it again. Its code stays: delete its file, and its Dag goes with it;
    otherwise the next run begins again with version 1.
    """
    from diurnal.cli.table_output import format_bytes, print_fields
    from diurnal.pipeline.removal import describe_stored, remove_experiment

    with open_project_stores() as stores:
        experiment = resolve_experiment_name(stores, name)
        stored = describe_stored(stores, experiment)
        if not dry_run:
            question = (
                f"Delete {_describe(stored)} of {experiment}, {format_bytes(stored.n_bytes)}? This cannot be undone."
            )
            confirm_deletion(question, yes=yes)
            remove_experiment(stores, experiment, requested_by=current_user())
    print_fields({"experiment": experiment, "removed": not dry_run, **_fields(stored, json_)}, json_)
    declared = find_valid_experiment(load_settings(), experiment)
    if declared is not None and not dry_run:
        click.echo(
            f"diurnal: {declared.file} still declares it: delete the experiment there, and its Dag; "
            "or its next run begins again with version 1",
            err=True,
        )


def _fields(stored: StoredExperiment, json_: bool) -> dict[str, Any]:
    from diurnal.cli.table_output import format_bytes

    size = {"n_bytes": stored.n_bytes} if json_ else {"size": format_bytes(stored.n_bytes)}
    rows = dict(stored.rows) if json_ else ", ".join(f"{n} in {table}" for table, n in stored.rows.items()) or "none"
    return {"rows": rows, "n_files": stored.n_files, "n_models": stored.n_models, **size}


def _describe(stored: StoredExperiment) -> str:
    """Return the numbers of runs and so on as a text."""
    counts = {name: stored.rows.get(table, 0) for table, name in _NAMES.items()}
    return ", ".join(f"{n} {name}" for name, n in {**counts, "files": stored.n_files}.items())
