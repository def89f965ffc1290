"""Conversion of Python values to JSON types. JSON has neither NaN nor infinity: they become their names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def encode_non_finite(value: Any) -> Any:
    """Replace NaN and infinities within dicts, lists and tuples by their names.

    Examples
    --------
    >>> encode_non_finite({"score": float("nan"), "folds": (0.5, 1)})
    {'score': 'nan', 'folds': [0.5, 1]}
    """
    if isinstance(value, Mapping):
        return {key: encode_non_finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode_non_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def parameters_to_json(value: Any) -> Any:
    """Convert parameters of an estimator; an object without a JSON type, such as an estimator, becomes its text.

    Examples
    --------
    >>> parameters_to_json({"C": float("inf"), "degrees": (1, 2), "dtype": complex})
    {'C': 'inf', 'degrees': [1, 2], 'dtype': "<class 'complex'>"}
    """
    if isinstance(value, Mapping):
        return {str(key): parameters_to_json(item) for key, item in value.items()}
    if hasattr(value, "tolist"):  # an array or a scalar of NumPy
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [parameters_to_json(item) for item in value]
    value = encode_non_finite(value)
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)
