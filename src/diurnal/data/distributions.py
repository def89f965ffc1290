"""Distributions of numbers as a bounded number of weighted points.

A distribution of at most :data:`MAX_POINTS` distinct numbers is exact: each number with its count. Another one is
divided into bins, and a point is the mean of a bin with its weight. Bins are narrow in the tails, as in a t-digest
(T. Dunning, O. Ertl: "Computing extremely accurate quantiles using t-digests", 2019): the bins are equal in
``arccos(1 - 2 q)`` of their quantile ``q``. A number with more than ``1 / MAX_POINTS`` of the weight is a point of its
own.

The Wasserstein distance of a distribution and its points is at most :data:`MAX_ERROR` times the range of the numbers: a
bin has at most ``(pi / 2 + 1) / MAX_POINTS`` of the weight, and moves it by half of its width on average at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

MAX_POINTS = 512
MAX_ERROR = (np.pi / 2 + 1) / MAX_POINTS / 2


def compress_points(values: Floats, weights: Floats | None = None) -> tuple[Floats, Floats]:
    """Return the distribution of finite numbers as at most :data:`MAX_POINTS` points, in the order of their values.

    Parameters
    ----------
    values : numpy.ndarray of float64
        Finite numbers, in any order.
    weights : numpy.ndarray of float64, optional
        Their weights, above 0; 1 by default.

    Returns
    -------
    values, weights : numpy.ndarray of float64
        The points. The weights have the same sum, and the weighted mean is the same.

    Examples
    --------
    >>> values, weights = compress_points(np.array([2.0, 1.0, 2.0]))
    >>> values.tolist(), weights.tolist()
    ([1.0, 2.0], [1.0, 2.0])
    >>> values, weights = compress_points(np.arange(100_000.0))
    >>> len(values), weights.sum(), weights[0] < weights[256]
    (512, np.float64(100000.0), np.True_)
    """
    values, weights = _sum_weights(values, weights)
    if len(values) <= MAX_POINTS:
        return values, weights
    is_atom = weights > weights.sum() / MAX_POINTS
    atoms, n_bins = values[is_atom], MAX_POINTS - int(is_atom.sum())
    bins = average_bins(values[~is_atom], weights[~is_atom], n_bins)
    return _sum_weights(np.concatenate([atoms, bins[0]]), np.concatenate([weights[is_atom], bins[1]]))


def find_quantiles(values: Floats, weights: Floats, quantiles: Sequence[float]) -> list[float]:
    """Return quantiles of a distribution: the least number with at least that fraction of the weight at or below it.

    Examples
    --------
    >>> find_quantiles(np.array([0.0, 1.0]), np.array([900.0, 100.0]), [0.5, 0.95])
    [0.0, 1.0]
    """
    cumulative = np.cumsum(weights)
    places = np.searchsorted(cumulative, np.asarray(quantiles) * cumulative[-1] * (1 - 1e-12))
    return [float(values[min(place, len(values) - 1)]) for place in places]


def _sum_weights(values: Floats, weights: Floats | None) -> tuple[Floats, Floats]:
    """Return distinct numbers in order, each with the sum of its weights."""
    if not len(values):
        return values, np.empty(0)
    if weights is None:
        ordered = np.sort(values)
        starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
        return ordered[starts], np.diff(starts, append=len(ordered)).astype(np.float64)
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    return ordered[starts], np.add.reduceat(weights[order], starts)


def average_bins(values: Floats, weights: Floats, n_bins: int) -> tuple[Floats, Floats]:
    """Divide sorted numbers into bins; return the mean and the weight of each."""
    cumulative = np.cumsum(weights)
    middle = (cumulative - weights / 2) / cumulative[-1]
    places = np.minimum((np.arccos(1 - 2 * middle) / np.pi * n_bins).astype(np.int64), n_bins - 1)
    exponent = int(np.frexp(np.abs(values).max())[1])  # sums of numbers near the largest float would be infinite
    sums = np.bincount(places, weights * np.ldexp(values, -exponent), minlength=n_bins)
    totals: Floats = np.bincount(places, weights, minlength=n_bins).astype(np.float64)
    used = totals > 0
    means: Floats = np.ldexp(sums[used] / totals[used], exponent)
    return means, totals[used]
