"""Ingestion of a batch: read from its source, validated against its contract, sorted, and stored in the lake."""

from __future__ import annotations

import statistics
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diurnal.backends.protocol import IngestedBatch
from diurnal.backends.sample_reader import SampleReader
from diurnal.data import batch_contract
from diurnal.data.batch_contract import BatchContract
from diurnal.data.text_notation import MISSING_MARKS
from diurnal.errors import BatchRejectedError, DiurnalError, ExperimentError, TransientError
from diurnal.pipeline.erased_rows import ErasedRows
from diurnal.types import Package

if TYPE_CHECKING:
    from diurnal.data import Contract, Schema
    from diurnal.data.schema import Task
    from diurnal.experiment.run_context import RunContext
    from diurnal.storage.lake import TempArrowFile


def ingest_batch(context: RunContext, contract: Contract | None, folder: Path) -> IngestedBatch:
    """Read the batch from its source, validate it, and store it sorted."""
    from diurnal.backends import get_backend

    experiment = context.experiment
    search = experiment.build()
    backend = get_backend(search)
    task = backend.task(search)
    fixed = contract.newest.schema if contract else None
    if fixed and fixed.task != task:
        raise ExperimentError(
            f"{experiment.name} is a {task} experiment, and its contract was created for {fixed.task}",
            hint="declare an experiment under another name for the new task",
        )
    backend.check_metadata(search, experiment.metadata)
    backend.check_source(experiment.source)
    if backend.reads_source(experiment.source):
        batch = backend.ingest(context, contract, task)
    else:
        batch = _ingest_stream(context, contract, task, folder)
    newest = batch.contract.newest
    marks = _missing_mark_warnings(newest) if fixed is None else []
    return replace(batch, warnings=[*batch.warnings, *marks, *_repetition_warnings(newest, fixed, batch.n_repeated)])


def _ingest_stream(context: RunContext, contract: Contract | None, task: Task, folder: Path) -> IngestedBatch:
    """Stream the rows through this process."""
    warnings: list[str] = []
    rows = read_source(context, folder, warnings.append)
    header = rows.schema.names if rows.schema is not None else []
    resolved = batch_contract.resolve_batch_contract(
        contract,
        context.experiment,
        context.interval.start,
        header,
        lambda schema: infer_batch_schema(context, rows, task, schema),
        is_newest=context.has_newest_batch,
    )
    for layout in resolved.layouts[:-1]:
        with suppress(BatchRejectedError):
            return _store_batch(context, resolved, layout, rows, warnings)
    return _store_batch(context, resolved, resolved.layouts[-1], rows, warnings)


def infer_batch_schema(context: RunContext, rows: TempArrowFile, task: Task, schema: Schema | None) -> Schema:
    """Infer the schema of a batch; the roles of columns are those of `schema`, if it is given."""
    from diurnal.data import infer_schema

    header = rows.schema.names if rows.schema is not None else []
    return infer_schema(
        lambda: iter(rows), task=task, **batch_contract.inference_arguments(context.experiment, schema, header)
    )


def _store_batch(
    context: RunContext, resolved: BatchContract, layout: Schema, rows: TempArrowFile, warnings: list[str]
) -> IngestedBatch:
    from diurnal.data import BatchValidator
    from diurnal.data.profile_builder import ProfileBuilder

    experiment, newest = context.experiment, resolved.newest
    limits = batch_contract.limits_for_layout(experiment.limits, layout, newest)
    validator = BatchValidator(layout, limits, is_only_batch=experiment.window == 1)
    profile, erased = ProfileBuilder(layout), ErasedRows.of(context)
    package, deduplication = context.stores.lake.write_package(
        context.package_key("batches"),
        batch_contract.run_checks_in_newest_schema(validator.validate(rows), experiment.checks, layout, newest),
        layout.arrow_schema,
        SampleReader(context, newest).row_hasher(),
        key=layout.key,
        keep_duplicates=layout.keeps_duplicates,
        n_rows=rows.n_rows,
        n_bytes=rows.n_bytes,
        observe=profile.update,
        exclude=erased.find if erased.hashes else None,
    )
    return IngestedBatch(
        package,
        resolved,
        [*warnings, *resolved.warnings, *validator.warnings, *erased.warnings],
        deduplication.n_duplicates,
        profile,
    )


def store_contract(context: RunContext, contract: Contract | None, batch: IngestedBatch) -> int:
    """Create the contract of a first batch, or append the version that a later batch adds; return its number.

    Raises
    ------
    TransientError
        If a concurrent run did so in the meantime.
    """
    warehouse, name, resolved = context.stores.warehouse, context.experiment.name, batch.contract
    plain, digest = resolved.newest.to_dict(), batch.package.digest
    if contract is None:
        number, done = 1, warehouse.create_contract(name, plain, digest, requested_by=context.requested_by) == plain
    elif not resolved.changes:
        return contract.newest.number
    else:
        number = contract.newest.number + 1
        done = warehouse.add_contract_version(
            name,
            number,
            plain,
            since=context.interval.start,
            requested_by=context.requested_by,
            why=resolved.reason,
            changes=[change.to_dict() for change in resolved.changes],
            batch_digest=digest,
        )
    if not done:
        raise TransientError("a concurrent run has just changed the contract of this experiment", hint="run it again")
    return number


def _missing_mark_warnings(schema: Schema) -> list[str]:
    """Return warnings of categories that may be missing values, such as ``NA``, or ``?`` among numbers."""
    known = {column.name: column.categories or () for column in schema.columns} | {schema.target: schema.classes or ()}
    return [
        f"{name} has the category {mark!r}{reason}; if it means a missing value, declare Files(..., na_values={mark!r})"
        for name, categories in known.items()
        for marks, reason in (
            ([mark for mark in MISSING_MARKS if mark in categories], ""),
            (_exceptions_among_numbers(categories), " among numbers"),
        )
        for mark in marks
    ]


def _exceptions_among_numbers(categories: Sequence[Any]) -> list[str]:
    """Return one or two categories that make a column of numbers one of text; none if there are more."""
    others = [text for text in categories if isinstance(text, str) and not _is_number(text)]
    is_exceptional = 0 < len(others) <= 2 and len(categories) >= 10 * len(others)
    return [text for text in others if text not in MISSING_MARKS] if is_exceptional else []


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _repetition_warnings(schema: Schema, fixed: Schema | None, n_dropped: int) -> list[str]:
    """Return a warning if repeated rows were dropped, or if the contract fixes that they are kept."""
    if n_dropped:
        reason = "they are equal in all columns" if schema.key else "the contract fixes duplicates='drop'"
        return [f"{n_dropped} repeated rows were dropped: {reason}"]
    if schema.keeps_duplicates and fixed is None:
        return [
            "less than 99 % of the rows are distinct in their features, so that every row is a sample of its own: "
            "the contract fixes duplicates='keep'"
        ]
    return []


def read_source(
    context: RunContext, folder: Path, warn: Callable[[str], object], *, source: Any = None
) -> TempArrowFile:
    """Read the source, or another one, into a temporary file; an error of the user's own source names its line."""
    from diurnal.sources import record_batches
    from diurnal.storage.lake import TempArrowFile

    source, limits = source or context.experiment.source, context.experiment.limits
    connections = context.stores.connections
    try:
        return TempArrowFile(
            folder, record_batches(source, context.interval.local, connections, max_bytes=limits.max_bytes, warn=warn)
        )
    except (DiurnalError, OSError, MemoryError):
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise TransientError(
            f"the source fails with {type(error).__name__}: {error} ({frame.filename}:{frame.lineno})",
            hint="run it again; if it fails again, correct the source",
        ) from error


def size_warnings(context: RunContext, package: Package) -> list[str]:
    """Return a warning if the batch is ten times as large as those before it."""
    warehouse, interval = context.stores.warehouse, context.interval
    newest = warehouse.window(context.experiment.name, interval, last=8, since=None)
    earlier = [one.n_rows for other, one in newest if other.start < interval.start]
    usual = statistics.median(earlier) if earlier else package.n_rows
    if package.n_rows < 10 * usual:
        return []
    return [f"the batch has {package.n_rows} rows; the {len(earlier)} before it had {usual:g} (the median)"]
