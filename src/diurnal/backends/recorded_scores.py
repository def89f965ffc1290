"""Scores of predictions that were recorded earlier: no model is loaded, and no feature is read."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from sklearn import metrics
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.utils.metaestimators import available_if

from diurnal.backends.sklearn.batched_predict import LazyRows, was_materialized
from diurnal.backends.sklearn.fit_metadata import NO_METADATA, FitMetadata
from diurnal.backends.sklearn.metadata_requests import takes_weights
from diurnal.backends.sklearn.scorers import build_scorer
from diurnal.types.evaluation import finite_or_none


@dataclass(frozen=True, eq=False)
class RecordedPredictions:
    """Predictions of rows whose truth is known.

    Attributes
    ----------
    y, predicted : numpy.ndarray of shape (n_rows,)
        The truth, and what was predicted.
    classes : numpy.ndarray of shape (n_classes,), optional
        The classes of the model, in its own order; None for a regression.
    probabilities : numpy.ndarray of shape (n_rows, n_classes), optional
        The probability of each class.
    sample_weight : numpy.ndarray of shape (n_rows,), optional
        The declared weights.
    """

    y: np.ndarray
    predicted: np.ndarray
    classes: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    sample_weight: np.ndarray | None = None


def score_recorded(
    scoring: str,
    recorded: RecordedPredictions,
    *,
    is_spark: bool = False,
    build: Callable[[], Any] | None = None,
) -> tuple[dict[str, float | None], str | None]:
    """Return the declared score and common ones; greater is better.

    Parameters
    ----------
    scoring : str
        The name of the declared score, as the row of a run has it.
    recorded : RecordedPredictions
        At least one row.
    is_spark : bool
        Whether it is the name of a metric of Spark.
    build : callable, optional
        Returns what the experiment returns. A score that is no scorer of scikit-learn is taken from it.

    Returns
    -------
    dict of str to float or None
        By name of the scorer; None where it is undefined. The declared one is missing if it cannot be computed.
    str or None
        Why the declared score is missing.

    Examples
    --------
    >>> y, predicted = np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0])
    >>> score_recorded("neg_max_error", RecordedPredictions(y, predicted))[0]["neg_max_error"]
    -1.0
    """
    model, reason, scores = _model_of(recorded), None, {}
    with warnings.catch_warnings(action="ignore"):
        for name in _common_scores(recorded):
            scores[name] = _try_score(_named_scorer(name, model, recorded))
        declared = _declared_scorer(scoring, model, recorded, is_spark=is_spark, build=build)
        if isinstance(declared, str):
            reason = declared
        elif declared is not None:
            try:
                scores[scoring] = finite_or_none(float(declared()))
            except Exception as error:  # noqa: BLE001 - a scorer of the user may fail with anything
                reason = f"{scoring} cannot be computed: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
    return scores, reason


class _RecordedClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """A fitted classifier for scorers, whose predictions are those that were recorded."""

    def __init__(self, recorded: RecordedPredictions) -> None:
        self.recorded = recorded
        self.order_ = np.argsort(recorded.classes)  # type: ignore[arg-type] # not None, as this classifies
        self.classes_ = np.sort(recorded.classes)  # type: ignore[arg-type] # as scorers expect them

    def predict(self, _: Any) -> np.ndarray:
        return self.recorded.predicted

    @available_if(lambda self: self.recorded.probabilities is not None)  # type: ignore[untyped-decorator]
    def predict_proba(self, _: Any) -> np.ndarray:
        return self.recorded.probabilities[:, self.order_]  # type: ignore[index] # not None


class _RecordedRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """A fitted regressor for scorers, whose predictions are those that were recorded."""

    def __init__(self, recorded: RecordedPredictions) -> None:
        self.recorded = recorded
        self.is_fitted_ = True

    def predict(self, _: Any) -> np.ndarray:
        return self.recorded.predicted


def _model_of(recorded: RecordedPredictions) -> Any:
    return _RecordedRegressor(recorded) if recorded.classes is None else _RecordedClassifier(recorded)


def _common_scores(recorded: RecordedPredictions) -> Iterable[str]:
    if recorded.classes is None:
        return ("neg_mean_absolute_error", "neg_root_mean_squared_error", "r2")
    if recorded.probabilities is None:
        return ("accuracy",)
    return ("accuracy", "neg_log_loss", *(("roc_auc",) if len(recorded.classes) == 2 else ()))


def _named_scorer(name: str, model: Any, recorded: RecordedPredictions) -> Callable[[], float]:
    scorer, weights = get_scorer(name), recorded.sample_weight
    weighted = weights is not None and takes_weights(scorer)
    return partial(scorer, model, LazyRows(), recorded.y, **({"sample_weight": weights} if weighted else {}))


def _try_score(scorer: Callable[[], float]) -> float | None:
    """Return a common score; None where it is undefined, as with a single class."""
    try:
        return finite_or_none(float(scorer()))
    except ValueError:
        return None


def _declared_scorer(
    scoring: str,
    model: Any,
    recorded: RecordedPredictions,
    *,
    is_spark: bool,
    build: Callable[[], Any] | None,
) -> Callable[[], float] | str:
    """Return the declared score, or why it cannot be computed."""
    if is_spark:
        return _spark_metric(scoring, recorded) or f"{scoring} of Spark cannot be computed from recorded predictions"
    if scoring in get_scorer_names():
        return _named_scorer(scoring, model, recorded)
    if build is None:
        return f"{scoring} is no scorer of scikit-learn; the next run of the experiment computes it"
    return partial(_score_by_declaration, scoring, build, model, recorded)


def _score_by_declaration(scoring: str, build: Callable[[], Any], model: Any, recorded: RecordedPredictions) -> float:
    rows, score = LazyRows(), build_scorer(build())[1]
    needs = NO_METADATA if recorded.sample_weight is None else FitMetadata(sample_weight=recorded.sample_weight)
    try:
        return score(model, rows, recorded.y, needs)[scoring]
    except Exception as error:
        if was_materialized(rows):
            raise TypeError("it reads the features of rows") from error
        raise


def _spark_metric(scoring: str, recorded: RecordedPredictions) -> Callable[[], float] | None:
    """Return a metric of Spark's evaluators; None if it needs more than what is recorded."""
    name = scoring.removeprefix("neg_")
    sign = -1 if name != scoring else 1
    classes, probabilities = recorded.classes, recorded.probabilities
    if name in _SPARK_RANKS:
        if probabilities is None or classes is None or len(classes) != 2:
            return None
        return partial(_SPARK_RANKS[name], recorded.y == classes[1], probabilities[:, 1])
    if name == "logLoss":
        return _named_scorer("neg_log_loss", _model_of(recorded), recorded) if probabilities is not None else None
    metric = _SPARK_METRICS.get(name)
    return None if metric is None else lambda: sign * float(metric(recorded.y, recorded.predicted))


_weighted = {"average": "weighted", "zero_division": 0}
_SPARK_RANKS = {"areaUnderROC": metrics.roc_auc_score, "areaUnderPR": metrics.average_precision_score}
_SPARK_METRICS: dict[str, Callable[..., float]] = {
    "accuracy": metrics.accuracy_score,
    "weightedRecall": metrics.accuracy_score,
    "weightedTruePositiveRate": metrics.accuracy_score,
    "hammingLoss": metrics.zero_one_loss,
    "f1": partial(metrics.f1_score, **_weighted),
    "weightedPrecision": partial(metrics.precision_score, **_weighted),
    "rmse": metrics.root_mean_squared_error,
    "mse": metrics.mean_squared_error,
    "mae": metrics.mean_absolute_error,
    "r2": metrics.r2_score,
}
