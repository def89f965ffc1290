"""``diurnal contract NAME``: show a contract, compare a batch with it, and accept a change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from diurnal.cli.options import json_option
from diurnal.cli.project_session import (
    current_user,
    find_experiment,
    load_settings,
    open_project_stores,
    resolve_experiment_name,
)
from diurnal.errors import UsageError

if TYPE_CHECKING:
    from diurnal.experiment import Experiment
    from diurnal.experiment.run_context import RunContext
    from diurnal.pipeline.contract_acceptance import Difference
    from diurnal.storage.stores import Stores

date_option = click.option("--date", default=None, help="A date (2026-11-23) or time. Default: last complete interval.")
rename_option = click.option(
    "--rename",
    "renames",
    multiple=True,
    metavar="OLD=NEW",
    help="A renamed column of the contract. Repeatable.",
)

_COLUMN_COLUMNS = ["name", "kind", "role", "null_share", "categories", "former"]
_CHANGE_COLUMNS = ["change", "column", "acceptable", "message"]
_HISTORY_COLUMNS = ["version", "accepted_at", "accepted_by", "since", "changes", "why"]


@click.group()
@click.argument("name", metavar="NAME")
@click.pass_context
def contract(context: click.Context, name: str) -> None:
    """Show the contract of an experiment, compare batches with it, and accept changes.

    The first batch defines the contract: columns, types, classes. A change in later batches is accepted by a person, as
    a new version of the contract. Rows of older batches are read with the newest version.
    """
    context.obj = name


@contract.command()
@click.option("--version", type=click.IntRange(min=1), default=None, help="Default: the newest.")
@json_option
@click.pass_obj
def show(name: str, version: int | None, json_: bool) -> None:
    """Show the columns, types, roles, fractions of nulls, and classes."""
    from diurnal.cli.table_output import print_fields, print_table

    with open_project_stores() as stores:
        rows = _contract_versions(stores, name)
    numbers = [row["version"] for row in rows]
    if version is not None and version not in numbers:
        raise UsageError(f"the contract of {name} has no version {version}", hint=f"choose one of {numbers}")
    row = rows[-1] if version is None else rows[numbers.index(version)]
    head, columns = _describe_contract(row)
    if json_:
        print_fields(head | {"columns": columns}, json_)
        return
    print_fields(head, json_)
    click.echo()
    print_table(columns, json_, _COLUMN_COLUMNS)


@contract.command()
@date_option
@click.option(
    "--file", type=click.Path(exists=True, dir_okay=False), default=None, help="Compare the rows of a file instead."
)
@rename_option
@json_option
@click.pass_obj
def diff(name: str, date: str | None, file: str | None, renames: tuple[str, ...], json_: bool) -> None:
    """Compare a batch with the contract; nothing is written.

    The exit status is 65 if the batch differs in a way that a new version of the contract cannot accept.
    """
    from diurnal.cli.prediction_files import read_rows
    from diurnal.pipeline import contract_acceptance

    if date and file:
        raise UsageError("--date and --file exclude each other", hint="use one of them")
    experiment = find_experiment(name)
    with open_project_stores(create=False) as stores:
        batches = None if file is None else lambda: read_rows(file, load_settings(), experiment.name)
        difference = contract_acceptance.diff_contract(
            _batch_context(experiment, stores, date), _parse_renames(renames), batches
        )
    _print_difference(difference, json_)
    if difference.problems:
        raise SystemExit(65)


@contract.command()
@click.option("--date", required=True, help="The date of the rejected batch, as 2026-11-23, or a time.")
@rename_option
@click.option("--why", required=True, help="The reason, stored in the history.")
@json_option
@click.pass_obj
def accept(name: str, date: str, renames: tuple[str, ...], why: str, json_: bool) -> None:
    """Accept the changes in the batch of a date, as a new version of the contract."""
    from diurnal.cli.table_output import print_fields
    from diurnal.pipeline import contract_acceptance

    if not why.strip():
        raise UsageError("--why is empty", hint="state why the contract changes: its history stores the reason")
    experiment = find_experiment(name)
    with open_project_stores() as stores:
        context = _batch_context(experiment, stores, date)
        difference = contract_acceptance.accept_changes(context, _parse_renames(renames), why)
    fields = {
        "version": difference.number,
        "accepted": bool(difference.changes),
        "changes": [str(change) for change in difference.changes]
        or ["none: the batch does not differ from the contract"],
        "next": contract_acceptance.next_step(context),
    }
    print_fields(fields, json_)


@contract.command()
@json_option
@click.pass_obj
def history(name: str, json_: bool) -> None:
    """List the versions: user, time, changes and reason."""
    from diurnal.cli.table_output import print_table
    from diurnal.data.contract_changes import Change

    with open_project_stores() as stores:
        versions = _contract_versions(stores, name)
    rows = [{key: value for key, value in row.items() if key != "columns"} for row in versions]
    if not json_:
        for row in rows:
            row["changes"] = "; ".join(str(Change(**change)) for change in row["changes"]) or "-"
    print_table(rows[::-1], json_, _HISTORY_COLUMNS)


def _contract_versions(stores: Stores, name: str) -> list[dict[str, Any]]:
    experiment = resolve_experiment_name(stores, name)
    rows = stores.warehouse.contracts(experiment)
    if not rows:
        hint = f"diurnal run {experiment}"
        raise UsageError(f"{experiment} has no contract yet: its first batch defines it", hint=hint)
    return rows


def _describe_contract(row: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the fields of a version, and a row for each of its columns."""
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
            "role": _column_role(schema, column.name),
            "null_share": column.null_share,
            "categories": None if column.categories is None else len(column.categories),
            "former": ", ".join(column.former) or None,
        }
        for column in schema.all_columns
    ]
    return head, columns


def _column_role(schema: Any, name: str) -> str:
    roles = {column.name: "gone" for column in schema.gone} | dict.fromkeys(schema.drop, "drop")
    roles |= {value: role for role, value in vars(schema.metadata).items() if value is not None}
    return (roles | dict.fromkeys(schema.key, "key") | {schema.target: "target"}).get(name, "feature")


def _print_difference(difference: Difference, json_: bool) -> None:
    from diurnal.cli.table_output import print_table

    rows: list[dict[str, Any]] = [
        {**change.to_dict(), "acceptable": True, "message": str(change)} for change in difference.changes
    ]
    rows += [
        {"change": problem.code, "column": problem.column, "acceptable": False, "message": str(problem)}
        for problem in difference.problems
    ]
    if rows or json_:
        print_table(rows, json_, _CHANGE_COLUMNS)
    else:
        click.echo(f"the batch does not differ from version {difference.number} of the contract")


def _parse_renames(renames: tuple[str, ...]) -> dict[str, str]:
    """Return new names by old names; the first equals sign separates them.

    Examples
    --------
    >>> _parse_renames(("age=years",))
    {'age': 'years'}
    """
    parsed: dict[str, str] = {}
    for text in renames:
        old, equals, new = text.partition("=")
        if not (old and equals and new) or old in parsed or new in parsed.values():
            raise UsageError(f"--rename {text!r} does not rename one column", hint="write --rename OLD=NEW")
        parsed[old] = new
    return parsed


def _batch_context(experiment: Experiment, stores: Stores, date: str | None) -> RunContext:
    from diurnal.cli.intervals import resolve_interval
    from diurnal.experiment.run_context import RunContext

    interval = resolve_interval(experiment, stores, date, is_next=False)
    return RunContext(experiment, interval, stores, requested_by=current_user())
