"""What a model holds of the project's own code."""

from __future__ import annotations

from collections.abc import Mapping
from types import FunctionType
from typing import Any

from diurnal.runtime.project_files import Codebase
from diurnal.storage.models.formats import is_of_spark
from diurnal.storage.models.object_graph import parts

OWN = "own_code"  # of a signature: full names of the project's own classes and functions that a model holds


def with_own_names(signature: Mapping[str, Any], estimator: Any, code: Codebase) -> dict[str, Any]:
    """Return a signature with the names of what the estimator holds of the project's own code, if anything."""
    names = own_names(estimator, code)
    return {**signature, OWN: names} if names else dict(signature)


def own_names(estimator: Any, code: Codebase) -> list[str]:
    """Return the full names of the project's own classes and functions that an estimator holds, in order."""
    if is_of_spark(estimator) or not code.roots:
        return []
    given: dict[Any, None] = {}
    for part in parts(estimator):
        given.setdefault(part if isinstance(part, FunctionType | type) else type(part))
    found = ((code.name_of(one.__module__), one.__qualname__) for one in given)
    return sorted(f"{module}.{name}" for module, name in found if module)
