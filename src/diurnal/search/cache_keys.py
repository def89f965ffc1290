"""When two values are the same for a fit: the keys by which prefixes are shared.

A key errs on the side of difference: two values with one key are interchangeable, two with different keys may be too.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

import numpy as np


def key_of(value: Any) -> Hashable:
    """Give the key of a parameter's value; an object that is no plain value is the same only as itself.

    Examples
    --------
    >>> from sklearn.decomposition import PCA
    >>> key_of(PCA(3)) == key_of(PCA(n_components=3)), key_of(PCA(3)) == key_of(PCA(3.0)), key_of(0.0) == key_of(-0.0)
    (True, False, False)
    """
    kind = type(value)
    if value is None or kind in {bool, int, str, bytes}:
        return kind, value
    if kind in {float, complex}:
        return kind, repr(value)
    if isinstance(value, np.generic) and not value.dtype.hasobject:
        return kind, value.dtype.str, value.tobytes()
    if kind in {tuple, list}:
        return kind, tuple(map(key_of, value))
    if kind is dict:
        return kind, tuple((key_of(k), key_of(v)) for k, v in value.items())
    return _key_of_estimator(value) if _clones_plainly(value) else (kind, id(value))


def is_estimator(value: Any) -> bool:
    """Tell whether a value is an estimator, and not the class of one."""
    return hasattr(value, "get_params") and not isinstance(value, type)


def is_theirs(value: Any) -> bool:
    """Tell whether a value is scikit-learn's own all through, or plain: it runs no code of others."""
    if callable(value):
        return str(getattr(value, "__module__", "")).startswith("sklearn.") or type(value) is np.ufunc
    if not is_estimator(value):
        return True
    return all(
        type(part).__module__.startswith("sklearn.") and all(map(is_theirs, _plain(part))) for part in parts(value)
    )


def parts(estimator: Any) -> Iterator[Any]:
    """Give an estimator and all estimators within it."""
    yield estimator
    for value in estimator.get_params(deep=True).values():
        if is_estimator(value):
            yield value


def _plain(estimator: Any) -> Iterator[Any]:
    yield from (v for v in estimator.get_params(deep=False).values() if not is_estimator(v))


def _clones_plainly(value: Any) -> bool:
    from sklearn.base import BaseEstimator

    how = getattr(type(value), "__sklearn_clone__", BaseEstimator.__sklearn_clone__)
    return is_estimator(value) and how is BaseEstimator.__sklearn_clone__


def _key_of_estimator(estimator: Any) -> Hashable:
    params = estimator.get_params(deep=False)
    kept = (
        (k, key_of(v))
        for k, v in sorted(vars(estimator).items())
        if k in {"_sklearn_output_config", "_metadata_request"}
    )
    return type(estimator), tuple((name, key_of(params[name])) for name in sorted(params)), tuple(kept)
