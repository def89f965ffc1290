"""Evaluation data of Spark's models, by counts that executors make; a bounded number of them comes to this process.

Scores of classes are counted in bins of their log odds, which are narrow where probabilities are near 0 or 1, so that
areas under curves are those of all rows to about three digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import Column
from pyspark.sql import functions as F  # noqa: N812 - as everybody writes it

from diurnal.backends.evaluation_data import EvaluationData, ScoreCounts
from diurnal.backends.evaluation_data.class_counts import classes_with_curves, describe_confusion, points_per_curve
from diurnal.backends.evaluation_data.json_numbers import label_texts
from diurnal.backends.spark import estimators
from diurnal.backends.spark.answered_rows import HASH, TARGET, WEIGHT, AnswerColumns, AnsweredRows, answered_rows
from diurnal.backends.spark.binned_residuals import describe_regressors
from diurnal.backends.spark.category_scores import score_categories
from diurnal.backends.spark.job_errors import translate_job_errors
from diurnal.backends.spark.lake_frames import SparkData

MAX_SAMPLE = 2_000
_BINS_PER_UNIT = 100  # of the log odds
_SMALLEST = 1e-12


def describe_evaluation(
    estimator: Any, models: Mapping[str, Any], data: SparkData, *, seconds: float
) -> EvaluationData:
    """Describe models on the same samples; without permutation importances.

    Parameters
    ----------
    estimator : pyspark.ml.Estimator
        What the experiment returns.
    models : Mapping of str to pyspark.ml.Transformer
        By their names, the twin first.
    data : SparkData
        The samples.
    seconds : float
        Above 0 if importances are wanted.
    """
    found, classifies = EvaluationData(), estimators.detect_task(estimator) == "classification"
    if seconds > 0:
        found.note("no importances: they are not computed on Spark")
    with translate_job_errors("the description"), answered_rows(models, data, classifies=classifies) as rows:
        describe = _describe_classifiers if classifies else describe_regressors
        found.models |= found.attempt("curves", describe, rows, found) or {}
        for columns in rows.models:
            listed = found.attempt(f"slices of {columns.name}", score_categories, estimator, rows, columns, found)
            if listed:
                found.models.setdefault(columns.name, {})["slices"] = listed
        found.sample = found.attempt("sample", _row_results, rows)
    for described in found.models.values():
        described["n_rows"] = data.n_rows
    return found


def _describe_classifiers(rows: AnsweredRows, found: EvaluationData) -> dict[str, dict[str, Any]]:
    counted = {columns.name: _count_pairs(rows, columns) for columns in rows.models}
    seen = {label for pairs in counted.values() for pair in pairs for label in pair}
    labels = sorted(seen.union(*(columns.classes for columns in rows.models)), key=_label_order)
    places, first = {label: i for i, label in enumerate(labels)}, rows.models[0]
    positive = first.classes[1] if len(first.classes) == 2 else None
    described, chosen = {}, list[str]()
    for columns in rows.models:
        confusion = np.zeros((len(labels), len(labels)))
        for (true, predicted), n in counted[columns.name].items():
            confusion[places[true], places[predicted]] += n
        described[columns.name] = describe_confusion(labels, confusion)
        chosen = chosen or [labels[i] for i in classes_with_curves(labels, confusion.sum(axis=1), positive)]
    texts, most = dict(zip(labels, label_texts(labels), strict=True)), points_per_curve(2 * len(chosen) * 3)
    for columns in rows.models:
        if columns.is_probability is None:
            found.note(f"{columns.name}: no curves, as the model has neither probabilities nor raw predictions")
            continue
        curves = {
            texts[label]: counts.describe(is_probability=columns.is_probability, most=most)
            for label, counts in _count_scores(rows, columns, chosen).items()
            if counts.has_both
        }
        if curves:
            described[columns.name]["curves"] = curves
        else:
            found.note(f"{columns.name}: no curves, as all test samples are of one class")
    return described


def _label_order(label: str) -> tuple[bool, float, str]:
    """Sort numbers by their value, before texts."""
    try:
        return False, float(label), label
    except ValueError:
        return True, 0.0, label


def _count_pairs(rows: AnsweredRows, columns: AnswerColumns) -> dict[tuple[str, str], float]:
    """Return the weighted numbers of samples by true and predicted class."""
    grouped = rows.frame.groupBy(columns.label.alias("label"), columns.prediction.alias("prediction"))
    counted = grouped.agg(F.sum(WEIGHT).alias("n")).collect()
    return {(_class_text(columns, row[0]), _class_text(columns, row[1])): float(row[2] or 0) for row in counted}


def _class_text(columns: AnswerColumns, index: float) -> str:
    """Return the class of an index; one that the model does not know keeps its number."""
    i = int(index)
    return columns.classes[i] if 0 <= i < len(columns.classes) else f"unknown {i}"


def _count_scores(rows: AnsweredRows, columns: AnswerColumns, labels: list[str]) -> dict[str, ScoreCounts]:
    """Return the numbers of samples by bins of the score, for each class that the model knows."""
    known = {columns.classes.index(label): label for label in labels if label in columns.classes}
    if not known:
        return {}
    pairs = [F.struct(F.lit(float(i)).alias("label"), columns.scores[i].alias("score")) for i in known]
    scores = rows.frame.select(columns.label.alias("true"), F.col(WEIGHT), F.explode(F.array(*pairs)).alias("of"))
    score, is_positive = F.col("of.score"), F.col("true") == F.col("of.label")
    grouped = scores.filter(~F.isnan(score)).groupBy(F.col("of.label"), _score_bin(score, columns).alias("bin"))
    counted = grouped.agg(
        F.sum(F.when(is_positive, F.col(WEIGHT)).otherwise(0.0)).alias("positive"),
        F.sum(F.when(is_positive, 0.0).otherwise(F.col(WEIGHT))).alias("negative"),
        F.avg(score).alias("score"),
    ).toArrow()
    of = counted.column("label").to_numpy()
    order = np.argsort(-counted.column("bin").to_numpy(), kind="stable")
    values = [counted.column(name).to_numpy()[order] for name in ("score", "positive", "negative")]
    return {label: ScoreCounts(*(column[of[order] == i] for column in values)) for i, label in known.items()}


def _score_bin(score: Column, columns: AnswerColumns) -> Column:
    """Return the bin of a score: of its log odds if it is a probability, else of a scale that grows like them."""
    if columns.is_probability:
        inside = F.least(F.greatest(score, F.lit(_SMALLEST)), F.lit(1 - _SMALLEST))
        return F.round(F.log(inside / (1 - inside)) * _BINS_PER_UNIT)
    return F.round(F.asinh(score) * _BINS_PER_UNIT)


def _row_results(rows: AnsweredRows) -> pa.Table:
    """Return results for the rows with the smallest hashes: the true value, and what each model says."""
    wanted: list[Column] = [F.col(TARGET).alias("true")]
    for columns in rows.models:
        wanted += [columns.prediction.alias(columns.name), _probability(columns).alias(f"{columns.name}_probability")]
    table = rows.frame.orderBy(HASH).limit(MAX_SAMPLE).select(*wanted).toArrow()
    for columns in rows.models:
        if columns.classes:
            texts = [_class_text(columns, index) for index in table.column(columns.name).to_pylist()]
            table = table.set_column(table.schema.get_field_index(columns.name), columns.name, pa.array(texts))
    if rows.models[0].classes:
        table = table.set_column(0, "true", table.column(0).cast(pa.string()))
    return table


def _probability(columns: AnswerColumns) -> Column:
    """Return the probability of the second class of two, or of the predicted class of more."""
    if not columns.is_probability:
        return F.lit(None).cast("double")
    if len(columns.classes) == 2:
        return columns.scores[1]
    return F.get(columns.scores, columns.prediction.cast("int"))
