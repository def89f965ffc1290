"""Arguments under a former name, which is deprecated."""

from __future__ import annotations

import warnings
from typing import Any

from diurnal.errors import ExperimentError


def take_renamed(function: str, kwargs: dict[str, Any], old: str, new: str, value: Any) -> Any:
    """Return the value of an argument, given under its name or, with a warning, under its former name.

    Parameters
    ----------
    function : str
        The function that is called, for messages.
    kwargs : dict
        Its other keyword arguments; the former name is removed from them.
    old, new : str
        The former name, and the name.
    value : Any
        What is given under the name; None if nothing is.

    Raises
    ------
    ExperimentError
        If both are given.
    """
    if old not in kwargs:
        return value
    if value is not None:
        raise ExperimentError(f"{function} has both {old}= and {new}=", hint=f"{old}= is deprecated; remove it")
    message = f"{function}({old}=) is deprecated; use {function}({new}=)"
    warnings.warn(message, DeprecationWarning, stacklevel=3)
    return kwargs.pop(old)
