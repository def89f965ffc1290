"""The curves of a binary classifier, from the numbers of positive and negative samples at each distinct score.

One sort of the scores gives all curves. Counts may come from bins of scores, too, which executors have counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from diurnal.backends.evaluation_data.curve_points import MAX_POINTS, select_points
from diurnal.backends.evaluation_data.json_numbers import rounded, rounded_list

N_BINS = 50
N_CALIBRATION_BINS = 15
PROBABILITY_EDGES = np.linspace(0, 1, N_BINS + 1)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ScoreCounts:
    """Weighted numbers of positive and negative samples at each distinct score.

    Attributes
    ----------
    scores : numpy.ndarray of shape (n_scores,)
        Distinct, descending.
    positive, negative : numpy.ndarray of shape (n_scores,)
        The weighted numbers of samples.

    Examples
    --------
    >>> counts = ScoreCounts.from_samples(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    >>> counts.auc()
    0.75
    """

    scores: Floats
    positive: Floats
    negative: Floats

    @classmethod
    def from_samples(
        cls, scores: Any, is_positive: npt.NDArray[np.bool_], weights: Floats | None = None
    ) -> ScoreCounts:
        """Count samples; those without a score, or with weight 0, are left out."""
        scores, weights = np.asarray(scores, dtype=float), np.ones(len(scores)) if weights is None else weights
        if not (known := ~np.isnan(scores) & (weights != 0)).all():
            scores, is_positive, weights = scores[known], is_positive[known], weights[known]
        order = np.argsort(-scores, kind="stable")
        scores, positive, weights = scores[order], is_positive[order], weights[order]
        if not len(scores):
            return cls(scores, scores, scores)
        starts = np.flatnonzero(np.concatenate([[True], np.diff(scores) != 0]))
        sums = (np.add.reduceat(np.where(mask, weights, 0.0), starts) for mask in (positive, ~positive))
        return cls(scores[starts], *sums)

    @property
    def has_both(self) -> bool:
        """Whether there are samples of both kinds, without which no curve is defined."""
        return bool(self.positive.sum() > 0 and self.negative.sum() > 0)

    def roc(self) -> tuple[Floats, Floats]:
        """Return false and true positive rates, ascending from (0, 0)."""
        rates = (np.cumsum(counts) / counts.sum() for counts in (self.negative, self.positive))
        fpr, tpr = (np.concatenate([[0.0], rate]) for rate in rates)
        return fpr, tpr

    def precision_recall(self) -> tuple[Floats, Floats]:
        """Return recall, ascending from 0, and precision."""
        found, wrong = np.cumsum(self.positive), np.cumsum(self.negative)
        predicted = found + wrong
        precision = np.divide(found, predicted, out=np.ones_like(found), where=predicted > 0)
        return np.concatenate([[0.0], found / found[-1]]), np.concatenate([[1.0], precision])

    def auc(self) -> float:
        """Return the area under the ROC curve."""
        fpr, tpr = self.roc()
        return float(np.trapezoid(tpr, fpr))

    def average_precision(self) -> float:
        """Return the average precision, as :func:`sklearn.metrics.average_precision_score`."""
        recall, precision = self.precision_recall()
        return float(np.sum(np.diff(recall) * precision[1:]))

    def calibration(self, n_bins: int = N_CALIBRATION_BINS) -> tuple[Floats, Floats, Floats]:
        """Return mean score, fraction of positive samples and number of samples of bins with equal numbers of samples.

        Samples with one score are in one bin.
        """
        scores, positive = self.scores[::-1], self.positive[::-1]
        counts = positive + self.negative[::-1]
        middle = (np.cumsum(counts) - counts / 2) / counts.sum()
        bins = np.minimum((middle * n_bins).astype(int), n_bins - 1)
        n, hits, sums = (np.bincount(bins, values, n_bins) for values in (counts, positive, counts * scores))
        used = n > 0
        return sums[used] / n[used], hits[used] / n[used], n[used].astype(float)

    def histogram(self, edges: Floats) -> tuple[Floats, Floats]:
        """Return the numbers of positive and negative samples between edges; those outside are left out."""
        positive, negative = (np.histogram(self.scores, edges, weights=n)[0] for n in (self.positive, self.negative))
        return positive, negative

    def describe(self, *, is_probability: bool, most: int = MAX_POINTS) -> dict[str, Any]:
        """Return all curves as values of JSON, with at most so many points each."""
        fpr, tpr = self.roc()
        recall, precision = self.precision_recall()
        points, places = select_points(fpr, tpr, most), select_points(recall, precision, most)
        edges = PROBABILITY_EDGES if is_probability else bin_edges(self.scores, self.positive + self.negative)
        positive, negative = self.histogram(edges)
        described: dict[str, Any] = {
            "roc": {"fpr": rounded_list(fpr[points]), "tpr": rounded_list(tpr[points])},
            "precision_recall": {"recall": rounded_list(recall[places]), "precision": rounded_list(precision[places])},
            "histogram": {
                "edges": rounded_list(edges),
                "positive": rounded_list(positive),
                "negative": rounded_list(negative),
            },
            "auc": rounded(self.auc()),
            "average_precision": rounded(self.average_precision()),
        }
        if is_probability:
            predicted, observed, n = map(rounded_list, self.calibration())
            described["calibration"] = {"predicted": predicted, "observed": observed, "n": n}
        return described


def bin_edges(values: Floats, weights: Floats | None = None, n_bins: int = N_BINS) -> Floats:
    """Return edges of equal bins over a range that a few outliers do not widen.

    The range ends at the smallest and the largest value, unless these are far from 99 % of the values.

    Examples
    --------
    >>> float(bin_edges(np.arange(101.0))[-1])
    100.0
    >>> float(bin_edges(np.append(np.arange(1000.0), 1e9))[-1]) < 2000
    True
    """
    low, high = value_range(values, weights)
    return np.linspace(low, high, n_bins + 1)


def value_range(values: Floats, weights: Floats | None = None) -> tuple[float, float]:
    """Return the smallest and the largest value, without values that are far from 99 % of them."""
    finite = np.isfinite(values)
    if not finite.any():
        return 0.0, 1.0
    values = values[finite]
    weights = np.ones(len(values)) if weights is None else weights[finite]
    low, high = weighted_quantiles(values, weights, (0.005, 0.995))
    far = (high - low) or abs(high) or 1.0
    low, high = float(max(values.min(), low - far)), float(min(values.max(), high + far))
    if low == high:
        return low - 0.5 * max(1.0, abs(low)), high + 0.5 * max(1.0, abs(high))
    return low, high


def weighted_quantiles(values: Floats, weights: Floats, quantiles: Any) -> Floats:
    """Return the smallest values whose cumulated weights reach the quantiles.

    Examples
    --------
    >>> weighted_quantiles(np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 8.0]), (0.05, 0.5, 0.95))
    array([1., 2., 3.])
    """
    order = np.argsort(values, kind="stable")
    cumulated = np.cumsum(weights[order])
    if not cumulated[-1] > 0:
        return np.full(len(quantiles), np.nan)
    places = np.searchsorted(cumulated, np.asarray(quantiles) * cumulated[-1] * (1 - 1e-12))
    return np.asarray(values[order][np.minimum(places, len(values) - 1)], dtype=float)
