"""Groups and weights that are declared and reach nothing: refused or warned of before a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import sklearn
from sklearn.metrics import check_scoring
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import get_routing_for_object

from diurnal.backends.sklearn import metadata_requests
from diurnal.backends.sklearn.fit_metadata import Needs
from diurnal.backends.sklearn.group_splitters import Bound
from diurnal.backends.sklearn.metadata_routing import accepts, inner_of, is_routed, prepared, reaches_fit, requested
from diurnal.backends.sklearn.scorers import is_search, scorer, scoring_of
from diurnal.errors import ExperimentError
from diurnal.search import sklearn_private


def check(made: Any, *, groups: bool, sample_weight: bool) -> list[str]:
    """Refuse weights that reach no fit; warn of what does not use groups or weights.

    Parameters
    ----------
    made : estimator
        A search, or a bare estimator.
    groups, sample_weight : bool
        Whether they are declared.

    Returns
    -------
    list of str
        Warnings.

    Raises
    ------
    ExperimentError
        If what is tuned takes no weights, or makes rows that have none.
    """
    one = np.ones(1)
    needs = Needs(groups=one if groups else None, sample_weight=one.copy() if sample_weight else None)
    if not needs:
        return []
    scorer(made)
    with sklearn.config_context(enable_metadata_routing=True):
        ready = prepared(made, needs)
        routed = is_routed(ready, needs)
        warnings = _unused_groups(ready, needs, routed) if groups and is_search(made) else []
        if not sample_weight:
            return warnings
        _refuse_weightless(made, ready, needs, routed)
        return [*warnings, *_unweighted_scores(made, routed)]


def _refuse_weightless(made: Any, ready: Any, needs: Needs, routed: bool) -> None:
    inner = inner_of(made)
    last = metadata_requests.last(inner)
    for name, step in inner.steps if isinstance(inner, Pipeline) else ():
        if hasattr(step, "fit_resample"):
            raise ExperimentError(
                f"{type(step).__name__} ({name}) changes which rows there are, and new rows have no weight",
                hint="leave out sample_weight, or that step",
            )
    if not (reaches_fit(inner_of(ready), needs) if routed else accepts(last.fit, "sample_weight")):
        raise ExperimentError(
            f"{type(last).__name__} takes no weights in its fit, and the experiment declares sample_weight",
            hint="leave out sample_weight, or take an estimator whose fit has the parameter sample_weight",
        )


def _unused_groups(ready: Any, needs: Needs, routed: bool) -> list[str]:
    splitter = getattr(ready, "cv", None)
    used = isinstance(splitter, Bound) or bool(get_routing_for_object(splitter).consumes("split", needs.offered()))
    if used or (routed and "groups" in requested(ready, needs)):
        return []
    return [f"the folds are made without the groups: cv={splitter!r} may put one group in train and validation"]


def _unweighted_scores(made: Any, routed: bool) -> list[str]:
    inner = inner_of(made)
    judge = check_scoring(inner, scoring=scoring_of(made))
    several = getattr(judge, "_scorers", {"": judge})
    names = [name or "the score" for name, one in several.items() if not metadata_requests.takes_weights(one)]
    said = [f"{', '.join(names)} takes no weights: it counts each row once"] if names else []
    if is_search(made) and not routed and (isinstance(inner, Pipeline) or not sklearn_private.is_sklearn_search(made)):
        unrouted = type(metadata_requests.last(inner) if sklearn_private.is_sklearn_search(made) else made).__name__
        said.append(f"the scores of the folds count each row once: weights cannot be routed through {unrouted}")
    return said
