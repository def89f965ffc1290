"""Where an estimator draws random numbers without a seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sklearn.base import BaseEstimator


def find_unseeded(estimator: BaseEstimator) -> list[str]:
    """Name the places where a `random_state` is unset and matters, such as ``estimator__forest.random_state``."""
    found = []
    for place, part in [("", estimator), *_find_parts(estimator)]:
        params = part.get_params(deep=False) if hasattr(part, "get_params") else vars(part)
        if "random_state" in params and params["random_state"] is None and _uses_randomness(part, params):
            name = type(part).__name__
            found.append(f"{place} ({name})" if place else name)
    return found


def _find_parts(estimator: Any) -> list[tuple[str, Any]]:
    deep = estimator.get_params(deep=True)
    return [(name, part) for name, part in deep.items() if hasattr(part, "get_params") or hasattr(part, "random_state")]


def _uses_randomness(part: Any, params: Mapping[str, Any]) -> bool:
    """Return whether a part draws random numbers as it is set; one that we do not know is taken to."""
    rules: dict[str, Callable[[], bool]] = {
        "LogisticRegression": lambda: params["solver"] in ("sag", "saga", "liblinear"),
        "Ridge": lambda: params["solver"] in ("sag", "saga"),
        "RidgeClassifier": lambda: params["solver"] in ("sag", "saga"),
        "PCA": lambda: params["svd_solver"] in ("randomized", "arpack"),
        "TruncatedSVD": lambda: True,
        "SVC": lambda: params["probability"] is True,
        "NuSVC": lambda: params["probability"] is True,
        "LinearSVC": lambda: bool(params["dual"]),
        "Lasso": lambda: params["selection"] == "random",
        "ElasticNet": lambda: params["selection"] == "random",
        "GaussianProcessClassifier": lambda: params["n_restarts_optimizer"] > 0,
        "GaussianProcessRegressor": lambda: params["n_restarts_optimizer"] > 0,
        "QuantileTransformer": lambda: params["subsample"] is not None,
        "KBinsDiscretizer": lambda: params["subsample"] is not None,
    }
    rule = rules.get(type(part).__name__)
    if rule is not None:
        return rule()
    return not ("shuffle" in params and params["shuffle"] is False and not hasattr(part, "fit"))
