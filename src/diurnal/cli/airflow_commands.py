"""``diurnal airflow``: a complete Airflow on this machine, without Docker.

Airflow itself is never imported here; its parts are processes of their own.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from diurnal.errors import UsageError
from diurnal.pipeline.interval_checks import check_start_date

if TYPE_CHECKING:
    from diurnal.airflow.local import Home
    from diurnal.experiment import Experiment
    from diurnal.runtime import Settings
    from diurnal.types import DataInterval


@click.group()
def airflow() -> None:
    """Run a complete Airflow on this machine, on the embedded PostgreSQL, without Docker."""


@airflow.command()
@click.option("--detach", is_flag=True, help="Return when it is healthy; `diurnal airflow down` ends it.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where the UI listens.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0: any that is free.")
def up(detach: bool, host: str, port: int) -> None:
    """Start API server, scheduler, Dag processor and triggerer; Ctrl-C ends all of it."""
    from diurnal.airflow.local import Launcher, start
    from diurnal.airflow.local.server_address import Address

    home, address = _home(), Address(host, port)
    if not address.is_private:
        click.echo(f"note: {host} lets others on the network reach Airflow, without encryption", err=True)
    if not detach:
        Launcher(home, address, click.echo).run()
        return
    start(home, address, click.echo)


@airflow.command()
def down() -> None:
    """End the Airflow of this project, all of it, whoever started it."""
    from diurnal.airflow.local import stop

    ended = stop(_home())
    click.echo(f"ended; it ran since {ended.since}" if ended else "no Airflow of this project is running")


@airflow.command()
@click.option("--json", "json_", is_flag=True, help="Print JSON, for machines.")
def status(json_: bool) -> None:
    """Say what runs, since when, how it is, and how to sign in."""
    from diurnal.airflow.local import describe
    from diurnal.cli import output

    output.report(describe(_home()), json_)


@airflow.command()
@click.argument("name", metavar="NAME")
@click.option("--date", default=None, help="The day, as 2026-11-23, or an instant; else the first without a result.")
@click.option("--wait", is_flag=True, help="Wait for its success, and print the row that it wrote.")
@click.option("--retry", is_flag=True, help="Begin a run again that is there, from fetch on, and wait for it.")
@click.option("--timeout", default=900.0, show_default=True, type=click.FloatRange(min=1), help="Seconds to wait.")
@click.option("--json", "json_", is_flag=True, help="Print the row as JSON, for machines.")
def trigger(name: str, date: str | None, wait: bool, retry: bool, timeout: float, json_: bool) -> None:
    """Ask the running Airflow for one run of the experiment NAME, over its REST API."""
    from diurnal.airflow.local import trigger
    from diurnal.cli import intervals_and_runs, output
    from diurnal.experiment import find

    home = _home()
    client, experiment = trigger.sign_in(home), find(name, home.settings.experiments)
    interval = _interval(experiment, home.settings, date)
    run = trigger.trigger(client, experiment.name, interval, retry=retry)
    click.echo(f"{interval}: the run {run.run_id} {run.said}", err=json_)
    if wait or retry:
        run.wait(lambda line: click.echo(line, err=json_), timeout=timeout)
        wrote = [row for row in _results(experiment, home.settings) if row["data_interval_start"] == interval.start]
        output.rows(intervals_and_runs.on_its_clocks(wrote, home.settings, name), json_, output.RUN_COLUMNS)


def _home() -> Home:
    from diurnal.airflow.local import Home
    from diurnal.runtime import Settings

    return Home(Settings.load())


def _interval(experiment: Experiment, settings: Settings, date: str | None) -> DataInterval:
    """Choose the data interval of a date, else the first without a result, as ``diurnal run --next`` does."""
    from diurnal.cli import next_interval
    from diurnal.storage.stores import open_stores

    if not date:
        stores = open_stores(settings)
        try:
            chosen = next_interval.following(experiment, stores)
        finally:
            stores.warehouse.close()
    else:
        chosen = experiment.calendar.interval_on(date)
        # The clock is read here, at the edge: to refuse what Airflow would not begin.
        if chosen.end > datetime.now(UTC):
            raise UsageError(f"{chosen} is not over, and Airflow begins no run before", hint="give an earlier --date")
    check_start_date(experiment, chosen)
    return chosen


def _results(experiment: Experiment, settings: Settings) -> list[dict[str, Any]]:
    """Give the rows of finished runs."""
    from diurnal.storage.stores import open_stores

    stores = open_stores(settings)
    try:
        return [row for row in stores.warehouse.runs(experiment.name) if row["decided_at"] is not None]
    finally:
        stores.warehouse.close()
