"""Losses of single samples whose mean is a score of scikit-learn, or decides it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import xlogy
from sklearn import metrics

Loss = Callable[[np.ndarray, np.ndarray, Any], np.ndarray]
"""Takes the target, the answers of a model and the model's classes; gives the loss of each sample."""

Scale = Callable[[np.ndarray, np.ndarray | None, float, float], float]
"""Takes the target, the weights and the mean losses of both models; gives what turns losses into scores."""


def wrong(y: np.ndarray, predicted: np.ndarray, classes: Any) -> np.ndarray:  # noqa: ARG001
    """Return 1 for each sample whose label is not the predicted one."""
    return np.asarray(predicted != y, dtype=float)


def _log(y: np.ndarray, probabilities: np.ndarray, classes: Any) -> np.ndarray:
    chosen = (_indicators(y, classes) * probabilities).sum(axis=1)
    eps = np.finfo(probabilities.dtype).eps
    return np.asarray(-np.log(np.clip(chosen, eps, 1 - eps)))


def _brier(y: np.ndarray, probabilities: np.ndarray, classes: Any) -> np.ndarray:
    squared = ((_indicators(y, classes) - probabilities) ** 2).sum(axis=1)
    return np.asarray(squared / 2 if len(classes) == 2 else squared)


def _indicators(y: np.ndarray, classes: Any) -> np.ndarray:
    return np.asarray(y[:, None] == np.asarray(classes)[None, :], dtype=float)


def _of_numbers(loss: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Loss:
    def of_each(y: np.ndarray, predicted: np.ndarray, classes: Any) -> np.ndarray:  # noqa: ARG001
        with np.errstate(all="ignore"):
            return np.asarray(loss(np.asarray(y, dtype=float), np.asarray(predicted, dtype=float)))

    return of_each


def _one(y: np.ndarray, weights: np.ndarray | None, twin: float, champion: float) -> float:  # noqa: ARG001
    return 1.0


def _root(y: np.ndarray, weights: np.ndarray | None, twin: float, champion: float) -> float:  # noqa: ARG001
    total = float(np.sqrt(twin) + np.sqrt(champion))
    return 1 / total if total > 0 else 1.0


def _r2(y: np.ndarray, weights: np.ndarray | None, twin: float, champion: float) -> float:  # noqa: ARG001
    numbers = np.asarray(y, dtype=float)
    variance = float(np.average((numbers - np.average(numbers, weights=weights)) ** 2, weights=weights))
    return 1 / variance if variance > 0 else np.nan


_absolute = _of_numbers(lambda y, p: np.abs(y - p))
_squared = _of_numbers(lambda y, p: (y - p) ** 2)
_log_squared = _of_numbers(lambda y, p: (np.log1p(y) - np.log1p(p)) ** 2)
_relative = _of_numbers(lambda y, p: np.abs(y - p) / np.maximum(np.abs(y), np.finfo(float).eps))
_poisson = _of_numbers(lambda y, p: 2 * (xlogy(y, y / p) - y + p))
_gamma = _of_numbers(lambda y, p: 2 * (np.log(p / y) + y / p - 1))

LOSSES: dict[Any, tuple[int, str, Loss, Scale]] = {
    metrics.accuracy_score: (1, "predict", wrong, _one),
    metrics.zero_one_loss: (-1, "predict", wrong, _one),
    metrics.log_loss: (-1, "predict_proba", _log, _one),
    metrics.brier_score_loss: (-1, "predict_proba", _brier, _one),
    metrics.mean_absolute_error: (-1, "predict", _absolute, _one),
    metrics.mean_squared_error: (-1, "predict", _squared, _one),
    metrics.root_mean_squared_error: (-1, "predict", _squared, _root),
    metrics.r2_score: (1, "predict", _squared, _r2),
    metrics.mean_squared_log_error: (-1, "predict", _log_squared, _one),
    metrics.root_mean_squared_log_error: (-1, "predict", _log_squared, _root),
    metrics.mean_absolute_percentage_error: (-1, "predict", _relative, _one),
    metrics.mean_poisson_deviance: (-1, "predict", _poisson, _one),
    metrics.mean_gamma_deviance: (-1, "predict", _gamma, _one),
}
"""By metric: the sign of a scorer that prefers smaller losses, whom it asks, the loss, and its scale."""
