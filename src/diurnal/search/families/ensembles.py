"""Ensembles that grow one after the other: the first k members of a large one are the small one, to the last bit.

A forest draws the seeds of its trees in order; boosting fits each stage on what the stages before it left. Where a
fixed `random_state` starts both alike, and nothing stops the growth early, the largest serves every smaller number.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)

from diurnal.search.families.protocol import Design, NotServed
from diurnal.search.families.shared import like, one_matrix, rest_key
from diurnal.search.tree import Step

FORESTS = {RandomForestClassifier, RandomForestRegressor, ExtraTreesClassifier, ExtraTreesRegressor}
BOOSTS = {GradientBoostingClassifier, GradientBoostingRegressor}
HISTS = {HistGradientBoostingClassifier, HistGradientBoostingRegressor}
_STAGED = ("estimators_", "train_score_", "oob_improvement_", "oob_scores_")


class Family:
    """The families of forests and of boosting, each by the number of its members."""

    leading = False

    def key(self, step: Step) -> Hashable | None:
        """Give all parameters but the number of members; None for what may stop early, or is not seeded."""
        kind = type(step.template)
        if kind not in FORESTS | BOOSTS | HISTS:
            return None
        params = step.params()
        size = params[_number(kind)]
        grows = type(params["random_state"]) is int and not params["warm_start"] and not params["verbose"]
        if not grows or isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
            return None
        ends = {
            "forest": lambda: params["oob_score"] is False and params["n_jobs"] in (None, 1),
            "boost": lambda: params["n_iter_no_change"] is None and params["init"] in (None, "zero"),
            "hist": lambda: params["early_stopping"] in (False, "auto"),
        }
        return rest_key(step, _number(kind)) if ends[_sort(kind)]() else None

    def wide(self, shape: tuple[int, int], y: Any) -> bool:  # noqa: ARG002 - what the protocol asks
        """Tell that each member wants its own matrix."""
        return False

    def fit(self, steps: Sequence[Step], designs: Sequence[Design], y: Any, words: Mapping[str, Any]) -> Grown:
        """Grow the largest."""
        X = one_matrix(designs)
        if words.keys() - {"sample_weight"}:
            raise NotServed(f"the fit is given {sorted(words)}")
        if steps[0].params().get("early_stopping") == "auto" and X.shape[0] > 10_000:
            raise NotServed("it may stop early")
        return Grown(steps, X, y, words)


class Grown:
    """The largest of some ensembles, and the smaller ones that are cut from it."""

    exact = True

    def __init__(self, steps: Sequence[Step], X: Any, y: Any, words: Mapping[str, Any]) -> None:
        self.steps, self.number = steps, _number(type(steps[0].template))
        self.largest = max(steps, key=lambda step: int(step.params()[self.number])).make().fit(X, y, **words)

    def estimator(self, i: int) -> Any:
        """Cut the i-th from the largest."""
        small = like(self.largest, self.steps[i].make())
        size = int(getattr(small, self.number))
        _CUT[_sort(type(small))](small, size)
        return small

    def conclude(self, i: int) -> None:
        """Nothing is warned of before the estimator is made."""

    def labels(self, Xs: Sequence[Any], apart: Any = None) -> None:
        """Predict one by one."""


def _cut_forest(small: Any, size: int) -> None:
    small.estimators_ = small.estimators_[:size]


def _cut_boost(small: Any, size: int) -> None:
    for name in _STAGED:
        if hasattr(small, name):
            setattr(small, name, getattr(small, name)[:size])
    if hasattr(small, "oob_score_"):
        small.oob_score_ = small.oob_scores_[-1]
    small.n_estimators_ = size


def _cut_hist(small: Any, size: int) -> None:
    if not isinstance(getattr(small, "_predictors", None), list):
        raise NotServed("its stages are not where they were")
    small._predictors = small._predictors[:size]


_CUT: dict[str, Callable[[Any, int], None]] = {"forest": _cut_forest, "boost": _cut_boost, "hist": _cut_hist}


def _sort(kind: type) -> str:
    return "forest" if kind in FORESTS else "boost" if kind in BOOSTS else "hist"


def _number(kind: type) -> str:
    return "max_iter" if kind in HISTS else "n_estimators"
