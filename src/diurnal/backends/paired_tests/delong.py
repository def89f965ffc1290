"""The area under the ROC curve of two classes."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from diurnal.backends.paired_tests.test_descriptions import DELONG
from diurnal.backends.paired_tests.test_result import Paired, undefined

Vector = npt.NDArray[np.float64]


def delong(
    positive: npt.ArrayLike,
    twin_score: npt.ArrayLike,
    champion_score: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
) -> Paired:
    """Compare two areas under the ROC curve by DeLong's test.

    The area is the mean, over the positive samples, of the share of negative ones that score lower (ties count half),
    and as well the mean over the negative ones; the spread of these placements gives the variance of the difference of
    two areas [1]_, in O(n log n) by sorting [2]_. For few samples of a class the quantiles are those of Student's t
    with Satterthwaite's degrees of freedom, as in the test of Brunner and Munzel, which is this one for a single
    area [3]_. Weighted samples enter shares, means and their variance by their weights.

    Parameters
    ----------
    positive : array-like of bool, shape (n_samples,)
        Whether a sample is of the positive class.
    twin_score, champion_score : array-like of shape (n_samples,)
        Decisions or probabilities of the positive class; only their order counts.
    weights : array-like of shape (n_samples,), optional
        Weights of the samples.

    Returns
    -------
    Paired
        Undefined if one of the classes has no sample.

    References
    ----------
    .. [1] E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, Comparing the areas under two or more correlated receiver
       operating characteristic curves: a nonparametric approach, Biometrics 44 (1988), 837-845.
    .. [2] X. Sun, W. Xu, Fast implementation of DeLong's algorithm for comparing the areas under correlated receiver
       operating characteristic curves, IEEE Signal Processing Letters 21 (2014), 1389-1393.
    .. [3] E. Brunner, U. Munzel, The nonparametric Behrens-Fisher problem: asymptotic theory and a small-sample
       approximation, Biometrical Journal 42 (2000), 17-25.

    Examples
    --------
    >>> found = delong([0, 0, 0, 1, 1, 1], [1, 2, 4, 3, 5, 6], [1, 4, 5, 2, 3, 6])
    >>> round(found.difference, 3), round(found.p_better, 3)
    (0.333, 0.144)
    """
    is_positive = np.asarray(positive, dtype=bool)
    weight = np.ones(len(is_positive)) if weights is None else np.asarray(weights, dtype=float)
    kept = weight > 0
    is_positive, weight = is_positive[kept], weight[kept]
    if is_positive.all() or not is_positive.any():
        return undefined(DELONG, len(is_positive))
    twin, champion = (np.asarray(score, dtype=float)[kept] for score in (twin_score, champion_score))
    gaps = [a - b for a, b in zip(*(_placements(is_positive, s, weight) for s in (twin, champion)), strict=True)]
    shares = [_share(weight[is_positive]), _share(weight[~is_positive])]
    difference = float(shares[0] @ gaps[0])
    p_worse, p_better, half = _tested(difference, gaps, shares)
    return Paired(
        test=DELONG,
        n_tested=len(is_positive),
        p_worse=p_worse,
        p_better=p_better,
        difference=difference,
        low=None if half is None else difference - half,
        high=None if half is None else difference + half,
        twin_wins=sum(int((gap > 1e-12).sum()) for gap in gaps),
        champion_wins=sum(int((gap < -1e-12).sum()) for gap in gaps),
    )


def _placements(is_positive: npt.NDArray[np.bool_], score: Vector, weight: Vector) -> tuple[Vector, Vector]:
    """Yield, for each sample, the share of the other class that is on its right side."""
    above, below = score[is_positive], score[~is_positive]
    return (
        _share_below(above, below, weight[~is_positive]),
        1 - _share_below(below, above, weight[is_positive]),
    )


def _share_below(values: Vector, others: Vector, weight: Vector) -> Vector:
    order = np.argsort(others, kind="stable")
    others, sums = others[order], np.concatenate([[0.0], np.cumsum(weight[order])])
    low, high = (sums[np.searchsorted(others, values, side)] for side in ("left", "right"))
    return np.asarray((low + high) / (2 * sums[-1]), dtype=np.float64)


def _share(weight: Vector) -> Vector:
    return np.asarray(weight / weight.sum(), dtype=np.float64)


def _tested(difference: float, gaps: list[Vector], shares: list[Vector]) -> tuple[float, float, float | None]:
    """Return both p-values, and half the width of the interval."""
    fewest = min(map(len, gaps))
    if abs(difference) < 1e-12 and not any(np.ptp(gap) > 1e-12 for gap in gaps):
        return 1.0, 1.0, None if fewest < 2 else 0.0
    if fewest < 2:
        return 0.5, 0.5, None  # a class of one sample has no spread: it is evidence of nothing
    parts = [
        float(np.sum((share * (gap - share @ gap)) ** 2)) * len(gap) / (len(gap) - 1)
        for gap, share in zip(gaps, shares, strict=True)
    ]
    variance = sum(parts)
    if variance < 1e-24:  # all samples agree on the same difference: as unlikely as all signs of the smaller class
        p = 0.5**fewest
        return (p, 1.0, None) if difference < 0 else (1.0, p, None)
    freedom = variance**2 / sum(part**2 / (len(gap) - 1) for part, gap in zip(parts, gaps, strict=True))
    statistic, width = difference / math.sqrt(variance), float(stdtrit(freedom, 0.975))
    return float(stdtr(freedom, statistic)), float(stdtr(freedom, -statistic)), width * math.sqrt(variance)
