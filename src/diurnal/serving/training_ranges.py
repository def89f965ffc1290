"""The ranges and moments of the numbers that a model was trained on, from the summaries of its batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

from diurnal.data.profiles import combine_moments


class TrainingRange(TypedDict):
    """What is known of a column: the number of its values, their moments and their range."""

    n: int
    mean: float
    std: float
    min: float
    max: float


def training_ranges(summaries: Iterable[Mapping[str, Any]]) -> dict[str, TrainingRange]:
    """Merge the summaries of batches.

    Parameters
    ----------
    summaries : iterable of Mapping
        As :meth:`diurnal.data.profiles.Profile.summarize` returns them.

    Returns
    -------
    dict of str to dict
        By column; without those that are not numbers.

    Examples
    --------
    >>> column = {"kind": "number", "missing": 0.5, "mean": 1.0, "std": 1.0, "min": 0.0, "max": 2.0}
    >>> other = {**column, "mean": 3.0, "max": 7.0}
    >>> training_ranges([{"n_rows": 20, "columns": {"age": one}} for one in (column, other)])
    {'age': {'n': 20, 'mean': 2.0, 'std': 1.4142135623730951, 'min': 0.0, 'max': 7.0}}
    """
    found: dict[str, TrainingRange] = {}
    for summary in summaries:
        for name, column in summary["columns"].items():
            if (present := _read_range(column, summary["n_rows"])) is not None:
                found[name] = _merge_ranges(found[name], present) if name in found else present
    return found


def _read_range(column: Mapping[str, Any], n_rows: int) -> TrainingRange | None:
    """Return the range of a column of one batch; None if it is not a number, or has no finite moments."""
    moments = [column.get(name) for name in ("mean", "std", "min", "max")]
    n = round(n_rows * (1 - column["missing"] - column.get("infinite", 0)))
    if column["kind"] != "number" or n <= 0 or not all(isinstance(value, int | float) for value in moments):
        return None
    mean, std, least, largest = (float(value) for value in moments if value is not None)
    return {"n": n, "mean": mean, "std": std, "min": least, "max": largest}


def _merge_ranges(one: TrainingRange, other: TrainingRange) -> TrainingRange:
    mean, std = combine_moments(one["n"], one["mean"], one["std"], other["n"], other["mean"], other["std"])
    return {
        "n": one["n"] + other["n"],
        "mean": mean,
        "std": std,
        "min": min(one["min"], other["min"]),
        "max": max(one["max"], other["max"]),
    }
