"""``diurnal score``: predict a batch, and load the predictions; ``live-scores``: compare them with the truth."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from diurnal.cli.options import json_option, name_argument, version_type
from diurnal.cli.project_session import (
    current_user,
    find_experiment,
    open_project_stores,
    resolve_experiment_name,
)
from diurnal.errors import UsageError

if TYPE_CHECKING:
    from diurnal.experiment import Experiment
    from diurnal.pipeline.scored_batches import BatchScoring

_COLUMNS = ["data_interval_start", "version", "n_rows", "seconds", "state"]
_LIVE_COLUMNS = [
    "data_interval_start",
    "version",
    "shown",
    "n_predictions",
    "n_labelled",
    "n_in_sample",
    "scoring",
    "score",
    "test_score",
    "reason",
]


@click.command()
@name_argument
@click.option("--date", default=None, help="A date (2026-11-23) or time (ISO 8601). Default: last complete interval.")
@click.option("--file", type=click.Path(exists=True, dir_okay=False), help="Score the rows of a file.")
@click.option("--query", metavar="SQL", help="Score the rows of another query on the connection of Sql(...).")
@click.option("--version", type=version_type, default=None, help="The model version. Default: the champion.")
@click.option("--rescore", is_flag=True, help="Score again what another version has predicted.")
@json_option
def score(
    name: str, date: str | None, file: str | None, query: str | None, version: int | None, rescore: bool, json_: bool
) -> None:
    """Predict a batch, and load the predictions into the warehouse.

    The rows are those of the stored batch of the data interval. If it has none, they are read from the source of the
    experiment, and need no labels. Rows of --file and --query are all rows of the data interval: predictions of other
    keys are replaced.

    The view predictions_NAME has one prediction for each key and data interval. What a version has predicted stays
    until the rows change, or --rescore replaces it by the predictions of another version.
    """
    from diurnal.cli.progress import show_count
    from diurnal.cli.table_output import print_json, print_table
    from diurnal.experiment.run_context import RunContext
    from diurnal.pipeline.accept_command import date_argument
    from diurnal.pipeline.scored_batches import score_batch

    experiment = find_experiment(name)
    source = _source_of_rows(experiment, file, query)
    calendar = experiment.calendar
    interval = calendar.interval_on(date) if date else calendar.last_complete_interval(datetime.now(UTC))
    with open_project_stores() as stores, show_count(f"score {interval}", json_) as progress:
        context = RunContext(experiment, interval, stores, requested_by=current_user())
        result = score_batch(context, version=version, source=source, rescore=rescore, progress=progress)
    if result.state == "kept":
        click.echo(f"diurnal: {_describe_kept(result, str(interval), version)}", err=True)
    elif result.n_rows < result.n_before and (file or query):
        click.echo(f"diurnal: {_describe_fewer(result, str(interval), date_argument(interval, experiment))}", err=True)
    if json_:
        print_json(asdict(result))
    else:
        print_table([asdict(result)], False, _COLUMNS)


@click.command("live-scores")
@name_argument
@click.option("--since", default=None, help="A date (2026-11-23) or time (ISO 8601). Default: all.")
@json_option
def list_live_scores(name: str, since: str | None, json_: bool) -> None:
    """Score predictions by the truth that came later, and list the scores.

    A run does so for the predictions whose truth its batch has. This command looks at all batches, and computes what is
    missing. Rows that a version has learnt (in-sample) are counted, but not scored.
    """
    from diurnal.cli.intervals import localize_intervals
    from diurnal.cli.table_output import print_table
    from diurnal.pipeline.live_scores import LiveScorer
    from diurnal.types.calendar import parse_date_or_instant

    with open_project_stores() as stores:
        experiment = resolve_experiment_name(stores, name)
        timezone = stores.warehouse.timezone_of(experiment)
        first = parse_date_or_instant(since, timezone)[0] if since else None
        LiveScorer(stores, experiment, lambda: find_experiment(name).build()).update()
        rows = stores.warehouse.live_scores(experiment, since=first)
    print_table(localize_intervals(rows, timezone), json_, _LIVE_COLUMNS)


def _source_of_rows(experiment: Experiment, file: str | None, query: str | None) -> Any:
    """Return the source of a file or a query; None for that of the experiment."""
    if file and query:
        raise UsageError("--file and --query exclude each other", hint="use one of them")
    if file:
        from diurnal.cli.prediction_files import file_source

        return file_source(file, experiment)
    if query:
        from diurnal.sources import Sql

        if not isinstance(experiment.source, Sql):
            message = f"--query needs an experiment whose source is Sql(...); that of {experiment.name} is another one"
            raise UsageError(message, hint="write the rows to a file, and use --file")
        return replace(experiment.source, query=query)
    return None


def _describe_fewer(result: BatchScoring, interval: str, date: str) -> str:
    return (
        f"{interval} had {result.n_before} predictions, and has {result.n_rows} now: those of other keys are replaced\n"
        f"hint: --file and --query give all rows of an interval; score it as before: diurnal score {result.experiment} "
        f"--date {date}"
    )


def _describe_kept(result: BatchScoring, interval: str, version: int | None) -> str:
    requested = f"version {version} was requested" if version else f"the champion is version {result.requested_version}"
    return (
        f"version {result.version} has predicted {interval}, and {requested}; nothing was changed\n"
        "hint: replace the predictions with --rescore"
    )
