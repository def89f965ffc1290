"""The declared score of two models on resampled rows, with or without exchange of their predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from diurnal.backends.sklearn.batched_predict import BatchedData, CachedPredictor, LazyRows, was_materialized

_ON_ONE_SCALE = {"predict", "predict_proba", "predict_log_proba"}


class ScoreResamples:
    """Scores of two models on resamples of a bounded number of samples.

    A scorer gets proxies of the models, which look up predictions that were computed once. A scorer that reads rows
    gets the rows; if it passes changed rows to a model, the model predicts, and predictions cannot be exchanged.

    Parameters
    ----------
    judge : callable
        A scorer of scikit-learn.
    params : Mapping of str to numpy.ndarray
        Its metadata beside X and y, for all samples.
    name : str
        The name of the score, if it returns several.
    models : tuple of two estimators
        Twin and champion.
    data : BatchedData
        All samples.
    places : numpy.ndarray of int
        The positions of the samples that may be drawn.
    """

    def __init__(
        self,
        judge: Callable[..., Any],
        params: Mapping[str, np.ndarray],
        name: str,
        models: tuple[Any, Any],
        data: BatchedData,
        places: np.ndarray,
    ) -> None:
        self._judge, self._name, self._models, self._data, self._places = judge, name, models, data, places
        self._y, self._params = data.y[places], {key: values[places] for key, values in params.items()}
        self._asked: tuple[set[str], set[str]] = (set(), set())
        self._asked_itself = False
        self._wants_rows: bool | None = None
        self._has_scored = False

    def __call__(self, places: np.ndarray, swapped: np.ndarray) -> tuple[float, float]:
        """Return the scores of twin and champion; after the first call, a score that fails is NaN and no error."""
        try:
            twin, champion = (self._scored(which, places, swapped) for which in (0, 1))
        except Exception:  # any error of a metric on a resample without a class
            if not self._has_scored:
                raise
            return float("nan"), float("nan")
        self._has_scored = True
        return twin, champion

    def _scored(self, which: int, places: np.ndarray, swapped: np.ndarray) -> float:
        stand_in = _StandIn(self._models[which], self, which, places, swapped)
        if self._wants_rows is None:
            self._wants_rows = self._looks_at_rows(stand_in, places)
        return self._given(stand_in, self.rows.iloc[places] if self._wants_rows else LazyRows(), places)

    def _given(self, stand_in: Any, X: Any, places: np.ndarray) -> float:
        params = {key: values[places] for key, values in self._params.items()}
        given = self._judge(stand_in, X, self._y[places], **params)
        return float(given[self._name] if isinstance(given, Mapping) else given)

    def _looks_at_rows(self, stand_in: Any, places: np.ndarray) -> bool:
        rows = LazyRows()
        with suppress(Exception):
            self._given(stand_in, rows, places)
            return was_materialized(rows)
        return True

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The samples that may be drawn; their index is their position."""
        return self._data.rows(self._places).reset_index(drop=True)

    @property
    def can_swap(self) -> bool:
        """Whether predictions of the models may be exchanged."""
        twin, champion = self._models
        alike = np.array_equal(np.asarray(getattr(twin, "classes_", ())), np.asarray(getattr(champion, "classes_", ())))
        return alike and not self._asked_itself and self._asked[0] == self._asked[1] and self._asked[0] <= _ON_ONE_SCALE

    def differing(self) -> np.ndarray:
        """Return a mask of the samples for which the models predict differently."""
        differs = np.zeros(len(self._places), dtype=bool)
        for method in self._asked[0] & self._asked[1]:
            twin, champion = (self._data.answers(model, method)[self._places] for model in self._models)
            same_shape = twin.shape == champion.shape
            differs |= (twin != champion).reshape(len(differs), -1).any(axis=1) if same_shape else True
        return differs if self._asked[0] == self._asked[1] else np.ones_like(differs)

    def answer(self, which: int, method: str, places: np.ndarray, swapped: np.ndarray) -> np.ndarray:
        """Return the predictions of a model, or of the other one where exchanged."""
        self._asked[which].add(method)
        chosen = self._places[places]
        own = np.asarray(self._data.answers(self._models[which], method)[chosen])
        if not swapped.any():
            return own
        other = np.asarray(self._data.answers(self._models[1 - which], method)[chosen])
        return np.where(swapped[:, None] if own.ndim == 2 else swapped, other, own)

    def answer_rows(self, which: int, method: str, rows: Any, swapped_of: dict[int, bool]) -> np.ndarray:
        """Return the predictions of a model for rows that the scorer passes to it."""
        places = self._places_of(rows)
        if places is None:
            self._asked_itself = True
            return np.asarray(getattr(self._models[which], method)(rows))
        return self.answer(which, method, places, np.array([swapped_of.get(place, False) for place in places.tolist()]))

    def _places_of(self, rows: Any) -> np.ndarray | None:
        """Return the positions of rows; None if the scorer has changed them."""
        if not isinstance(rows, pd.DataFrame) or not pd.api.types.is_integer_dtype(rows.index.dtype):
            return None
        places = rows.index.to_numpy()
        known = len(places) > 0 and places.min() >= 0 and places.max() < len(self.rows)
        return places if known and self.rows.iloc[places].equals(rows) else None


class _StandIn(CachedPredictor):
    """Proxy of a model in a resample."""

    def __init__(self, model: Any, draws: ScoreResamples, which: int, places: np.ndarray, swapped: np.ndarray) -> None:
        super().__init__(model, draws)
        self._which, self._places, self._swapped = which, places, swapped

    def _answer(self, method: str, rows: Any) -> np.ndarray:
        if type(rows) is LazyRows:
            return np.asarray(self._stream.answer(self._which, method, self._places, self._swapped))
        swapped = dict(zip(self._places.tolist(), self._swapped.tolist(), strict=True)) if self._swapped.any() else {}
        return np.asarray(self._stream.answer_rows(self._which, method, rows, swapped))
