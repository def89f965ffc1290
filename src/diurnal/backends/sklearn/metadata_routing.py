"""Routing of groups and weights to a fit and to the folds of a search, by scikit-learn's metadata routing.

Estimators without support for routing get their metadata directly, as arguments of ``fit``: `AdaBoostRegressor`, and
estimators and searches of other libraries. The last step of a pipeline then gets weights by its name
(``last__sample_weight``), and the scores of the folds are not weighted, since no argument passes weights to them.
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
from diurnal.backends.sklearn.fit import clone_unfitted
from diurnal.backends.sklearn.fit_metadata import FitMetadata
from diurnal.backends.sklearn.group_splitters import GroupBoundSplitter, needs_bound_groups
from diurnal.backends.sklearn.scorers import is_search
from diurnal.search import sklearn_private


@contextmanager
def metadata_context(estimator: Any, needs: FitMetadata) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Prepare a fit with metadata.

    Parameters
    ----------
    estimator : estimator
        A search, or a bare estimator.
    needs : Needs
        The metadata beside X and y.

    Yields
    ------
    estimator
        A clone whose requests are filled; `estimator` itself if there is no metadata to pass or to route.
    dict of str to numpy.ndarray
        The metadata arguments of its `fit`.
    """
    if not needs:
        yield estimator, {}
        return
    with sklearn.config_context(enable_metadata_routing=True):
        ready = prepare_estimator(estimator, needs)
        if is_routed(ready, needs):
            yield ready, requested_params(ready, needs)
            return
    with sklearn.config_context(enable_metadata_routing=False):
        yield estimator, _direct_params(estimator, needs)


def prepare_estimator(estimator: Any, needs: FitMetadata) -> Any:
    """Return a clone whose estimators, scorers and splitter request all metadata that they accept by default."""
    ready = clone_unfitted(estimator)
    metadata_requests.fill_requests(ready, needs)
    if not is_search(ready):
        return ready
    if metadata_requests.is_routable(inner_estimator(ready)) and hasattr(ready, "scoring"):
        ready.scoring = metadata_requests.weighted_scoring(ready.scoring, inner_estimator(ready))
    if needs.groups is not None and needs_bound_groups(getattr(ready, "cv", None)):
        ready.cv = GroupBoundSplitter(ready.cv, needs.groups)
    return ready


def inner_estimator(estimator: Any) -> Any:
    """Return the estimator that a search tunes; any other estimator unchanged."""
    return estimator.estimator if is_search(estimator) else estimator


def is_routed(ready: Any, needs: FitMetadata) -> bool:
    """Return whether metadata is routed; else it is passed directly."""
    inner = inner_estimator(ready)
    if not metadata_requests.is_routable(ready) or not metadata_requests.is_routable(inner):
        return False
    if is_search(ready) and not _is_router(ready):
        return False
    if is_search(ready) and getattr(ready, "scoring", None) is None and not _can_score_itself(inner):
        return False
    return reaches_fit(inner, needs) or not accepts_argument(metadata_requests.last_step(inner).fit, "sample_weight")


def _can_score_itself(inner: Any) -> bool:
    """Return whether an estimator can score itself: a pipeline cannot if its last step requests no metadata."""
    if not isinstance(inner, Pipeline):
        return True
    return bool(get_routing_for_object(metadata_requests.last_step(inner)).consumes("score", ["sample_weight"]))


def reaches_fit(inner: Any, needs: FitMetadata) -> bool:
    """Return whether weights, if any, are routed to a fit, or the predictor declines them."""
    if needs.sample_weight is None or metadata_requests.declines_weights(inner, "fit"):
        return True
    return bool(get_routing_for_object(inner).consumes("fit", needs.weights()))


def requested_params(ready: Any, needs: FitMetadata) -> dict[str, np.ndarray]:
    """Return the metadata that the `fit` of an estimator requests, by its own names."""
    offered = needs.offered()
    wanted = get_routing_for_object(ready).consumes("fit", offered)
    return sklearn_private.route_params(ready, "fit", {name: offered[name] for name in wanted})


def _is_router(estimator: Any) -> bool:
    return getattr(get_routing_for_object(estimator), "_type", "") == "metadata_router"


def _direct_params(estimator: Any, needs: FitMetadata) -> dict[str, np.ndarray]:
    """Return the metadata that a `fit` accepts without routing."""
    inner, given = inner_estimator(estimator), dict[str, np.ndarray]()
    if needs.groups is not None and accepts_argument(estimator.fit, "groups", keywords=is_search(estimator)):
        given["groups"] = needs.groups
    if needs.sample_weight is not None and accepts_argument(metadata_requests.last_step(inner).fit, "sample_weight"):
        given["__".join([*_names_of_last_step(inner), "sample_weight"])] = needs.sample_weight
    return given


def _names_of_last_step(estimator: Any) -> list[str]:
    if not isinstance(estimator, Pipeline):
        return []
    name, step = estimator.steps[-1]
    return [name, *_names_of_last_step(step)]


def accepts_argument(method: Any, name: str, *, keywords: bool = True) -> bool:
    """Return whether a method accepts an argument, or any keyword if `keywords`."""
    parameters = inspect.signature(method).parameters
    return name in parameters or (keywords and any(p.kind is p.VAR_KEYWORD for p in parameters.values()))
