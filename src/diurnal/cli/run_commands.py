"""Commands that run an experiment, and list its runs: ``run``, ``backfill`` and ``runs``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from diurnal.cli.options import force_option, future_option, json_option, name_argument
from diurnal.cli.project_session import (
    announce_champion,
    current_user,
    find_experiment,
    load_settings,
    open_project_stores,
    resolve_experiment_name,
)
from diurnal.errors import BatchRejectedError, NotEnoughDataError, SupersededError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diurnal.cli.progress import NoProgress
    from diurnal.cli.run_results import IntervalResult
    from diurnal.experiment import Experiment
    from diurnal.pipeline.local_run import RunResult
    from diurnal.storage.stores import Stores
    from diurnal.types import DataInterval


@click.command(short_help="Run one data interval: from fetch to promote.")
@name_argument
@click.option("--date", default=None, help="A date (2026-11-23) or time (ISO 8601). Default: last complete interval.")
@click.option("--next", "next_", is_flag=True, help="The first interval without a result.")
@force_option
@future_option
@json_option
def run(name: str, date: str | None, next_: bool, force: bool, allow_future: bool, json_: bool) -> None:
    """Run one data interval: fetch, split, tune, evaluate, record, refit, publish, promote."""
    from diurnal.cli.intervals import first_without_result, resolve_interval
    from diurnal.cli.progress import show_progress
    from diurnal.cli.run_results import print_not_enough_data, print_outcome
    from diurnal.cli.warehouse_commands import describe_warehouse

    experiment = find_experiment(name)
    with open_project_stores() as stores:
        interval: DataInterval | None = resolve_interval(experiment, stores, date, is_next=next_)
        while interval:
            try:
                with show_progress([interval], json_) as progress:
                    outcome = _run_interval(
                        experiment, interval, stores, progress, force=force, allow_future=allow_future
                    )
            except NotEnoughDataError as error:
                print_not_enough_data(interval, error, json_)
                interval = first_without_result(experiment, stores) if next_ else None
            else:
                if outcome.changes_champion:
                    announce_champion(stores, experiment.name)
                print_outcome(outcome, json_, describe_warehouse(load_settings()), stores)
                break


@click.command()
@name_argument
@click.option("--from", "first", required=True, help="The first date, as 2026-11-01.")
@click.option("--to", "last", required=True, help="The last date, inclusive.")
@force_option
@future_option
@json_option
def backfill(name: str, first: str, last: str, force: bool, allow_future: bool, json_: bool) -> None:
    """Run the data intervals of a range of dates that have no result, oldest first."""
    from diurnal.cli.progress import show_progress
    from diurnal.cli.run_results import print_backfill

    experiment = find_experiment(name)
    intervals = experiment.calendar.intervals_between(first, last)
    with open_project_stores() as stores, show_progress(intervals, json_) as progress:
        results = _run_intervals(experiment, intervals, stores, progress, force=force, allow_future=allow_future)
        if any(result.is_new_champion for result in results):
            announce_champion(stores, experiment.name)
    print_backfill(results, json_)
    if any(result.error.exit_status for result in results if result.error):
        raise SystemExit(BatchRejectedError.exit_status)


@click.command()
@name_argument
@json_option
def runs(name: str, json_: bool) -> None:
    """List the runs of an experiment, with their scores: its rows of `experiments`."""
    from diurnal.cli.intervals import localize_rows
    from diurnal.cli.run_results import RUN_COLUMNS, read_run_rows, with_wealth
    from diurnal.cli.table_output import print_table

    with open_project_stores() as stores:
        rows = read_run_rows(stores.warehouse, resolve_experiment_name(stores, name))
        rows = localize_rows(rows, load_settings(), name)
        print_table(rows if json_ else with_wealth(rows), json_, RUN_COLUMNS)


def _run_interval(
    experiment: Experiment,
    interval: DataInterval,
    stores: Stores,
    progress: NoProgress,
    *,
    force: bool,
    allow_future: bool,
) -> RunResult:
    from diurnal.experiment.run_context import RunContext
    from diurnal.pipeline import local_run

    context = RunContext(
        experiment, interval, stores, requested_by=current_user(), force=force, progress=progress.on_fits
    )
    now = None if allow_future else datetime.now(UTC)
    return local_run.run(context, on_start=progress.on_step_start, on_end=progress.on_step_end, now=now)


def _run_intervals(
    experiment: Experiment,
    intervals: Sequence[DataInterval],
    stores: Stores,
    progress: NoProgress,
    *,
    force: bool,
    allow_future: bool,
) -> list[IntervalResult]:
    """Run data intervals in their order; one that ends without a result does not stop the following ones."""
    from diurnal.cli.run_results import IntervalResult

    results = []
    for interval in intervals:
        try:
            outcome = _run_interval(experiment, interval, stores, progress, force=force, allow_future=allow_future)
            results.append(IntervalResult(interval, outcome=outcome))
        except (BatchRejectedError, NotEnoughDataError, SupersededError) as error:
            results.append(IntervalResult(interval, error=error))
    return results
