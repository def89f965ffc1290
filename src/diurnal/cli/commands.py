"""The commands, ten lines each."""

from __future__ import annotations

import math
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from diurnal.cli.airflow_commands import airflow
from diurnal.cli.contract_commands import contract

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diurnal.experiment import Experiment
    from diurnal.runtime import Settings
    from diurnal.storage.stores import Stores
    from diurnal.types import DataInterval

as_json = click.option("--json", "json_", is_flag=True, help="Print JSON, for machines.")
name_argument = click.argument("name", metavar="NAME")
version_type = click.IntRange(min=1, max=2**31 - 1)
hours_type = click.FloatRange(min=0, max=87_600)
yes_option = click.option("--yes", is_flag=True, help="Do not ask, even on a terminal.")


def _number(_context: click.Context, _option: click.Parameter, value: float) -> float:
    """Refuse what is no number: it lies in every range."""
    if math.isnan(value):
        raise click.BadParameter("nan is not in the range 0<=x<=87600.")
    return value


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="diurnal", prog_name="diurnal")
def diurnal() -> None:
    """From the search object at the end of a notebook to a daily retraining service.

    NAME is an experiment: its name in the folder experiments/, or a reference such as
    experiments.breast_cancer:breast_cancer.
    """


@diurnal.command()
@click.argument("folder", type=click.Path(file_okay=False), required=False)
@click.option("--name", default=None, help="Name of the experiment; that of the folder or the file unless given.")
@click.option(
    "--from",
    "notebook",
    type=click.Path(exists=True, dir_okay=False),
    default=None,
    help="A notebook (.ipynb) or script (.py) to take the search from. It is not run.",
)
@click.option("--search", default=None, help="With --from: the variable that holds it; the last one that is fitted.")
@click.option("--force", is_flag=True, help="Overwrite files that are there.")
@click.option("--dry-run", is_flag=True, help="With --from: print the experiment, and write nothing.")
@as_json
def init(
    folder: str | None,
    name: str | None,
    notebook: str | None,
    search: str | None,
    force: bool,
    dry_run: bool,
    json_: bool,
) -> None:
    """Write a new project that runs at once: experiment, Dag file, settings, README.

    With --from, the experiment is taken from a notebook or a script: the search and what it is made of, and the source
    and the target of its data. FOLDER is then the project, the current one unless given; where there is none, it is
    made.
    """
    if notebook is not None:
        from diurnal.cli import init_from_notebook

        taken = init_from_notebook.take(notebook, folder, name, search, force=force, dry_run=dry_run)
        init_from_notebook.say(taken, json_=json_, dry_run=dry_run)
    else:
        _new_project(folder, name, force=force, json_=json_, others={"--search": search, "--dry-run": dry_run})


@diurnal.command("list")
@as_json
def list_(json_: bool) -> None:
    """List the experiments of this project."""
    from diurnal.cli import output
    from diurnal.experiment import discover

    found, broken = discover(_settings().experiments)
    rows = [
        {
            "name": e.name,
            "schedule": None if e.schedule is None else str(e.schedule),
            "timezone": e.timezone,
            "target": e.target,
            "window": e.window,
            "promotion": e.promotion,
            "description": (e.description or "").split("\n")[0],
            "file": str(e.file),
        }
        for e in found.values()
    ]
    output.rows(rows, json_, ["name", "schedule", "target", "window", "promotion", "description"])
    for error in broken:
        click.echo(f"diurnal: error: {error}", err=True)
    if broken:
        raise SystemExit(2)


@diurnal.command()
@name_argument
@click.option("--data", is_flag=True, help="Fetch a batch, and try every step on it with few candidates.")
@click.option("--date", default=None, help="With --data: which day's batch; the last complete one.")
@as_json
def check(name: str, data: bool, date: str | None, json_: bool) -> None:
    """Validate an experiment without running it; nothing is written to the stores."""
    from diurnal.cli import intervals_and_runs, output
    from diurnal.errors import UsageError
    from diurnal.pipeline import check

    if date and not data:
        raise UsageError("--date says which batch --data fetches", hint="add --data, or leave --date out")
    experiment, settings = _find(name), _settings()
    report, faults, experiment = check.check_for_dry_run(experiment, settings.connections())
    if faults and not data:
        raise faults[0]
    report["intervals"] = intervals_and_runs.first_intervals(experiment)
    if data:
        tried = intervals_and_runs.dry_run(experiment, date, settings)
        report |= {"batch": f"{tried.n_rows} rows", "tried": tried.tried}
        report["warnings"] = [*report.get("warnings", []), *tried.warnings]
        faults += tried.faults
    output.checked(report, faults, json_)
    if faults:
        raise SystemExit(faults[0].exit_status)


@diurnal.command()
@name_argument
@click.option("--date", default=None, help="The day, as 2026-11-23, or an instant in ISO 8601; the last complete one.")
@click.option("--next", "next_", is_flag=True, help="The first interval that has no result.")
@click.option("--force", is_flag=True, help="Make one more result even where there is one.")
@click.option("--allow-future", is_flag=True, help="Take an interval that is not over yet.")
@as_json
def run(name: str, date: str | None, next_: bool, force: bool, allow_future: bool, json_: bool) -> None:
    """Carry out one day: fetch, split, tune, evaluate, record, refit, publish, promote."""
    from diurnal.cli import intervals_and_runs, next_interval, output
    from diurnal.cli.progress import progress
    from diurnal.errors import NotEnoughDataError

    experiment = _find(name)
    options = {"force": force, "allow_future": allow_future}
    with _stores() as stores:
        interval: DataInterval | None = intervals_and_runs.interval(experiment, stores, date, next_=next_)
        while interval:
            try:
                with progress([interval], json_) as watch:
                    outcome = intervals_and_runs.carry_out(experiment, interval, stores, watch, **options)
            except NotEnoughDataError as lacking:
                output.not_enough(interval, lacking, json_)
                interval = next_interval.first_without_result(experiment, stores) if next_ else None
            else:
                if outcome.promoted and not outcome.already:
                    _tell_airflow(stores, experiment.name)
                output.outcome(outcome, json_, _settings(), stores)
                break


@diurnal.command()
@name_argument
@click.option("--from", "first", required=True, help="The first day, as 2026-11-01.")
@click.option("--to", "last", required=True, help="The last day, itself included.")
@click.option("--force", is_flag=True, help="Make one more result for each, even where there is one.")
@click.option("--allow-future", is_flag=True, help="Take intervals that are not over yet.")
@as_json
def backfill(name: str, first: str, last: str, force: bool, allow_future: bool, json_: bool) -> None:
    """Carry out past days, oldest first; those that have a result are left alone."""
    from diurnal.cli import intervals_and_runs, output
    from diurnal.cli.progress import progress

    experiment = _find(name)
    intervals = intervals_and_runs.between(experiment, first, last)
    with _stores() as stores, progress(intervals, json_) as watch:
        done = intervals_and_runs.backfill(experiment, intervals, stores, watch, force=force, allow_future=allow_future)
        if any(outcome.promoted and not outcome.already for _, outcome, _ in done if outcome):
            _tell_airflow(stores, experiment.name)
    output.backfilled(done, json_)
    if any(error.exit_status for _, _, error in done if error):
        raise SystemExit(65)


@diurnal.command()
@name_argument
@as_json
def runs(name: str, json_: bool) -> None:
    """List the runs of an experiment, with their scores: its rows of `experiments`."""
    from diurnal.cli import intervals_and_runs, output

    with _stores() as stores:
        found = intervals_and_runs.on_its_clocks(
            intervals_and_runs.runs(stores, _known(stores, name)), _settings(), name
        )
        output.rows(found, json_, output.RUN_COLUMNS)


@diurnal.command()
@name_argument
@as_json
def models(name: str, json_: bool) -> None:
    """List the published versions of an experiment's model."""
    from diurnal.cli import intervals_and_runs, output

    with _stores() as stores:
        found = intervals_and_runs.on_its_clocks(stores.warehouse.versions(_known(stores, name)), _settings(), name)
        output.rows(found, json_, output.MODEL_COLUMNS)


@diurnal.command()
@name_argument
@as_json
def history(name: str, json_: bool) -> None:
    """List what served from when on, by whose word, and why."""
    from diurnal.cli import output

    with _stores() as stores:
        output.rows(stores.warehouse.promotions(_known(stores, name)), json_, output.PROMOTION_COLUMNS)


@diurnal.command()
@name_argument
@click.argument("version", type=version_type)
@click.option("--reason", default="promoted by hand", show_default=True, help="Kept in the history.")
@yes_option
@as_json
def promote(name: str, version: int, reason: str, yes: bool, json_: bool) -> None:
    """Promote a version manually.

    Where an Airflow is configured, the asset of the champion has an event of it.
    """
    from diurnal.cli import intervals_and_runs, output
    from diurnal.pipeline import manual_promotion

    with _stores() as stores:
        plain = _known(stores, name)
        manual_promotion.check_version_loads(stores, plain, version)
        _ask(f"Make version {version} the champion of {name}?", yes)
        row = stores.warehouse.set_champion(
            plain, version, requested_by=intervals_and_runs.whoami(), reason=reason, action="promote"
        )
        _tell_airflow(stores, plain)
        output.report({"promoted": True, **row}, json_)


@diurnal.command()
@name_argument
@click.option("--to", "version", type=version_type, default=None, help="The one before, unless given.")
@click.option("--reason", default="rolled back by hand", show_default=True, help="Kept in the history.")
@yes_option
@as_json
def rollback(name: str, version: int | None, reason: str, yes: bool, json_: bool) -> None:
    """Promote the champion's predecessor again.

    Where an Airflow is configured, the asset of the champion has an event of it.
    """
    from diurnal.cli import intervals_and_runs, output
    from diurnal.pipeline import manual_promotion

    with _stores() as stores:
        plain = _known(stores, name)
        target = version or manual_promotion.previous_champion(stores.warehouse, plain)
        manual_promotion.check_version_loads(stores, plain, target)
        _ask(f"Make version {target} the champion of {name} again?", yes)
        row = stores.warehouse.set_champion(
            plain, target, requested_by=intervals_and_runs.whoami(), reason=reason, action="rollback"
        )
        _tell_airflow(stores, plain)
        output.report({"promoted": True, **row}, json_)


@diurnal.command()
@name_argument
@click.argument("version", type=version_type)
@as_json
def replay(name: str, version: int, json_: bool) -> None:
    """Make a version again from the batches and the code that its row names, and compare; nothing is changed."""
    from diurnal.cli import output
    from diurnal.cli.progress import fits
    from diurnal.pipeline.replay import replay_version

    with _stores() as stores, fits(json_) as progress:
        found = replay_version(stores, _known(stores, name), version, lambda: _find(name), progress=progress)
    output.replayed(found, json_)
    if not found.equal:
        raise SystemExit(65)


@diurnal.command()
@click.argument("model", metavar="MODEL")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False), default=None, help="CSV or Parquet; else CSV on stdout."
)
def predict(model: str, file: str, output: str | None) -> None:
    """Predict the rows of a FILE: CSV, JSON, Parquet, Feather or a spreadsheet.

    It is read by the arguments of the experiment's own Files(...): separator, encoding, marks of numbers.

    MODEL is NAME (its champion), NAME@3 (a version) or NAME@2026-11-23 (what served at the end of that day, UTC).
    """
    from diurnal.cli import intervals_and_runs, prediction_files
    from diurnal.pipeline import predict

    prediction_files.check(output)
    with _stores() as stores:
        prediction_files.tables(
            predict.predict_batches(stores, model, intervals_and_runs.rows(file, _settings(), model)), output
        )


@diurnal.command()
@click.argument("name", metavar="[NAME]", required=False)
@click.option(
    "--repair", is_flag=True, help="First load batches again whose rows in the warehouse are not what the lake has."
)
@as_json
def verify(name: str | None, repair: bool, json_: bool) -> None:
    """Hash everything again and compare it with the warehouse.

    What --repair cannot mend, a run of its data interval does: it makes lost samples, candidates and models again.
    """
    from diurnal.cli import intervals_and_runs, output
    from diurnal.pipeline import verify

    with _stores() as stores:
        experiment = _known(stores, name) if name else None
        for mended in (
            verify.repair_loads(stores, experiment, requested_by=intervals_and_runs.whoami()) if repair else ()
        ):
            click.echo(f"repaired {mended.name} of {mended.experiment}, which was {mended.state}", err=True)
        found = [vars(finding) for finding in verify.verify_stores(stores, experiment)]
    bad = [row for row in found if row["state"] != "good"]
    if json_ or bad:
        output.rows(found if json_ else bad, json_, ["kind", "experiment", "name", "state"])
    if not json_:
        click.echo(f"{len(found) - len(bad)} of {len(found)} are what the warehouse says")
    if bad:
        raise SystemExit(65)


@diurnal.command()
@click.option("--older-than", default=24.0, show_default=True, type=hours_type, callback=_number, help="Hours.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be removed.")
@as_json
def gc(older_than: float, dry_run: bool, json_: bool) -> None:
    """Remove what nothing refers to: left behind by attempts that were killed or superseded."""
    from datetime import timedelta

    from diurnal.cli import output
    from diurnal.pipeline import garbage

    with _stores() as stores:
        removed = garbage.collect_garbage(stores, older_than=timedelta(hours=older_than), dry_run=dry_run)
    output.rows([{"removed": path} for path in removed], json_, ["removed"])


@diurnal.command()
@click.argument("deed", type=click.Choice(["url", "migrate", "start", "stop"]))
def warehouse(deed: str) -> None:
    """Look after the warehouse.

    `url` tells where it is; `migrate` brings its tables up to date, as the first command to use a new version would;
    `start` keeps the embedded one running, and `stop` lets it go.
    """
    from diurnal.cli import intervals_and_runs

    click.echo(intervals_and_runs.warehouse(_settings(), deed))


diurnal.add_command(airflow)
diurnal.add_command(contract)


def _new_project(folder: str | None, name: str | None, *, force: bool, json_: bool, others: dict[str, object]) -> None:
    import json
    import shlex

    from diurnal.cli import init_project

    for option, value in others.items():
        if value:
            raise click.UsageError(f"{option} needs --from.")
    if folder is None:
        raise click.UsageError("Missing argument 'FOLDER'; only with --from it may be left out.")
    written = list(map(str, init_project.write(folder, name, force=force)))
    next_ = f"cd {shlex.quote(folder)} && diurnal run {init_project.name_for(folder, name)}"
    if json_:
        click.echo(
            json.dumps({"name": init_project.name_for(folder, name), "written": written, "next": next_}, indent=2)
        )
        return
    for path in written:
        click.echo(f"wrote {path}")
    click.echo(f"\nNext: {next_}")


def _settings() -> Settings:
    from diurnal.runtime import Settings

    return Settings.load()


def _find(name: str) -> Experiment:
    from diurnal.experiment import find

    return find(name, _settings().experiments)


def _known(stores: Stores, name: str) -> str:
    from diurnal.cli import intervals_and_runs

    return intervals_and_runs.known(stores, _settings(), name)


@contextmanager
def _stores() -> Iterator[Stores]:
    from diurnal.storage.stores import open_stores

    stores = open_stores(_settings())
    try:
        yield stores
    finally:
        stores.warehouse.close()


def _tell_airflow(stores: Stores, name: str) -> None:
    """Announce the champion in Airflow, where one is configured; the promotion stands whatever comes of it."""
    from diurnal.airflow import champion_events
    from diurnal.cli import intervals_and_runs

    settings = _settings()
    if warning := champion_events.send_champion_event(
        settings, stores.warehouse, name, lambda: intervals_and_runs.timezone(settings, name)
    ):
        click.echo(f"diurnal: warning: {warning}", err=True)


def _ask(question: str, yes: bool) -> None:
    if not yes and sys.stdin.isatty() and not click.confirm(question):
        click.echo("nothing was changed", err=True)
        raise SystemExit(1)
