"""Groups and weights that are declared and reach nothing: refused or warned of before a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import sklearn
from sklearn.metrics import check_scoring
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import get_routing_for_object

from diurnal.backends.sklearn import metadata_requests
from diurnal.backends.sklearn.fit_metadata import FitMetadata
from diurnal.backends.sklearn.group_splitters import GroupBoundSplitter
from diurnal.backends.sklearn.metadata_routing import (
    accepts_argument,
    inner_estimator,
    is_routed,
    prepare_estimator,
    reaches_fit,
    requested_params,
)
from diurnal.backends.sklearn.scorers import build_scorer, is_search, scoring_of
from diurnal.errors import ExperimentError
from diurnal.search import sklearn_private


def check_metadata_use(estimator: Any, *, groups: bool, sample_weight: bool) -> list[str]:
    """Reject weights that reach no fit; warn of what does not use groups or weights.

    Parameters
    ----------
    estimator : estimator
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
    needs = FitMetadata(groups=one if groups else None, sample_weight=one.copy() if sample_weight else None)
    if not needs:
        return []
    build_scorer(estimator)
    with sklearn.config_context(enable_metadata_routing=True):
        ready = prepare_estimator(estimator, needs)
        routed = is_routed(ready, needs)
        warnings = _unused_group_warnings(ready, needs, routed) if groups and is_search(estimator) else []
        if not sample_weight:
            return warnings
        _check_weights_used(estimator, ready, needs, routed)
        return [*warnings, *_unweighted_score_warnings(estimator, routed)]


def _check_weights_used(estimator: Any, ready: Any, needs: FitMetadata, routed: bool) -> None:
    inner = inner_estimator(estimator)
    last = metadata_requests.last_step(inner)
    for name, step in inner.steps if isinstance(inner, Pipeline) else ():
        if hasattr(step, "fit_resample"):
            raise ExperimentError(
                f"{type(step).__name__} ({name}) changes which rows there are, and new rows have no weight",
                hint="leave out sample_weight, or that step",
            )
    if not (reaches_fit(inner_estimator(ready), needs) if routed else accepts_argument(last.fit, "sample_weight")):
        raise ExperimentError(
            f"{type(last).__name__} takes no weights in its fit, and the experiment declares sample_weight",
            hint="leave out sample_weight, or take an estimator whose fit has the parameter sample_weight",
        )


def _unused_group_warnings(ready: Any, needs: FitMetadata, routed: bool) -> list[str]:
    splitter = getattr(ready, "cv", None)
    used = isinstance(splitter, GroupBoundSplitter) or bool(
        get_routing_for_object(splitter).consumes("split", needs.offered())
    )
    if used or (routed and "groups" in requested_params(ready, needs)):
        return []
    return [f"the folds are made without the groups: cv={splitter!r} may put one group in train and validation"]


def _unweighted_score_warnings(estimator: Any, routed: bool) -> list[str]:
    inner = inner_estimator(estimator)
    judge = check_scoring(inner, scoring=scoring_of(estimator))
    several = getattr(judge, "_scorers", {"": judge})
    names = [name or "the score" for name, one in several.items() if not metadata_requests.takes_weights(one)]
    warnings = [f"{', '.join(names)} takes no weights: it counts each row once"] if names else []
    if (
        is_search(estimator)
        and not routed
        and (isinstance(inner, Pipeline) or not sklearn_private.is_sklearn_search(estimator))
    ):
        unrouted = type(
            metadata_requests.last_step(inner) if sklearn_private.is_sklearn_search(estimator) else estimator
        ).__name__
        warnings.append(f"the scores of the folds count each row once: weights cannot be routed through {unrouted}")
    return warnings
