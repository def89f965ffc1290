"""Tasks of executors on the rows of a batch: infer a schema, validate, hash, and write parts of a package.

Executors import this module, so that diurnal must be installed on them. Each task returns a row with a few bytes: an
inferred schema, a validation, or a reference to the written part.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from diurnal.data import BatchValidator, Metadata, Schema, batch_contract, row_identity
from diurnal.data.deduplication import Deduplication, sort_and_deduplicate
from diurnal.data.inference import SchemaInference
from diurnal.data.profile_builder import ProfileBuilder
from diurnal.data.schema import Duplicates
from diurnal.errors import BatchRejectedError
from diurnal.storage.lake import part_numbers, write_part
from diurnal.types import Limits

HASH, PART = "__diurnal_hash", "__diurnal_part"
REPORT = "report binary"


def positional_names(n: int) -> list[str]:
    """Return positional names of columns, as pyspark itself does not accept names with a dot."""
    return [f"c{i}" for i in range(n)]


@dataclass(frozen=True)
class NamedColumnsTask:
    """Runs a function on rows with positional names of columns, after it restores the real names."""

    work: BatchFunction
    names: tuple[str, ...]

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the results of the function."""
        yield from self.work(batch.rename_columns(list(self.names)) for batch in batches)


@dataclass(frozen=True)
class InferSchemaTask:
    """Looks at the rows of a first batch."""

    target: str
    key: tuple[str, ...]
    drop: tuple[str, ...]
    limits: Limits
    duplicates: Duplicates | None
    metadata: Metadata

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Return one sketch of all rows of a partition, or why there is none."""
        sketch = SchemaInference(self.target, self.key, self.drop, self.limits, self.duplicates, self.metadata)
        try:
            for batch in batches:
                sketch.update(batch)
        except BatchRejectedError as refusal:
            yield write_report(refusal.problems)
            return
        yield write_report(sketch)


@dataclass(frozen=True)
class ValidateTask:
    """Holds rows against the contract, and the experiment's own checks."""

    schema: Schema
    newest: Schema
    limits: Limits
    checks: Any

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Return one inspection of all rows of a partition."""
        inspection = BatchValidator(self.schema, self.limits)
        try:
            for _ in batch_contract.run_checks_in_newest_schema(
                inspection.validate_part(batches), self.checks, self.schema, self.newest
            ):
                pass
        except BatchRejectedError as refusal:
            inspection.add_problems(refusal)
        yield write_report(inspection)


@dataclass(frozen=True)
class PartitionTask:
    """Casts rows to the contract's types, and computes the part of each row from its hash."""

    schema: Schema
    limits: Limits
    newest: Schema
    experiment: str
    n_parts: int

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Return the rows of a partition, with their hash and part; their columns are :func:`numbered`."""
        hasher = row_identity.identity_hasher(self.newest, self.experiment)
        for batch in BatchValidator(self.schema, self.limits).validate_part(batches):
            hashes = hasher(batch)
            parts = part_numbers(hashes, self.n_parts).astype(np.int32)
            arrays = [*batch.columns, pa.array(hashes.view(np.int64)), pa.array(parts)]
            yield pa.RecordBatch.from_arrays(arrays, names=[*positional_names(batch.num_columns), HASH, PART])


@dataclass(frozen=True)
class WriteTask:
    """Orders the rows of a part, drops repeated ones unless they are samples of their own, and writes it."""

    schema: Schema
    root: str
    folder: str
    n_rows: int

    def __call__(self, table: pa.Table) -> pa.Table:
        """Return what was written, what the ordering found, and the profile of the part."""
        hashes = table.column(HASH).combine_chunks().to_numpy().view(np.uint64)
        number = int(table.column(PART)[0].as_py())
        rows = table.drop_columns([HASH, PART]).rename_columns(list(self.schema.names)).cast(self.schema.arrow_schema)
        arrangement = Deduplication(key=self.schema.key, keep_duplicates=self.schema.keeps_duplicates)
        _, kept = sort_and_deduplicate(rows, hashes, arrangement)
        profile = ProfileBuilder(self.schema, self.n_rows)
        part = write_part(self.root, self.folder, number, [kept], self.schema.arrow_schema, profile.update)
        return pa.Table.from_batches([write_report((part, arrangement, profile))])


def write_report(content: Any) -> pa.RecordBatch:
    """Return a report as one row."""
    return pa.RecordBatch.from_pydict({"report": pa.array([pickle.dumps(content)], pa.binary())})


def read_reports(rows: Sequence[Any]) -> list[Any]:
    """Return the reports of executors."""
    return [pickle.loads(row["report"]) for row in rows]  # noqa: S301 - Spark itself transfers results as pickles


BatchFunction = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]
