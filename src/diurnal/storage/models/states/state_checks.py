"""Checks that several states use."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from diurnal.errors import InvalidModelError


def check_that(condition: Any, problem: str) -> None:
    """Reject a state that `to_state` never returns.

    Raises
    ------
    InvalidModelError
        If `condition` is false; `problem` describes what is wrong.
    """
    if not condition:
        raise InvalidModelError(
            f"the model is invalid: {problem}",
            hint="restore the file from a backup, or run its data interval again",
        )


def check_fields(state: Any, names: Collection[str], subject: str) -> dict[str, Any]:
    """Return a state that is a dict with exactly these fields."""
    valid = isinstance(state, dict) and set(state) == set(names)
    check_that(valid, f"the state of a {subject} does not have exactly the fields {', '.join(names)}")
    content: dict[str, Any] = state
    return content


def check_integers(values: Any, subject: str, *, length: int | None = None) -> np.ndarray:
    """Return a list of integers, with a given length, as an array."""
    is_list = isinstance(values, Sequence) and all(type(value) is int for value in values)
    check_that(is_list, f"{subject} are not integers")
    check_that(length is None or len(values) == length, f"{subject} are {len(values)} and should be {length}")
    check_that(all(-(2**63) <= value < 2**63 for value in values), f"{subject} are too large")
    return np.array(values, dtype=np.int64)


def check_numbers(values: Any, subject: str, *, length: int | None = None) -> np.ndarray:
    """Return a list of numbers, with a given length, as an array."""
    is_list = isinstance(values, Sequence) and all(type(value) in (int, float) for value in values)
    check_that(is_list, f"{subject} are not numbers")
    check_that(length is None or len(values) == length, f"{subject} are {len(values)} and should be {length}")
    return np.array(values, dtype=np.float64)


def check_range(values: Any, low: int, high: int, subject: str) -> None:
    """Reject numbers outside of ``[low, high)``."""
    array = np.asarray(values)
    check_that(bool(np.all((array >= low) & (array < high))), f"{subject} are out of bounds")


def check_child_order(children: np.ndarray, inner: np.ndarray, subject: str) -> None:
    """Reject a tree in which the child of an inner node does not come after it, as in every cycle."""
    index = np.flatnonzero(inner)
    check_that(bool(np.all(children[index] > index)), f"{subject} has a child that is not after its parent")
