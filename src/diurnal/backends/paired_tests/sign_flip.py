"""Scores that are means of a loss of each sample, or grow and fall with such a mean."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, stdtrit

from diurnal.backends.paired_tests.mcnemar import at_most
from diurnal.backends.paired_tests.test_descriptions import FLIPS
from diurnal.backends.paired_tests.test_result import Paired, undefined

ENUMERATED = 14
"""The signs of so many of the largest differences are enumerated; the sum of the others is taken as normal."""

Vector = npt.NDArray[np.float64]


def sign_flips(
    twin_loss: npt.ArrayLike, champion_loss: npt.ArrayLike, weights: npt.ArrayLike | None = None, *, scale: float = 1.0
) -> Paired:
    """Compare mean losses by a permutation test that flips the signs of their differences.

    If both models are equally good, the difference of their losses on a sample is as likely to be the other way round,
    and the mean of all differences has a known distribution: over all patterns of signs [1]_ [2]_. All patterns are
    enumerated for up to 14 samples that differ; for more, those of the 14 largest differences are, and the sum of the
    others, which are many and small, is taken as normal. Nothing is drawn at random. The interval is that of Student's
    t for the mean difference.

    Parameters
    ----------
    twin_loss, champion_loss : array-like of shape (n_samples,)
        Loss of each sample; less is better. One that is not finite counts as larger than any other.
    weights : array-like of shape (n_samples,), optional
        Weights of the samples in the mean.
    scale : float
        What a difference of mean losses is multiplied by to be one of scores, such as one over the variance of the
        target for R². One that is not finite leaves the difference undefined, and the test as it is.

    Returns
    -------
    Paired

    References
    ----------
    .. [1] R. A. Fisher, The Design of Experiments (1935), section 21.
    .. [2] E. J. G. Pitman, Significance tests which may be applied to samples from any populations, Supplement to the
       Journal of the Royal Statistical Society 4 (1937), 119-130.

    Examples
    --------
    >>> found = sign_flips([1.0, 2.0, 3.0, 4.0], [0.5, 1.0, 2.5, 2.0])
    >>> found.p_worse, found.difference  # the worst of 16 patterns of signs
    (0.0625, -1.0)
    """
    advantage = _advantage(np.asarray(twin_loss, dtype=float), np.asarray(champion_loss, dtype=float))
    weight = np.ones(len(advantage)) if weights is None else np.asarray(weights, dtype=float)
    advantage, weight = advantage[weight > 0], weight[weight > 0]
    if not len(advantage):
        return undefined(FLIPS, 0)
    p_worse, p_better = _flipped(weight * advantage)
    mean, half = _mean(advantage, weight)
    scaled = scale if math.isfinite(scale) else None
    return Paired(
        test=FLIPS,
        n_tested=len(advantage),
        p_worse=p_worse,
        p_better=p_better,
        difference=None if scaled is None else scaled * mean,
        low=None if scaled is None or half is None else scaled * (mean - half),
        high=None if scaled is None or half is None else scaled * (mean + half),
        twin_wins=int((advantage > 0).sum()),
        champion_wins=int((advantage < 0).sum()),
    )


def _advantage(twin: Vector, champion: Vector) -> Vector:
    both = np.concatenate([twin, champion])
    usual = both[np.isfinite(both)]
    far = 2 * usual.max(initial=0.0) + 1
    return np.where(np.isfinite(champion), champion, far) - np.where(np.isfinite(twin), twin, far)


def _mean(values: Vector, weights: Vector) -> tuple[float, float | None]:
    """Return a weighted mean, and half the width of its interval."""
    n, share = len(values), weights / weights.sum()
    mean = float(share @ values)
    if n < 2:
        return mean, None
    deviation = math.sqrt(float(np.sum((share * (values - mean)) ** 2)) * n / (n - 1))
    return mean, float(stdtrit(n - 1, 0.975)) * deviation


def _flipped(parts: Vector) -> tuple[float, float]:
    """Return how likely a sum at most, and at least, as large is if each part has either sign."""
    sizes = np.abs(parts[parts != 0])
    if not len(sizes):
        return 1.0, 1.0
    parts, sizes = parts / sizes.max(), sizes / sizes.max()
    if np.ptp(sizes) < 1e-12:  # the sum only counts signs
        wins = int((parts > 0).sum())
        return at_most(wins, len(sizes)), at_most(len(sizes) - wins, len(sizes))
    if len(sizes) > ENUMERATED:
        sizes = np.partition(sizes, len(sizes) - ENUMERATED)
    sums = np.zeros(1)
    for size in sizes[-ENUMERATED:]:
        sums = np.concatenate([sums - size, sums + size])
    observed, spread = float(parts.sum()), float(np.linalg.norm(sizes[:-ENUMERATED]))
    return _below(sums, observed, spread), _below(sums, -observed, spread)


def _below(sums: Vector, observed: float, spread: float) -> float:
    if spread == 0:
        return float(np.mean(sums <= observed + 1e-9))
    return float(np.mean(ndtr((observed - sums) / spread)))
