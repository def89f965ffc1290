"""Drift: how far the columns of a batch are from those of a reference, as effect sizes.

Numbers and times are compared by the Wasserstein distance of both distributions over the standard deviation of the
reference: 0.1 is a shift by a tenth of a standard deviation. Categories are compared by the Jensen-Shannon distance
with base 2, from 0 (equal shares) to 1 (no common category); rows without a value are a category of their own. Of a
column of numbers, the shares of missing and of infinite values are compared in the same way, and the larger effect
counts.

Both are those of Evidently (`Wasserstein distance (normed)`, `Jensen-Shannon distance`), with three differences: a
Jensen-Shannon distance of Evidently has base e, and is ``sqrt(ln 2)`` times ours; missing values are not left out; and
where the reference is a constant, the effect is the share of values that differ from it, and no division by 0.001.

Two samples of one distribution differ as well, the more the fewer rows they have. `noise` is the effect that chance
alone exceeds in one of 1,000 batches of that size. A column has drifted if its effect is at least the threshold and
above the noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from diurnal.data.distributions import average_bins
from diurnal.data.profiles import ColumnProfile, Profile, replace_nul

if TYPE_CHECKING:
    import numpy.typing as npt

    from diurnal.data.distributions import Floats
    from diurnal.types.drift_thresholds import DriftThresholds

Measure = Literal["wasserstein", "jensen-shannon"]

MAX_NEW_CATEGORIES = 10
_CONFIDENCE = 0.999
_NOISE_POINTS = 64


@dataclass(frozen=True)
class Effect:
    """An effect size.

    Attributes
    ----------
    measure : {"wasserstein", "jensen-shannon"}
        How it is measured.
    size : float
        0 for equal distributions.
    noise : float
        What chance alone exceeds in one of 1,000 pairs of samples of this size.
    part : {"values", "missing"}
        Whether the values differ or the shares of rows without a finite value.
    """

    measure: Measure
    size: float
    noise: float
    part: Literal["values", "missing"] = "values"


def compare_profiles(reference: Profile, current: Profile, thresholds: DriftThresholds) -> list[dict[str, Any]]:
    """Compare features and target of a batch with those of a reference.

    Parameters
    ----------
    reference, current : Profile
        In the columns of one version of the contract.
    thresholds : DriftThresholds
        From which effect on a column counts as drifted.

    Returns
    -------
    list of dict
        One for each column that both have with the same kind, in the form of :func:`compare_columns`.
    """
    known = {column.column: column for column in reference.columns}
    compared = []
    for column in current.columns:
        threshold = thresholds.of(column.column)
        if column.role == "other" or threshold is None or column.column not in known:
            continue
        if (found := compare_columns(known[column.column], column, threshold)) is not None:
            compared.append(found)
    return compared


def compare_columns(reference: ColumnProfile, current: ColumnProfile, threshold: float) -> dict[str, Any] | None:
    """Compare one column.

    Parameters
    ----------
    reference, current : ColumnProfile
        Its profiles.
    threshold : float
        The effect from which on it counts as drifted.

    Returns
    -------
    dict or None
        In JSON's types: column, role, kind, measure, effect, noise, threshold, drifted, part, the shares of missing
        values in both, and for a category at most ten new ones. None if there is nothing to compare.
    """
    effect = measure_effect(reference, current)
    if effect is None:
        return None
    found = {
        "column": current.column,
        "role": current.role,
        "kind": current.kind,
        "measure": effect.measure,
        "effect": round(effect.size, 6),
        "noise": round(effect.noise, 6),
        "threshold": threshold,
        "drifted": effect.size >= threshold and effect.size > effect.noise,
        "part": effect.part,
        "missing": [round(reference.missing_share, 6), round(current.missing_share, 6)],
    }
    if current.kind == "category":
        found["new_categories"] = find_new_categories(reference, current)
    return found


def sort_by_effect(compared: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return compared columns in the order of their effects, those that have drifted first."""
    return sorted(compared, key=lambda one: (not one["drifted"], -one["effect"], one["column"]))


def measure_effect(reference: ColumnProfile, current: ColumnProfile) -> Effect | None:
    """Return the effect size of a column; None if a profile has no rows, or if the kinds differ."""
    if reference.kind != current.kind or not reference.n_rows or not current.n_rows:
        return None
    if current.kind == "category":
        return measure_shares(*align_counts(reference, current))
    presence = measure_shares(_presence_counts(reference), _presence_counts(current), part="missing")
    values = _measure_numbers(reference, current)
    return presence if values is None or presence.size > values.size else values


def wasserstein_effect(reference: ColumnProfile, current: ColumnProfile) -> float | None:
    """Return the Wasserstein distance of two distributions of numbers over the standard deviation of the reference.

    If the reference is a constant, return the share of numbers that differ from it. Return None if there are no
    numbers, or if they are too large for floats.
    """
    from scipy.stats import wasserstein_distance

    if not len(reference.values) or not len(current.values):
        return None
    if reference.min == reference.max:
        equal = current.weights[current.values == reference.min].sum()
        return float(1 - equal / current.weights.sum())
    if not reference.std:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        distance = wasserstein_distance(reference.values, current.values, reference.weights, current.weights)
        effect = float(distance / reference.std)
    return effect if math.isfinite(effect) else None


def jensen_shannon_effect(reference: Sequence[float], current: Sequence[float]) -> float:
    """Return the Jensen-Shannon distance with base 2 of two lists of counts.

    Examples
    --------
    >>> jensen_shannon_effect([1, 1], [2, 2]), jensen_shannon_effect([1, 0], [0, 1])
    (0.0, 1.0)
    """
    from scipy.spatial.distance import jensenshannon

    with np.errstate(invalid="ignore"):
        distance = float(jensenshannon(np.asarray(reference, float), np.asarray(current, float), 2))
    return 0.0 if math.isnan(distance) else min(1.0, distance)  # rounding gives the root of a negative number


def align_counts(reference: ColumnProfile, current: ColumnProfile) -> tuple[list[float], list[float]]:
    """Return the counts of both profiles for the same categories.

    A profile that lists all of its categories has a count of 0 for any other. One that does not has no more rows of
    an unlisted category than of each listed one: the count is estimated as that which makes the difference least. The
    last two counts are those of all other categories and of missing values.
    """
    pair = (reference, current)
    counts: list[dict[str, float]] = [dict(zip(one.categories, one.counts, strict=True)) for one in pair]
    categories = sorted(counts[0].keys() | counts[1].keys())
    aligned = []
    for i in (0, 1):
        own, other = counts[i], counts[1 - i]
        unlisted = [category for category in categories if category not in own]
        estimates = _unlisted_counts(pair[i], [other[category] / pair[1 - i].n_rows for category in unlisted])
        own = own | dict(zip(unlisted, estimates, strict=True))
        listed = [own[category] for category in categories]
        rest = max(0.0, pair[i].n_rows - pair[i].n_missing - sum(listed))
        aligned.append([*listed, rest, pair[i].n_missing])
    return aligned[0], aligned[1]


def _unlisted_counts(column: ColumnProfile, shares: Sequence[float]) -> list[float]:
    """Estimate the counts of categories that a profile does not list, by their shares in another one."""
    if not column.n_other:
        return [0.0] * len(shares)
    most = min(column.counts[-1] if column.counts else 1, column.n_other / max(1, len(shares)))
    return [min(most, share * column.n_rows) for share in shares]


def find_new_categories(reference: ColumnProfile, current: ColumnProfile) -> list[str]:
    """Return the most frequent categories that the reference does not have; none if it does not list all of its own."""
    if reference.n_other:
        return []
    known = set(reference.categories)
    new = [replace_nul(category) for category in current.categories if category not in known]
    return new[:MAX_NEW_CATEGORIES]


def measure_shares(
    reference: Sequence[float], current: Sequence[float], *, part: Literal["values", "missing"] = "values"
) -> Effect:
    """Return the Jensen-Shannon distance of two lists of counts, and its noise.

    Of two samples with `n` and `m` rows of one distribution with `k` categories, the divergence in nats is distributed
    as chi-squared with ``k - 1`` degrees of freedom times ``(1 / n + 1 / m) / 8``. With less than two rows for each
    category, as names or numbers of orders have, samples differ to any degree: the noise is 1.
    """
    from scipy.special import gammaincinv

    n_categories = sum(1 for pair in zip(reference, current, strict=True) if any(pair))
    effect = jensen_shannon_effect(reference, current)
    if n_categories > 2 and n_categories > min(sum(reference), sum(current)) / 2:
        return Effect("jensen-shannon", effect, 1.0, part)
    chi_squared = 2 * gammaincinv(max(1, n_categories - 1) / 2, _CONFIDENCE)
    divergence = chi_squared * (1 / sum(reference) + 1 / sum(current)) / 8
    noise = min(1.0, math.sqrt(divergence / math.log(2)))
    return Effect("jensen-shannon", effect, noise, part)


def _measure_numbers(reference: ColumnProfile, current: ColumnProfile) -> Effect | None:
    size = wasserstein_effect(reference, current)
    if size is None:
        return None
    noise = 0.0
    if reference.std:
        noise = wasserstein_noise(
            reference.values / reference.std, reference.weights, reference.n_values, current.n_values
        )
    return Effect("wasserstein", size, noise)


def wasserstein_noise(values: Floats, weights: Floats, n: int, m: int) -> float:
    """Return what the Wasserstein distance of two samples of one distribution exceeds in one of 1,000 cases.

    The difference of two empirical distribution functions is approximately a Brownian bridge ``B(F(x))`` times
    ``sqrt(1 / n + 1 / m)``. The distance is the integral of its absolute value. A gamma distribution with the mean and
    the variance of that integral gives the quantile.

    Parameters
    ----------
    values, weights : numpy.ndarray of float64
        The distribution.
    n, m : int
        The sizes of the samples.
    """
    from scipy.special import gammaincinv

    if len(values) > _NOISE_POINTS:
        values, weights = average_bins(values, weights, _NOISE_POINTS)
    gaps, levels = np.diff(values), np.cumsum(weights)[:-1] / weights.sum()
    spread = gaps * np.sqrt(levels * (1 - levels))
    mean = math.sqrt(2 / math.pi) * spread.sum()
    variance = float((np.multiply.outer(spread, spread) * _absolute_products(levels)).sum()) - mean**2
    if not mean > 0 or not variance > 0 or not math.isfinite(variance):
        return 0.0
    quantile = float(gammaincinv(mean**2 / variance, _CONFIDENCE)) * variance / mean
    return float(quantile * math.sqrt(1 / n + 1 / m))


def _absolute_products(levels: Floats) -> npt.NDArray[np.float64]:
    """Return the expected absolute products of a Brownian bridge at each pair of levels, with unit variances."""
    low, high = np.minimum.outer(levels, levels), np.maximum.outer(levels, levels)
    correlation = np.minimum(1.0, np.sqrt(low * (1 - high) / (high * (1 - low))))
    products: npt.NDArray[np.float64] = 2 / np.pi * (np.sqrt(1 - correlation**2) + correlation * np.arcsin(correlation))
    return products


def _presence_counts(column: ColumnProfile) -> list[int]:
    return [column.n_values, column.n_missing, column.n_infinite]
