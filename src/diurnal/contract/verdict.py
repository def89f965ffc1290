"""What is to be said of a batch as a whole, once all of it was counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from diurnal.contract.schema import Column, Schema
from diurnal.contract.tally import Tally
from diurnal.errors import Problem
from diurnal.values import Limits


@dataclass(frozen=True)
class Counts:
    """What was counted: rows, bytes, a tally for each column, and the features that equal the target in every row."""

    n_rows: int
    n_bytes: int
    tallies: Mapping[str, Tally]
    leaks: frozenset[str]


def problems(schema: Schema, limits: Limits, counts: Counts) -> Iterator[Problem]:
    """Find why the batch, as a whole, is refused for training."""
    yield from _of_size(limits, counts)
    if counts.n_rows:
        yield from _of_target(schema, counts)
        for column in schema.columns:
            if column.name in schema.features:
                yield from _of_feature(column, limits, counts)


def _of_size(limits: Limits, counts: Counts) -> Iterator[Problem]:
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


def _of_target(schema: Schema, counts: Counts) -> Iterator[Problem]:
    name, tally = schema.target, counts.tallies[schema.target]
    if tally.is_constant and schema.task == "classification":
        yield Problem("one-class", f"all rows have one label of {name}; a classifier needs two", name)
    elif tally.is_constant:
        yield Problem("constant-target", f"the target {name} has one value in all rows; nothing can be learnt", name)
    else:
        for leak in sorted(counts.leaks):
            what = f"the feature {leak} equals the target {name} in every row: it gives the answer away; drop it"
            yield Problem("leak", what, leak)


def _of_feature(column: Column, limits: Limits, counts: Counts) -> Iterator[Problem]:
    name, tally = column.name, counts.tallies[column.name]
    share = tally.n_null / counts.n_rows
    if share == 1:
        yield Problem("all-null-column", f"{name} is null in every row", name)
    elif share > limits.max_null:
        what = f"{name} is null in {share:.1%} of the rows ({tally.n_null}); max_null is {limits.max_null:.1%}"
        yield Problem("too-many-nulls", what, name)
    if tally.n_distinct > limits.max_cardinality:
        what = (
            f"{name} has more than max_cardinality={limits.max_cardinality} distinct texts; is it an id? then drop it"
        )
        yield Problem("too-many-categories", what, name)


def warnings(schema: Schema, counts: Counts, *, training: bool) -> Iterator[str]:
    """Find what is odd but allowed."""
    if training and not counts.n_rows:
        yield "the batch has no rows"
    for column in schema.columns:
        if column.name not in schema.features:
            continue
        name, tally = column.name, counts.tallies[column.name]
        if training and tally.is_constant and counts.n_rows > 1:
            yield f"{name} has the same value in every row"
        if tally.n_null and not column.nullable:
            yield f"{name} has {tally.n_null} nulls, and had none in the first batch"
        if tally.n_new:
            listed = ", ".join(map(ascii, tally.new))
            yield f"{name} has categories not seen before in {tally.n_new} rows, such as {listed}"
