"""The rows of a data interval that are scored: of its stored batch, or of a source, for which labels are not needed.

Rows of a stored batch are unique already. Those of a source are validated, sorted by the hash of their key, and rows
that are equal in the key and all features are one row, as in a batch. They are on the local disk until they are scored,
so that memory does not grow with their number, and so that their digest is known before any of them is predicted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diurnal.backends import get_backend
from diurnal.backends.sample_reader import SampleReader
from diurnal.data import BatchValidator, Schema, column_names, row_hash, row_identity
from diurnal.data.content_digest import ContentDigest
from diurnal.data.deduplication import Deduplication, sort_by_hash
from diurnal.data.problems import ProblemCollector
from diurnal.errors import BatchRejectedError, Problem
from diurnal.pipeline import ingest
from diurnal.pipeline.erased_rows import ErasedRows
from diurnal.pipeline.predict import input_schema
from diurnal.storage.lake import TempArrowFile
from diurnal.types import Limits, Package

if TYPE_CHECKING:
    import pyarrow as pa

    from diurnal.data.row_hash import Hasher, Hashes
    from diurnal.experiment.run_context import RunContext

_LIMITS = Limits(extra="ignore", max_null=1.0, allow_empty=True)


@dataclass(frozen=True)
class RowsToScore:
    """The rows of a data interval that are scored.

    Attributes
    ----------
    batches : iterable of pyarrow.RecordBatch
        The rows, in the types of the contract. They can be read once.
    digest : str
        Of the package, or of the sorted rows.
    n_rows : int
        Their number.
    features : list of str
        The columns with the features of the model, in its order.
    key : tuple of str
        The columns of the key; empty without one.
    n_repeated : int
        The number of rows that were dropped because they equal another one.
    package : Package, optional
        The stored batch, if these are its rows.
    """

    batches: Iterable[pa.RecordBatch]
    digest: str
    n_rows: int
    features: list[str]
    key: tuple[str, ...]
    n_repeated: int = 0
    package: Package | None = None


def stored_rows(context: RunContext, contract: Schema, row: dict[str, Any], package: Package) -> RowsToScore:
    """Return the rows of the stored batch.

    Parameters
    ----------
    context : RunContext
        The experiment, the data interval and the stores.
    contract : Schema
        The newest version of the contract.
    row : dict
        The row of `model_versions`.
    package : Package
        The batch.

    Raises
    ------
    BatchRejectedError
        If the batch lacks a feature of the model.
    """
    present = context.stores.lake.schema(package).names
    schema, features = input_schema(context.stores, row, [column.name for column in contract.all_columns])
    stored = [name for name in features if contract.find_name(name, present) is not None]
    _require_columns(features, stored)
    rows = SampleReader(context, contract).rows(package, [column.name for column in schema.columns])
    return RowsToScore(_to_types(rows, schema), package.digest, package.n_rows, features, schema.key, package=package)


@contextmanager
def source_rows(
    context: RunContext, contract: Schema, row: dict[str, Any], source: Any = None
) -> Iterator[RowsToScore]:
    """Read the source of the experiment, or another one, for the data interval; labels are not needed.

    Parameters
    ----------
    context : RunContext
        The experiment, the data interval and the stores.
    contract : Schema
        The newest version of the contract.
    row : dict
        The row of `model_versions`.
    source : Source, optional
        Another source.

    Raises
    ------
    BatchRejectedError
        If the rows lack a feature or the key, a cell does not have its type, or one key has different features.
    """
    with context.stores.lake.workspace() as folder:
        received = _spool_source(context, folder, source)
        header = received.schema.names if received.schema is not None else []
        schema, features = input_schema(context.stores, row, header)
        _require_columns([*features, *contract.key], header)
        report = Deduplication(schema.key, keep_duplicates=contract.keeps_duplicates)
        rows, digest = _sort_rows(context, contract, schema, received, report, folder)
        yield RowsToScore(rows, digest, rows.n_rows, features, schema.key, report.n_duplicates)


def identity_of_rows(contract: Schema, columns: Iterable[str], experiment: str) -> Hasher:
    """Return the function that hashes the identity of rows to score, as that of their batch.

    Parameters
    ----------
    contract : Schema
        The newest version of the contract.
    columns : iterable of str
        The columns of the rows. If a column of the identity is not one of them, all columns are hashed.
    experiment : str
        Name of the experiment.
    """
    names = list(columns)
    if all(contract.find_name(name, names) for name in contract.identity):
        return row_identity.identity_hasher(contract, experiment)
    return lambda rows: row_hash.hash_rows(rows, names, experiment)


def hash_keys(rows: pa.RecordBatch | pa.Table, key: Sequence[str]) -> Hashes:
    """Hash the keys of rows with vectorised functions, to sort rows only: no stored role depends on it.

    Parameters
    ----------
    rows : pyarrow.RecordBatch or pyarrow.Table
        In types of the contract.
    key : sequence of str
        The columns of the key.

    Examples
    --------
    >>> import pyarrow as pa
    >>> hashes = hash_keys(pa.table({"shop": ["a", "a", "b"], "day": [1, 2, 1]}), ["shop", "day"])
    >>> len(set(hashes.tolist()))
    3
    """
    import pandas as pd
    import pyarrow as pa

    hashes = np.zeros(rows.num_rows, dtype=np.uint64)
    for name in key:
        cells = rows.column(name)
        if pa.types.is_date(cells.type):
            cells = cells.cast(pa.int32())
        if not (pa.types.is_floating(cells.type) or pa.types.is_string(cells.type)):
            cells = cells.cast(pa.int64())
        is_text = pa.types.is_string(cells.type)
        values = (cells if is_text else cells.fill_null(0)).to_numpy(zero_copy_only=False)
        values = values.astype(object) if is_text else values + values.dtype.type(0)  # -0.0 equals 0.0
        hashes = row_hash.mix_bits(hashes * np.uint64(31) + pd.util.hash_array(values, categorize=False))
    return hashes


def _to_types(batches: Iterator[pa.RecordBatch], schema: Schema) -> Iterator[pa.RecordBatch]:
    """Yield stored rows in the types of a schema. They were validated before they were stored."""
    expected = schema.arrow_schema
    for first in batches:  # all batches of a package have the same types
        rows = chain([first], batches)
        if all(first.schema.field(field.name).type == field.type for field in expected):
            yield from (batch.select(expected.names) for batch in rows)
        else:
            yield from BatchValidator(schema, _LIMITS, training=False).validate(rows)


def _require_columns(expected: list[str], received: list[str]) -> None:
    problems = ProblemCollector()
    problems.add(column_names.missing_column_problems(expected, received))
    problems.raise_if_any()


def _spool_source(context: RunContext, folder: Path, source: Any) -> TempArrowFile:
    backend = get_backend(context.experiment.build())
    if source is None and backend.reads_source(context.experiment.source):
        return TempArrowFile(folder, backend.stream_source(context))
    return ingest.read_source(context, folder, lambda _: None, source=source)


def _sort_rows(
    context: RunContext,
    contract: Schema,
    schema: Schema,
    received: TempArrowFile,
    report: Deduplication,
    folder: Path,
) -> tuple[TempArrowFile, str]:
    """Validate rows and sort them into another file; return it and the digest of its rows."""
    buckets, target = folder / "buckets", folder / "sorted"
    buckets.mkdir()
    target.mkdir()
    columns = schema.arrow_schema
    content = ContentDigest(columns)

    def sorted_batches() -> Iterator[pa.RecordBatch]:
        valid = _check_keys(BatchValidator(schema, _LIMITS, training=False).validate(received), schema.key)
        identity = identity_of_rows(contract, columns.names, context.experiment.name)
        checked = ErasedRows.of(context).leave_out(valid, identity)
        hasher = partial(hash_keys, key=schema.key) if schema.key else identity
        for _, table in sort_by_hash(checked, columns, hasher, report, buckets, received.n_bytes):
            content.update(table)
            yield from table.to_batches()

    rows = TempArrowFile(target, sorted_batches())
    _raise_on_conflicts(report)
    received.path.unlink(missing_ok=True)
    return rows, content.hexdigest()


def _check_keys(batches: Iterable[pa.RecordBatch], key: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    """Reject rows whose key is null, after the last batch."""
    problems, n_rows = ProblemCollector(), 0
    for batch in batches:
        for name in key:
            nulls = np.flatnonzero(batch.column(name).is_null())
            problems.add_rows("null-key", f"the key {name} is null", name, nulls, n_rows)
        n_rows += batch.num_rows
        yield batch
    problems.raise_if_any()


def _raise_on_conflicts(report: Deduplication) -> None:
    if report.n_conflicts:
        key = ", ".join(report.key)
        message = f"{report.n_conflicts} values of the key {key!r} have several rows with different features"
        raise BatchRejectedError(
            [Problem("key-conflict", message, column=key, count=report.n_conflicts)],
            hint="return one row for each key: a key has one prediction in a data interval",
        )
