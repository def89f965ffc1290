"""A few points of a curve that has many, such that both look alike."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MAX_POINTS = 200
TOLERANCE = 0.0005  # of the unit square: less than a pixel of a chart
_GRID = 2_000

Floats = npt.NDArray[np.float64]


def select_points(x: Floats, y: Floats, most: int = MAX_POINTS) -> npt.NDArray[np.intp]:
    """Return the positions of points whose polyline is close to that of all points.

    The method is that of Ramer, Douglas and Peucker, in rounds: each segment between selected points gets the point
    that is farthest from it, until none is farther than a tolerance or there are enough points.

    Parameters
    ----------
    x, y : numpy.ndarray of shape (n_points,)
        The points, in their order, in the unit square.
    most : int
        The maximal number of points, at least 2.

    Examples
    --------
    >>> x = np.linspace(0, 1, 1001)
    >>> select_points(x, x)
    array([   0, 1000])
    >>> len(select_points(x, np.sqrt(x), most=20))
    20
    """
    places = _distinct_cells(x, y)
    if len(places) <= 2:
        return places
    x, y = x[places], y[places]
    kept = np.array([0, len(places) - 1])
    while len(kept) < most:
        farthest, distances = _farthest_points(x, y, kept)
        room = most - len(kept)
        if len(farthest) > room:
            farthest = farthest[np.argsort(-distances, kind="stable")[:room]]
        if not len(farthest):
            break
        kept = np.union1d(kept, farthest)
    return np.asarray(places[kept], dtype=np.intp)


def _distinct_cells(x: Floats, y: Floats) -> npt.NDArray[np.intp]:
    """Return the first and the last point, and between them the first one of each passage through a cell of a grid."""
    cells = np.stack([x, y]) * _GRID
    moved = (np.diff(cells.astype(np.int64)) != 0).any(axis=0) if len(x) > _GRID else np.ones(max(0, len(x) - 1), bool)
    places = np.flatnonzero(np.concatenate([[True], moved]))
    return places if places[-1] == len(x) - 1 else np.append(places, len(x) - 1)


def _farthest_points(x: Floats, y: Floats, kept: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.intp], Floats]:
    """Return for each segment its farthest point and the distance, where it is larger than the tolerance."""
    starts, ends = kept[:-1], kept[1:]
    segment = np.repeat(np.arange(len(starts)), np.diff(kept))  # of each point but the last
    run, rise = x[ends] - x[starts], y[ends] - y[starts]
    length = np.maximum(np.hypot(run, rise), 1e-12)
    run, rise, length, left, low = (values[segment] for values in (run, rise, length, x[starts], y[starts]))
    distance = np.abs(run * (y[:-1] - low) - rise * (x[:-1] - left)) / length
    largest = np.maximum.reduceat(distance, starts)
    is_farthest = (distance == largest[segment]) & (distance > TOLERANCE)
    places = np.flatnonzero(is_farthest)
    _, first = np.unique(segment[places], return_index=True)
    return places[first], distance[places[first]]
