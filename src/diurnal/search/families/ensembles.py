"""All sizes of a forest, of bagging or of boosting from the largest: its first k members are the ensemble of size k.

Forests and bagging draw the seeds of their members in order, and boosting fits each stage to the residuals, or the
weights, that the stages before it leave. So with a fixed `random_state`, and without early stopping, the first 100
trees of 500 equal a forest of 100, to the last bit. Members that are not trees may warn, each one time, and exclude an
ensemble.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

from diurnal.search.families.family_protocol import (
    DesignMatrix,
    UnsupportedData,
    common_matrix,
    copy_fitted_attributes,
    key_without,
)
from diurnal.search.tree import PipelineStep

_FORESTS = {RandomForestClassifier, RandomForestRegressor, ExtraTreesClassifier, ExtraTreesRegressor}
_TREES = {DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor}
_BAGGING = {BaggingClassifier, BaggingRegressor}
_ADABOOST = {AdaBoostClassifier, AdaBoostRegressor}
_GRADIENT_BOOSTING = {GradientBoostingClassifier, GradientBoostingRegressor}
_HIST_GRADIENT_BOOSTING = {HistGradientBoostingClassifier, HistGradientBoostingRegressor}
_PER_STAGE = ("estimators_", "train_score_", "oob_improvement_", "oob_scores_")


class EnsembleFamily:
    """The families of forests, of bagging and of boosting that differ in the number of members."""

    shares_leading_columns = False

    def group_key(self, step: PipelineStep) -> Hashable | None:
        """Return a key of all parameters but the number of members; None without a seed, or with early stopping."""
        cls = type(step.template)
        if cls not in _KINDS:
            return None
        params = step.params()
        size = params[_size_param(cls)]
        is_seeded = type(params["random_state"]) is int and not params.get("warm_start") and not params.get("verbose")
        if not is_seeded or isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
            return None
        return key_without(step, _size_param(cls)) if _FITS_ALL_MEMBERS[_KINDS[cls]](params) else None

    def prefers_shared_matrix(self, shape: tuple[int, int], y: Any) -> bool:  # noqa: ARG002 - of the protocol
        """Return False: each member uses its own matrix."""
        return False

    def fit(
        self, steps: Sequence[PipelineStep], designs: Sequence[DesignMatrix], y: Any, fit_params: Mapping[str, Any]
    ) -> FittedEnsembles:
        """Fit the largest."""
        X = common_matrix(designs)
        if fit_params.keys() - {"sample_weight"}:
            raise UnsupportedData(f"the fit has the parameters {sorted(fit_params)}")
        # early_stopping="auto" of histogram boosting stops early from 10,001 rows on.
        if steps[0].params().get("early_stopping") == "auto" and X.shape[0] > 10_000:
            raise UnsupportedData("it may stop early")
        return FittedEnsembles(steps, X, y, fit_params)


class FittedEnsembles:
    """The largest of several ensembles, and the smaller ones that are its first members."""

    exact = True

    def __init__(self, steps: Sequence[PipelineStep], X: Any, y: Any, fit_params: Mapping[str, Any]) -> None:
        self.steps, size_param = steps, _size_param(type(steps[0].template))
        self.size_param = size_param
        self.largest = max(steps, key=lambda step: int(step.params()[size_param])).build().fit(X, y, **fit_params)

    def estimator(self, i: int) -> Any:
        """Return the i-th ensemble: a copy of the largest, truncated to its number of members."""
        small = copy_fitted_attributes(self.largest, self.steps[i].build())
        size = int(getattr(small, self.size_param))
        _TRUNCATE[_KINDS[type(small)]](small, size)
        return small

    def emit_warnings(self, i: int) -> None:
        """Do nothing: an estimator has no warnings before it predicts."""

    def predict_labels(self, matrices: Sequence[Any], ranked_classes: Any = None) -> None:
        """Return None: each estimator predicts on its own."""


def _truncate_forest(small: Any, size: int) -> None:
    small.estimators_ = small.estimators_[:size]


def _truncate_bagging(small: Any, size: int) -> None:
    if not hasattr(small, "_seeds"):
        raise UnsupportedData("the private seeds of the members have another form")
    for name in ("estimators_", "estimators_features_", "_seeds"):
        setattr(small, name, getattr(small, name)[:size])


def _truncate_adaboost(small: Any, size: int) -> None:
    n_fitted = len(small.estimators_)
    if n_fitted < len(small.estimator_errors_) and small.estimator_errors_[n_fitted - 1] > 0:
        raise UnsupportedData("it stopped at an error, of which only some sizes warn")
    for name in ("estimators_", "estimator_weights_", "estimator_errors_"):
        setattr(small, name, getattr(small, name)[:size])


def _truncate_boosting(small: Any, size: int) -> None:
    for name in _PER_STAGE:
        if hasattr(small, name):
            setattr(small, name, getattr(small, name)[:size])
    if hasattr(small, "oob_score_"):
        small.oob_score_ = small.oob_scores_[-1]
    small.n_estimators_ = size


def _truncate_hist(small: Any, size: int) -> None:
    if not isinstance(getattr(small, "_predictors", None), list):
        raise UnsupportedData("the private list of stages has another form")
    small._predictors = small._predictors[:size]


def _has_tree_members(params: Mapping[str, Any]) -> bool:
    return params["estimator"] is None or type(params["estimator"]) in _TREES


_FITS_ALL_MEMBERS: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "forest": lambda params: params["oob_score"] is False and params["n_jobs"] in (None, 1),
    "bagging": lambda params: (
        params["oob_score"] is False and params["n_jobs"] in (None, 1) and _has_tree_members(params)
    ),
    "adaboost": _has_tree_members,
    "boosting": lambda params: params["n_iter_no_change"] is None and params["init"] in (None, "zero"),
    "hist": lambda params: params["early_stopping"] in (False, "auto"),
}
_TRUNCATE: dict[str, Callable[[Any, int], None]] = {
    "forest": _truncate_forest,
    "bagging": _truncate_bagging,
    "adaboost": _truncate_adaboost,
    "boosting": _truncate_boosting,
    "hist": _truncate_hist,
}


_KINDS: dict[type, str] = {
    **dict.fromkeys(_FORESTS, "forest"),
    **dict.fromkeys(_BAGGING, "bagging"),
    **dict.fromkeys(_ADABOOST, "adaboost"),
    **dict.fromkeys(_GRADIENT_BOOSTING, "boosting"),
    **dict.fromkeys(_HIST_GRADIENT_BOOSTING, "hist"),
}


def _size_param(cls: type) -> str:
    return "max_iter" if cls in _HIST_GRADIENT_BOOSTING else "n_estimators"
