"""What a paired test gives."""

from __future__ import annotations

import math
from dataclasses import dataclass

TWO_SIDED = 1.959963984540054
"""Quantile of the standard normal distribution for a 95 % interval."""


@dataclass(frozen=True)
class Paired:
    """Result of a paired test; the difference is the twin's score less the champion's.

    Attributes
    ----------
    test : str
        Name of the test.
    n_tested : int
        Samples that the test has seen, those of weight zero left out.
    p_worse, p_better : float or None
        Probability of a result at least as bad, or as good, for the twin if both models are equally good. None where
        the score is undefined.
    difference, low, high : float or None
        Difference of the scores, and its 95 % interval. None where they are undefined.
    twin_wins, champion_wins : int or None
        Samples on which the one is better than the other. None where the score is not made of samples.
    """

    test: str
    n_tested: int
    p_worse: float | None = None
    p_better: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    twin_wins: int | None = None
    champion_wins: int | None = None


def undefined(test: str, n_tested: int) -> Paired:
    """Return the result where the score of one of the models is undefined."""
    return Paired(test, n_tested)


def finite(value: float) -> float | None:
    """Return a number, or None for what is not finite."""
    return float(value) if math.isfinite(value) else None
