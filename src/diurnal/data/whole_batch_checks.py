"""Checks of a batch as a whole, from the statistics of all its rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from diurnal.data.column_stats import ColumnStats
from diurnal.data.schema import Column, Schema
from diurnal.errors import Problem
from diurnal.types import Limits

UNLIKELY = 1e-4  # significance level: nulls as frequent as in the first batch give so many with a lower probability


@dataclass(frozen=True)
class BatchStats:
    """Statistics of a batch: rows, bytes, columns, and the features that equal the target in every row."""

    n_rows: int
    n_bytes: int
    column_stats: Mapping[str, ColumnStats]
    leaks: frozenset[str]


def find_batch_problems(
    schema: Schema, limits: Limits, counts: BatchStats, *, is_only_batch: bool
) -> Iterator[Problem]:
    """Yield the reasons why the batch cannot be used for training; `is_only_batch`: no other batch is used."""
    yield from _size_problems(limits, counts)
    if counts.n_rows:
        yield from _target_problems(schema, counts, is_only_batch=is_only_batch)
        for column in schema.columns:
            if column.name in schema.features:
                yield from _feature_problems(column, limits, counts)


def _size_problems(limits: Limits, counts: BatchStats) -> Iterator[Problem]:
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


def _target_problems(schema: Schema, counts: BatchStats, *, is_only_batch: bool) -> Iterator[Problem]:
    name, stats = schema.target, counts.column_stats[schema.target]
    if stats.n_null == counts.n_rows:
        yield Problem("null-target", f"the target {name} is null in every row", name)
    elif stats.is_constant and not is_only_batch:
        return
    elif stats.is_constant and schema.task == "classification":
        yield Problem("one-class", f"all rows have one label of {name}; a classifier needs two", name)
    elif stats.is_constant:
        yield Problem(
            "constant-target", f"the target {name} has one value in all rows; a model needs at least two", name
        )
    else:
        for leak in sorted(counts.leaks):
            message = f"the feature {leak} equals the target {name} in every row (target leakage); drop it"
            yield Problem("leak", message, leak)


def _feature_problems(column: Column, limits: Limits, counts: BatchStats) -> Iterator[Problem]:
    name, stats = column.name, counts.column_stats[column.name]
    n_null, usual = stats.n_null, column.null_share or 0.0
    found = f"{name} is null in {n_null / counts.n_rows:.1%} of the rows ({n_null})"
    if limits.max_null is not None:
        if n_null / counts.n_rows > limits.max_null:
            yield Problem("too-many-nulls", f"{found}; max_null is {limits.max_null:.1%}", name)
    elif _is_far_above(n_null, counts.n_rows, usual):
        code = "all-null-column" if n_null == counts.n_rows else "too-many-nulls"
        message = f"{found}, and was in {usual:.1%} of the first batch's; Limits(max_null=...) would let it pass"
        yield Problem(code, message, name)
    if stats.n_distinct > limits.max_cardinality:
        message = (
            f"{name} has more than max_cardinality={limits.max_cardinality} distinct texts; is it an id? then drop it"
        )
        yield Problem("too-many-categories", message, name)


def _is_far_above(n_null: int, n_rows: int, usual: float) -> bool:
    """Return whether more than half of the cells that usually have a value are null, significantly."""
    if n_null / n_rows <= (1 + usual) / 2:
        return False
    if not usual:
        return True
    from scipy.stats import binomtest

    return bool(binomtest(n_null, n_rows, usual, alternative="greater").pvalue < UNLIKELY)


def find_batch_warnings(schema: Schema, counts: BatchStats, *, training: bool) -> Iterator[str]:
    """Yield warnings: what is unusual and allowed."""
    if training:
        yield from _row_warnings(schema, counts)
    for column in schema.columns:
        if column.name not in schema.features:
            continue
        name, stats = column.name, counts.column_stats[column.name]
        if training and stats.is_constant and counts.n_rows > 1:
            yield f"{name} has the same value in every row"
        if training and stats.n_null > counts.n_rows / 2:
            yield f"{name} is null in {stats.n_null / counts.n_rows:.1%} of the rows"
        elif stats.n_null and not column.nullable:
            yield f"{name} has {stats.n_null} nulls, and had none in the first batch"
        if stats.n_new:
            listed = ", ".join(map(ascii, stats.new))
            yield f"{name} has new categories in {stats.n_new} rows, such as {listed}"


def _row_warnings(schema: Schema, counts: BatchStats) -> Iterator[str]:
    name, stats = schema.target, counts.column_stats[schema.target]
    if not counts.n_rows:
        yield "the batch has no rows"
    elif stats.n_null:
        yield f"{stats.n_null} rows have no target {name}: they are stored, and are in neither split"
    if stats.is_constant:
        yield f"the target {name} has the same value in every row"
