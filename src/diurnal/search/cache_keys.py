"""Cache keys of parameter values: two values with equal keys give the same fit.

A key may be too strict and never too loose: values with equal keys are interchangeable, values with different keys can
be interchangeable too. Then a fit is made twice, and no number is wrong.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

import numpy as np


def key_of(value: Any) -> Hashable:
    """Return the cache key of a parameter value.

    Plain values, containers and estimators are compared by value. Any other object is compared by identity.

    Examples
    --------
    >>> from sklearn.decomposition import PCA
    >>> key_of(PCA(3)) == key_of(PCA(n_components=3)), key_of(PCA(3)) == key_of(PCA(3.0)), key_of(0.0) == key_of(-0.0)
    (True, False, False)
    """
    kind = type(value)
    # The type is part of each key: 1, 1.0 and True are equal in Python, and an estimator may treat them differently.
    if value is None or kind in {bool, int, str, bytes}:
        return kind, value
    if kind in {float, complex}:
        return kind, repr(value)  # separates 0.0 from -0.0, and makes nan equal to itself
    if isinstance(value, np.generic) and not value.dtype.hasobject:
        return kind, value.dtype.str, value.tobytes()
    if kind in {tuple, list}:
        return kind, tuple(map(key_of, value))
    if kind is dict:
        return kind, tuple((key_of(k), key_of(v)) for k, v in value.items())
    return _key_of_estimator(value) if _has_default_clone(value) else (kind, id(value))


def is_estimator(value: Any) -> bool:
    """Return whether a value is an estimator instance."""
    return hasattr(value, "get_params") and not isinstance(value, type)


def is_from_sklearn(value: Any) -> bool:
    """Return whether a value runs scikit-learn's code only: its estimator or function, or a plain value."""
    if callable(value):
        return str(getattr(value, "__module__", "")).startswith("sklearn.") or type(value) is np.ufunc
    if not is_estimator(value):
        return True
    return all(
        type(nested).__module__.startswith("sklearn.") and all(map(is_from_sklearn, _plain_params(nested)))
        for nested in nested_estimators(value)
    )


def nested_estimators(estimator: Any) -> Iterator[Any]:
    """Yield an estimator and all estimators within it."""
    yield estimator
    for value in estimator.get_params(deep=True).values():
        if is_estimator(value):
            yield value


def _plain_params(estimator: Any) -> Iterator[Any]:
    yield from (v for v in estimator.get_params(deep=False).values() if not is_estimator(v))


def _has_default_clone(value: Any) -> bool:
    """Return whether `clone` builds an equal estimator from the parameters, which makes them a complete key."""
    from sklearn.base import BaseEstimator

    method = getattr(type(value), "__sklearn_clone__", BaseEstimator.__sklearn_clone__)
    return is_estimator(value) and method is BaseEstimator.__sklearn_clone__


def _key_of_estimator(estimator: Any) -> Hashable:
    params = estimator.get_params(deep=False)
    # `clone` copies two attributes beside the parameters: those of set_output() and of set_fit_request() and its kind.
    copied = (
        (k, key_of(v))
        for k, v in sorted(vars(estimator).items())
        if k in {"_sklearn_output_config", "_metadata_request"}
    )
    return type(estimator), tuple((name, key_of(params[name])) for name in sorted(params)), tuple(copied)
