"""Intentional changes of a contract: the difference of a batch, and its acceptance as a new version."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from diurnal.backends import get_backend
from diurnal.data import BatchValidator, Contract, batch_contract, contract_changes
from diurnal.data.contract_changes import COLUMNS, Change
from diurnal.data.contract_versions import widen_kinds
from diurnal.data.schema import Schema
from diurnal.errors import (
    BatchRejectedError,
    ContractRejectedError,
    NotFoundError,
    Problem,
    TransientError,
    UsageError,
    did_you_mean,
)
from diurnal.pipeline import accept_command, ingest
from diurnal.storage.lake import TempArrowFile

if TYPE_CHECKING:
    import pyarrow as pa

    from diurnal.data.schema import Task
    from diurnal.experiment.run_context import RunContext

Renames = Mapping[str, str]

_ATTEMPTS = 3


@dataclass(frozen=True)
class Difference:
    """The difference between a batch and a contract.

    Attributes
    ----------
    number : int
        The newest version of the contract.
    schema : Schema
        The contract with all changes.
    changes : tuple of Change
        The changes that can be accepted.
    problems : tuple of Problem
        The problems that no version of the contract can accept.
    """

    number: int
    schema: Schema
    changes: tuple[Change, ...] = ()
    problems: tuple[Problem, ...] = ()


def diff_contract(
    context: RunContext, renames: Renames, batches: Callable[[], Iterable[pa.RecordBatch]] | None = None
) -> Difference:
    """Compare a batch with the contract; nothing is written.

    Parameters
    ----------
    context : RunContext
        The experiment, the data interval and the stores.
    renames : Mapping of str to str
        From the name of a column in the contract to its name in the batch.
    batches : callable, optional
        Returns the rows of the batch. By default the source is read.

    Raises
    ------
    UsageError
        If there is no contract yet, or a rename names a column that does not exist.
    """
    with tempfile.TemporaryDirectory(prefix="diurnal-contract-") as folder:
        rows = _read_batch(context, Path(folder)) if batches is None else TempArrowFile(Path(folder), batches())
        return _BatchComparison(context, rows).difference(_stored_contract(context), renames)


def accept_changes(context: RunContext, renames: Renames, why: str) -> Difference:
    """Accept the difference of the batch of a data interval as a new version of the contract.

    Parameters
    ----------
    context : RunContext
        The experiment, the data interval, the stores and the user.
    renames : Mapping of str to str
        From the name of a column in the contract to its name in the batch.
    why : str
        The reason, for the history.

    Returns
    -------
    Difference
        The accepted difference, with the number of the new version; that of the newest one if nothing differs.

    Raises
    ------
    ContractRejectedError
        If the batch has content that no version of the contract can accept.
    """
    with tempfile.TemporaryDirectory(prefix="diurnal-contract-") as folder:
        comparison = _BatchComparison(context, _read_batch(context, Path(folder)))
        for _ in range(_ATTEMPTS):
            found = comparison.difference(_stored_contract(context), renames)
            if found.problems:
                raise ContractRejectedError(found.problems)
            if not found.changes:
                return found
            number = found.number + 1
            accepted = context.stores.warehouse.add_contract_version(
                context.experiment.name,
                number,
                found.schema.to_dict(),
                since=context.interval.start,
                requested_by=context.requested_by,
                why=why,
                changes=[change.to_dict() for change in found.changes],
            )
            if accepted:
                return replace(found, number=number)
    raise TransientError("concurrent commands change the contract of this experiment", hint="run it again")


def next_step(context: RunContext) -> str:
    """Return the command to run after a change is accepted."""
    name, date = context.experiment.name, accept_command.date_argument(context.interval, context.experiment)
    return f"diurnal run {name} --date {date}; in Airflow, clear the day from fetch"


def _stored_contract(context: RunContext) -> Contract:
    contract = Contract.from_rows(context.stores.warehouse.contracts(context.experiment.name))
    if contract is None:
        raise UsageError(
            f"{context.experiment.name} has no contract yet: its first batch fixes it",
            hint=f"diurnal run {context.experiment.name}",
        )
    return contract


def _read_batch(context: RunContext, folder: Path) -> TempArrowFile:
    """Read the batch from its source, as the next run would."""
    backend = get_backend(context.experiment.build())
    if backend.reads_source(context.experiment.source):
        return TempArrowFile(folder, backend.stream_source(context))
    return ingest.read_source(context, folder, lambda _: None)


class _BatchComparison:
    """The comparison of a batch with a contract, which may be repeated."""

    def __init__(self, context: RunContext, rows: TempArrowFile) -> None:
        self._context, self._rows = context, rows
        search = context.experiment.build()
        self._task: Task = get_backend(search).task(search)
        self._header = list(rows.schema.names) if rows.schema is not None else []

    def difference(self, contract: Contract, renames: Renames) -> Difference:
        """Compare the batch with a contract."""
        newest = _with_roles(self._context, contract.newest.schema)
        renames = self._check_renames(newest, renames)
        missing = [
            Change("dropped-column", name)
            for name in newest.names
            if newest.find_name(name, self._header) is None and name not in renames
        ]
        needed = list(contract_changes.column_change_problems(newest, missing))
        number = contract.newest.number
        if needed or not self._header:
            return Difference(number, newest, (), tuple(needed or self._problems_under(newest)))
        base = newest if renames else self._base_layout(contract, newest)
        try:
            return self._compare_with(number, newest, base, renames)
        except BatchRejectedError as rejection:  # by the inference: the rows are not a valid batch on their own
            return Difference(number, newest, (), rejection.problems)

    def _base_layout(self, contract: Contract, newest: Schema) -> Schema:
        """Return an older layout if the batch has its columns, else the newest version."""
        layout = contract.choose_layout(self._context.interval.start, self._header, self._context.experiment.drop)
        fits = set(layout.names) <= set(self._header)
        return (
            widen_kinds(batch_contract.apply_declared_roles(layout, newest, self._context.experiment), newest)
            if fits
            else newest
        )

    def _check_renames(self, newest: Schema, renames: Renames) -> dict[str, str]:
        """Check that renamed columns exist; leave out renames that were accepted before."""
        found = {}
        for old, new in renames.items():
            if new not in self._header:
                raise NotFoundError(
                    f"the batch has no column {new!r}{did_you_mean(new, self._header)}", hint="write --rename OLD=NEW"
                )
            if old in newest.names:
                found[old] = new
            elif new not in newest.names or old not in newest.column(new).former:
                raise NotFoundError(
                    f"the contract has no column {old!r}{did_you_mean(old, newest.names)}",
                    hint="write --rename OLD=NEW",
                )
        return found

    def _compare_with(self, number: int, newest: Schema, base: Schema, renames: Renames) -> Difference:
        renamed = contract_changes.apply_changes(
            base, [Change("renamed-column", o, o, n) for o, n in renames.items()], base
        )
        found = ingest.infer_batch_schema(self._context, self._rows, self._task, renamed)
        of_columns = list(contract_changes.column_changes(base, found, renames))
        problems = [*contract_changes.column_change_problems(base, of_columns), *self._too_old(of_columns)]
        if problems:
            return Difference(number, newest, tuple(of_columns), tuple(problems))
        draft = contract_changes.apply_changes(base, of_columns, found)
        of_classes = list(contract_changes.class_changes(draft, found))
        draft = contract_changes.apply_changes(draft, of_classes, found)
        of_values = list(contract_changes.value_changes(draft, found, self._problems_under(draft)))
        problems = self._problems_under(contract_changes.apply_changes(draft, of_values, found))
        all_changes = [*of_columns, *of_classes, *of_values]
        if base.names != newest.names:
            all_changes, found = (
                contract_changes.rename_to_newest(all_changes, newest, base),
                _with_newest_names(found, newest, base),
            )
        return Difference(
            number, contract_changes.apply_changes(newest, all_changes, found), tuple(all_changes), tuple(problems)
        )

    def _too_old(self, found: list[Change]) -> list[Problem]:
        """Reject other columns in an interval before others with batches: these have the present columns."""
        if self._context.has_newest_batch() or not any(change.change in COLUMNS for change in found):
            return []
        last = self._context.stores.warehouse.newest_batch(self._context.experiment.name)
        what = (
            f"the data interval from {last:%Y-%m-%d %H:%M} UTC has a batch with the columns of the contract; other "
            "columns are accepted for the newest batch, and for older ones the source can be made to give those"
        )
        return [Problem("older-batch", what)]

    def _problems_under(self, schema: Schema) -> list[Problem]:
        """Return the problems that a contract rejects the batch for."""
        experiment = self._context.experiment
        limits = batch_contract.limits_for_layout(experiment.limits, schema, schema)
        try:
            inspection = BatchValidator(schema, limits, is_only_batch=experiment.window == 1)
            rows = batch_contract.run_checks_in_newest_schema(
                inspection.validate(self._rows), experiment.checks, schema, schema
            )
            for _ in rows:
                pass
        except BatchRejectedError as rejection:
            return list(rejection.problems)
        return []


def _with_roles(context: RunContext, schema: Schema) -> Schema:
    """Return the contract with the declared roles of columns, if it has these columns."""
    declared = context.experiment.metadata
    agrees = declared.groups == schema.metadata.groups and not any(declared.find_problems(schema.columns))
    metadata = declared if agrees else schema.metadata
    return replace(schema, drop=context.experiment.drop if agrees else schema.drop, metadata=metadata)


def _with_newest_names(found: Schema, newest: Schema, base: Schema) -> Schema:
    """Return the inferred schema of a batch with the column names of the newest version."""
    now = {column.root: column.name for column in newest.all_columns}
    names = {column.name: now[column.root] for column in base.columns}
    return replace(found, columns=tuple(replace(one, name=names.get(one.name, one.name)) for one in found.columns))
