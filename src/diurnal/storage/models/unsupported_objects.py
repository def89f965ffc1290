"""The reasons why an estimator cannot be saved: all of them at once, each with a hint."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from types import FunctionType
from typing import Any

from diurnal.storage.models import object_graph
from diurnal.storage.models.states import states_of_imported_libraries

Reason = tuple[str, str]  # what is wrong, and a hint

MODULE_LEVEL = "write it at the top level of the experiment's file, or of a module beside it, under a name of its own"
NO_PICKLE = "use an estimator, or a part of it, that skops can save; pickle is not supported"

_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: the flag of types that a class statement made


def unimportable_objects(estimator: Any, name_of: Callable[[str], str | None] = lambda _: None) -> dict[str, Reason]:
    """Return a reason for each function and class that cannot be imported by its name when the model is read.

    Parameters
    ----------
    estimator : object
        The estimator to save.
    name_of : callable
        Returns the stored name of a module of the project's own code, and None for any other module.

    Returns
    -------
    dict
        The reasons by the full name of the object.

    Examples
    --------
    >>> for message, _ in unimportable_objects([lambda x: x, len]).values():
    ...     print(message)  # doctest: +ELLIPSIS
    a lambda (line 1 of ...) has no name by which it can be imported
    """
    reasons: dict[str, Reason] = {}
    for part in object_graph.iter_parts(estimator):
        for definition in (part, type(part)) if isinstance(part, FunctionType | type) else (type(part),):
            if message := _why_unimportable(definition):
                module = name_of(definition.__module__) or definition.__module__
                reasons[f"{module}.{definition.__name__}"] = (message, MODULE_LEVEL)
    return reasons


def _why_unimportable(definition: Any) -> str | None:
    module, name = definition.__module__, definition.__qualname__
    is_python = isinstance(definition, FunctionType) or definition.__flags__ & _HEAP_TYPE
    if name.endswith("<lambda>"):
        location = f"line {definition.__code__.co_firstlineno} of {definition.__code__.co_filename}"
        return f"a lambda ({location}) has no name by which it can be imported"
    if "<locals>" in name:
        outer, _, inner = name.rpartition(".<locals>.")
        return f"{inner} is defined inside of {outer}() and cannot be imported"
    if module == "__main__" and not getattr(sys.modules["__main__"], "__file__", None):
        return f"{name} is defined in a notebook or at a prompt and cannot be imported"
    if is_python and "." in name:
        return f"{module}.{name} is defined inside of a class and cannot be imported by its name"
    if is_python and getattr(sys.modules.get(module), name, None) is not definition:
        return f"{module}.{name} is another object than the one in the model: it was decorated or defined again"
    return None


def unsavable_parts(estimator: Any, save: Callable[[Any], object]) -> list[Reason]:
    """Return a reason for each innermost part that cannot be saved.

    A part fails if any of its parts fails. Only those without a failing part are the cause: in a pipeline with a step
    that holds a generator, the pipeline, its list of steps and the step fail too, and the generator is reported.
    """
    # objects with a state are saved, or not, as a whole: what is in them is no cause of its own
    with_state = {cls for state in states_of_imported_libraries() for cls in state.types}
    failing: dict[int, tuple[Any, str]] = {}
    hidden: set[int] = set()
    for part in object_graph.iter_parts(estimator):
        hidden |= {id(child) for child in object_graph.direct_parts(part)} if type(part) in with_state else set()
        try:
            save(part)
        except Exception as error:  # noqa: BLE001 - skops calls the object's own methods, which raise anything
            failing[id(part)] = (part, getattr(error, "message", str(error)))
    candidates = failing.keys() - hidden
    innermost = [
        (part, message)
        for part, message in failing.values()
        if id(part) in candidates and not any(id(child) in candidates for child in object_graph.direct_parts(part))
    ]
    messages = dict.fromkeys(
        f"a {type(part).__name__} cannot be saved: {message.rstrip('.')}" for part, message in innermost
    )
    return [(message, NO_PICKLE) for message in messages]


def join_reasons(reasons: Collection[Reason]) -> tuple[str, str]:
    """Join reasons into one message, with a line for each, and their hints into one hint."""
    messages = [message for message, _ in reasons]
    text = messages[0] if len(messages) == 1 else "".join(f"\n  - {message}" for message in messages)
    return text, ". ".join(dict.fromkeys(hint for _, hint in reasons))
