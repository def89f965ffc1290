"""What a batch is held against: which columns it is kept in, and what it adds to the contract by itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from diurnal.data import contract_changes as changing
from diurnal.data.contract_changes import Change
from diurnal.data.contract_versions import Contract, widen_kinds
from diurnal.data.schema import Schema
from diurnal.data.version_reader import read_in_newest_schema
from diurnal.errors import BatchRejectedError
from diurnal.types import Limits

if TYPE_CHECKING:
    import pyarrow as pa

COMPLETED = "a batch with a further label completed it"
UNATTENDED = "new_columns='accept'"


@dataclass(frozen=True)
class BatchContract:
    """What one batch is held against.

    Attributes
    ----------
    newest : Schema
        The contract from now on: what rows are read through.
    layouts : tuple of Schema
        What the batch may be kept as, the first that fits: the columns and kinds that were in force in its data
        interval, then the same columns in the newest kinds.
    changes : tuple of Change
        What the batch adds to the contract by itself.
    """

    newest: Schema
    layouts: tuple[Schema, ...]
    changes: tuple[Change, ...] = ()

    @property
    def reason(self) -> str:
        """Why the contract changes, for its history."""
        return UNATTENDED if any(change.change == "new-column" for change in self.changes) else COMPLETED

    @property
    def warnings(self) -> list[str]:
        """What is to be said of the changes."""
        return [f"{change}: accepted by {UNATTENDED}" for change in self.changes if change.change == "new-column"]


def resolve_batch_contract(
    contract: Contract | None,
    declared: Any,
    start: datetime,
    header: Collection[str],
    infer: Callable[[Schema | None], Schema],
    *,
    is_newest: Callable[[], bool],
) -> BatchContract:
    """Say what a batch is held against.

    Parameters
    ----------
    contract : Contract, optional
        None before the first batch.
    declared : Experiment
        What the experiment declares of columns.
    start : datetime
        Of the batch's data interval.
    header : collection of str
        The columns that came.
    infer : callable
        Finds the schema that the batch by itself would fix; the roles of columns are those of the given one.
    is_newest : callable
        Tells whether no later data interval has a batch: only then the batch may add columns.
    """
    if contract is None:
        schema = infer(None)
        return BatchContract(schema, (schema,))
    newest = contract.newest.schema
    layout = contract.choose_layout(start, header, declared.drop)
    found, changes = None, list[Change]()
    if newest.lacks_classes:
        found = infer(layout)
        changes += changing.rename_to_newest(list(changing.class_changes(layout, found)), newest, layout)
    if declared.new_columns == "accept" and changing.find_new_columns(newest, header) and is_newest():
        found = found or infer(layout)
        changes += _new_columns(newest, found)
        layout = newest
    if found is not None and changes:
        before, newest = newest, changing.apply_changes(newest, changes, found)
        layout = newest if layout is before else replace(layout, classes=newest.classes)
    kept = apply_declared_roles(layout, newest, declared)
    wide = widen_kinds(kept, newest)
    return BatchContract(newest, (kept,) if wide == kept else (kept, wide), tuple(changes))


def _new_columns(newest: Schema, found: Schema) -> list[Change]:
    new = [change for change in changing.column_changes(newest, found, {}) if change.change == "new-column"]
    problems = list(changing.column_change_problems(newest, new))
    if problems:
        raise BatchRejectedError(problems, hint="correct the source, and run the data interval again")
    return new


def apply_declared_roles(layout: Schema, newest: Schema, declared: Any) -> Schema:
    """Give the layout of an earlier version with the roles of columns that are declared now."""
    if layout.names == newest.names:
        return replace(layout, drop=newest.drop, metadata=newest.metadata)

    def then(name: str | None) -> Any:
        return name if name is None else newest.find_name(name, layout.names) or name

    metadata = newest.metadata
    return replace(
        layout,
        drop=tuple(map(then, declared.drop)),
        metadata=replace(
            metadata,
            groups=then(metadata.groups),
            sample_weight=then(metadata.sample_weight),
            order_by=then(metadata.order_by),
        ),
    )


def limits_for_layout(limits: Limits, layout: Schema, newest: Schema) -> Limits:
    """Give limits whose ranges name columns as a layout does; those that it does not have are left out."""
    if layout.names == newest.names:
        return limits
    named = {newest.find_name(name, layout.names): bounds for name, bounds in limits.ranges.items()}
    return replace(limits, ranges={name: bounds for name, bounds in named.items() if name is not None})


def run_checks_in_newest_schema(
    batches: Iterable[pa.RecordBatch], checks: Any, layout: Schema, newest: Schema
) -> Iterator[pa.RecordBatch]:
    """Hold rows against the experiment's own checks, which know the names and kinds of the newest version."""
    from diurnal.data import custom_checks

    if checks is None or (layout.names == newest.names and layout.columns == newest.columns):
        yield from custom_checks.run_custom_checks(batches, checks)
        return
    for batch in batches:
        for _ in custom_checks.run_custom_checks(read_in_newest_schema([batch], newest, newest.names), checks):
            yield batch


def inference_arguments(declared: Any, schema: Schema | None, header: Sequence[str]) -> dict[str, Any]:
    """Return the arguments of :class:`diurnal.data.inference.SchemaInference`.

    The roles of columns are those of the schema, or those that the experiment declares where there is no schema yet.
    """
    roles = {
        "target": declared.target if schema is None else schema.target,
        "key": declared.key if schema is None else schema.key,
        "drop": declared.drop if schema is None else tuple(name for name in schema.drop if name in header),
        "metadata": declared.metadata if schema is None else schema.metadata,
    }
    return roles | {"limits": declared.limits, "duplicates": declared.duplicates}
