"""Where an estimator draws random numbers without a seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from sklearn.base import BaseEstimator

from diurnal.backends.sklearn.parameter_grids import iter_values


def find_unseeded(estimator: BaseEstimator) -> list[str]:
    """Name the places where a `random_state` is unset and matters, such as ``estimator__forest.random_state``.

    Candidates of a search count: estimators that it tries, and settings with which an estimator draws numbers.
    """
    tuned, found = list(iter_values(estimator)), []
    for place, part in [("", estimator), *_find_parts(estimator), *_find_candidates(tuned)]:
        params = part.get_params(deep=False) if hasattr(part, "get_params") else vars(part)
        if "random_state" in params and params["random_state"] is None:
            prefix = place.removeprefix("estimator").removeprefix("__")
            changes = ({key: value} for name, value in tuned if (key := _name_in(prefix, name)) in params)
            if any(_uses_randomness(part, params | change) for change in ({}, *changes)):
                name = type(part).__name__
                found.append(f"{place} ({name})" if place else name)
    return list(dict.fromkeys(found))


def _find_parts(estimator: Any) -> list[tuple[str, Any]]:
    deep = estimator.get_params(deep=True)
    return [(name, part) for name, part in deep.items() if hasattr(part, "get_params") or hasattr(part, "random_state")]


def _find_candidates(tuned: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield the estimators that a search tries, and the parts of these."""
    for name, value in tuned:
        if hasattr(value, "get_params") and not isinstance(value, type):
            place = f"estimator__{name}"
            yield place, value
            yield from ((f"{place}__{inner}", part) for inner, part in _find_parts(value))


def _name_in(place: str, name: str) -> str:
    """Return the name of a tuned parameter within the estimator at a place."""
    return name.removeprefix(f"{place}__") if place else name


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
