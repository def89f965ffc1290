"""``diurnal mlflow``: the copy of all results in MLflow."""

from __future__ import annotations

from dataclasses import asdict

import click

from diurnal.cli.options import json_option
from diurnal.cli.project_session import load_settings, open_project_stores, resolve_experiment_name
from diurnal.errors import ConfigurationError

_COLUMNS = ["experiment", "runs", "versions", "aliases", "duplicates", "left"]
_INCOMPLETE = 75


@click.group()
def mlflow() -> None:
    """Copy results to MLflow.

    The server is that of MLFLOW_TRACKING_URI, or of the setting mlflow.
    """


@mlflow.command()
@click.argument("names", metavar="[NAME ...]", nargs=-1)
@json_option
def sync(names: tuple[str, ...], json_: bool) -> None:
    """Copy all results that MLflow does not have, of one experiment or of all.

    Runs, their candidates, models, versions and aliases. What is there stays; a copy that is there twice is removed.
    Each run does the same for its own results.
    """
    from diurnal.cli.table_output import print_table
    from diurnal.mlflow import mirror_experiment
    from diurnal.mlflow.tracking_server import TrackingServer

    address = load_settings().mlflow
    if address is None:
        raise ConfigurationError(
            "there is no MLflow server in the settings",
            hint="set MLFLOW_TRACKING_URI=http://host:5000, or mlflow in diurnal.toml",
        )
    results = []
    with TrackingServer(address) as server, open_project_stores() as stores:
        server.check_health()
        experiments = [
            resolve_experiment_name(stores, name) for name in names
        ] or stores.warehouse.decided_experiments()
        for experiment in experiments:
            results.append(mirror_experiment(stores, experiment, server))
            for problem in results[-1].problems:
                click.echo(f"diurnal: warning: {problem}", err=True)
    print_table([asdict(result) for result in results], json_, _COLUMNS)
    if any(result.problems for result in results):
        raise SystemExit(_INCOMPLETE)
