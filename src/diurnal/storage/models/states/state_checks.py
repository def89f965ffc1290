"""Checks that states have in common."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from diurnal.errors import InvalidModelError


def require(ok: Any, what: str) -> None:
    """Refuse a state that no `take` gives.

    Raises
    ------
    InvalidModelError
        If `ok` is false; `what` says what is wrong.
    """
    if not ok:
        raise InvalidModelError(
            f"the model is broken: {what}",
            hint="restore the file from a backup, or run its data interval again",
        )


def fields(state: Any, names: Collection[str], kind: str) -> dict[str, Any]:
    """Return a state that is a dict of just these fields."""
    require(isinstance(state, dict) and set(state) == set(names), f"a {kind} is kept without its {', '.join(names)}")
    given: dict[str, Any] = state
    return given


def integers(values: Any, what: str, *, length: int | None = None) -> np.ndarray:
    """Return a list of whole numbers as an array, of a certain length."""
    require(
        isinstance(values, Sequence) and all(type(value) is int for value in values), f"{what} are not whole numbers"
    )
    require(length is None or len(values) == length, f"{what} are {len(values)}, and should be {length}")
    require(all(-(2**63) <= value < 2**63 for value in values), f"{what} are too large")
    return np.array(values, dtype=np.int64)


def numbers(values: Any, what: str, *, length: int | None = None) -> np.ndarray:
    """Return a list of numbers as an array, of a certain length."""
    require(
        isinstance(values, Sequence) and all(type(value) in (int, float) for value in values), f"{what} are no numbers"
    )
    require(length is None or len(values) == length, f"{what} are {len(values)}, and should be {length}")
    return np.array(values, dtype=np.float64)


def within(values: Any, low: int, high: int, what: str) -> None:
    """Refuse numbers outside of ``[low, high)``."""
    require(bool(np.all((np.asarray(values) >= low) & (np.asarray(values) < high))), f"{what} are out of bounds")


def later_children(children: np.ndarray, inner: np.ndarray, what: str) -> None:
    """Refuse a tree in which a child does not come after its parent, or has two parents: it has a cycle."""
    at = np.flatnonzero(inner)
    require(bool(np.all(children[at] > at)), f"{what} has a child that is not after its parent")
