"""Commands about a project and its experiments: ``init``, ``list`` and ``check``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from diurnal.cli.options import json_option, name_argument
from diurnal.cli.project_session import current_user, find_experiment, load_settings, open_project_stores
from diurnal.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diurnal.errors import DiurnalError
    from diurnal.experiment import Experiment
    from diurnal.pipeline.dry_run import DryRun

_LIST_COLUMNS = ["name", "schedule", "target", "window", "promotion", "description"]


@click.command()
@click.argument("folder", type=click.Path(file_okay=False), required=False)
@click.option("--name", default=None, help="Name of the experiment. Default: that of the folder or the file.")
@click.option(
    "--from",
    "notebook",
    type=click.Path(exists=True, dir_okay=False),
    default=None,
    help="A notebook (.ipynb) or script (.py) to extract the search from. It is not executed.",
)
@click.option("--search", default=None, help="With --from: the variable of the search. Default: the last one fitted.")
@click.option("--force", is_flag=True, help="Overwrite existing files.")
@click.option("--dry-run", is_flag=True, help="With --from: print the experiment, and write nothing.")
@json_option
def init(
    folder: str | None,
    name: str | None,
    notebook: str | None,
    search: str | None,
    force: bool,
    dry_run: bool,
    json_: bool,
) -> None:
    """Create a project that can run at once: experiment, Dag file, settings, README.

    With --from, the experiment is extracted from a notebook or a script: the search and the code it depends on, and the
    source and the target of its data. FOLDER is then the project, by default the current one; it is created if it does
    not exist.
    """
    if notebook is not None:
        from diurnal.cli import init_from_notebook

        extracted = init_from_notebook.extract_project(notebook, folder, name, search, force=force, dry_run=dry_run)
        init_from_notebook.print_extracted(extracted, json_=json_, dry_run=dry_run)
    else:
        _create_project(folder, name, force=force, json_=json_, others={"--search": search, "--dry-run": dry_run})


def _create_project(
    folder: str | None, name: str | None, *, force: bool, json_: bool, others: dict[str, object]
) -> None:
    """Create a project from the template.

    Parameters
    ----------
    folder, name, force, json_
        As for ``init``.
    others : dict of str to object
        Options that are only allowed with --from.
    """
    import shlex

    from diurnal.cli import init_project
    from diurnal.cli.table_output import print_json

    for option, value in others.items():
        if value:
            raise click.UsageError(f"{option} needs --from.")
    if folder is None:
        raise click.UsageError("Missing argument 'FOLDER'; it is optional only with --from.")
    experiment = init_project.experiment_name(folder, name)
    written = list(map(str, init_project.write_project(folder, name, force=force)))
    next_command = f"cd {shlex.quote(folder)} && diurnal run {experiment}"
    if json_:
        print_json({"name": experiment, "written": written, "next": next_command})
        return
    for path in written:
        click.echo(f"wrote {path}")
    click.echo(f"\nNext: {next_command}")


@click.command("list")
@json_option
def list_experiments(json_: bool) -> None:
    """List the experiments of this project."""
    from diurnal.cli.table_output import print_table
    from diurnal.experiment import discover

    experiments, errors = discover(load_settings().experiments)
    print_table([_experiment_row(experiment) for experiment in experiments.values()], json_, _LIST_COLUMNS)
    for error in errors:
        click.echo(f"diurnal: error: {error}", err=True)
    if errors:
        raise SystemExit(UsageError.exit_status)


def _experiment_row(experiment: Experiment) -> dict[str, Any]:
    return {
        "name": experiment.name,
        "schedule": None if experiment.schedule is None else str(experiment.schedule),
        "timezone": experiment.timezone,
        "target": experiment.target,
        "window": experiment.window,
        "promotion": experiment.promotion,
        "description": (experiment.description or "").split("\n")[0],
        "file": str(experiment.file),
    }


@click.command()
@name_argument
@click.option("--data", is_flag=True, help="Fetch a batch, and test each step on it with few candidates.")
@click.option("--date", default=None, help="With --data: the date of the batch. Default: last complete interval.")
@json_option
def check(name: str, data: bool, date: str | None, json_: bool) -> None:
    """Validate an experiment without running it; nothing is written to the stores."""
    from diurnal.cli.intervals import describe_first_intervals
    from diurnal.pipeline import check as checks

    if date and not data:
        raise UsageError("--date is the date of the batch that --data fetches", hint="add --data, or omit --date")
    report, errors, experiment = checks.check_for_dry_run(find_experiment(name), load_settings().connections())
    if errors and not data:
        raise errors[0]
    report["intervals"] = describe_first_intervals(experiment)
    if data:
        result = _dry_run(experiment, date)
        report |= {"batch": f"{result.n_rows} rows", "tested": result.tried}
        report["warnings"] = [*report.get("warnings", []), *result.warnings]
        errors += result.faults
    _print_check(report, errors, json_)
    if errors:
        raise SystemExit(errors[0].exit_status)


def _dry_run(experiment: Experiment, date: str | None) -> DryRun:
    """Test the steps on the batch of a date, or of the last complete data interval."""
    from diurnal.cli.intervals import last_complete_interval
    from diurnal.experiment.run_context import RunContext
    from diurnal.pipeline import dry_run

    interval = experiment.calendar.interval_on(date) if date else last_complete_interval(experiment)
    with open_project_stores(create=False) as stores:
        return dry_run.dry_run(RunContext(experiment, interval, stores, requested_by=current_user()))


def _print_check(report: dict[str, Any], errors: Sequence[DiurnalError], json_: bool) -> None:
    """Print the report of a check, and each error with its hint."""
    from diurnal.cli.table_output import print_fields

    if json_:
        listed = [{"location": error.location, "message": error.message, "hint": error.hint} for error in errors]
        print_fields(report | {"errors": listed}, json_)
        return
    print_fields(report, json_)
    click.echo("no errors" if not errors else f"\n{len(errors)} error{'s' * (len(errors) > 1)}:")
    for error in errors:
        click.echo(f"\n{error}")
