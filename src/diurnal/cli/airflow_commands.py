"""``diurnal airflow``: a complete Airflow on this machine, without Docker.

Airflow itself is never imported here; its components are processes of their own.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from diurnal.cli.options import json_option, name_argument
from diurnal.cli.project_session import load_settings, open_project_stores
from diurnal.errors import UsageError

if TYPE_CHECKING:
    from diurnal.airflow.local import AirflowHome
    from diurnal.experiment import Experiment
    from diurnal.types import DataInterval


@click.group()
def airflow() -> None:
    """Run a complete Airflow on this machine, on the embedded PostgreSQL, without Docker."""


@airflow.command()
@click.option("--detach", is_flag=True, help="Return when it is healthy; `diurnal airflow down` stops it.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The host that the UI listens on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0: any free port.")
def up(detach: bool, host: str, port: int) -> None:
    """Start API server, scheduler, Dag processor and triggerer; Ctrl-C stops them."""
    from diurnal.airflow.local import Launcher, start_daemon
    from diurnal.airflow.local.server_address import ServerAddress

    home, address = _airflow_home(), ServerAddress(host, port)
    if not address.is_private:
        click.echo(f"note: {host} lets others on the network reach Airflow, without encryption", err=True)
    if not detach:
        Launcher(home, address, click.echo).run()
        return
    start_daemon(home, address, click.echo)


@airflow.command()
def down() -> None:
    """Stop this project's Airflow."""
    from diurnal.airflow.local import stop_daemon

    stopped = stop_daemon(_airflow_home())
    click.echo(f"stopped; it ran since {stopped.since}" if stopped else "this project's Airflow does not run")


@airflow.command()
@json_option
def status(json_: bool) -> None:
    """Show component status and the login URL."""
    from diurnal.airflow.local import describe_status
    from diurnal.cli.table_output import print_fields

    print_fields(describe_status(_airflow_home()), json_)


@airflow.command()
@name_argument
@click.option("--date", default=None, help="A date (2026-11-23) or time. Default: the first interval without a result.")
@click.option("--wait", is_flag=True, help="Wait for the end of the run, and print its row.")
@click.option("--retry", is_flag=True, help="Clear an existing run from its first task on, and wait for its end.")
@click.option("--timeout", default=900.0, show_default=True, type=click.FloatRange(min=1), help="Seconds to wait.")
@json_option
def trigger(name: str, date: str | None, wait: bool, retry: bool, timeout: float, json_: bool) -> None:
    """Trigger a run of the experiment NAME in the running Airflow, over its REST API."""
    from diurnal.airflow.local import trigger
    from diurnal.cli.intervals import localize_rows
    from diurnal.cli.run_results import RUN_COLUMNS, with_wealth
    from diurnal.cli.table_output import print_table
    from diurnal.experiment import find

    home = _airflow_home()
    client, experiment = trigger.sign_in(home), find(name, home.settings.experiments)
    interval = _choose_interval(experiment, date)
    run = trigger.trigger_run(client, experiment.name, interval, retry=retry)
    click.echo(f"{interval}: the run {run.run_id} {run.state_text}", err=json_)
    if wait or retry:
        run.wait(lambda line: click.echo(line, err=json_), timeout=timeout)
        rows = [row for row in _finished_runs(experiment) if row["data_interval_start"] == interval.start]
        rows = localize_rows(rows, home.settings, name)
        print_table(rows if json_ else with_wealth(rows), json_, RUN_COLUMNS)


def _airflow_home() -> AirflowHome:
    from diurnal.airflow.local import AirflowHome

    return AirflowHome(load_settings())


def _choose_interval(experiment: Experiment, date: str | None) -> DataInterval:
    """Return the data interval of a date, else the first one without a result, as ``diurnal run --next`` does."""
    from diurnal.cli.intervals import next_interval
    from diurnal.pipeline.interval_checks import check_start_date

    if not date:
        with open_project_stores() as stores:
            interval = next_interval(experiment, stores)
    else:
        interval = experiment.calendar.interval_on(date)
        # The clock is read here, in the command line, to reject a run that Airflow would not start.
        if experiment.complete_at(interval) > datetime.now(UTC):
            reason = "the labels are not complete" if experiment.label_delay else "it has not ended"
            raise UsageError(f"{interval}: {reason}, and Airflow starts no run before", hint="use an earlier --date")
    check_start_date(experiment, interval)
    return interval


def _finished_runs(experiment: Experiment) -> list[dict[str, Any]]:
    """Return the rows of finished runs."""
    with open_project_stores() as stores:
        return [row for row in stores.warehouse.runs(experiment.name) if row["decided_at"] is not None]
