"""All sizes of XGBoost, LightGBM and CatBoost from the largest: its first k rounds are the model of k rounds.

This holds without early stopping, if a round does not depend on the number of rounds, and does not change earlier ones.
Dart, linear boosters and updates of existing trees change earlier rounds. CatBoost derives a learning rate that is not
given from the number of rounds, and truncates symmetric trees only. Parameters that are not known here exclude a step.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diurnal.search.families.family_protocol import (
    DesignMatrix,
    UnsupportedData,
    common_matrix,
    key_without,
)
from diurnal.search.fold import read_only_view
from diurnal.search.tree import PipelineStep

_LIGHTGBM_OPTIONS = {
    "verbose", "verbosity", "seed", "deterministic", "force_row_wise", "force_col_wise", "num_threads", "max_bin",
    "feature_fraction", "feature_fraction_bynode", "bagging_fraction", "bagging_freq", "lambda_l1", "lambda_l2",
    "min_data_in_leaf", "min_gain_to_split", "scale_pos_weight", "is_unbalance", "extra_trees", "path_smooth",
}  # fmt: skip
_CATBOOST_OPTIONS = {
    "learning_rate", "eta", "depth", "max_depth", "l2_leaf_reg", "reg_lambda", "random_seed", "random_state",
    "bootstrap_type", "subsample", "bagging_temperature", "rsm", "colsample_bylevel", "random_strength", "nan_mode",
    "min_data_in_leaf", "min_child_samples", "border_count", "max_bin", "thread_count", "verbose", "silent",
    "logging_level", "allow_writing_files", "loss_function", "objective", "eval_metric", "class_weights",
    "auto_class_weights", "scale_pos_weight", "boosting_type", "leaf_estimation_method", "leaf_estimation_iterations",
    "one_hot_max_size", "cat_features",
}  # fmt: skip


@dataclass(frozen=True)
class _Library:
    """One library of boosters.

    Attributes
    ----------
    size_params : tuple of str
        The names of the number of rounds.
    supports : callable
        Returns whether one fit serves all numbers of rounds of these parameters.
    truncate : callable
        Receives the fitted estimator with most rounds, an unfitted one and its number of rounds; returns the latter
        fitted.
    """

    size_params: tuple[str, ...]
    supports: Callable[[Mapping[str, Any]], bool]
    truncate: Callable[[Any, Any, int], Any]


class BoosterFamily:
    """The family of boosters that differ in the number of rounds."""

    shares_leading_columns = False

    def group_key(self, step: PipelineStep) -> Hashable | None:
        """Return a key of all parameters but the number of rounds; None where a round depends on it."""
        library = _LIBRARIES.get(_class_name(step.template))
        if library is None:
            return None
        params = step.params()
        sizes = {name: params[name] for name in library.size_params if params.get(name) is not None}
        if len(sizes) != 1 or not all(type(n) in (int, np.int32, np.int64) and n >= 1 for n in sizes.values()):
            return None
        # Read from the object: get_params() of XGBoost draws a number from a generator.
        seeds = [step.changes.get(name, vars(step.template).get(name)) for name in ("random_state", "random_seed")]
        options = {name: value for name, value in params.items() if name not in library.size_params}
        is_seeded = all(seed is None or type(seed) in (int, np.int32, np.int64) for seed in seeds)
        return key_without(step, *sizes) if is_seeded and library.supports(options) else None

    def prefers_shared_matrix(self, shape: tuple[int, int], y: Any) -> bool:  # noqa: ARG002 - of the protocol
        """Return False: each member uses its own matrix."""
        return False

    def fit(
        self, steps: Sequence[PipelineStep], designs: Sequence[DesignMatrix], y: Any, fit_params: Mapping[str, Any]
    ) -> FittedBoosters:
        """Fit the largest."""
        X = read_only_view(steps[0], common_matrix(designs))
        if fit_params.keys() - {"sample_weight"}:
            raise UnsupportedData(f"the fit has the parameters {sorted(fit_params)}")
        return FittedBoosters(steps, X, y, fit_params)


class FittedBoosters:
    """The booster with most rounds, and smaller ones that are its first rounds."""

    exact = True

    def __init__(self, steps: Sequence[PipelineStep], X: Any, y: Any, fit_params: Mapping[str, Any]) -> None:
        library = _LIBRARIES[_class_name(steps[0].template)]
        self.steps, self.truncate = steps, library.truncate
        self.sizes = [next(step.params()[n] for n in library.size_params if step.params().get(n)) for step in steps]
        self.largest = steps[int(np.argmax(self.sizes))].build().fit(X, y, **fit_params)

    def estimator(self, i: int) -> Any:
        """Return the i-th booster: a copy of the largest, truncated to its number of rounds."""
        try:
            return self.truncate(self.largest, self.steps[i].build(), int(self.sizes[i]))
        except AttributeError as error:  # of a private name
            raise UnsupportedData(f"the booster has another form: {error}") from error

    def emit_warnings(self, i: int) -> None:
        """Do nothing: the smaller boosters are not fitted."""

    def predict_labels(self, matrices: Sequence[Any], ranked_classes: Any = None) -> None:
        """Return None: each estimator predicts on its own."""


def _supports_xgboost(options: Mapping[str, Any]) -> bool:
    from xgboost import XGBModel

    known = XGBModel().get_params()  # others become free options of the library
    return (
        options.keys() <= known.keys()
        and options["booster"] in (None, "gbtree")
        and options["early_stopping_rounds"] is None
        and options["callbacks"] is None
        and options["device"] in (None, "cpu")
        and options["multi_strategy"] in (None, "one_output_per_tree")
        and options["verbosity"] in (None, 0, 1)
        and isinstance(options["objective"], str | None)
    )


def _truncate_xgboost(largest: Any, small: Any, size: int) -> Any:
    return _copy_state(largest, small, size, _Booster=largest.get_booster()[:size])


def _supports_lightgbm(options: Mapping[str, Any]) -> bool:
    from lightgbm import LGBMModel

    return (
        options.keys() - LGBMModel().get_params().keys() <= _LIGHTGBM_OPTIONS
        and options["boosting_type"] == "gbdt"
        and isinstance(options["objective"], str | None)
    )


def _truncate_lightgbm(largest: Any, small: Any, size: int) -> Any:
    from lightgbm import Booster

    booster = largest.booster_  # it has fewer rounds if no split was left to make
    text = booster.model_to_string(num_iteration=min(size, booster.current_iteration()))
    return _copy_state(largest, small, size, _Booster=Booster(model_str=text), _other_params=small._other_params)


def _supports_catboost(options: Mapping[str, Any]) -> bool:
    rates = [options.get(name) for name in ("learning_rate", "eta")]
    return (
        options.keys() <= _CATBOOST_OPTIONS
        and any(rate is not None for rate in rates)
        and all(isinstance(options.get(name), str | None) for name in ("loss_function", "objective", "eval_metric"))
    )


def _truncate_catboost(largest: Any, small: Any, size: int) -> Any:
    copied = largest.copy()
    copied.shrink(min(size, copied.tree_count_))
    copied._init_params = small._init_params  # set_params() refuses a fitted model
    return copied


def _copy_state(largest: Any, small: Any, size: int, **attributes: Any) -> Any:
    # Also parameters: the fit of several classes sets the objective.
    vars(small).update({**vars(largest), "n_estimators": size, **attributes})
    return small


_XGBOOST = _Library(("n_estimators",), _supports_xgboost, _truncate_xgboost)
_LIGHTGBM = _Library(("n_estimators",), _supports_lightgbm, _truncate_lightgbm)
_CATBOOST_SIZES = ("iterations", "n_estimators", "num_boost_round", "num_trees")
_CATBOOST = _Library(_CATBOOST_SIZES, _supports_catboost, _truncate_catboost)
_LIBRARIES = {
    ("xgboost.sklearn", "XGBClassifier"): _XGBOOST,
    ("xgboost.sklearn", "XGBRegressor"): _XGBOOST,
    ("lightgbm.sklearn", "LGBMClassifier"): _LIGHTGBM,
    ("lightgbm.sklearn", "LGBMRegressor"): _LIGHTGBM,
    ("catboost.core", "CatBoostClassifier"): _CATBOOST,
    ("catboost.core", "CatBoostRegressor"): _CATBOOST,
}


def _class_name(estimator: Any) -> tuple[str, str]:
    """Return the name by which a class is found without an import of its library."""
    return type(estimator).__module__, type(estimator).__qualname__
