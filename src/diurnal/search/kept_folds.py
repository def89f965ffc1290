"""Results of finished folds, kept outside of the process: a search that was killed does not fit them again.

A round is identified by its candidates and by the rows of its folds. A search whose candidates or folds are drawn anew
each time has other rounds after a restart, and fits all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from diurnal.search.fold_arrays import FoldArrays, arrays_to_results, results_to_arrays
from diurnal.search.sklearn_private import FitAndScoreCall

Results = dict[int, dict[str, Any]]  # by candidate


class FoldStore(Protocol):
    """Where the results of folds are kept."""

    def load(self, round_id: str) -> Mapping[int, FoldArrays]:
        """Return the results of the folds of a round that are kept, by the number of the fold."""

    def save(self, round_id: str, fold: int, results: FoldArrays) -> None:
        """Keep the results of a fold."""


class KeptFolds:
    """The folds of one round.

    Parameters
    ----------
    store : FoldStore or None
        Where they are kept; None keeps nothing.
    calls : sequence of FitAndScoreCall
        Every candidate on every fold; the fold varies fastest.
    n_folds : int
        The number of folds.
    """

    def __init__(self, store: FoldStore | None, calls: Sequence[FitAndScoreCall], n_folds: int) -> None:
        self._store, self._n_candidates = store, len(calls) // n_folds
        self._round_id = "" if store is None else identify_round(calls, n_folds)

    def load(self) -> dict[int, Results]:
        """Return the results of each fold that is kept."""
        kept = {} if self._store is None else self._store.load(self._round_id)
        return {fold: arrays_to_results(arrays, {}) for fold, arrays in kept.items()}

    def save(self, fold: int, results: Mapping[int, Mapping[str, Any]]) -> None:
        """Keep the results of a fold, if each candidate has one: others are left to scikit-learn."""
        if self._store is not None and len(results) == self._n_candidates:
            self._store.save(self._round_id, fold, results_to_arrays(results))


def identify_round(calls: Sequence[FitAndScoreCall], n_folds: int) -> str:
    """Return a digest of the candidates and of the rows of the folds of a round."""
    digest = hashlib.sha256()
    for call in calls[::n_folds]:
        parameters = call.kwargs["parameters"] or {}
        digest.update(repr(sorted((name, repr(value)) for name, value in parameters.items())).encode())
    for call in calls[:n_folds]:
        for rows in (call.kwargs["train"], call.kwargs["test"]):
            digest.update(np.ascontiguousarray(rows).tobytes() + b"|")
    return digest.hexdigest()
