"""Scoring a candidate on what its prefix gives, instead of sending the test rows through the whole pipeline again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, is_classifier
from sklearn.metrics import accuracy_score, roc_auc_score

from diurnal.search import sklearn_private


def only_predicts(scorer: Any) -> bool:
    """Tell whether a scorer asks the final estimator alone, so that it need not see the pipeline nor the raw rows."""
    return sklearn_private.scorer_parts(scorer) is not None


def asks_own_score(scorer: Any) -> bool:
    """Tell whether a scorer asks the estimator for its own `score`."""
    return any(not hasattr(part, "_score_func") for part in sklearn_private.scorer_parts(scorer) or ())


def is_accuracy(scorer: Any, final: Any) -> bool:
    """Tell whether a scorer gives the plain share of right labels for this kind of final estimator."""
    parts = sklearn_private.scorer_parts(scorer)
    if parts != [scorer]:
        return False
    if hasattr(scorer, "_score_func"):
        how = (scorer._score_func, scorer._sign, scorer._kwargs, scorer._response_method)
        return how == (accuracy_score, 1, {}, "predict")
    return is_classifier(final) and type(final).score is ClassifierMixin.score


def only_labels(scorer: Any, final: Any) -> bool:
    """Tell whether a scorer looks at predicted labels only, never at how sure they are."""
    parts = sklearn_private.scorer_parts(scorer)
    if parts is None:
        return False
    plain = is_classifier(final) and type(final).score is ClassifierMixin.score
    return all(plain if not hasattr(p, "_score_func") else p._response_method == "predict" for p in parts)


def only_order(scorer: Any, final: Any) -> bool:
    """Tell whether a scorer looks only at labels, and at the order that decisions give to rows of different classes.

    The area under the ROC curve does: rows of one class may change places, or tie, and leave it as it is.
    """
    parts = sklearn_private.scorer_parts(scorer)
    return bool(parts) and all(only_labels(part, final) or _is_roc_auc(part) for part in parts or ())


def _is_roc_auc(part: Any) -> bool:
    plain = (getattr(part, "_score_func", None), getattr(part, "_kwargs", None)) == (roc_auc_score, {})
    return plain and part._response_method in ("decision_function", ("decision_function", "predict_proba"))


def accuracy(y: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Give the share of right labels, as scikit-learn's `accuracy_score` does to the last bit."""
    return float(np.average(y == predicted, weights=weights))


def score(estimator: Any, X: Any, y: Any, scorer: Any, params: Mapping[str, Any]) -> Any:
    """Score as scikit-learn's searches do; what fails is raised."""
    return sklearn_private.score(estimator, X, y, scorer, params)
