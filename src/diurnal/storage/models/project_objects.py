"""The classes and functions of the project's own code that a model contains."""

from __future__ import annotations

from collections.abc import Mapping
from types import FunctionType
from typing import Any

from diurnal.runtime.project_files import Codebase
from diurnal.storage.models.formats import is_spark_model
from diurnal.storage.models.object_graph import iter_parts

PROJECT_OBJECTS = "own_code"  # the key in a signature of their full names


def add_project_objects(signature: Mapping[str, Any], estimator: Any, code: Codebase) -> dict[str, Any]:
    """Return a signature with the names of the estimator's project objects, if it contains any."""
    names = find_project_objects(estimator, code)
    return {**signature, PROJECT_OBJECTS: names} if names else dict(signature)


def find_project_objects(estimator: Any, code: Codebase) -> list[str]:
    """Return the full names of the project's own classes and functions that an estimator contains, in order."""
    if is_spark_model(estimator) or not code.roots:
        return []
    definitions: dict[Any, None] = {}
    for part in iter_parts(estimator):
        definitions.setdefault(part if isinstance(part, FunctionType | type) else type(part))
    named = ((code.name_of(definition.__module__), definition.__qualname__) for definition in definitions)
    return sorted(f"{module}.{name}" for module, name in named if module)
