"""The drift of columns over time as strips: paths of SVG, whose colours are those of the style sheet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

LEVELS = (0.25, 0.5, 1.0, 2.0)
"""The multiples of a column's threshold at which the next colour begins."""

MAX_CELLS = 120


@dataclass(frozen=True)
class DriftStrip:
    """The drift of one column.

    Attributes
    ----------
    column, role : str
        Its name and its role: feature, target or prediction.
    largest : float
        The largest drift, in multiples of the threshold.
    newest : float or None
        The drift of the newest data interval.
    n_drifted : int
        The number of data intervals above the threshold.
    paths : list of (int, str)
        For each level the path of its cells, each one unit wide and high.
    """

    column: str
    role: str
    largest: float
    newest: float | None
    n_drifted: int
    paths: list[tuple[int, str]]


def drift_strips(rows: Iterable[Mapping[str, Any]]) -> list[DriftStrip]:
    """Return the strips of columns from the rows of :meth:`diurnal.storage.warehouse.Warehouse.drift_cells`."""
    return [
        DriftStrip(
            column=row["column"],
            role=row["role"] or "",
            largest=row["largest"],
            newest=row["newest"],
            n_drifted=row["n_drifted"],
            paths=_strip_paths({int(cell): ratio for cell, ratio in row["cells"].items()}),
        )
        for row in rows
    ]


def intervals_per_cell(n_intervals: int) -> int:
    """Return how many data intervals a cell stands for: a strip has at most 120.

    Examples
    --------
    >>> intervals_per_cell(90), intervals_per_cell(365)
    (1, 4)
    """
    return max(1, -(-n_intervals // MAX_CELLS))


def _strip_paths(cells: Mapping[int, float]) -> list[tuple[int, str]]:
    """Return the path of each level; adjacent cells of one level are one rectangle.

    Examples
    --------
    >>> _strip_paths({0: 0.1, 1: 0.2, 3: 1.5})
    [(0, 'M0 0h2v1h-2z'), (3, 'M3 0h1v1h-1z')]
    """
    runs: list[list[int]] = []  # level, first cell, number of cells
    for cell, ratio in sorted(cells.items()):
        level = sum(ratio >= bound for bound in LEVELS)
        if runs and runs[-1][0] == level and sum(runs[-1][1:]) == cell:
            runs[-1][2] += 1
        else:
            runs.append([level, cell, 1])
    paths: dict[int, str] = {}
    for level, cell, n in runs:
        paths[level] = paths.get(level, "") + f"M{cell} 0h{n}v1h-{n}z"
    return sorted(paths.items())
