"""The declared score by category of the category columns."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from diurnal.backends.evaluation_data import EvaluationData
from diurnal.backends.evaluation_data.json_numbers import MAX_LABEL, rounded
from diurnal.backends.sklearn.batched_predict import BatchedData
from diurnal.backends.sklearn.fast_scores import PlacedAnswers, ReadsRowsError, declared_score

MAX_SLICES = 100
MIN_ROWS = 20
MAX_SECONDS = 0.1  # of one model, where a score is computed by a scorer of the user's own


@dataclass(frozen=True)
class Slice:
    """The samples with one category in a column."""

    column: str
    category: str
    places: np.ndarray


class CategorySlices:
    """The largest slices of samples by a category.

    Parameters
    ----------
    estimator : estimator
        A search, or a bare estimator.
    data : BatchedData
        The samples.
    found : EvaluationData
        Gets notes.
    """

    def __init__(self, estimator: Any, data: BatchedData, found: EvaluationData) -> None:
        self._estimator, self._data, self._found = estimator, data, found

    @cached_property
    def _slices(self) -> list[Slice]:
        found = [one for name, column in self._data.category_columns() for one in _split_column(name, column)]
        largest = sorted(range(len(found)), key=lambda i: -len(found[i].places))[:MAX_SLICES]
        return [found[i] for i in sorted(largest)]

    def scores(self, model: Any) -> list[dict[str, Any]]:
        """Return column, category, number of samples and score of each slice with a defined score."""
        if not self._slices:
            return []
        listed: list[dict[str, Any]] = []
        started = None  # set after the first slice, for which the model may have to predict
        with declared_score(self._estimator, model, self._data) as score:
            for one in self._slices:
                if started is not None and time.perf_counter() - started > MAX_SECONDS:
                    self._found.note(f"scores of {len(listed)} of {len(self._slices)} slices, as the score is slow")
                    break
                try:
                    value = score.of_places(model, PlacedAnswers(self._data, one.places), one.places)
                except ReadsRowsError:
                    self._found.note("no scores of slices, as the scorer reads the rows")
                    return []
                started = started or time.perf_counter()
                if math.isfinite(value):
                    listed.append(
                        {"column": one.column, "category": one.category, "n": len(one.places), "score": rounded(value)}
                    )
        return listed


def _split_column(name: str, column: pd.Series) -> Iterator[Slice]:
    """Return the slices of a column with enough samples, the most frequent category first."""
    codes, categories = pd.factorize(column)
    counts = np.bincount(codes[codes >= 0], minlength=len(categories))
    largest = [i for i in np.argsort(-counts, kind="stable")[:MAX_SLICES] if counts[i] >= MIN_ROWS]
    for i in largest:
        yield Slice(name, str(categories[i])[:MAX_LABEL], np.flatnonzero(codes == i))
