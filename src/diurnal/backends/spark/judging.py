"""Scores, and twin against champion, in counts that the executors make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyspark.sql import Column, DataFrame

from diurnal import promotion
from diurnal.backends.protocol import Scores
from diurnal.backends.spark import stages
from diurnal.backends.spark.blame import blaming
from diurnal.backends.spark.samples import Rows, column, columns, hashed
from diurnal.models.spark import predictor

if TYPE_CHECKING:
    from diurnal.contract import Schema

MOST_COMPARED = 100_000
"""Of a regression: ranks need all differences in one place, so that the samples of the smallest hashes are compared."""


def scores(made: Any, model: Any, rows: Rows) -> Scores:
    """Give the main score of a fitted model; greater is better."""
    judge = stages.evaluator(made)
    with blaming("the evaluation"):
        value = float(judge.evaluate(model.transform(rows.frame)))
    return {stages.score_name(made): value if judge.isLargerBetter() else -value}


def compare(twin: Any, champion: Any, rows: Rows, schema: Schema) -> tuple[int, int, float, str]:
    """Compare two models sample by sample; only counts, or a bounded number of differences, come here."""
    classifies = schema.task == "classification"
    with blaming("the comparison with the champion"):
        frame = rows.frame
        if not classifies and rows.n_rows > MOST_COMPARED:
            frame = frame.orderBy(hashed(schema)).limit(MOST_COMPARED)
        frame = _judged(champion, _judged(twin, frame, "__twin", classifies), "__champion", classifies)
        if classifies:
            counted = frame.groupBy("__twin", "__champion").count().collect()
            counts = {(bool(row[0]), bool(row[1])): int(row[2]) for row in counted}
            return promotion.compare_wins(counts.get((True, False), 0), counts.get((False, True), 0))
        off = frame.select("__twin", "__champion").toArrow()
    truth = [0.0] * off.num_rows
    return promotion.compare(truth, off.column(0).to_numpy(), off.column(1).to_numpy(), classification=False)


def _judged(model: Any, frame: DataFrame, name: str, classifies: bool) -> DataFrame:
    """Add whether, or by how much, a model is off for each row; each model knows labels by its own numbers."""
    last = predictor(model)
    label, predicted = column(last.getLabelCol()), column(last.getPredictionCol())  # type: ignore[union-attr]
    verdict: Column = label == predicted if classifies else predicted - label
    kept = columns(frame.columns)
    return model.transform(frame).select(*kept, verdict.alias(name))  # type: ignore[no-any-return]
