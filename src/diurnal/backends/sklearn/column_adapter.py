"""Models of an earlier version of the contract, which know its columns by other names and do not know the new ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import pandas as pd

_METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function", "score", "transform")


def adapt_columns(model: Any, columns: Mapping[str, str]) -> Any:
    """Change a fitted model in place, so that it accepts rows with other names of its columns and with further columns.

    Parameters
    ----------
    model : estimator
        Fitted.
    columns : Mapping of str to str
        From the name of each column at the time of the fit, in its order, to that in the rows.

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression
    >>> old = LinearRegression().fit(pd.DataFrame({"cost": [1.0, 2.0]}), [2.0, 4.0])
    >>> adapt_columns(old, {"cost": "price"}).predict(pd.DataFrame({"size": [7], "price": [3.0]})).round(6)
    array([6.])
    """
    for name in _METHODS:
        own = getattr(model, name, None)
        if own is not None:
            setattr(model, name, _translate_calls(own, columns))
    return model


def _translate_calls(method: Callable[..., Any], columns: Mapping[str, str]) -> Callable[..., Any]:
    @wraps(method)
    def translated(X: Any, *args: Any, **kwargs: Any) -> Any:
        return method(_rename_columns(X, columns), *args, **kwargs)

    return translated


def _rename_columns(X: Any, columns: Mapping[str, str]) -> Any:
    """Return the model's own columns; one of its methods that calls another one has them already."""
    if not isinstance(X, pd.DataFrame) or list(X.columns) == list(columns):
        return X
    return X[list(columns.values())].set_axis(list(columns), axis=1)
