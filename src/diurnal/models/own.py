"""What a model holds of the project's own code."""

from __future__ import annotations

from types import FunctionType
from typing import Any

from diurnal.codebase import Codebase
from diurnal.models.forms import is_of_spark
from diurnal.models.parts import parts


def own_names(estimator: Any, code: Codebase) -> list[str]:
    """Return the full names of the project's own classes and functions that an estimator holds, in order."""
    if is_of_spark(estimator) or not code.roots:
        return []
    given: dict[Any, None] = {}
    for part in parts(estimator):
        given.setdefault(part if isinstance(part, FunctionType | type) else type(part))
    found = ((code.name_of(one.__module__), one.__qualname__) for one in given)
    return sorted(f"{module}.{name}" for module, name in found if module)
