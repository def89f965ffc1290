"""Accuracy: the samples on which exactly one of two classifiers is right."""

from __future__ import annotations

import math

from diurnal.backends.paired_tests.test_descriptions import EXACT
from diurnal.backends.paired_tests.test_result import TWO_SIDED, Paired, undefined


def mcnemar(twin_wins: int, champion_wins: int, n_samples: int) -> Paired:
    """Compare the accuracy of two classifiers by McNemar's exact test.

    If both are equally accurate, each of the samples on which exactly one is right is the twin's with probability one
    half [1]_. The interval of the difference inverts Tango's score test [2]_.

    Parameters
    ----------
    twin_wins, champion_wins : int
        Samples on which only the twin, or only the champion, is right.
    n_samples : int
        All samples.

    Returns
    -------
    Paired

    References
    ----------
    .. [1] Q. McNemar, Note on the sampling error of the difference between correlated proportions or percentages,
       Psychometrika 12 (1947), 153-157.
    .. [2] T. Tango, Equivalence test and confidence interval for the difference in proportions for the paired-sample
       design, Statistics in Medicine 17 (1998), 891-908.

    Examples
    --------
    >>> found = mcnemar(1, 9, 100)
    >>> round(found.p_worse, 4), found.difference, round(found.low, 3), round(found.high, 3)
    (0.0107, -0.08, -0.154, -0.023)
    """
    if not n_samples:
        return undefined(EXACT, 0)
    low, high = (_bound(twin_wins, champion_wins, n_samples, side) for side in (-1, 1))
    return Paired(
        test=EXACT,
        n_tested=n_samples,
        p_worse=at_most(twin_wins, twin_wins + champion_wins),
        p_better=at_most(champion_wins, twin_wins + champion_wins),
        difference=(twin_wins - champion_wins) / n_samples,
        low=low,
        high=high,
        twin_wins=twin_wins,
        champion_wins=champion_wins,
    )


def at_most(wins: int, n: int) -> float:
    """Return the probability of at most so many heads among n tosses of a fair coin."""
    from scipy.special import bdtr

    return float(bdtr(wins, n, 0.5)) if n else 1.0


def _bound(twin_wins: int, champion_wins: int, n: int, side: int) -> float:
    """Return the difference, below or above the one observed, that Tango's test just does not refuse."""
    from scipy.optimize import brentq

    def beyond(difference: float) -> float:
        return side * _score(twin_wins, champion_wins, n, difference) + TWO_SIDED

    observed, end = (twin_wins - champion_wins) / n, float(side)
    return end if beyond(end) >= 0 else float(brentq(beyond, observed, end))


def _score(twin_wins: int, champion_wins: int, n: int, difference: float) -> float:
    """Return Tango's statistic, standard normal if this is the true difference."""
    discordant, excess = twin_wins + champion_wins, twin_wins - champion_wins
    linear = -discordant + (2 * n - excess) * difference
    constant = -champion_wins * difference * (1 - difference)
    q = (math.sqrt(max(0.0, linear**2 - 8 * n * constant)) - linear) / (4 * n)
    variance = n * (2 * q + difference * (1 - difference))
    gap = excess - n * difference
    if variance <= 0:
        return 0.0 if gap == 0 else math.copysign(math.inf, gap)
    return gap / math.sqrt(variance)
