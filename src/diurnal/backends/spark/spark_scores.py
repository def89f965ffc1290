"""Scores, and twin against champion by the declared score.

Accuracy is compared by counts that the executors make. Any other score needs what both models say of single samples
in one place: of at most :data:`MOST_COMPARED`, those of the smallest hashes, and the name of the test contains it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark.ml.functions import vector_to_array
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812 - as everybody writes it
from sklearn import metrics

from diurnal.backends import paired_tests
from diurnal.backends.paired_tests import Paired
from diurnal.backends.protocol import Scores
from diurnal.backends.sklearn.sample_losses import LOSSES
from diurnal.backends.spark import estimators
from diurnal.backends.spark.job_errors import translate_job_errors
from diurnal.backends.spark.lake_frames import SparkData, identity_hash, quote_column, quote_columns
from diurnal.storage.models.spark import find_predictor

if TYPE_CHECKING:
    import pyarrow as pa

MAX_COMPARED = 100_000
MAX_RESAMPLED = 5_000
_COUNTED = {"accuracy", "weightedRecall", "weightedTruePositiveRate", "hammingLoss"}
_RANKED = {"areaUnderROC", "areaUnderPR"}
_LOSSES = {
    "mae": metrics.mean_absolute_error,
    "mse": metrics.mean_squared_error,
    "rmse": metrics.root_mean_squared_error,
    "r2": metrics.r2_score,
    "logLoss": metrics.log_loss,
}
_METRICS: dict[str, Callable[..., float]] = {
    "areaUnderPR": metrics.average_precision_score,
    "f1": lambda y, p, **w: metrics.f1_score(y, p, average="weighted", zero_division=0, **w),
    "weightedPrecision": lambda y, p, **w: metrics.precision_score(y, p, average="weighted", zero_division=0, **w),
}


def evaluate_model(estimator: Any, model: Any, rows: SparkData) -> Scores:
    """Return the main score of a fitted model; greater is better."""
    judge = estimators.get_evaluator(estimator)
    with translate_job_errors("the evaluation"):
        value = float(judge.evaluate(model.transform(rows.frame)))
    return {estimators.main_score_name(estimator): value if judge.isLargerBetter() else -value}


def compare_models(estimator: Any, twin: Any, champion: Any, rows: SparkData) -> Paired:
    """Compare two models by the evaluator's metric; counts, or a bounded sample of answers, come to this process.

    A metric without a test of its own is compared by labels or absolute errors; the name of the test contains it.
    """
    judge = estimators.get_evaluator(estimator)
    metric = judge.getMetricName() if hasattr(judge, "getMetricName") else ""
    weights = estimators.weight_column(judge)
    classifies = estimators.detect_task(estimator) == "classification"
    with translate_job_errors("the comparison with the champion"):
        if classifies and (_has_no_test(metric) or (metric in _COUNTED and weights is None)):
            found = _compare_by_counts(twin, champion, rows)
            return found if metric in _COUNTED else replace(found, test=f"{found.test} of labels")
        most = MAX_RESAMPLED if metric in _METRICS else MAX_COMPARED
        frame = rows.frame if rows.n_rows <= most else rows.frame.orderBy(identity_hash(rows.schema)).limit(most)
        answer = _output_column(judge, metric)
        answered = _add_predictions(champion, _add_predictions(twin, frame, "twin", answer), "champion", answer)
        wanted = [quote_column(f"__{who}_{what}") for who in ("twin", "champion") for what in ("label", "answer")]
        weight = F.lit(1.0) if weights is None else quote_column(weights).cast("double")
        table = answered.select(*wanted, weight.alias("__weight")).toArrow()
    found = _run_paired_test(metric, table, weighted=weights is not None)
    sample = "" if table.num_rows == rows.n_rows else f" of a sample of {table.num_rows} rows"
    return replace(found, test=f"{found.test}{sample}")


def _has_no_test(metric: str) -> bool:
    return metric not in _COUNTED | _RANKED | _LOSSES.keys() | _METRICS.keys()


def _compare_by_counts(twin: Any, champion: Any, rows: SparkData) -> Paired:
    answered = _add_predictions(
        champion, _add_predictions(twin, rows.frame, "twin", _prediction_column), "champion", _prediction_column
    )
    right = [quote_column(f"__{who}_label") == quote_column(f"__{who}_answer") for who in ("twin", "champion")]
    counted = answered.groupBy(right[0].alias("__twin"), right[1].alias("__champion")).count().collect()
    counts = {(bool(row[0]), bool(row[1])): int(row[2]) for row in counted}
    return paired_tests.mcnemar(counts.get((True, False), 0), counts.get((False, True), 0), sum(counts.values()))


def _add_predictions(model: Any, frame: DataFrame, who: str, answer: Callable[[Any], Column]) -> DataFrame:
    """Add the label and the prediction of each row; each model has its own numbers of labels."""
    last: Any = find_predictor(model)
    kept, label = quote_columns(frame.columns), quote_column(last.getLabelCol()).cast("double")
    added = label.alias(f"__{who}_label"), answer(last).alias(f"__{who}_answer")
    return model.transform(frame).select(*kept, *added)  # type: ignore[no-any-return]


def _prediction_column(last: Any) -> Column:
    return quote_column(last.getPredictionCol()).cast("double")


def _output_column(judge: Any, metric: str) -> Callable[[Any], Column]:
    """Return what an evaluator asks of a model: a prediction, a decision, or the probabilities of all classes."""
    if metric == "logLoss":
        return lambda _: vector_to_array(quote_column(judge.getProbabilityCol()))
    if metric in _RANKED:
        return lambda _: vector_to_array(quote_column(judge.getRawPredictionCol()))[1]
    return _prediction_column


def _run_paired_test(metric: str, table: pa.Table, *, weighted: bool) -> Paired:
    labels = [_to_array(table, f"__{who}_label") for who in ("twin", "champion")]
    answers = [_to_array(table, f"__{who}_answer") for who in ("twin", "champion")]
    weights = _to_array(table, "__weight") if weighted else None
    if metric == "areaUnderROC":
        return paired_tests.delong(labels[0] > 0, answers[0], _align_decisions(labels, answers[1]), weights)
    if metric in _METRICS:
        return _compare_by_resamples(metric, labels, answers, weights)
    if metric in _COUNTED:
        return paired_tests.sign_flips(labels[0] != answers[0], labels[1] != answers[1], weights)
    _, _, loss, scale = LOSSES[_LOSSES.get(metric, metrics.mean_absolute_error)]
    one, other = (loss(y, answer, np.arange(answer.shape[-1])) for y, answer in zip(labels, answers, strict=True))
    means = (float(np.average(losses, weights=weights)) for losses in (one, other))
    found = paired_tests.sign_flips(one, other, weights, scale=scale(labels[0], weights, *means))
    return found if metric in _LOSSES else replace(found, test=f"{found.test} of absolute errors")


def _compare_by_resamples(
    metric: str, labels: list[np.ndarray], answers: list[np.ndarray], weights: np.ndarray | None
) -> Paired:
    y, twin = labels[0], answers[0]
    ranks = metric in _RANKED
    champion = _align_decisions(labels, answers[1]) if ranks else _align_labels(labels, answers[1])

    def score_resample(places: np.ndarray, swapped: np.ndarray) -> tuple[float, float]:
        beside = {} if weights is None else {"sample_weight": weights[places]}
        one = np.where(swapped, champion[places], twin[places])
        other = np.where(swapped, twin[places], champion[places])
        first, second = (float(_METRICS[metric](y[places], answer, **beside)) for answer in (one, other))
        return first, second

    found = paired_tests.resampled(score_resample, y, twin != champion, swaps=not ranks)
    return replace(found, test=f"stratified {found.test}")


def _align_decisions(labels: list[np.ndarray], decisions: np.ndarray) -> np.ndarray:
    """Turn decisions of the champion round if its positive class is the twin's negative one."""
    return -decisions if len(decisions) and bool(np.all(labels[0] != labels[1])) else decisions


def _align_labels(labels: list[np.ndarray], predicted: np.ndarray) -> np.ndarray:
    """Return the champion's predictions in the twin's numbers of classes; unknown classes get negative numbers."""
    numbers = dict(zip(labels[1].tolist(), labels[0].tolist(), strict=True))
    return np.array([numbers.get(number, -1 - number) for number in predicted.tolist()])


def _to_array(table: pa.Table, name: str) -> np.ndarray:
    values = table.column(name).to_pylist()
    return np.array(values, dtype=float)
