"""The declared score of a fitted model on parts of samples, from predictions that are known.

The common metrics of scikit-learn are means of losses, which cost microseconds for a few samples; scikit-learn's own
functions validate their input for milliseconds. Any other score is computed by its scorer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from sklearn import metrics

from diurnal.backends.evaluation_data import ScoreCounts
from diurnal.backends.sklearn import metadata_requests, scorers
from diurnal.backends.sklearn.batched_predict import BatchedData, CachedPredictor, LazyRows, was_materialized
from diurnal.backends.sklearn.champion_test import has_losses, is_roc_auc, response_method
from diurnal.backends.sklearn.sample_losses import LOSSES


class Answers(Protocol):
    """Predictions of models for some samples."""

    def answers(self, model: Any, method: str = "predict") -> np.ndarray:
        """Return the predictions of a model, by one of its methods."""


@dataclass(frozen=True)
class PlacedAnswers:
    """The predictions for the samples at some places.

    Attributes
    ----------
    data : BatchedData
        All samples.
    places : numpy.ndarray of int
        The positions of those that count.
    """

    data: BatchedData
    places: np.ndarray

    def answers(self, model: Any, method: str = "predict") -> np.ndarray:
        """Return the predictions of a model, by one of its methods."""
        return np.asarray(self.data.answers(model, method)[self.places])


class ReadsRowsError(Exception):
    """A scorer reads the rows themselves."""


@dataclass(frozen=True)
class DeclaredScore:
    """The main score of an experiment, for parts of its samples.

    Attributes
    ----------
    scorer : callable
        A scorer of scikit-learn, or of the user.
    params : Mapping of str to numpy.ndarray
        Its metadata beside X and y, for all samples.
    name : str
        The name of the score, if the scorer returns several.
    y : numpy.ndarray
        The target of all samples.
    """

    scorer: Callable[..., Any]
    params: Mapping[str, np.ndarray]
    name: str
    y: np.ndarray

    def of_places(self, model: Any, stream: Answers, places: np.ndarray) -> float:
        """Return the score of a model on the samples at some places; NaN where it is undefined.

        Parameters
        ----------
        model : estimator
            Fitted.
        stream : Answers
            The predictions for these samples, in their order.
        places : numpy.ndarray of int
            The positions of these samples.

        Raises
        ------
        ReadsRowsError
            If the scorer reads rows.
        """
        y, params = self.y[places], {key: values[places] for key, values in self.params.items()}
        if is_roc_auc(self.scorer) and len(getattr(model, "classes_", ())) == 2 and set(params) <= {"sample_weight"}:
            return _area_under_curve(self.scorer, model, stream, y, params.get("sample_weight"))
        if has_losses(self.scorer) and set(params) <= {"sample_weight"}:
            return _mean_of_losses(self.scorer, model, stream, y, params.get("sample_weight"))
        return self._given(model, stream, y, params)

    def _given(self, model: Any, stream: Answers, y: np.ndarray, params: Mapping[str, np.ndarray]) -> float:
        rows = LazyRows()
        try:
            given = self.scorer(CachedPredictor(model, stream), rows, y, **params)
        except Exception as error:
            if was_materialized(rows):
                raise ReadsRowsError from error
            return float("nan")
        if was_materialized(rows):
            raise ReadsRowsError
        return float(given[self.name] if isinstance(given, Mapping) else given)


@contextmanager
def declared_score(estimator: Any, model: Any, data: BatchedData) -> Iterator[DeclaredScore]:
    """Prepare the main score of an experiment for a model; it is valid within the context."""
    inner, name = getattr(estimator, "estimator", estimator), scorers.main_score_name(estimator)
    with metadata_requests.score_context(inner, scorers.scoring_of(estimator), model, data.needs) as (judge, given):
        params, scorer = given, getattr(judge, "_scorers", {}).get(name, judge)
        if scorer is not judge:
            weights = data.needs.sample_weight
            weighted = weights is not None and any(one is weights for one in given.values())
            params = {"sample_weight": weights} if weighted and metadata_requests.takes_weights(scorer) else {}
        if hasattr(scorer, "_estimator"):  # it asks the estimator for its own score
            own = metadata_requests.default_scorer_name(scorer._estimator)
            scorer = scorer if own is None else metrics.get_scorer(own)
        yield DeclaredScore(scorer, params, name, data.y)


def _area_under_curve(scorer: Any, model: Any, stream: Answers, y: np.ndarray, weights: np.ndarray | None) -> float:
    answers = stream.answers(model, response_method(scorer, model))
    scores = answers[:, 1] if answers.ndim == 2 else answers
    counts = ScoreCounts.from_samples(scores, y == model.classes_[1], weights)
    return counts.auc() if counts.has_both else float("nan")


def _mean_of_losses(scorer: Any, model: Any, stream: Answers, y: np.ndarray, weights: np.ndarray | None) -> float:
    metric = scorer._score_func
    _, method, loss, _ = LOSSES[metric]
    losses = loss(y, stream.answers(model, method), getattr(model, "classes_", ()))
    if weights is not None and not weights.sum() > 0:
        return float("nan")
    mean = float(np.average(losses, weights=weights))
    if metric is metrics.accuracy_score:
        return 1 - mean
    if metric is metrics.r2_score:
        centre = np.average(y, weights=weights)
        variance = float(np.average((y - centre) ** 2, weights=weights))
        return 1 - mean / variance if variance > 0 else float("nan")
    return -float(np.sqrt(mean)) if metric in _ROOTS else -mean


_ROOTS = {metrics.root_mean_squared_error, metrics.root_mean_squared_log_error}
