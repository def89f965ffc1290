"""Commands that delete what is stored: ``erase`` and ``remove``."""

from __future__ import annotations

from dataclasses import asdict
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
    from diurnal.pipeline.erasure import Erasure
    from diurnal.pipeline.removal import StoredExperiment
    from diurnal.storage.stores import Stores

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
    removed = not (dry_run or stored.is_empty)
    print_fields({"experiment": experiment, "removed": removed, **_fields(stored, json_)}, json_)
    declared = find_valid_experiment(load_settings(), experiment)
    if declared is not None and removed:
        click.echo(
            f"diurnal: {declared.file} still declares it: delete the experiment there, and its Dag; "
            "or its next run begins again with version 1",
            err=True,
        )


@click.command()
@name_argument
@click.argument("key", metavar="KEY...", nargs=-1, required=True)
@click.option("--dry-run", is_flag=True, help="Print what would be erased, and change nothing.")
@yes_option
@json_option
def erase(name: str, key: tuple[str, ...], dry_run: bool, yes: bool, json_: bool) -> None:
    """Delete the rows of one key from all data of an experiment.

    KEY is the value of its key, or COLUMN=VALUE for each column of the key. The rows are deleted from batches, train
    and test packages, their copies in the warehouse, profiles, predictions and quarantine; a later run leaves them out
    if the source returns them again. Versions that were trained on them are listed; train new ones. It cannot be
    undone. A run in progress is superseded. If the command is interrupted, call it again.
    """
    from diurnal.cli.table_output import print_json
    from diurnal.pipeline.erasure import erase_sample, find_sample

    with open_project_stores() as stores:
        experiment = resolve_experiment_name(stores, name)
        _, result = find_sample(stores, experiment, list(key))
        if not dry_run:
            if not result.is_empty:
                confirm_deletion(f"Erase {_describe_erasure(result)}? This cannot be undone.", yes=yes)
            result = erase_sample(stores, experiment, list(key), requested_by=current_user())
        if json_:
            print_json({**asdict(result), "erased": not (dry_run or result.is_empty)})
        else:
            _print_erasure(stores, result, dry_run=dry_run)


def _describe_erasure(result: Erasure) -> str:
    counts = {
        "package": result.n_packages,
        "row of batches in the warehouse": result.n_copies,
        "prediction": result.n_predictions,
        "rejected batch": len(result.quarantine),
        "message of a failure": result.n_failures,
    }
    found = ", ".join(f"{n} {_plural(what) if n > 1 else what}" for what, n in counts.items() if n)
    return f"a key of {result.experiment}: {found}"


def _plural(what: str) -> str:
    first, *others = what.split(" of ")
    return " of ".join([f"{first}es" if first.endswith("ch") else f"{first}s", *others])


def _print_erasure(stores: Stores, result: Erasure, *, dry_run: bool) -> None:
    if result.is_empty:
        click.echo(f"{result.experiment} has no row of this key")
    else:
        click.echo(f"{'to erase' if dry_run else 'erased'} {_describe_erasure(result)}")
    if result.missing:
        click.echo(f"not searched, as they are not in the lake: {', '.join(result.missing)}")
    if result.interrupted:
        starts = ", ".join(f"{start:%Y-%m-%dT%H:%MZ}" for start in result.interrupted)
        click.echo(f"superseded, if they were in progress; run them again: {starts}")
    if not result.versions:
        return
    click.echo(f"trained on it: version {', '.join(map(str, result.versions))}")
    if result.champion is not None:
        interval = stores.warehouse.version(result.experiment, result.champion)["data_interval_start"]
        click.echo(
            f"the champion is version {result.champion}; train a new one without the key: "
            f"diurnal run {result.experiment} --date {interval:%Y-%m-%d}"
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
