"""``diurnal contract NAME``: show a contract, compare a batch with it, and change it on purpose."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from diurnal.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diurnal.experiment import Experiment
    from diurnal.experiment.run_context import RunContext
    from diurnal.pipeline.contract_acceptance import Difference
    from diurnal.runtime import Settings
    from diurnal.storage.stores import Stores

as_json = click.option("--json", "json_", is_flag=True, help="Print JSON, for machines.")
date_option = click.option("--date", default=None, help="The day, as 2026-11-23, or an instant; the last complete one.")
rename_option = click.option(
    "--rename", "renames", multiple=True, metavar="OLD=NEW", help="A column of the contract has another name; repeat."
)

COLUMN_COLUMNS = ["name", "kind", "role", "null_share", "categories", "former"]
CHANGE_COLUMNS = ["change", "column", "acceptable", "what"]
HISTORY_COLUMNS = ["version", "accepted_at", "accepted_by", "since", "changes", "why"]


@click.group()
@click.argument("name", metavar="NAME")
@click.pass_context
def contract(context: click.Context, name: str) -> None:
    """Show the contract of an experiment's batches, and change it on purpose.

    The first batch fixes the contract: columns, kinds, classes. What later batches say otherwise is accepted by a
    person, as one more version. Rows of older batches are read through the newest version.
    """
    context.obj = name


@contract.command()
@click.option("--version", type=click.IntRange(min=1), default=None, help="The newest, unless given.")
@as_json
@click.pass_obj
def show(name: str, version: int | None, json_: bool) -> None:
    """Show the columns, kinds, roles, shares of nulls, and classes."""
    from diurnal.cli import output

    with _opened() as (settings, stores):
        rows = _rows(settings, stores, name)
    numbers = [row["version"] for row in rows]
    if version is not None and version not in numbers:
        raise UsageError(f"the contract of {name} has no version {version}", hint=f"there are {numbers}")
    row = rows[-1] if version is None else rows[numbers.index(version)]
    head, columns = _described(row)
    if json_:
        output.report(head | {"columns": columns}, json_)
        return
    output.report(head, json_)
    click.echo()
    output.rows(columns, json_, COLUMN_COLUMNS)


@contract.command()
@date_option
@click.option("--file", type=click.Path(exists=True, dir_okay=False), default=None, help="Rows of a file instead.")
@rename_option
@as_json
@click.pass_obj
def diff(name: str, date: str | None, file: str | None, renames: tuple[str, ...], json_: bool) -> None:
    """Compare a batch with the contract; nothing is written.

    The exit status is 65 where the batch holds what no version of the contract would take in.
    """
    from diurnal.cli import intervals_and_runs
    from diurnal.pipeline import contract_acceptance

    if date and file:
        raise UsageError("--date and --file exclude each other", hint="give one of them")
    experiment = _find(name)
    with _opened(create=False) as (settings, stores):
        batches = None if file is None else lambda: intervals_and_runs.rows(file, settings, experiment.name)
        found = contract_acceptance.diff_contract(_day(experiment, stores, date), _pairs(renames), batches)
    _print(found, json_)
    if found.problems:
        raise SystemExit(65)


@contract.command()
@click.option("--date", required=True, help="The day whose batch was refused, as 2026-11-23, or an instant.")
@rename_option
@click.option("--why", required=True, help="The reason, for the history.")
@as_json
@click.pass_obj
def accept(name: str, date: str, renames: tuple[str, ...], why: str, json_: bool) -> None:
    """Accept what the batch of a day says otherwise, as one more version of the contract."""
    from diurnal.cli import output
    from diurnal.pipeline import contract_acceptance

    if not why.strip():
        raise UsageError("--why is empty", hint="say why the contract changes: it is kept in its history")
    experiment = _find(name)
    with _opened() as (_, stores):
        day = _day(experiment, stores, date)
        found = contract_acceptance.accept_changes(day, _pairs(renames), why)
    said = {
        "version": found.number,
        "accepted": bool(found.changes),
        "changes": [str(change) for change in found.changes] or ["none: the batch does not differ from the contract"],
        "next": contract_acceptance.next_step(day),
    }
    output.report(said, json_)


@contract.command()
@as_json
@click.pass_obj
def history(name: str, json_: bool) -> None:
    """List the versions: who accepted them, when, what changed, and why."""
    from diurnal.cli import output
    from diurnal.data.contract_changes import Change

    with _opened() as (settings, stores):
        rows = [{key: value for key, value in row.items() if key != "columns"} for row in _rows(settings, stores, name)]
    if not json_:
        for row in rows:
            row["changes"] = "; ".join(str(Change(**change)) for change in row["changes"]) or "-"
    output.rows(rows[::-1], json_, HISTORY_COLUMNS)


def _rows(settings: Settings, stores: Stores, name: str) -> list[dict[str, Any]]:
    from diurnal.cli import intervals_and_runs

    known = intervals_and_runs.known(stores, settings, name)
    rows = stores.warehouse.contracts(known)
    if not rows:
        raise UsageError(f"{known} has no contract yet: its first batch fixes it", hint=f"diurnal run {known}")
    return rows


def _described(row: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Give what a version says as a whole, and of each column."""
    from diurnal.data import Schema

    schema = Schema.from_dict(row["columns"])
    head = {
        "experiment": row["experiment"],
        "version": row["version"],
        "since": row["since"],
        "accepted_at": row["accepted_at"],
        "accepted_by": row["accepted_by"],
        "why": row["why"],
        "task": schema.task,
        "target": schema.target,
        "key": list(schema.key),
        "classes": None if schema.classes is None else list(schema.classes),
        "duplicates": None if schema.key else schema.duplicates,
    }
    columns = [
        {
            "name": column.name,
            "kind": column.kind,
            "role": _role(schema, column.name),
            "null_share": column.null_share,
            "categories": None if column.categories is None else len(column.categories),
            "former": ", ".join(column.former) or None,
        }
        for column in schema.all_columns
    ]
    return head, columns


def _role(schema: Any, name: str) -> str:
    roles = {column.name: "gone" for column in schema.gone} | dict.fromkeys(schema.drop, "drop")
    roles |= {value: role for role, value in vars(schema.metadata).items() if value is not None}
    return (roles | dict.fromkeys(schema.key, "key") | {schema.target: "target"}).get(name, "feature")


def _print(found: Difference, json_: bool) -> None:
    from diurnal.cli import output

    rows: list[dict[str, Any]] = [
        {**change.to_dict(), "acceptable": True, "what": str(change)} for change in found.changes
    ]
    rows += [
        {"change": problem.code, "column": problem.column, "acceptable": False, "what": str(problem)}
        for problem in found.problems
    ]
    if rows or json_:
        output.rows(rows, json_, CHANGE_COLUMNS)
    else:
        click.echo(f"the batch does not differ from version {found.number} of the contract")


def _pairs(renames: tuple[str, ...]) -> dict[str, str]:
    """Read OLD=NEW; a name that holds an equals sign is split at the first."""
    found: dict[str, str] = {}
    for text in renames:
        old, equals, new = text.partition("=")
        if not (old and equals and new) or old in found or new in found.values():
            raise UsageError(f"--rename {text!r} does not name one column anew", hint="write --rename OLD=NEW")
        found[old] = new
    return found


def _day(experiment: Experiment, stores: Stores, date: str | None) -> RunContext:
    from diurnal.cli import intervals_and_runs
    from diurnal.experiment.run_context import RunContext

    interval = intervals_and_runs.interval(experiment, stores, date, next_=False)
    return RunContext(experiment, interval, stores, requested_by=intervals_and_runs.whoami())


def _find(name: str) -> Experiment:
    from diurnal.experiment import find
    from diurnal.runtime import Settings

    return find(name, Settings.load().experiments)


@contextmanager
def _opened(*, create: bool = True) -> Iterator[tuple[Settings, Stores]]:
    """Open the stores; without `create`, the lake and the models are not made."""
    from diurnal.runtime import Settings
    from diurnal.storage.stores import open_stores

    settings = Settings.load()
    stores = open_stores(settings, create=create)
    try:
        yield settings, stores
    finally:
        stores.warehouse.close()
