"""The parts of a model: every object in it."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

# Objects without parts that no check is about.
_SKIPPED = (str, bytes, bytearray, int, float, complex, type(None), types.ModuleType, np.generic)
# Objects that a model refers to and does not own: they are parts, and their own content is not.
_REFERENCED = (type, types.FunctionType, types.BuiltinFunctionType, np.ufunc)


def iter_parts(root: Any) -> Iterator[Any]:
    """Yield every object in a model once, including functions and types that it refers to."""
    seen: dict[int, Any] = {}  # the values keep objects alive, so that no id is used again
    pending = [root]
    while pending:
        part = pending.pop()
        if id(part) in seen or isinstance(part, _SKIPPED):
            continue
        seen[id(part)] = part
        yield part
        if not isinstance(part, _REFERENCED):
            pending += direct_parts(part)


def direct_parts(part: Any) -> list[Any]:
    """Return the objects that an object contains directly."""
    if type(part).__module__.partition(".")[0] == "pandas":
        return _pandas_cells(part)
    children: list[Any] = []
    if isinstance(part, dict):
        children += [*part.keys(), *part.values()]
    elif isinstance(part, list | tuple | set | frozenset):
        children += part
    elif isinstance(part, np.ndarray):
        children += part.ravel().tolist() if part.dtype.hasobject else []
    if isinstance(part, functools.partial):
        children += [part.func, part.args, part.keywords]
    if isinstance(part, types.MethodType):
        children.append(part.__self__)
    return children + [value for name, value in getattr(part, "__dict__", {}).items() if name != "__wrapped__"]


def _pandas_cells(part: Any) -> list[Any]:
    """Return the Python objects in a table, a column or an index of pandas."""
    import pandas as pd

    if isinstance(part, pd.DataFrame):
        return [part.iloc[:, i] for i in range(part.shape[1])]
    return list(part) if isinstance(part, pd.Series | pd.Index) and part.dtype == object else []
