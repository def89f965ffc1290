"""Comparison of a faster way to predict with the model itself, on golden rows and rows around them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

TOLERANCE = 1e-12
_N_PROBES = 256
_N_SINGLE, _SIZES = 8, (2, 9, 64)  # of the rows on which bits are compared
_log = logging.getLogger(__name__)


def probe_rows(golden: pd.DataFrame, kinds: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return the golden rows, and rows whose values lie around theirs."""
    rows = golden.to_numpy(dtype=np.float64)
    rows = rows[np.isfinite(rows).all(axis=1)]
    if not len(rows):
        return np.zeros((1, len(kinds)))
    random = np.random.default_rng(0)
    spread = np.ptp(rows, axis=0) + np.abs(rows).mean(axis=0) + 1e-3
    others = rows[random.integers(len(rows), size=_N_PROBES)] + random.normal(size=(_N_PROBES, len(kinds))) * spread
    whole = np.flatnonzero([kind == "int" for kind in kinds])
    others[:, whole] = np.rint(others[:, whole])
    return np.vstack([rows, others])


def agrees(predictor: Any, X: npt.NDArray[np.float64], expected: Any, tolerance: float) -> bool:
    """Return whether a function gives the expected predictions, for all rows at once and for one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            whole, first = predictor(X), predictor(X[:1])
        except Exception as error:  # noqa: BLE001 - such a model predicts on frames
            _log.debug("the model does not predict on arrays: %s", type(error).__name__)
            return False
    alone = tuple(None if values is None else values[:1] for values in expected)
    return is_equal(whole, expected, tolerance) and is_equal(first, alone, tolerance or TOLERANCE)


def has_equal_bits(predictor: Any, predict: Callable[[Any], Any], X: npt.NDArray[np.float64]) -> bool:
    """Return whether two functions give the same bits, for some rows alone, for a few together, and for all.

    A library of linear algebra adds in an order that depends on the number of rows.
    """
    requests = [X, *(X[row : row + 1] for row in range(min(_N_SINGLE, len(X)))), *(X[:size] for size in _SIZES)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return all(is_equal(predictor(rows), predict(rows), 0.0) for rows in requests)


def is_equal(predicted: Any, expected: Any, tolerance: float) -> bool:
    """Return whether labels are equal, and numbers within a tolerance; of their largest, if that is above 1."""
    labels, probabilities = (np.asarray(values) for values in predicted)
    expected_labels, expected_probabilities = (np.asarray(values) for values in expected)
    if expected_labels.dtype.kind == "f":
        return _is_close(labels, expected_labels, tolerance)
    same = labels.dtype == expected_labels.dtype and np.array_equal(labels, expected_labels)
    if not same or expected_probabilities.dtype == object:
        return same and probabilities.dtype == expected_probabilities.dtype
    return _is_close(probabilities, expected_probabilities, tolerance)


def _is_close(values: npt.NDArray[Any], expected: npt.NDArray[Any], tolerance: float) -> bool:
    if values.shape != expected.shape or values.dtype != expected.dtype:
        return False
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    return bool(np.allclose(values, expected, rtol=0.0, atol=tolerance * scale))
