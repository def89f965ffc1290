"""What executors do with the rows of a batch: look at them, hash them, and write them as parts of a package.

Executors call these by name, so that diurnal is installed where they run. What each gives back is a row with a few
bytes: a sketch, an inspection, or what was written.
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
from diurnal.data.schema import Duplicates
from diurnal.errors import BatchRejectedError
from diurnal.storage.lake import PackagePart, part_numbers, write_part
from diurnal.types import Limits

HASH, PART = "__diurnal_hash", "__diurnal_part"
REPORT = "report binary"


def numbered(n: int) -> list[str]:
    """Name columns by their place: what pyspark itself asks for by name must not have a dot in it."""
    return [f"c{i}" for i in range(n)]


@dataclass(frozen=True)
class Named:
    """Does work on rows whose columns are named by their place, as if they had their own names."""

    work: Work
    names: tuple[str, ...]

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Return what the work gives."""
        yield from self.work(batch.rename_columns(list(self.names)) for batch in batches)


@dataclass(frozen=True)
class Sketching:
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
            yield report(refusal.problems)
            return
        yield report(sketch)


@dataclass(frozen=True)
class Inspecting:
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
        yield report(inspection)


@dataclass(frozen=True)
class Dealing:
    """Casts rows to the contract's types, and says by their hash in which part of how many each is."""

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
            yield pa.RecordBatch.from_arrays(arrays, names=[*numbered(batch.num_columns), HASH, PART])


@dataclass(frozen=True)
class Writing:
    """Orders the rows of a part, drops repeated ones unless they are samples of their own, and writes it."""

    schema: Schema
    root: str
    folder: str

    def __call__(self, table: pa.Table) -> pa.Table:
        """Return what was written, and what the ordering found."""
        hashes = table.column(HASH).combine_chunks().to_numpy().view(np.uint64)
        number = int(table.column(PART)[0].as_py())
        rows = table.drop_columns([HASH, PART]).rename_columns(list(self.schema.names)).cast(self.schema.arrow_schema)
        arrangement = Deduplication(key=self.schema.key, keep_duplicates=self.schema.keeps_duplicates)
        _, kept = sort_and_deduplicate(rows, hashes, arrangement)
        part = write_part(self.root, self.folder, number, [kept], self.schema.arrow_schema)
        return pa.Table.from_batches([report((part, arrangement))])


Written = tuple[PackagePart, Deduplication]


def report(content: Any) -> pa.RecordBatch:
    """Make a row of what is to be said."""
    return pa.RecordBatch.from_pydict({"report": pa.array([pickle.dumps(content)], pa.binary())})


def heard(rows: Sequence[Any]) -> list[Any]:
    """Read the reports of executors, which run our code for us."""
    return [pickle.loads(row["report"]) for row in rows]  # noqa: S301 - Spark itself moves results so


Work = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]
