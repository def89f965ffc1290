"""The declared score by category on Spark, where it is a mean over rows."""

from __future__ import annotations

import math
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F  # noqa: N812 - as everybody writes it

from diurnal.backends.evaluation_data import EvaluationData
from diurnal.backends.evaluation_data.json_numbers import MAX_LABEL, rounded
from diurnal.backends.spark import estimators
from diurnal.backends.spark.answered_rows import WEIGHT, AnswerColumns, AnsweredRows

MAX_SLICES = 100
MIN_ROWS = 20
_WRONG = ("hammingLoss",)
_RIGHT = ("accuracy", "weightedRecall", "weightedTruePositiveRate")
_ERRORS = ("mae", "mse", "rmse", "r2")


def score_categories(
    estimator: Any, rows: AnsweredRows, columns: AnswerColumns, found: EvaluationData
) -> list[dict[str, Any]]:
    """Return column, category, number of samples and score of the largest slices."""
    judge: Any = estimators.get_evaluator(estimator)
    metric = judge.getMetricName() if hasattr(judge, "getMetricName") else ""
    if not rows.categories:
        return []
    if metric not in (*_RIGHT, *_WRONG, *_ERRORS):
        found.note(f"no scores of slices on Spark, as {estimators.main_score_name(estimator)} is no mean over rows")
        return []
    weight = F.lit(1.0) if estimators.weight_column(judge) is None else F.col(WEIGHT)
    places = [
        F.struct(F.lit(i).alias("column"), F.col(category).alias("category"))
        for i, category in enumerate(rows.categories.values())
    ]
    loss, y = _loss(metric, columns), columns.label
    one = rows.frame.select(
        weight.alias("w"), loss.alias("loss"), y.alias("y"), F.explode(F.array(*places)).alias("slice")
    )
    counted = (
        one.filter(F.col("slice.category").isNotNull())
        .groupBy(F.col("slice.column").alias("column"), F.col("slice.category").alias("category"))
        .agg(
            F.count(F.lit(1)).alias("n"),
            F.sum("w"),
            F.sum(F.col("w") * F.col("loss")),
            F.sum(F.col("w") * F.col("y")),
            F.sum(F.col("w") * F.col("y") * F.col("y")),
        )
        .filter(F.col("n") >= MIN_ROWS)
        .orderBy(F.col("n").desc(), "column", "category")
        .limit(MAX_SLICES)
        .collect()
    )
    names, listed = list(rows.categories), []
    for place, category, n, *sums in sorted(counted, key=lambda row: row[0]):
        score = _score(metric, *sums)
        if math.isfinite(score):
            listed.append({"column": names[place], "category": category[:MAX_LABEL], "n": n, "score": rounded(score)})
    return listed


def _loss(metric: str, columns: AnswerColumns) -> Column:
    if metric in (*_RIGHT, *_WRONG):
        return (columns.label != columns.prediction).cast("double")
    difference = columns.label - columns.prediction
    return F.abs(difference) if metric == "mae" else difference * difference


def _score(metric: str, weight: float, loss: float, y: float, squares: float) -> float:
    """Return the score by the sums of weights, losses, targets and their squares; greater is better."""
    if not weight > 0:
        return math.nan
    mean = loss / weight
    if metric in _RIGHT:
        return 1 - mean
    if metric == "r2":
        variance = squares / weight - (y / weight) ** 2
        return 1 - mean / variance if variance > 0 else math.nan
    return -math.sqrt(mean) if metric == "rmse" else -mean
