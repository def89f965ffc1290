"""The parts of a model: every object within it."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

# What has no parts and is none that anything is asked of.
_PLAIN = (str, bytes, bytearray, int, float, complex, type(None), types.ModuleType, np.generic)
# What is given as it is: a model holds it and does not own it.
_GIVEN = (type, types.FunctionType, types.BuiltinFunctionType, np.ufunc)


def parts(root: Any) -> Iterator[Any]:
    """Return every object within a model once, functions and types that it holds among them."""
    seen: dict[int, Any] = {}
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if id(part) in seen or isinstance(part, _PLAIN):
            continue
        seen[id(part)] = part
        yield part
        if not isinstance(part, _GIVEN):
            waiting += within(part)


def within(part: Any) -> list[Any]:
    """Return the objects right within one."""
    found: list[Any] = []
    if type(part).__module__.partition(".")[0] == "pandas":
        return _cells(part)
    if isinstance(part, dict):
        found += [*part.keys(), *part.values()]
    elif isinstance(part, list | tuple | set | frozenset):
        found += part
    elif isinstance(part, np.ndarray):
        found += part.ravel().tolist() if part.dtype.hasobject else []
    if isinstance(part, functools.partial):
        found += [part.func, part.args, part.keywords]
    if isinstance(part, types.MethodType):
        found.append(part.__self__)
    return found + [value for name, value in getattr(part, "__dict__", {}).items() if name != "__wrapped__"]


def _cells(part: Any) -> list[Any]:
    """Return the Python objects in a table, a column or an index of pandas."""
    import pandas as pd

    if isinstance(part, pd.DataFrame):
        return [part.iloc[:, i] for i in range(part.shape[1])]
    return list(part) if isinstance(part, pd.Series | pd.Index) and part.dtype == object else []
