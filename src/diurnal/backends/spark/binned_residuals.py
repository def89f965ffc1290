"""The description of Spark's regressors, by counts in bins."""

from __future__ import annotations

from typing import Any

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812 - as everybody writes it

from diurnal.backends.evaluation_data import EvaluationData
from diurnal.backends.evaluation_data.residual_counts import (
    MAX_VALUES,
    QUANTILES,
    Floats,
    describe_residual_counts,
    target_edges,
)
from diurnal.backends.evaluation_data.score_counts import N_BINS, bin_edges
from diurnal.backends.spark.answered_rows import WEIGHT, AnswerColumns, AnsweredRows

_N_QUANTILES = 201  # of target and residuals, for the ranges of bins
_ACCURACY = 10_000


def describe_regressors(rows: AnsweredRows, found: EvaluationData) -> dict[str, dict[str, Any]]:
    """Return the description of each model; samples without a finite prediction are left out, which is noted."""
    undefined = [F.sum((~_is_finite(columns)).cast("int")) for columns in rows.models]
    quantiles = _quantiles(rows.models[0].label, np.linspace(0, 1, _N_QUANTILES))
    (row,) = rows.frame.select(quantiles, *undefined).collect()
    edges, described = target_edges(np.array(row[0], dtype=float)), {}
    for columns, n_undefined in zip(rows.models, row[1:], strict=True):
        described[columns.name] = _describe_model(rows.frame.filter(_is_finite(columns)), columns, edges)
        if n_undefined:
            found.note(f"{columns.name}: {n_undefined} samples have no finite prediction")
    return described


def _describe_model(frame: DataFrame, columns: AnswerColumns, edges: Floats) -> dict[str, Any]:
    residual, weight = columns.label - columns.prediction, F.col(WEIGHT)
    (row,) = frame.select(
        _quantiles(residual, np.linspace(0, 1, _N_QUANTILES)),
        _quantiles(residual, np.array(QUANTILES)),
        _quantiles(columns.prediction, (np.arange(MAX_VALUES) + 0.5) / MAX_VALUES),
        F.sum(weight),
        F.sum(weight * residual),
        F.sum(weight * residual * residual),
    ).collect()
    if row[0] is None or not row[3]:
        return {}
    n, mean = float(row[3]), float(row[4]) / float(row[3])
    residual_edges = bin_edges(np.array(row[0], dtype=float), None, N_BINS)
    return describe_residual_counts(
        edges=edges,
        cells=_count_cells(frame, (columns.label, edges), (columns.prediction, edges)),
        n=n,
        residual_edges=residual_edges,
        residual_counts=_count_cells(frame, (residual, residual_edges)),
        mean=mean,
        std=float(np.sqrt(max(0.0, float(row[5]) / n - mean**2))),
        quantiles=np.array(row[1], dtype=float),
        prediction=(np.array(row[2], dtype=float), np.full(MAX_VALUES, n / MAX_VALUES)),
    )


def _quantiles(column: Column, shares: Floats) -> Column:
    return F.percentile_approx(column, [float(share) for share in shares], _ACCURACY)


def _is_finite(columns: AnswerColumns) -> Column:
    both = [
        column.isNotNull() & ~F.isnan(column) & (F.abs(column) != float("inf"))
        for column in (columns.label, columns.prediction)
    ]
    return both[0] & both[1]


def _count_cells(frame: DataFrame, *axes: tuple[Column, Floats]) -> Floats:
    """Return the weighted numbers of rows between the edges of each axis."""
    names = [f"axis_{i}" for i in range(len(axes))]
    bins = [_bin_number(column, edges).alias(name) for name, (column, edges) in zip(names, axes, strict=True)]
    counts = np.zeros([len(edges) - 1 for _, edges in axes])
    for row in frame.groupBy(*bins).agg(F.sum(WEIGHT)).collect():
        if None not in row[: len(axes)]:
            counts[tuple(row[: len(axes)])] += float(row[len(axes)])
    return counts


def _bin_number(column: Column, edges: Floats) -> Column:
    """Return the number of the bin; null outside. The last bin includes its upper edge."""
    low, high, n = float(edges[0]), float(edges[-1]), len(edges) - 1
    number = F.least(F.floor((column - low) / (high - low) * n), F.lit(n - 1))
    return F.when((column >= low) & (column <= high), number.cast("int"))
