"""Evaluation data of scikit-learn's estimators, from predictions that the scores have computed already."""

from __future__ import annotations

import warnings as python_warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from diurnal.backends.evaluation_data import EvaluationData, ScoreCounts
from diurnal.backends.evaluation_data.class_counts import classes_with_curves, describe_confusion, points_per_curve
from diurnal.backends.evaluation_data.json_numbers import label_texts
from diurnal.backends.evaluation_data.residual_counts import describe_predictions, target_edges
from diurnal.backends.sklearn import scorers
from diurnal.backends.sklearn.batched_predict import BatchedData
from diurnal.backends.sklearn.importances import permutation_importances
from diurnal.backends.sklearn.model_answers import ModelAnswers, read_answers
from diurnal.backends.sklearn.score_slices import CategorySlices
from diurnal.runtime.fit_environment import limit_fit_threads

MAX_SAMPLE = 2_000


def describe_evaluation(
    estimator: Any, models: Mapping[str, Any], data: BatchedData, *, seconds: float
) -> EvaluationData:
    """Describe fitted models on the same samples.

    Parameters
    ----------
    estimator : estimator
        A search, or a bare estimator.
    models : Mapping of str to estimator
        By their names, the twin first.
    data : BatchedData
        The samples.
    seconds : float
        How long permutation importances of the first model may take; none with 0.

    Returns
    -------
    EvaluationData
    """
    found, classifies = EvaluationData(), scorers.detect_task(estimator) == "classification"
    with limit_fit_threads(), python_warnings.catch_warnings(), np.errstate(all="ignore"):
        python_warnings.simplefilter("ignore")
        answers: dict[str, ModelAnswers] = {}
        for name, model in models.items():
            given = found.attempt(
                name, lambda n, m: read_answers(n, m, data, classifies=classifies, found=found), name, model
            )
            if given is not None:
                answers[name] = given
        describe = _describe_classifiers if classifies else _describe_regressors
        found.models |= found.attempt("curves", describe, answers, data, found) or {}
        slices = CategorySlices(estimator, data, found)
        for name in answers:
            listed = found.attempt(f"slices of {name}", slices.scores, models[name])
            if listed:
                found.models.setdefault(name, {})["slices"] = listed
        first = next(iter(models))
        if seconds > 0 and first in answers:
            listed = found.attempt(
                "importances", permutation_importances, estimator, models[first], data, seconds, found
            )
            if listed:
                found.models.setdefault(first, {})["importances"] = listed
        found.sample = found.attempt("sample", _row_results, answers, data)
    for described in found.models.values():
        described["n_rows"] = data.n_rows
    return found


def _describe_classifiers(
    answers: Mapping[str, ModelAnswers], data: BatchedData, found: EvaluationData
) -> dict[str, dict[str, Any]]:
    weights = data.needs.sample_weight
    weights = None if weights is None else np.asarray(weights, dtype=float)
    labels, codes = _number_labels([data.y, *(one.predicted for one in answers.values())])
    true, n = codes[0], len(labels)
    counts = np.bincount(true, weights, n).astype(float)
    positive = _positive_class(answers)
    chosen = classes_with_curves(labels, counts, positive)
    most = points_per_curve(2 * len(chosen) * 3)
    described = {}
    for (name, one), predicted in zip(answers.items(), codes[1:], strict=True):
        known = predicted >= 0
        if not known.all():
            found.note(f"{name}: {int((~known).sum())} samples have no predicted class")
        pairs = true[known] * n + predicted[known]
        confusion = np.bincount(pairs, None if weights is None else weights[known], n * n).reshape(n, n)
        described[name] = describe_confusion(labels, confusion.astype(float))
        curves = _class_curves(one, labels, chosen, true, weights, most)
        if curves:
            described[name]["curves"] = curves
        elif one.scores is not None:
            found.note(f"{name}: no curves, as all test samples are of one class")
    return described


def _class_curves(
    answers: ModelAnswers,
    labels: list[Any],
    chosen: list[int],
    true: np.ndarray,
    weights: np.ndarray | None,
    most: int,
) -> dict[str, Any]:
    curves, texts = {}, label_texts(labels)
    for i in chosen:
        scores = answers.scores_of(labels[i])
        if scores is None:
            continue
        counts = ScoreCounts.from_samples(scores, true == i, weights)
        if counts.has_both:
            curves[texts[i]] = counts.describe(is_probability=answers.is_probability, most=most)
    return curves


def _positive_class(answers: Mapping[str, ModelAnswers]) -> Any:
    classes = next(iter(answers.values())).classes if answers else ()
    return classes[1] if len(classes) == 2 else None


def _number_labels(vectors: list[np.ndarray]) -> tuple[list[Any], list[np.ndarray]]:
    """Return the distinct labels of some vectors, sorted, and their positions in these; -1 for a missing one."""
    together = np.concatenate(vectors)
    if together.dtype.kind in "US":
        together = together.astype(object)
    codes, labels = pd.factorize(together, sort=True)
    kinds = {vector.dtype.kind for vector in vectors}
    listed = np.asarray(labels).tolist()
    if together.dtype.kind == "f" and kinds & set("iub"):  # some predicted integers as floats
        listed = [int(label) if float(label).is_integer() else label for label in listed]
    return listed, np.split(codes, np.cumsum([len(vector) for vector in vectors])[:-1])


def _describe_regressors(
    answers: Mapping[str, ModelAnswers], data: BatchedData, found: EvaluationData
) -> dict[str, dict[str, Any]]:
    weights = data.needs.sample_weight
    weights = None if weights is None else np.asarray(weights, dtype=float)
    y = np.asarray(data.y, dtype=float)
    edges, described = target_edges(y, weights), {}
    for name, one in answers.items():
        described[name] = describe_predictions(y, one.predicted, weights, edges)
        if undefined := described[name].pop("n_undefined"):
            found.note(f"{name}: {undefined} samples have no finite prediction")
    return described


def _row_results(answers: Mapping[str, ModelAnswers], data: BatchedData) -> pa.Table:
    """Return results for a bounded sample of rows: the true value, and what each model says."""
    n = data.n_rows
    places = np.arange(n)
    if n > MAX_SAMPLE:
        places = np.sort(np.random.default_rng(0).choice(n, MAX_SAMPLE, replace=False))
    columns: dict[str, Any] = {"true": pa.array(data.y[places])}
    positive = _positive_class(answers)
    for name, one in answers.items():
        columns[name] = pa.array(one.predicted[places])
        probabilities = one.probabilities(positive)
        none = pa.nulls(len(places), pa.float64())
        columns[f"{name}_probability"] = none if probabilities is None else pa.array(probabilities[places])
    return pa.table(columns)
