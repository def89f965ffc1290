"""The result of an evaluation, and the comparison of a model with the champion."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from diurnal.types.challenge import Match
from diurnal.types.results import Run


def finite_or_none(score: float) -> float | None:
    """Return a score, or None if it is NaN or infinite, which JSON and comparisons do not support.

    Examples
    --------
    >>> finite_or_none(0.5), finite_or_none(float("nan"))
    (0.5, None)
    """
    return float(score) if math.isfinite(score) else None


NoComparisonReason = Literal["nothing-new", "unusable", "other-contract", "no-evidence"]


@dataclass(frozen=True)
class Comparison:
    """Comparison of twin and champion on the same samples, on which neither was trained.

    Attributes
    ----------
    n_compared : int
        Number of samples.
    twin_score, champion_score : float or None
        The main score of each; None if it is undefined, as R² of a single sample.
    p_worse : float
        Probability of a result at least as bad for the twin if it is as good as the champion.
    test : str
        Name of the paired test, which is one of the declared score.
    twin_wins, champion_wins : int or None
        Samples on which the one was better than the other; None if the score is no mean over samples.
    p_better : float or None
        Probability of a result at least as good for the twin if it is as good as the champion.
    difference, low, high : float or None
        The twin's score less the champion's on the tested samples, and its 95 % interval; None if undefined.
    n_tested : int or None
        Samples of the test: all with a weight above 0, or a bounded sample of them.

    Comparisons that older versions stored have no values for the last five.
    """

    n_compared: int
    twin_score: float | None
    champion_score: float | None
    p_worse: float
    test: str
    twin_wins: int | None = None
    champion_wins: int | None = None
    p_better: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    n_tested: int | None = None


@dataclass(frozen=True)
class Evaluation:
    """Result of `evaluate`: the scores of the twin on test samples, and its comparison with the champion.

    Attributes
    ----------
    run : Run
        The run of the twin.
    test_score : float or None
        The twin's main score on the test samples of the window; None where it is undefined.
    test_scores : Mapping of str to float or None
        All of its scores.
    n_test : int
        Distinct test samples of the window.
    champion_version : int or None
        The champion at the time of the evaluation, if there was one.
    comparison : Comparison or None
        None if there is no champion, or no sample to compare on.
    uncompared : str or None
        The reason why the champion was not compared: ``"nothing-new"`` (it was trained on every sample), ``"unusable"``
        (it cannot be loaded), ``"other-contract"`` (it was fitted with an earlier version of the contract and needs
        columns that batches no longer have), or ``"no-evidence"`` (there were no samples, or it failed on them).
    match : Match or None
        With ``promotion="proven"``, the challenger against the champion.
    unmatched : str or None
        The reason why there is no match.
    drift : Mapping of str to Any, or None
        The batch against the training window of the champion: see :mod:`diurnal.data.drift`.
    curves : str or None
        Path of the evaluation data below the root of the lake: curves, histograms, importances.
    sample : str or None
        Path of the results for a bounded sample of test rows.
    warnings : tuple of str
        Warnings so far.
    seconds : Mapping of str to float
        Durations of the steps so far, by name of the step.
    """

    run: Run
    test_score: float | None
    test_scores: Mapping[str, float | None]
    n_test: int
    champion_version: int | None = None
    comparison: Comparison | None = None
    uncompared: NoComparisonReason | None = None
    match: Match | None = None
    unmatched: str | None = None
    drift: Mapping[str, Any] | None = None
    curves: str | None = None
    sample: str | None = None
    warnings: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
