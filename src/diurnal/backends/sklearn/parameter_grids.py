"""The parameters that a search tunes, and their values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np


def iter_grids(search: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the grids of scikit-learn's own searches, and of those with the same conventions."""
    for attribute in ("param_grid", "param_distributions", "search_spaces"):
        given = getattr(search, attribute, None)
        for one in given if isinstance(given, list | tuple) else [given]:
            grid = one[0] if isinstance(one, tuple) and one else one  # a space, and its number of draws
            if isinstance(grid, Mapping):
                yield grid


def iter_values(search: Any) -> Iterator[tuple[str, Any]]:
    """Yield the name and each value of the parameters whose values are listed."""
    for grid in iter_grids(search):
        for name, values in grid.items():
            yield from ((name, value) for value in _list_values(values))


def _list_values(values: Any) -> list[Any]:
    return list(values) if isinstance(values, list | tuple | np.ndarray) else []
