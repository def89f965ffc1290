"""What estimators and scorers request beside X and y, where they do not say it themselves.

scikit-learn refuses weights for what takes them and does not say whether it wants them. Here they then go to the fit
and the score of what predicts and to every scorer that takes them, and to no step of a pipeline before the last one.
What an estimator or a scorer says (``set_fit_request(sample_weight=False)``) is kept.
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

from diurnal.backends.sklearn.fit_metadata import Needs
from diurnal.search import sklearn_private

_WEIGHTED = ("fit", "partial_fit", "score")


def fill(estimator: Any, needs: Needs, *, weighted: bool = True) -> None:
    """Let an estimator, and those within it, request what they take and said nothing about.

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
        *before, (_, last) = estimator.steps
        for _, step in before:
            fill(step, needs, weighted=False)
        fill(last, needs, weighted=weighted)
    elif hasattr(estimator, "get_params") and not isinstance(estimator, type):
        _fill_own(estimator, needs, weighted)
        for value in estimators_in(estimator.get_params(deep=False).values()):
            fill(value, needs, weighted=weighted and predicts(value))


def _fill_own(estimator: Any, needs: Needs, weighted: bool) -> None:
    for method, requests in _own_requests(estimator).items():
        unset = [name for name in needs.named() if name in requests and requests[name] is None]
        wanted = {"sample_weight": weighted and method in _WEIGHTED, "groups": True}
        if unset and hasattr(estimator, f"set_{method}_request"):
            getattr(estimator, f"set_{method}_request")(**{name: wanted[name] for name in unset})


def _own_requests(estimator: Any) -> dict[str, Mapping[str, Any]]:
    """Give what an estimator itself requests, without those within it: the names of metadata, method by method."""
    if not hasattr(estimator, "_get_metadata_request"):
        return {}
    own = vars(estimator._get_metadata_request())
    return {method: dict(part.requests) for method, part in own.items() if hasattr(part, "requests")}


def estimators_in(values: Iterable[Any]) -> Iterator[Any]:
    """Give the estimators among some values, also those in lists, tuples (with their names) and dictionaries."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from estimators_in(value)
        elif isinstance(value, Mapping):
            yield from estimators_in(value.values())
        elif hasattr(value, "get_params") and not isinstance(value, type):
            yield value


def predicts(estimator: Any) -> bool:
    """Tell whether an estimator predicts a class or a number."""
    return bool(is_classifier(estimator) or is_regressor(estimator))


def last(estimator: Any) -> Any:
    """Give the last step of a pipeline, of pipelines within it too; anything else as it is."""
    return last(estimator.steps[-1][1]) if isinstance(estimator, Pipeline) else estimator


def declines(estimator: Any, method: str) -> bool:
    """Tell whether what predicts says by itself that it wants no weights."""
    return _own_requests(last(estimator)).get(method, {}).get("sample_weight") is False


def is_routable(estimator: Any) -> bool:
    """Tell whether scikit-learn can route metadata through an estimator and all that is within."""
    try:
        get_routing_for_object(estimator)
    except NotImplementedError:
        return False
    return hasattr(estimator, "get_metadata_routing")


def weighted_scoring(scoring: Any, estimator: Any) -> Any:
    """Give the same scoring, whose scorers request weights where they take them and said nothing about it.

    Parameters
    ----------
    scoring : str, callable, list, tuple, set, dict or None
        As a search takes it.
    estimator : estimator
        What is scored, its requests filled.
    """
    if isinstance(scoring, list | tuple | set):
        return {name: _weighted(get_scorer(name)) for name in scoring}
    if isinstance(scoring, Mapping):
        return {name: _weighted(get_scorer(one)) for name, one in scoring.items()}
    if scoring is not None:
        return _weighted(get_scorer(scoring))
    # an ensemble cannot request weights for its own score, and a pipeline whose last step does not cannot be scored
    own, final = plain_score(estimator), last(estimator)
    if own is None or get_routing_for_object(final).consumes("score", ["sample_weight"]):
        return None
    return get_scorer(own).set_score_request(sample_weight=not declines(final, "score"))


def _weighted(scorer: Any) -> Any:
    if not hasattr(scorer, "set_score_request") or not hasattr(scorer, "_get_metadata_request"):
        return scorer
    requests = dict(scorer._get_metadata_request().score.requests)
    if "sample_weight" not in requests or requests["sample_weight"] is not None:
        return scorer
    others = {name: alias for name, alias in requests.items() if alias is not None}
    return deepcopy(scorer).set_score_request(**others, sample_weight=True)


def plain_score(estimator: Any) -> str | None:
    """Name the scorer that an estimator's own `score` is, where it is scikit-learn's common one."""
    own = getattr(type(last(estimator)), "score", None)
    return {ClassifierMixin.score: "accuracy", RegressorMixin.score: "r2"}.get(own)


@contextmanager
def judging(made: Any, scoring: Any, fitted: Any, needs: Needs) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Prepare a score.

    Parameters
    ----------
    made : estimator
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
        yield check_scoring(made, scoring=scoring), {}
        return
    with sklearn.config_context(enable_metadata_routing=True):
        routable = is_routable(made)
        if routable:
            ready = clone(made)
            fill(ready, needs)
            fill(fitted, needs)
            scorer = check_scoring(ready, scoring=weighted_scoring(scoring, ready))
            if params := sklearn_private.route_params(scorer, "score", needs.offered()):
                yield scorer, params
                return
    with sklearn.config_context(enable_metadata_routing=False):
        scorer = check_scoring(made, scoring=scoring)
        weighted = not routable and needs.sample_weight is not None and takes_weights(scorer)
        yield scorer, {"sample_weight": needs.sample_weight} if weighted else {}


def takes_weights(scorer: Any) -> bool:
    """Tell whether a scorer can be given weights; of several, whether one can."""
    if hasattr(scorer, "_estimator"):  # it asks the estimator for its own score
        return "sample_weight" in inspect.signature(last(scorer._estimator).score).parameters
    if hasattr(scorer, "_accept_sample_weight"):
        return bool(scorer._accept_sample_weight())
    return "sample_weight" in inspect.signature(scorer).parameters
