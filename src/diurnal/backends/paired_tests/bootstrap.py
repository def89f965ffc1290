"""Scores of which nothing is known but that they can be computed."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from diurnal.backends.paired_tests.test_descriptions import RESAMPLED
from diurnal.backends.paired_tests.test_result import TWO_SIDED, Paired, finite, undefined

N_DRAWS = 200
ENUMERATED = 7
"""Up to so many samples on which two models differ, all swaps are made; of more, :data:`N_DRAWS` are drawn."""

Places = npt.NDArray[np.intp]
Swaps = npt.NDArray[np.bool_]


class Scores(Protocol):
    """Scores two models on some samples."""

    def __call__(self, places: Places, swapped: Swaps) -> tuple[float, float]:
        """Return the scores of twin and champion on the samples at `places`; predictions are exchanged where `swapped`.

        Parameters
        ----------
        places : numpy.ndarray of int
            Places of samples; one that comes twice counts twice.
        swapped : numpy.ndarray of bool, of the same shape
            For which of them each model gives the answer of the other.
        """


def resampled(
    scores: Scores, strata: npt.ArrayLike, differing: npt.ArrayLike, *, swaps: bool = True, seed: int = 0
) -> Paired:
    """Compare two models by any score: by a stratified paired bootstrap, and by swaps of their answers.

    The bootstrap draws samples with replacement, of each class as many as there are, and scores both models on the
    same ones; the standard deviation of the differences is their standard error [1]_. With few samples on which the
    models differ it is too small, so that answers are also swapped between the models, for each sample by a fair coin,
    which makes no difference to the distribution of scores if both are equally good [2]_. The larger of the two
    standard errors is taken, with normal quantiles. Where the models differ on at most 7 samples, all swaps are made,
    and the p-values are exact ones.

    Parameters
    ----------
    scores : callable
        As :class:`Scores`.
    strata : array-like of shape (n_samples,)
        Class of each sample, or one value where there are none.
    differing : array-like of bool, shape (n_samples,)
        Whether the models give a sample different answers.
    swaps : bool
        Whether answers can be swapped; a function that asks models by itself about rows of its own does not allow it.
    seed : int
        Seed of the draws.

    Returns
    -------
    Paired
        Undefined if a score is undefined on all samples, or on most of the samples drawn.

    References
    ----------
    .. [1] B. Efron, R. J. Tibshirani, An Introduction to the Bootstrap (1993), chapter 6.
    .. [2] E. W. Noreen, Computer-Intensive Methods for Testing Hypotheses (1989), chapter 2; for F1 and the like: A.
       Yeh, More accurate tests for the statistical significance of result differences, COLING 2000.

    Examples
    --------
    >>> y, twin, champion = np.array([0, 1] * 20), np.array([0, 1] * 20), np.array([0, 1] * 18 + [1, 0] * 2)
    >>> def right(places, swapped):
    ...     one, other = np.where(swapped, champion, twin), np.where(swapped, twin, champion)
    ...     return tuple(float(np.mean(answer[places] == y[places])) for answer in (one, other))
    >>> found = resampled(right, y, twin != champion)
    >>> found.p_better, found.p_worse, round(found.difference, 3)  # one in 2 ** 4
    (0.0625, 1.0, 0.1)
    """
    stratum, differs = np.asarray(strata), np.asarray(differing, dtype=bool)
    n, places, rng = len(stratum), np.arange(len(stratum)), np.random.default_rng(seed)

    def difference(drawn: Places, swapped: Swaps) -> float:
        twin, champion = scores(drawn, swapped)
        return twin - champion

    none = np.zeros(n, dtype=bool)
    observed = finite(difference(places, none)) if n else None
    if observed is None:
        return undefined(RESAMPLED, n)
    if swaps and not differs.any():
        return Paired(RESAMPLED, n, 1.0, 1.0, observed, 0.0, 0.0)
    error = _deviation(lambda: difference(_drawn(stratum, rng), none))
    if swaps and differs.sum() <= ENUMERATED:
        exchanged = np.array([difference(places, mask) for mask in _all_swaps(differs)])
        p_worse, p_better = (float(np.mean(s * exchanged <= s * observed + 1e-12)) for s in (1, -1))
        return Paired(RESAMPLED, n, p_worse, p_better, observed, *_interval(observed, error))
    if swaps:
        error = max(error, _about_zero(lambda: difference(places, differs & (rng.random(n) < 0.5))))
    if not math.isfinite(error):
        return undefined(RESAMPLED, n)
    return Paired(RESAMPLED, n, *_normal(observed, error), observed, *_interval(observed, error))


def _drawn(stratum: npt.NDArray[np.generic], rng: np.random.Generator) -> Places:
    """Draw samples of each class with replacement."""
    _, inverse = np.unique(stratum, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    counts = np.bincount(inverse)
    starts, sizes = np.repeat(np.cumsum(counts) - counts, counts), np.repeat(counts, counts)
    return np.asarray(order[starts + (rng.random(len(order)) * sizes).astype(np.intp)], dtype=np.intp)


def _deviation(draw: Callable[[], float]) -> float:
    """Return the standard deviation of draws; those that are undefined are left out unless they are most."""
    found = np.array([draw() for _ in range(N_DRAWS)])
    found = found[np.isfinite(found)]
    return float(found.std(ddof=1)) if len(found) > N_DRAWS // 2 else math.nan


def _about_zero(draw: Callable[[], float]) -> float:
    """Return the deviation of draws from zero, which is their mean by symmetry."""
    found = np.array([draw() for _ in range(N_DRAWS)])
    found = found[np.isfinite(found)]
    return float(np.sqrt(np.mean(found**2))) if len(found) > N_DRAWS // 2 else math.nan


def _all_swaps(differs: Swaps) -> list[Swaps]:
    masks = []
    for pattern in product((False, True), repeat=int(differs.sum())):
        mask = np.zeros(len(differs), dtype=bool)
        mask[differs] = pattern
        masks.append(mask)
    return masks


def _normal(observed: float, error: float) -> tuple[float, float]:
    if error == 0:
        return (0.5, 0.5) if observed else (1.0, 1.0)
    return float(ndtr(observed / error)), float(ndtr(-observed / error))


def _interval(observed: float, error: float) -> tuple[float | None, float | None]:
    return finite(observed - TWO_SIDED * error), finite(observed + TWO_SIDED * error)
