"""Results of fits as arrays, which can be written to a file, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from diurnal.errors import UsageError

FoldArrays = dict[str, np.ndarray]
"""One array for each field, one row for each fit; ``call`` is its number."""


def results_to_arrays(results: Mapping[int, Mapping[str, Any]]) -> FoldArrays:
    """Arrange results as one array per field, one row per call."""
    columns: dict[str, list[Any]] = {"call": []}
    for i in sorted(results):
        columns["call"].append(i)
        for name, value in results[i].items():
            if isinstance(value, dict):
                for metric, score in value.items():
                    columns.setdefault(f"{name}:{metric}", []).append(score)
            else:
                columns.setdefault(name, []).append(value or "" if name == "fit_error" else value)
    return {name: np.array(values) for name, values in columns.items()}


def arrays_to_results(part: Mapping[str, np.ndarray], known: Mapping[int, Any]) -> dict[int, dict[str, Any]]:
    """Return the results by call; the inverse of :func:`results_to_arrays`."""
    results: dict[int, dict[str, Any]] = {}
    for row, call in enumerate(part["call"].tolist()):
        if call in known or call in results:
            raise UsageError(f"fit {call} occurs twice", hint="give the scores of each shard once")
        result: dict[str, Any] = {}
        for column, values in part.items():
            name, _, metric = column.partition(":")
            value = values[row].item()
            if metric:
                result.setdefault(name, {})[metric] = value
            elif column != "call":
                result[name] = (value or None) if column == "fit_error" else value
        results[call] = result
    return results
