"""The contract of one batch: the columns in which it is stored, and its own changes to the contract."""

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
    """The contract of one batch.

    Attributes
    ----------
    newest : Schema
        The newest schema, in whose columns rows are read.
    layouts : tuple of Schema
        The schemas in which the batch may be stored; the first that fits is used. The first has the columns and kinds
        of the data interval, the second the same columns with the newest kinds.
    changes : tuple of Change
        The changes that the batch makes to the contract without a decision by a user.
    """

    newest: Schema
    layouts: tuple[Schema, ...]
    changes: tuple[Change, ...] = ()

    @property
    def reason(self) -> str:
        """The reason of the changes, for the history of the contract."""
        return UNATTENDED if any(change.change == "new-column" for change in self.changes) else COMPLETED

    @property
    def warnings(self) -> list[str]:
        """The warnings about the changes."""
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
    """Return the contract of a batch.

    Parameters
    ----------
    contract : Contract, optional
        None before the first batch.
    declared : Experiment
        The experiment, which declares the roles of columns.
    start : datetime
        Start of the data interval of the batch.
    header : collection of str
        The columns of the batch.
    infer : callable
        Infers the schema from the batch alone; the roles of columns are those of its argument.
    is_newest : callable
        Returns whether no later data interval has a batch. Only the newest batch may add columns.
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
        changes += _accept_new_columns(newest, found)
        layout = newest
    if found is not None and changes:
        before, newest = newest, changing.apply_changes(newest, changes, found)
        layout = newest if layout is before else replace(layout, classes=newest.classes)
    kept = apply_declared_roles(layout, newest, declared)
    wide = widen_kinds(kept, newest)
    return BatchContract(newest, (kept,) if wide == kept else (kept, wide), tuple(changes))


def _accept_new_columns(newest: Schema, found: Schema) -> list[Change]:
    new = [change for change in changing.column_changes(newest, found, {}) if change.change == "new-column"]
    problems = list(changing.column_change_problems(newest, new))
    if problems:
        raise BatchRejectedError(problems, hint="correct the source, and run the data interval again")
    return new


def apply_declared_roles(layout: Schema, newest: Schema, declared: Any) -> Schema:
    """Return the layout of an earlier version with the presently declared roles of columns."""
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
    """Return limits whose ranges have the names of columns in a layout; missing columns are left out."""
    if layout.names == newest.names:
        return limits
    named = {newest.find_name(name, layout.names): bounds for name, bounds in limits.ranges.items()}
    return replace(limits, ranges={name: bounds for name, bounds in named.items() if name is not None})


def run_checks_in_newest_schema(
    batches: Iterable[pa.RecordBatch], checks: Any, layout: Schema, newest: Schema
) -> Iterator[pa.RecordBatch]:
    """Run the checks of the experiment, which have the names and kinds of the newest version."""
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
