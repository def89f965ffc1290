"""Differences between a batch and its contract, and the version of the contract that accepts them.

Acceptable are a new column, a column that is gone, a column under another name, a wider kind (:data:`WIDER`), a new
class, new categories and more nulls. Any other change either alters the columns that runs depend on (the key, the
target, the groups) or loses values, and is rejected.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from diurnal.data.schema import Column, Schema
from diurnal.data.version_reader import WIDER
from diurnal.errors import Problem

ChangeType = Literal[
    "new-column", "dropped-column", "renamed-column", "wider-kind", "new-class", "new-categories", "more-nulls"
]

COLUMNS = ("new-column", "dropped-column", "renamed-column")
"""The changes after which batches have other columns."""

NULLS = ("too-many-nulls", "all-null-column")
MAX_CATEGORIES = 1000


@dataclass(frozen=True)
class Change:
    """One difference between a contract and a batch.

    Attributes
    ----------
    change : str
        The type of the difference.
    column : str
        The column, by its name in the contract; a new one by its own.
    before, after : object
        The value in the contract, and the value after the change is accepted.
    """

    change: ChangeType
    column: str
    before: Any = None
    after: Any = None

    def to_dict(self) -> dict[str, Any]:
        """Return the change in JSON's types."""
        return asdict(self)

    def __str__(self) -> str:
        return f"[{self.change}] {_SENTENCES[self.change](self)}"


def _describe_new(change: Change) -> str:
    return f"the column {change.column!a} ({change.after}) is new; it is null in older batches"


def _describe_dropped(change: Change) -> str:
    return f"the column {change.column!a} ({change.before}) is gone; models no longer see it"


_SENTENCES: dict[str, Callable[[Change], str]] = {
    "new-column": _describe_new,
    "dropped-column": _describe_dropped,
    "renamed-column": lambda c: f"the column {c.column!a} is called {c.after!a}",
    "wider-kind": lambda c: f"{c.column} is {c.after} and was {c.before}; older values are read as {c.after}",
    "new-class": lambda c: f"the target {c.column} has the new label {', '.join(map(ascii, c.after))}",
    "new-categories": lambda c: f"{c.column} has new categories: {_first_few(c.after)}",
    "more-nulls": lambda c: f"{c.column} is null in {c.after:.1%} of the rows; the contract has {c.before or 0:.1%}",
}


def _first_few(values: Sequence[Any]) -> str:
    more = f" and {len(values) - 5} more" if len(values) > 5 else ""
    return ", ".join(map(ascii, values[:5])) + more


def column_changes(before: Schema, found: Schema, renames: Mapping[str, str]) -> Iterator[Change]:
    """Find columns that are new, missing or renamed.

    Parameters
    ----------
    before : Schema
        The contract.
    found : Schema
        The schema that is inferred from the batch alone.
    renames : Mapping of str to str
        From the name of a column in the contract to its new one.
    """
    for old, new in renames.items():
        yield Change("renamed-column", old, old, new)
    for column in before.columns:
        if column.name not in found.names and column.name not in renames:
            yield Change("dropped-column", column.name, column.kind)
    known = {*before.names, *renames.values()}
    for column in found.columns:
        if column.name not in known and column.name not in before.drop:
            yield Change("new-column", column.name, None, column.kind)


def class_changes(before: Schema, found: Schema) -> Iterator[Change]:
    """Find labels that the contract does not have."""
    if before.classes is None or found.classes is None or _target_kind(before) != _target_kind(found):
        return
    new = [label for label in found.classes if label not in before.classes]
    if new:
        yield Change("new-class", before.target, list(before.classes), new)


def _target_kind(schema: Schema) -> str:
    return schema.column(schema.target).kind


def value_changes(before: Schema, found: Schema, problems: Sequence[Problem]) -> Iterator[Change]:
    """Find the changes that the values of columns need: a wider kind, more nulls, new categories."""
    came = {column.name: column for column in found.columns}
    refused = {problem.column for problem in problems if problem.code not in NULLS}
    empty = {problem.column for problem in problems if problem.code in NULLS}
    for column in before.columns:
        now = came.get(column.name)
        if now is None:
            continue
        if column.name in refused and now.kind in WIDER.get(column.kind, ()) and _may_widen(before, column, now):
            yield Change("wider-kind", column.name, column.kind, now.kind)
        if column.name in empty:
            yield Change("more-nulls", column.name, column.null_share, now.null_share)
        new = sorted({*(now.categories or ())} - {*(column.categories or ())})
        if column.categories is not None and new:
            yield Change("new-categories", column.name, None, new)


def _may_widen(schema: Schema, column: Column, now: Column) -> bool:
    """Return whether the wider kind changes no label, group or numeric key."""
    if column.name == schema.metadata.groups or (column.name in schema.key and now.kind == "float"):
        return False
    return column.name != schema.target or schema.task == "regression"


def column_change_problems(schema: Schema, changes: Sequence[Change]) -> Iterator[Problem]:
    """Find changes that are not allowed: of columns that runs depend on, and to names that are in use."""
    needed = {schema.target: "the target", schema.metadata.groups: "the groups"} | dict.fromkeys(schema.key, "the key")
    needed |= {schema.metadata.sample_weight: "the weight", schema.metadata.order_by: "the order of rows"}
    taken = {name: column for column in schema.all_columns for name in column.names}
    for change in changes:
        if change.change == "dropped-column" and change.column in needed:
            message = f"the column {change.column!a} is {needed[change.column]}, and cannot be dropped"
            yield Problem("needed-column", f"{message}; if it was renamed, use --rename OLD=NEW", change.column)
        if change.change == "new-column" and (former := taken.get(change.column)) is not None:
            if former not in schema.gone or former.name != change.column:
                message = f"the name {change.column!a} was that of {former.name!a} in an earlier version"
                yield Problem("name-taken", f"{message}; give the new column another name in the source", change.column)
            elif change.after != former.kind and change.after not in WIDER.get(former.kind, ()):
                message = f"the column {change.column!a} is back as {change.after}, and was {former.kind}"
                yield Problem("other-type", f"{message}; give it another name in the source", change.column)
        if change.change == "renamed-column" and change.column not in getattr(
            taken.get(change.after), "names", (change.column,)
        ):
            message = f"{change.column!a} cannot be called {change.after!a}: another column has that name"
            yield Problem("name-taken", message, change.column)


def apply_changes(schema: Schema, changes: Sequence[Change], found: Schema) -> Schema:
    """Return the contract with the changes applied.

    Parameters
    ----------
    schema : Schema
        The newest version.
    changes : sequence of Change
        With the names of columns in it.
    found : Schema
        The schema that is inferred from the batch alone; it describes new columns.
    """
    columns = any(change.change in (*COLUMNS, "wider-kind") for change in changes)
    made = replace(schema, origins=identity_origins(schema)) if columns else schema
    for change in changes:
        made = _APPLY[change.change](made, change, found)
    return made


def identity_origins(schema: Schema) -> tuple[tuple[str, Any], ...]:
    """Return the first names and kinds of the columns that identify a sample."""
    if schema.origins:
        return schema.origins
    kinds = {column.name: column.kind for column in schema.columns}
    return tuple((name, kinds[name]) for name in (schema.key or schema.features))


def _add_column(schema: Schema, change: Change, found: Schema) -> Schema:
    came = found.column(change.column)
    back = next((column for column in schema.gone if column.name == change.column), None)
    if back is not None:
        kind = came.kind if came.kind in WIDER.get(back.kind, ()) else back.kind
        came = replace(came, former=back.former, kind=kind)
    gone = tuple(column for column in schema.gone if column.name != change.column)
    return replace(schema, columns=(*schema.columns, replace(came, nullable=True)), gone=gone)


def _drop_column(schema: Schema, change: Change, found: Schema) -> Schema:  # noqa: ARG001 - all have one signature
    column = schema.column(change.column)
    rest = tuple(one for one in schema.columns if one.name != change.column)
    return replace(schema, columns=rest, gone=(*schema.gone, column))


def _rename_column(schema: Schema, change: Change, found: Schema) -> Schema:  # noqa: ARG001
    old, new = change.column, change.after

    def renamed(name: str | None) -> Any:
        return new if name == old else name

    columns = tuple(
        replace(one, name=new, former=(*one.former, old)) if one.name == old else one for one in schema.columns
    )
    roles = {role: renamed(name) for role, name in asdict(schema.metadata).items()}
    return replace(
        schema,
        columns=columns,
        target=renamed(schema.target),
        key=tuple(map(renamed, schema.key)),
        drop=tuple(map(renamed, schema.drop)),
        metadata=replace(schema.metadata, **roles),
    )


def _replace_column(schema: Schema, name: str, **values: Any) -> Schema:
    columns = tuple(replace(one, **values) if one.name == name else one for one in schema.columns)
    return replace(schema, columns=columns)


def _add_categories(schema: Schema, change: Change, found: Schema) -> Schema:  # noqa: ARG001
    known = schema.column(change.column).categories or ()
    together = tuple(sorted({*known, *change.after}))
    return _replace_column(schema, change.column, categories=together if len(together) <= MAX_CATEGORIES else None)


def _widen_column(schema: Schema, change: Change, found: Schema) -> Schema:
    categories = found.column(change.column).categories if change.after == "text" else None
    return _replace_column(schema, change.column, kind=change.after, categories=categories)


_APPLY: dict[str, Callable[[Schema, Change, Schema], Schema]] = {
    "new-column": _add_column,
    "dropped-column": _drop_column,
    "renamed-column": _rename_column,
    "wider-kind": _widen_column,
    "new-class": lambda schema, change, _: replace(
        schema, classes=tuple(sorted({*(schema.classes or ()), *change.after}))
    ),
    "new-categories": _add_categories,
    "more-nulls": lambda schema, change, _: _replace_column(
        schema, change.column, null_share=change.after, nullable=True
    ),
}


def rename_to_newest(changes: Sequence[Change], newest: Schema, layout: Schema) -> list[Change]:
    """Rename the columns of changes that were found in the layout of an earlier version to their newest names."""
    now = {column.root: column.name for column in newest.all_columns}
    names = {column.name: now[column.root] for column in layout.columns}
    return [replace(change, column=names.get(change.column, change.column)) for change in changes]


def find_new_columns(schema: Schema, header: Collection[str]) -> list[str]:
    """Return the columns of a batch that are in no version of the contract."""
    known = {name for column in schema.all_columns for name in column.names}
    return [name for name in header if name not in known and name not in schema.drop]
