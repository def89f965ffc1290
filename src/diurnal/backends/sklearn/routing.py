"""Groups and weights on their way to a fit and to the folds of a search, by scikit-learn's metadata routing.

What scikit-learn cannot route through (`AdaBoostRegressor`, or estimators of other libraries that know no routing) is
given its metadata directly, as without routing.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import sklearn
from sklearn.base import clone
from sklearn.metrics import check_scoring
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import get_routing_for_object

from diurnal.backends.sklearn import requests
from diurnal.backends.sklearn.needs import Needs
from diurnal.backends.sklearn.scoring import is_search, scorer, scoring_of
from diurnal.errors import DeclarationError
from diurnal.search import door


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
        ready = _prepared(made, needs)
        if _is_routed(ready, needs):
            yield ready, _requested(ready, needs)
            return
    with sklearn.config_context(enable_metadata_routing=False):
        yield made, _taken(made, needs)


def check(made: Any, *, groups: bool, sample_weight: bool) -> list[str]:
    """Refuse weights that reach no fit; warn of what does not use groups or weights.

    Raises
    ------
    DeclarationError
        If what is tuned takes no weights.
    """
    one = np.ones(1)
    needs = Needs(groups=one if groups else None, sample_weight=one.copy() if sample_weight else None)
    if not needs:
        return []
    scorer(made)
    with sklearn.config_context(enable_metadata_routing=True):
        ready = _prepared(made, needs)
        routed = _is_routed(ready, needs)
        if sample_weight:
            _refuse_weightless(made, ready, needs, routed)
        warnings = _unused_groups(ready, needs, routed)
        return [*warnings, *_unweighted_scores(made)] if sample_weight else warnings


def _refuse_weightless(made: Any, ready: Any, needs: Needs, routed: bool) -> None:
    inner, name = _inner(made), type(requests.last(_inner(made))).__name__
    if routed and (_reached(_inner(ready), needs) or requests.declines(inner, "fit")):
        return
    if not routed and not isinstance(inner, Pipeline) and _accepts(inner.fit, "sample_weight"):
        return
    if isinstance(inner, Pipeline) and _accepts(requests.last(inner).fit, "sample_weight"):
        raise DeclarationError(
            f"{name} takes weights, and a pipeline cannot pass them on to it: it knows no metadata routing",
            advice="leave out sample_weight, or take an estimator that scikit-learn can route weights to",
        )
    raise DeclarationError(
        f"{name} takes no weights in its fit, and the experiment declares sample_weight",
        advice="leave out sample_weight, or take an estimator whose fit has the parameter sample_weight",
    )


def _unused_groups(ready: Any, needs: Needs, routed: bool) -> list[str]:
    if needs.groups is None or not is_search(ready):
        return []
    splitter = getattr(ready, "cv", None)
    used = isinstance(splitter, Bound) or bool(get_routing_for_object(splitter).consumes("split", needs.offered()))
    if used or (routed and "groups" in _requested(ready, needs)):
        return []
    return [f"the folds are made without the groups: cv={splitter!r} may put one group in train and validation"]


def _unweighted_scores(made: Any) -> list[str]:
    judge = check_scoring(_inner(made), scoring=scoring_of(made))
    several = getattr(judge, "_scorers", {"": judge})
    names = [name or "the score" for name, one in several.items() if not requests.takes_weights(one)]
    return [f"{', '.join(names)} takes no weights: it counts each row once"] if names else []


def _prepared(made: Any, needs: Needs) -> Any:
    """Give a clone whose estimators, scorers and splitter request what they take and said nothing about."""
    ready = clone(made)
    requests.fill(ready, needs)
    if not is_search(ready):
        return ready
    if requests.is_routable(_inner(ready)) and hasattr(ready, "scoring"):
        ready.scoring = requests.weighted_scoring(ready.scoring, _inner(ready))
    if needs.groups is not None and _must_be_bound(getattr(ready, "cv", None)):
        ready.cv = Bound(ready.cv, needs.groups)
    return ready


def _inner(made: Any) -> Any:
    return made.estimator if is_search(made) else made


def _is_routed(ready: Any, needs: Needs) -> bool:
    """Tell whether metadata is routed; else it is given directly."""
    inner = _inner(ready)
    if not requests.is_routable(ready) or not requests.is_routable(inner):
        return False
    wants_directly = not isinstance(inner, Pipeline) and _accepts(inner.fit, "sample_weight")
    return _reached(inner, needs) or requests.declines(inner, "fit") or not wants_directly


def _reached(inner: Any, needs: Needs) -> bool:
    return needs.sample_weight is None or bool(get_routing_for_object(inner).consumes("fit", needs.weights()))


def _requested(ready: Any, needs: Needs) -> dict[str, np.ndarray]:
    """Give what the `fit` of an estimator requests, by its own names."""
    offered = needs.offered()
    wanted = get_routing_for_object(ready).consumes("fit", offered)
    given = door.routed(ready, "fit", {name: offered[name] for name in wanted})
    if is_search(ready) and not wanted & set(needs.weights()) and _has_keywords(ready.fit) and not _is_router(ready):
        given |= {name: offered[name] for name in ("sample_weight",) if name in offered}
    return given


def _is_router(estimator: Any) -> bool:
    return getattr(get_routing_for_object(estimator), "_type", "") == "metadata_router"


def _taken(made: Any, needs: Needs) -> dict[str, np.ndarray]:
    """Give what a `fit` takes without routing."""
    named = {"groups": needs.groups, "sample_weight": needs.sample_weight}
    keyworded = {"groups", "sample_weight"} if is_search(made) else {"sample_weight"}
    return {
        name: values
        for name, values in named.items()
        if values is not None and (_accepts(made.fit, name, keywords=name in keyworded))
    }


def _accepts(fit: Any, name: str, *, keywords: bool = True) -> bool:
    return name in inspect.signature(fit).parameters or (keywords and _has_keywords(fit))


def _has_keywords(fit: Any) -> bool:
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(fit).parameters.values())


class Bound:
    """A splitter of another library that takes groups and knows no routing, together with the groups.

    Parameters
    ----------
    splitter : splitter
        Its `split` takes `groups`.
    groups : numpy.ndarray of shape (n_samples,)
    """

    def __init__(self, splitter: Any, groups: np.ndarray) -> None:
        self.splitter, self.groups = splitter, groups
        for name in ("shuffle", "random_state"):  # what a search asks to know whether folds repeat
            if hasattr(splitter, name):
                setattr(self, name, getattr(splitter, name))

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[Any]:  # noqa: ARG002 - it has its own
        """Give the (train, test) pairs."""
        return iter(self.splitter.split(X, y, self.groups))

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:  # noqa: ARG002
        """Count the pairs."""
        return int(self.splitter.get_n_splits(X, y, self.groups))

    def __repr__(self) -> str:
        return repr(self.splitter)


def _must_be_bound(splitter: Any) -> bool:
    if not hasattr(splitter, "split") or isinstance(splitter, str):
        return False
    if type(splitter).__module__.startswith("sklearn.") or not _accepts(splitter.split, "groups", keywords=False):
        return False
    return not get_routing_for_object(splitter).consumes("split", ["groups"])
