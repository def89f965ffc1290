"""Commands about model versions: list, promote, roll back, reproduce, and predict with them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from diurnal.cli.options import json_option, name_argument, version_type, yes_option
from diurnal.cli.project_session import (
    announce_champion,
    confirm_change,
    current_user,
    find_experiment,
    load_settings,
    open_project_stores,
    resolve_experiment_name,
)

if TYPE_CHECKING:
    from diurnal.pipeline.replay import Replay

_MODEL_COLUMNS = ["version", "champion", "replayable", "data_interval_start", "run_id", "digest", "path"]
_PROMOTION_COLUMNS = ["seq", "version", "kind", "promoted_at", "promoted_by", "reason"]
_DAMAGED = 65  # an exit status of sysexits.h


@click.command()
@name_argument
@json_option
def models(name: str, json_: bool) -> None:
    """List the published model versions of an experiment.

    A version is not replayable if a batch that it was trained on was deleted.
    """
    from diurnal.cli.intervals import localize_rows
    from diurnal.cli.table_output import print_table

    with open_project_stores() as stores:
        experiment = resolve_experiment_name(stores, name)
        lost = stores.warehouse.versions_without_batches(experiment)
        versions = [{**row, "replayable": row["version"] not in lost} for row in stores.warehouse.versions(experiment)]
        print_table(localize_rows(versions, load_settings(), name), json_, _MODEL_COLUMNS)


@click.command()
@name_argument
@json_option
def history(name: str, json_: bool) -> None:
    """List promotions: version, time, user, reason."""
    from diurnal.cli.table_output import print_table

    with open_project_stores() as stores:
        promotions = stores.warehouse.promotions(resolve_experiment_name(stores, name))
        print_table(promotions, json_, _PROMOTION_COLUMNS)


@click.command()
@name_argument
@click.argument("version", type=version_type)
@click.option("--reason", default="promoted by hand", show_default=True, help="Stored in the history.")
@yes_option
@json_option
def promote(name: str, version: int, reason: str, yes: bool, json_: bool) -> None:
    """Promote a model version to champion.

    If an Airflow is configured, the asset of the champion gets an event.
    """
    _set_champion(name, version, "promote", reason, yes=yes, json_=json_)


@click.command()
@name_argument
@click.option("--to", "version", type=version_type, default=None, help="Default: the version that served before.")
@click.option("--reason", default="rolled back by hand", show_default=True, help="Stored in the history.")
@yes_option
@json_option
def rollback(name: str, version: int | None, reason: str, yes: bool, json_: bool) -> None:
    """Roll back to the previous champion.

    If an Airflow is configured, the asset of the champion gets an event.
    """
    _set_champion(name, version, "rollback", reason, yes=yes, json_=json_)


def _set_champion(name: str, version: int | None, action: str, reason: str, *, yes: bool, json_: bool) -> None:
    """Load the version with all checks, ask for confirmation, and make it the champion."""
    from diurnal.cli.table_output import print_fields
    from diurnal.promotion import manual_promotion

    with open_project_stores() as stores:
        experiment = resolve_experiment_name(stores, name)
        version = version or manual_promotion.previous_champion(stores.warehouse, experiment)
        manual_promotion.check_version_loads(stores, experiment, version)
        question = (
            f"Roll {name} back to version {version}?"
            if action == "rollback"
            else (f"Promote version {version} of {name} to champion?")
        )
        confirm_change(question, yes=yes)
        row = manual_promotion.set_champion(
            stores, experiment, version, requested_by=current_user(), reason=reason, action=action
        )
        announce_champion(stores, experiment)
        print_fields({"promoted": True, **row}, json_)


@click.command()
@name_argument
@click.argument("version", type=version_type)
@json_option
def replay(name: str, version: int, json_: bool) -> None:
    """Reproduce a version from its stored batches and code, and compare the results.

    Nothing is stored. The exit status is 65 if the results differ.
    """
    from diurnal.cli.progress import show_fits
    from diurnal.pipeline.replay import replay_version

    with open_project_stores() as stores, show_fits(json_) as on_fits:
        experiment = resolve_experiment_name(stores, name)
        result = replay_version(stores, experiment, version, lambda: find_experiment(name), progress=on_fits)
    _print_replay(result, json_)
    if not result.equal:
        raise SystemExit(_DAMAGED)


def _print_replay(result: Replay, json_: bool) -> None:
    from diurnal.cli.table_output import print_json, print_table

    if json_:
        print_json({**asdict(result), "equal": result.equal})
        return
    summary = "is reproduced" if result.equal else f"differs in {len(result.results)} results"
    click.echo(f"version {result.version} of {result.experiment} {summary}; digest {result.digest[:12]}")
    for heading, differences in (("results", result.results), ("changed environment", result.surroundings)):
        if differences:
            click.echo(f"\n{heading}:")
            print_table([vars(difference) for difference in differences], False, ["what", "recorded", "replayed"])


@click.command()
@click.argument("model", metavar="MODEL")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False), default=None, help="CSV or Parquet. Default: CSV on stdout."
)
def predict(model: str, file: str, output: str | None) -> None:
    """Predict the rows of a FILE: CSV, JSON, Parquet, Feather or a spreadsheet.

    It is read with the arguments of the experiment's own Files(...): separator, encoding, number formats.

    MODEL is NAME (its champion), NAME@3 (a version) or NAME@2026-11-23 (the champion at the end of that day, UTC).
    """
    from diurnal.cli.prediction_files import read_rows, validate_output, write_predictions
    from diurnal.pipeline.predict import predict_batches

    validate_output(output)
    with open_project_stores() as stores:
        rows = read_rows(file, load_settings(), model)
        write_predictions(predict_batches(stores, model, rows), output)
