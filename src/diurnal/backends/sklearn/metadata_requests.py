"""What estimators and scorers request beside X and y, where they do not say it themselves.

scikit-learn refuses weights for what takes them and does not say whether it wants them. Here they then go to the fit
and the score of what predicts and to every scorer that takes them, and to no step of a pipeline before the last one.
Explicit requests of an estimator or a scorer (``set_fit_request(sample_weight=False)``) are not changed.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import sklearn
from sklearn.base import ClassifierMixin, RegressorMixin, clone, is_classifier, is_regressor
from sklearn.metrics import check_scoring, get_scorer
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import get_routing_for_object

from diurnal.backends.sklearn.fit_metadata import FitMetadata
from diurnal.search import sklearn_private

_WEIGHTED = ("fit", "partial_fit", "score")


def fill_requests(estimator: Any, needs: FitMetadata, *, weighted: bool = True) -> None:
    """Request all metadata that an estimator and its parts accept, unless their requests are set.

    Parameters
    ----------
    estimator : estimator
        It is changed. Routing must be enabled.
    needs : Needs
        What there is.
    weighted : bool
        Whether it is what predicts, and not a pipeline step before that.
    """
    if isinstance(estimator, Pipeline):
        *before, (_, last_step) = estimator.steps
        for _, step in before:
            fill_requests(step, needs, weighted=False)
        fill_requests(last_step, needs, weighted=weighted)
    elif hasattr(estimator, "get_params") and not isinstance(estimator, type):
        _fill_own_requests(estimator, needs, weighted)
        for value in find_estimators(estimator.get_params(deep=False).values()):
            fill_requests(value, needs, weighted=weighted and is_predictor(value))


def _fill_own_requests(estimator: Any, needs: FitMetadata, weighted: bool) -> None:
    for method, requests in _own_requests(estimator).items():
        unset = [name for name in needs.named() if name in requests and requests[name] is None]
        wanted = {"sample_weight": weighted and method in _WEIGHTED, "groups": True}
        if unset and hasattr(estimator, f"set_{method}_request"):
            getattr(estimator, f"set_{method}_request")(**{name: wanted[name] for name in unset})


def _own_requests(estimator: Any) -> dict[str, Mapping[str, Any]]:
    """Return what an estimator itself requests, without those within it: the names of metadata, method by method."""
    if not hasattr(estimator, "_get_metadata_request"):
        return {}
    own = vars(estimator._get_metadata_request())
    return {method: dict(part.requests) for method, part in own.items() if hasattr(part, "requests")}


def find_estimators(values: Iterable[Any]) -> Iterator[Any]:
    """Return the estimators among some values, also those in lists, tuples (with their names) and dictionaries."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from find_estimators(value)
        elif isinstance(value, Mapping):
            yield from find_estimators(value.values())
        elif hasattr(value, "get_params") and not isinstance(value, type):
            yield value


def is_predictor(estimator: Any) -> bool:
    """Return whether an estimator predicts a class or a number."""
    return bool(is_classifier(estimator) or is_regressor(estimator))


def last_step(estimator: Any) -> Any:
    """Return the last step of a pipeline, of pipelines within it too; anything else as it is."""
    return last_step(estimator.steps[-1][1]) if isinstance(estimator, Pipeline) else estimator


def declines_weights(estimator: Any, method: str) -> bool:
    """Return whether the predictor explicitly declines weights."""
    return _own_requests(last_step(estimator)).get(method, {}).get("sample_weight") is False


def is_routable(estimator: Any) -> bool:
    """Return whether scikit-learn can route metadata through an estimator and all that is within."""
    try:
        get_routing_for_object(estimator)
    except NotImplementedError:
        return False
    return hasattr(estimator, "get_metadata_routing")


def weighted_scoring(scoring: Any, estimator: Any) -> Any:
    """Return the same scoring, whose scorers request weights where they take them and said nothing about it.

    Parameters
    ----------
    scoring : str, callable, list, tuple, set, dict or None
        As a search takes it.
    estimator : estimator
        What is scored, its requests filled.
    """
    if isinstance(scoring, list | tuple | set):
        return {name: _request_weights(get_scorer(name)) for name in scoring}
    if isinstance(scoring, Mapping):
        return {name: _request_weights(get_scorer(one)) for name, one in scoring.items()}
    if scoring is not None:
        return _request_weights(get_scorer(scoring))
    # an ensemble cannot request weights for its own score, and a pipeline whose last step does not cannot be scored
    own, final = default_scorer_name(estimator), last_step(estimator)
    if own is None or get_routing_for_object(final).consumes("score", ["sample_weight"]):
        return None
    return get_scorer(own).set_score_request(sample_weight=not declines_weights(final, "score"))


def _request_weights(scorer: Any) -> Any:
    if not hasattr(scorer, "set_score_request") or not hasattr(scorer, "_get_metadata_request"):
        return scorer
    requests = dict(scorer._get_metadata_request().score.requests)
    if "sample_weight" not in requests or requests["sample_weight"] is not None:
        return scorer
    others = {name: alias for name, alias in requests.items() if alias is not None}
    return deepcopy(scorer).set_score_request(**others, sample_weight=True)


def default_scorer_name(estimator: Any) -> str | None:
    """Name the scorer that an estimator's own `score` is, where it is scikit-learn's common one."""
    own = getattr(type(last_step(estimator)), "score", None)
    return {ClassifierMixin.score: "accuracy", RegressorMixin.score: "r2"}.get(own)


@contextmanager
def score_context(
    estimator: Any, scoring: Any, fitted: Any, needs: FitMetadata
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Prepare a score.

    Parameters
    ----------
    estimator : estimator
        What is scored, as the experiment has it.
    scoring : str, callable, list, tuple, set, dict or None
        As a search takes it.
    fitted : estimator
        What is scored, fitted. It may be changed: its requests are filled.
    needs : Needs
        What may be given beside X and y.

    Yields
    ------
    callable
        The scorer, or one of several.
    dict of str to numpy.ndarray
        What it is to be given.
    """
    if not needs:
        yield check_scoring(estimator, scoring=scoring), {}
        return
    with sklearn.config_context(enable_metadata_routing=True):
        routable = is_routable(estimator)
        if routable:
            ready = clone(estimator)
            fill_requests(ready, needs)
            fill_requests(fitted, needs)
            scorer = check_scoring(ready, scoring=weighted_scoring(scoring, ready))
            if params := sklearn_private.route_params(scorer, "score", needs.offered()):
                yield scorer, params
                return
    with sklearn.config_context(enable_metadata_routing=False):
        scorer = check_scoring(estimator, scoring=scoring)
        weighted = not routable and needs.sample_weight is not None and takes_weights(scorer)
        yield scorer, {"sample_weight": needs.sample_weight} if weighted else {}


def takes_weights(scorer: Any) -> bool:
    """Return whether a scorer can be given weights; of several, whether one can."""
    if hasattr(scorer, "_estimator"):  # it asks the estimator for its own score
        return "sample_weight" in inspect.signature(last_step(scorer._estimator).score).parameters
    if hasattr(scorer, "_accept_sample_weight"):
        return bool(scorer._accept_sample_weight())
    return "sample_weight" in inspect.signature(scorer).parameters
