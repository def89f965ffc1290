"""Why an estimator cannot be saved: every reason at once, each with its cure."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from types import FunctionType
from typing import Any

from diurnal.storage.models import object_graph
from diurnal.storage.models.states import imported

Reason = tuple[str, str]  # what is wrong, and what to do

MODULE_LEVEL = "write it at the top level of the experiment's file, or of a module beside it, under a name of its own"
NO_PICKLE = "use an estimator, or a part of it, that skops can save; pickle is not supported"


def lost(estimator: Any, name_of: Callable[[str], str | None] = lambda _: None) -> dict[str, Reason]:
    """Return a reason for each function and class that could not be found again by its name; by that name.

    Parameters
    ----------
    estimator : object
        What is to be saved.
    name_of : callable
        Returns the one name of a module of the project's own code, and None for any other module.

    Examples
    --------
    >>> for what, _ in lost([lambda x: x, len]).values():
    ...     print(what)  # doctest: +ELLIPSIS
    a lambda (line 1 of ...) has no name by which it can be found again
    """
    found: dict[str, Reason] = {}
    for part in object_graph.parts(estimator):
        for given in (part, type(part)) if isinstance(part, FunctionType | type) else (type(part),):
            if what := _lost(given):
                module = name_of(given.__module__) or given.__module__
                found[f"{module}.{given.__name__}"] = (what, MODULE_LEVEL)
    return found


def _lost(given: Any) -> str | None:
    module, name = given.__module__, given.__qualname__
    own = isinstance(given, FunctionType) or given.__flags__ & _HEAP
    if name.endswith("<lambda>"):
        where = f"line {given.__code__.co_firstlineno} of {given.__code__.co_filename}"
        return f"a lambda ({where}) has no name by which it can be found again"
    if "<locals>" in name:
        outer, _, inner = name.rpartition(".<locals>.")
        return f"{inner} is defined inside of {outer}() and cannot be imported"
    if module == "__main__" and not getattr(sys.modules["__main__"], "__file__", None):
        return f"{name} is defined in a notebook or at a prompt and cannot be imported"
    if own and "." in name:
        return f"{module}.{name} is defined inside of a class and cannot be imported by its name"
    if own and _here(module, name) is not given:
        return f"{module}.{name} is not what is found under that name: it was decorated or defined again"
    return None


_HEAP = 1 << 9  # of a type that was made by a class statement


def _here(module: str, name: str) -> Any:
    return getattr(sys.modules.get(module), name, None)


def unsaved(estimator: Any, save: Callable[[Any], object]) -> list[Reason]:
    """Return a reason for each innermost part that cannot be saved."""
    whole = {kind for state in imported() for kind in state.types}  # they are saved, or not, as one
    failing: dict[int, tuple[Any, str]] = {}
    below: set[int] = set()
    for part in object_graph.parts(estimator):
        below |= {id(one) for one in object_graph.within(part)} if type(part) in whole else set()
        try:
            save(part)
        except Exception as error:  # noqa: BLE001 - skops calls the object's own methods: anything may come of it
            failing[id(part)] = (part, getattr(error, "message", str(error)))
    known = failing.keys() - below
    inner = [
        (part, said)
        for part, said in failing.values()
        if id(part) in known and not any(id(one) in known for one in object_graph.within(part))
    ]
    told = dict.fromkeys(f"a {type(part).__name__} cannot be saved: {said.rstrip('.')}" for part, said in inner)
    return [(what, NO_PICKLE) for what in told]


def joined(reasons: Collection[Reason]) -> tuple[str, str]:
    """Put reasons into one message, a line for each, and their cures into one advice."""
    whats = [what for what, _ in reasons]
    text = whats[0] if len(whats) == 1 else "".join(f"\n  - {what}" for what in whats)
    return text, ". ".join(dict.fromkeys(cure for _, cure in reasons))
