"""Groups and weights on their way to a fit and to the folds of a search, by scikit-learn's metadata routing.

What scikit-learn cannot route through is given its metadata directly, as without routing: `AdaBoostRegressor`, and
estimators and searches of other libraries that know none. The last step of a pipeline is then given weights by its name
(``last__sample_weight``), and the scores of the folds are not weighted, since scikit-learn has no name for theirs.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import sklearn
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import get_routing_for_object

from diurnal.backends.sklearn import metadata_requests
from diurnal.backends.sklearn.fit import fresh
from diurnal.backends.sklearn.fit_metadata import Needs
from diurnal.backends.sklearn.group_splitters import Bound, must_be_bound
from diurnal.backends.sklearn.scorers import is_search
from diurnal.search import sklearn_private


@contextmanager
def offering(made: Any, needs: Needs) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Prepare a fit.

    Parameters
    ----------
    made : estimator
        A search, or what it tunes.
    needs : Needs
        What may be given beside X and y.

    Yields
    ------
    estimator
        A clone whose requests are filled; `made` itself where nothing is offered or routed.
    dict of str to numpy.ndarray
        What its `fit` is to be given.
    """
    if not needs:
        yield made, {}
        return
    with sklearn.config_context(enable_metadata_routing=True):
        ready = prepared(made, needs)
        if is_routed(ready, needs):
            yield ready, requested(ready, needs)
            return
    with sklearn.config_context(enable_metadata_routing=False):
        yield made, _taken(made, needs)


def prepared(made: Any, needs: Needs) -> Any:
    """Give a clone whose estimators, scorers and splitter request what they take and said nothing about."""
    ready = fresh(made)
    metadata_requests.fill(ready, needs)
    if not is_search(ready):
        return ready
    if metadata_requests.is_routable(inner_of(ready)) and hasattr(ready, "scoring"):
        ready.scoring = metadata_requests.weighted_scoring(ready.scoring, inner_of(ready))
    if needs.groups is not None and must_be_bound(getattr(ready, "cv", None)):
        ready.cv = Bound(ready.cv, needs.groups)
    return ready


def inner_of(made: Any) -> Any:
    """Give what a search tunes; anything else as it is."""
    return made.estimator if is_search(made) else made


def is_routed(ready: Any, needs: Needs) -> bool:
    """Tell whether metadata is routed; else it is given directly."""
    inner = inner_of(ready)
    if not metadata_requests.is_routable(ready) or not metadata_requests.is_routable(inner):
        return False
    if is_search(ready) and not _is_router(ready):
        return False
    if is_search(ready) and getattr(ready, "scoring", None) is None and not _scores(inner):
        return False
    return reaches_fit(inner, needs) or not accepts(metadata_requests.last(inner).fit, "sample_weight")


def _scores(inner: Any) -> bool:
    """Tell whether an estimator can be asked for its own score: a pipeline cannot if its last step requests nothing."""
    if not isinstance(inner, Pipeline):
        return True
    return bool(get_routing_for_object(metadata_requests.last(inner)).consumes("score", ["sample_weight"]))


def reaches_fit(inner: Any, needs: Needs) -> bool:
    """Tell whether weights, if there are any, are routed to a fit, or what predicts says that it wants none."""
    if needs.sample_weight is None or metadata_requests.declines(inner, "fit"):
        return True
    return bool(get_routing_for_object(inner).consumes("fit", needs.weights()))


def requested(ready: Any, needs: Needs) -> dict[str, np.ndarray]:
    """Give what the `fit` of an estimator requests, by its own names."""
    offered = needs.offered()
    wanted = get_routing_for_object(ready).consumes("fit", offered)
    return sklearn_private.route_params(ready, "fit", {name: offered[name] for name in wanted})


def _is_router(estimator: Any) -> bool:
    return getattr(get_routing_for_object(estimator), "_type", "") == "metadata_router"


def _taken(made: Any, needs: Needs) -> dict[str, np.ndarray]:
    """Give what a `fit` takes without routing."""
    inner, given = inner_of(made), dict[str, np.ndarray]()
    if needs.groups is not None and accepts(made.fit, "groups", keywords=is_search(made)):
        given["groups"] = needs.groups
    if needs.sample_weight is not None and accepts(metadata_requests.last(inner).fit, "sample_weight"):
        given["__".join([*_names_of_last(inner), "sample_weight"])] = needs.sample_weight
    return given


def _names_of_last(estimator: Any) -> list[str]:
    if not isinstance(estimator, Pipeline):
        return []
    name, step = estimator.steps[-1]
    return [name, *_names_of_last(step)]


def accepts(method: Any, name: str, *, keywords: bool = True) -> bool:
    """Tell whether a method takes an argument, or any if `keywords` count."""
    parameters = inspect.signature(method).parameters
    return name in parameters or (keywords and any(p.kind is p.VAR_KEYWORD for p in parameters.values()))
