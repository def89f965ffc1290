"""The description of a regression, from counts of true and predicted values and of residuals."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from diurnal.backends.evaluation_data.json_numbers import rounded, rounded_list
from diurnal.backends.evaluation_data.score_counts import N_BINS, bin_edges, value_range, weighted_quantiles

N_CELLS = 40
MAX_VALUES = 512
QUANTILES = (0.05, 0.5, 0.95)

Floats = npt.NDArray[np.float64]


def target_edges(y: Floats, weights: Floats | None = None) -> Floats:
    """Return the edges of both axes of true against predicted values: the range of the target and 5 % on each side."""
    low, high = value_range(y, weights)
    margin = 0.05 * (high - low)
    return np.linspace(low - margin, high + margin, N_CELLS + 1)


def describe_predictions(y: Floats, predicted: Floats, weights: Floats | None, edges: Floats) -> dict[str, Any]:
    """Return true against predicted values, residuals and predictions as values of JSON.

    Parameters
    ----------
    y, predicted : numpy.ndarray of shape (n_samples,)
        True and predicted values; samples without a finite prediction are left out.
    weights : numpy.ndarray of shape (n_samples,), optional
        The weights of the samples.
    edges : numpy.ndarray
        Those of :func:`target_edges`.
    """
    weights = np.ones(len(y)) if weights is None else weights
    finite = np.isfinite(predicted) & np.isfinite(y)
    y, predicted, weights = y[finite], predicted[finite], weights[finite]
    if not weights.sum() > 0:
        return {"n_undefined": int((~finite).sum())}
    residuals = y - predicted
    cells = np.histogram2d(y, predicted, [edges, edges], weights=weights)[0]
    residual_edges = bin_edges(residuals, weights, N_BINS)
    mean = float(np.average(residuals, weights=weights))
    return describe_residual_counts(
        edges=edges,
        cells=cells,
        n=float(weights.sum()),
        residual_edges=residual_edges,
        residual_counts=np.histogram(residuals, residual_edges, weights=weights)[0],
        mean=mean,
        std=float(np.sqrt(np.average((residuals - mean) ** 2, weights=weights))),
        quantiles=weighted_quantiles(residuals, weights, QUANTILES),
        prediction=distribution_points(predicted, weights),
    ) | {"n_undefined": int((~finite).sum())}


def describe_residual_counts(
    *,
    edges: Floats,
    cells: Floats,
    n: float,
    residual_edges: Floats,
    residual_counts: Floats,
    mean: float,
    std: float,
    quantiles: Floats,
    prediction: tuple[Floats, Floats],
) -> dict[str, Any]:
    """Return the description of a regression; cells have true values in rows and predicted ones in columns."""
    q05, q50, q95 = map(rounded, quantiles)
    return {
        "predicted_true": {
            "x_edges": rounded_list(edges),
            "y_edges": rounded_list(edges),
            "counts": [rounded_list(row) for row in cells],
            "n_outside": rounded(n - float(cells.sum())),
        },
        "residuals": {
            "edges": rounded_list(residual_edges),
            "counts": rounded_list(residual_counts),
            "n_outside": rounded(n - float(residual_counts.sum())),
            "mean": rounded(mean),
            "std": rounded(std),
            "q05": q05,
            "q50": q50,
            "q95": q95,
        },
        "prediction": {"values": rounded_list(prediction[0]), "weights": rounded_list(prediction[1])},
    }


def distribution_points(values: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return distinct values and their weights; of many, as many quantiles of equal weight as are allowed.

    Examples
    --------
    >>> distribution_points(np.array([2.0, 1.0, 2.0]), np.ones(3))
    (array([1., 2.]), array([1., 2.]))
    >>> len(distribution_points(np.arange(10_000.0), np.ones(10_000))[0])
    512
    """
    distinct, places = np.unique(values, return_inverse=True)
    if len(distinct) <= MAX_VALUES:
        return distinct, np.bincount(places, weights, len(distinct)).astype(float)
    shares = (np.arange(MAX_VALUES) + 0.5) / MAX_VALUES
    return weighted_quantiles(values, weights, shares), np.full(MAX_VALUES, weights.sum() / MAX_VALUES)
