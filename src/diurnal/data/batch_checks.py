"""What is to be said of a batch as a whole, once all of it was counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from diurnal.data.column_stats import ColumnStats
from diurnal.data.schema import Column, Schema
from diurnal.errors import Problem
from diurnal.types import Limits

UNLIKELY = 1e-4  # a batch has so many nulls by chance, if they are as frequent as in the first one


@dataclass(frozen=True)
class BatchStats:
    """What was counted: rows, bytes, a tally for each column, and the features that equal the target in every row."""

    n_rows: int
    n_bytes: int
    tallies: Mapping[str, ColumnStats]
    leaks: frozenset[str]


def problems(schema: Schema, limits: Limits, counts: BatchStats, *, is_only_batch: bool) -> Iterator[Problem]:
    """Find why the batch, as a whole, is refused for training; `is_only_batch`: no other batch is trained on."""
    yield from _of_size(limits, counts)
    if counts.n_rows:
        yield from _of_target(schema, counts, is_only_batch=is_only_batch)
        for column in schema.columns:
            if column.name in schema.features:
                yield from _of_feature(column, limits, counts)


def _of_size(limits: Limits, counts: BatchStats) -> Iterator[Problem]:
    n_rows = counts.n_rows
    if n_rows == 0:
        if not limits.allow_empty:
            yield Problem("no-rows", "the batch has no rows; Limits(allow_empty=True) would let it pass")
    elif n_rows < limits.min_rows:
        yield Problem("too-few-rows", f"the batch has {n_rows} rows; min_rows is {limits.min_rows}")
    if limits.max_rows is not None and n_rows > limits.max_rows:
        yield Problem("too-many-rows", f"the batch has {n_rows} rows; max_rows is {limits.max_rows}")
    if limits.max_bytes is not None and counts.n_bytes > limits.max_bytes:
        yield Problem("too-many-bytes", f"the batch has {counts.n_bytes} bytes; max_bytes is {limits.max_bytes}")


def _of_target(schema: Schema, counts: BatchStats, *, is_only_batch: bool) -> Iterator[Problem]:
    name, tally = schema.target, counts.tallies[schema.target]
    if tally.n_null == counts.n_rows:
        yield Problem("null-target", f"the target {name} is null in every row", name)
    elif tally.is_constant and not is_only_batch:
        return
    elif tally.is_constant and schema.task == "classification":
        yield Problem("one-class", f"all rows have one label of {name}; a classifier needs two", name)
    elif tally.is_constant:
        yield Problem("constant-target", f"the target {name} has one value in all rows; nothing can be learnt", name)
    else:
        for leak in sorted(counts.leaks):
            what = f"the feature {leak} equals the target {name} in every row: it gives the answer away; drop it"
            yield Problem("leak", what, leak)


def _of_feature(column: Column, limits: Limits, counts: BatchStats) -> Iterator[Problem]:
    name, tally = column.name, counts.tallies[column.name]
    n_null, usual = tally.n_null, column.null_share or 0.0
    found = f"{name} is null in {n_null / counts.n_rows:.1%} of the rows ({n_null})"
    if limits.max_null is not None:
        if n_null / counts.n_rows > limits.max_null:
            yield Problem("too-many-nulls", f"{found}; max_null is {limits.max_null:.1%}", name)
    elif _is_far_above(n_null, counts.n_rows, usual):
        code = "all-null-column" if n_null == counts.n_rows else "too-many-nulls"
        what = f"{found}, and was in {usual:.1%} of the first batch's; Limits(max_null=...) would let it pass"
        yield Problem(code, what, name)
    if tally.n_distinct > limits.max_cardinality:
        what = (
            f"{name} has more than max_cardinality={limits.max_cardinality} distinct texts; is it an id? then drop it"
        )
        yield Problem("too-many-categories", what, name)


def _is_far_above(n_null: int, n_rows: int, usual: float) -> bool:
    """Tell whether more than half of the cells that usually have a value are null, and not by chance."""
    if n_null / n_rows <= (1 + usual) / 2:
        return False
    if not usual:
        return True
    from scipy.stats import binomtest

    return bool(binomtest(n_null, n_rows, usual, alternative="greater").pvalue < UNLIKELY)


def warnings(schema: Schema, counts: BatchStats, *, training: bool) -> Iterator[str]:
    """Find what is odd but allowed."""
    if training:
        yield from _of_rows(schema, counts)
    for column in schema.columns:
        if column.name not in schema.features:
            continue
        name, tally = column.name, counts.tallies[column.name]
        if training and tally.is_constant and counts.n_rows > 1:
            yield f"{name} has the same value in every row"
        if training and tally.n_null > counts.n_rows / 2:
            yield f"{name} is null in {tally.n_null / counts.n_rows:.1%} of the rows"
        elif tally.n_null and not column.nullable:
            yield f"{name} has {tally.n_null} nulls, and had none in the first batch"
        if tally.n_new:
            listed = ", ".join(map(ascii, tally.new))
            yield f"{name} has categories not seen before in {tally.n_new} rows, such as {listed}"


def _of_rows(schema: Schema, counts: BatchStats) -> Iterator[str]:
    name, tally = schema.target, counts.tallies[schema.target]
    if not counts.n_rows:
        yield "the batch has no rows"
    elif tally.n_null:
        yield f"{tally.n_null} rows have no target {name}: they are kept, and are neither for training nor for testing"
    if tally.is_constant:
        yield f"the target {name} has the same value in every row"
