"""What can be declared as an experiment."""

from __future__ import annotations

import inspect
import re

from diurnal.errors import ExperimentError

_NAME = re.compile(r"[a-z][a-z0-9_]{0,49}")


def check_function(function: object) -> None:
    """Check that an object can be declared as an experiment: an ordinary function without arguments, with a valid name.

    Raises
    ------
    ExperimentError
        If it cannot.
    """
    hint = "write @experiment(...) above def name(): ..., which returns a search object or an estimator"
    if not inspect.isfunction(function):
        raise ExperimentError(f"an experiment is a function, not {describe_value(function)}", hint=hint)
    if not _NAME.fullmatch(function.__name__):
        raise ExperimentError(
            f"{function.__name__!r} is not a valid name for an experiment; allowed are lower-case letters, digits "
            "and _, at most 50, starting with a letter",
            hint="rename the function; tables, folders and the Dag are named after it",
        )
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise ExperimentError(f"{function.__name__}() is async; an experiment is an ordinary function", hint=hint)
    if inspect.isgeneratorfunction(function):
        raise ExperimentError(f"{function.__name__}() yields; an experiment returns", hint="write return, not yield")
    if inspect.signature(function).parameters:
        raise ExperimentError(
            f"{function.__name__}{inspect.signature(function)} takes arguments; an experiment takes none",
            hint="write the values into the body, or as constants of the file",
        )


def describe_value(value: object) -> str:
    """Describe a value in a message."""
    return "None" if value is None else f"a {type(value).__name__}: {repr(value)[:80]}"
