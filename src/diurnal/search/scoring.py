"""Properties of scorers that permit to score a candidate on transformed rows.

scikit-learn sends the test rows through the whole pipeline for each candidate. A scorer that only predicts gives the
same score if the final estimator receives rows that are already transformed, once for all candidates of a prefix.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, is_classifier
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier

from diurnal.search import sklearn_private


def uses_predictions_only(scorer: Any) -> bool:
    """Return whether a scorer uses only predictions of the final estimator, not the pipeline nor the raw rows."""
    return sklearn_private.scorer_parts(scorer) is not None


def uses_estimator_score(scorer: Any) -> bool:
    """Return whether a scorer calls the `score` method of the estimator."""
    return any(not hasattr(part, "_score_func") for part in sklearn_private.scorer_parts(scorer) or ())


def is_accuracy(scorer: Any, final: Any) -> bool:
    """Return whether a scorer is the plain accuracy for this final estimator."""
    parts = sklearn_private.scorer_parts(scorer)
    if parts != [scorer]:
        return False
    if hasattr(scorer, "_score_func"):
        # make_scorer(accuracy_score) without options, or the string "accuracy"
        config = (scorer._score_func, scorer._sign, scorer._kwargs, scorer._response_method)
        return config == (accuracy_score, 1, {}, "predict")
    return _has_accuracy_score(final)


def uses_labels_only(scorer: Any, final: Any) -> bool:
    """Return whether a scorer uses predicted labels only, not probabilities or decision values."""
    parts = sklearn_private.scorer_parts(scorer)
    if parts is None:
        return False
    # A part without a function is the `score` method of the estimator: of a classifier, usually the accuracy.
    accuracy = _has_accuracy_score(final)
    return all(accuracy if not hasattr(p, "_score_func") else p._response_method == "predict" for p in parts)


def uses_ranking_only(scorer: Any, final: Any) -> bool:
    """Return whether a scorer uses only labels, or how decision values rank rows of different classes.

    The area under the ROC curve counts pairs of rows of different classes that are ranked correctly. So it does not
    change if rows of one class change places among themselves, or tie.
    """
    parts = sklearn_private.scorer_parts(scorer)
    return bool(parts) and all(uses_labels_only(part, final) or _is_roc_auc(part) for part in parts or ())


class LabelScorer:
    """Scores predicted labels as a scorer scores the classifier that predicts them.

    Parameters
    ----------
    scorer : callable
        A scorer that uses labels only.
    final : estimator
    y_train : vector
        The labels that the classifier is fitted to.
    """

    def __init__(self, scorer: Any, final: Any, y_train: Any) -> None:
        self.scorer, self.is_accuracy = scorer, is_accuracy(scorer, final)
        self.classes = np.unique(np.asarray(y_train))

    def score(self, labels: np.ndarray, y: Any, params: Mapping[str, Any]) -> Any:
        """Return the score, or the scores by name."""
        if self.is_accuracy and params.keys() <= {"sample_weight"}:
            return compute_accuracy(y, labels, params.get("sample_weight"))
        return sklearn_private.score_estimator(_LabelPredictor(labels, self.classes), labels, y, self.scorer, params)


class _LabelPredictor(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A classifier whose predictions are known."""

    def __init__(self, labels: np.ndarray, classes: np.ndarray) -> None:
        self.labels, self.classes_ = labels, classes

    def predict(self, X: Any) -> np.ndarray:  # noqa: ARG002 - the labels are those of X
        return self.labels.copy()


def compute_accuracy(y: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the accuracy, equal to scikit-learn's `accuracy_score` to the last bit."""
    if weights is None:  # the mean of np.average is the same quotient
        return float(np.count_nonzero(y == predicted) / len(y))
    return float(np.average(y == predicted, weights=weights))


def _has_accuracy_score(final: Any) -> bool:
    """Return whether `score` of an estimator is the accuracy that `ClassifierMixin` defines."""
    # The method of nearest neighbors, since scikit-learn 1.6, calls it and permits X=None.
    return is_classifier(final) and (type(final).score is ClassifierMixin.score or type(final) is KNeighborsClassifier)


def _is_roc_auc(part: Any) -> bool:
    is_default = (getattr(part, "_score_func", None), getattr(part, "_kwargs", None)) == (roc_auc_score, {})
    return is_default and part._response_method in ("decision_function", ("decision_function", "predict_proba"))
