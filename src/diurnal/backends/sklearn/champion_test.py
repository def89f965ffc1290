"""Twin against champion by the declared score: which paired test is asked, and what it is given.

The answers of both models stream by and stay, a few bytes for each sample; the rows do not, but for a bounded sample
where a scorer of the user's own looks at rows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.metrics import get_scorer, roc_auc_score

from diurnal.backends import paired_tests
from diurnal.backends.paired_tests import Paired
from diurnal.backends.sklearn import metadata_requests, scorers
from diurnal.backends.sklearn.batched_predict import BatchedData
from diurnal.backends.sklearn.fit import fit_context
from diurnal.backends.sklearn.fit_metadata import FitMetadata
from diurnal.backends.sklearn.sample_losses import LOSSES, wrong
from diurnal.backends.sklearn.score_resamples import ScoreResamples

MOST_RESAMPLED = 5_000
"""A score that is computed anew for each draw is, on so many samples at most."""


def compare_models(estimator: Any, twin: Any, champion: Any, data: BatchedData) -> Paired:
    """Compare two fitted estimators by the score that a search, or a bare estimator, declares.

    Parameters
    ----------
    estimator : estimator
        A search, or a bare estimator.
    twin, champion : estimator
        Fitted.
    data : BatchedData
        Samples that are new to both.

    Returns
    -------
    Paired
    """
    with fit_context():
        scorer, weights = _declared_scorer(estimator, twin, data.needs)
        if is_roc_auc(scorer) and all(len(getattr(model, "classes_", ())) == 2 for model in (twin, champion)):
            return _compare_by_ranks(scorer, twin, champion, data, weights)
        if has_losses(scorer):
            return _compare_by_losses(scorer, twin, champion, data, weights)
        return _compare_by_resamples(estimator, twin, champion, data)


def _declared_scorer(estimator: Any, model: Any, needs: FitMetadata) -> tuple[Any, np.ndarray | None]:
    """Return the scorer of the main score, and the weights that it is given."""
    inner = getattr(estimator, "estimator", estimator)
    with metadata_requests.score_context(inner, scorers.scoring_of(estimator), model, needs) as (judge, params):
        scorer = getattr(judge, "_scorers", {}).get(scorers.main_score_name(estimator), judge)
        given = any(values is needs.sample_weight for values in params.values())
        weighted = given and metadata_requests.takes_weights(scorer)
    if hasattr(scorer, "_estimator"):  # it asks the estimator for its own score
        own = metadata_requests.default_scorer_name(scorer._estimator)
        scorer = scorer if own is None else get_scorer(own)
    return scorer, needs.sample_weight if weighted else None


def is_roc_auc(scorer: Any) -> bool:
    """Return whether a scorer is the area under the ROC curve of two classes."""
    return _plain_metric(scorer) is roc_auc_score and scorer._sign == 1 and scorer._response_method != "predict"


def has_losses(scorer: Any) -> bool:
    """Return whether the score follows from the mean of losses of single samples."""
    sign, method, *_ = LOSSES.get(_plain_metric(scorer), (0, ""))
    return bool(sign) and (scorer._sign, scorer._response_method) == (sign, method)


def _plain_metric(scorer: Any) -> Any:
    """Return the metric of a scorer of scikit-learn's, unless it is called with more than target and answers."""
    return getattr(scorer, "_score_func", None) if not getattr(scorer, "_kwargs", None) else None


def _compare_by_ranks(scorer: Any, twin: Any, champion: Any, data: BatchedData, weights: np.ndarray | None) -> Paired:
    first, second = (_decision_values(scorer, model, data) for model in (twin, champion))
    return paired_tests.delong(data.y == twin.classes_[1], first, second, weights)


def _decision_values(scorer: Any, model: Any, data: BatchedData) -> np.ndarray:
    answers = data.answers(model, response_method(scorer, model))
    return answers[:, 1] if answers.ndim == 2 else answers


def response_method(scorer: Any, model: Any) -> str:
    """Return the first of the methods that a scorer asks for which a model has."""
    asked = scorer._response_method
    methods = (asked,) if isinstance(asked, str) else asked
    return next(method for method in methods if hasattr(model, method))


def _compare_by_losses(scorer: Any, twin: Any, champion: Any, data: BatchedData, weights: np.ndarray | None) -> Paired:
    _, method, loss, scale = LOSSES[scorer._score_func]
    one, other = (
        loss(data.y, data.answers(model, method), getattr(model, "classes_", ())) for model in (twin, champion)
    )
    if loss is wrong and weights is None:
        return paired_tests.mcnemar(int((other > one).sum()), int((one > other).sum()), data.n_rows)
    means = (float(np.average(losses, weights=weights)) for losses in (one, other))
    return paired_tests.sign_flips(one, other, weights, scale=scale(data.y, weights, *means))


def _compare_by_resamples(estimator: Any, twin: Any, champion: Any, data: BatchedData) -> Paired:
    places, inner, declared = (
        _bounded_sample(data.n_rows),
        getattr(estimator, "estimator", estimator),
        scorers.scoring_of(estimator),
    )
    y, classifies = data.y[places], scorers.detect_task(estimator) == "classification"
    with (
        metadata_requests.score_context(inner, declared, champion, data.needs),
        metadata_requests.score_context(inner, declared, twin, data.needs) as (judge, params),
    ):
        draws = ScoreResamples(judge, params, scorers.main_score_name(estimator), (twin, champion), data, places)
        draws(np.arange(len(y)), np.zeros(len(y), dtype=bool))  # shows what the scorer asks of models and rows
        strata = y if classifies else np.zeros(len(y))
        found = paired_tests.resampled(draws, strata, draws.differing(), swaps=draws.can_swap)
    stratified = "stratified " if classifies else ""
    sample = "" if len(y) == data.n_rows else f" of a sample of {len(y)} rows"
    return replace(found, test=f"{stratified}{found.test}{sample}")


def _bounded_sample(n_rows: int) -> np.ndarray:
    if n_rows <= MOST_RESAMPLED:
        return np.arange(n_rows)
    return np.sort(np.random.default_rng(0).choice(n_rows, MOST_RESAMPLED, replace=False))
