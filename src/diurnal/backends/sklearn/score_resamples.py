"""The declared score of two models on samples that are drawn again and again, their answers exchanged or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from diurnal.backends.sklearn.batched_predict import Answering, BatchedData, Rows, was_looked_at

_ON_ONE_SCALE = {"predict", "predict_proba", "predict_log_proba"}


class Draws:
    """Scores two models on some of a bounded number of samples.

    A scorer is given stand-ins, whose answers are looked up. One that looks at rows is given these; where it asks a
    model about rows that it has changed, the model answers, and answers cannot be exchanged.

    Parameters
    ----------
    judge : callable
        A scorer of scikit-learn's kind.
    params : Mapping of str to numpy.ndarray
        What it is given beside X and y, for all samples.
    name : str
        Which of its scores, if it gives several.
    models : tuple of two estimators
        Twin and champion.
    data : BatchedData
        All samples.
    places : numpy.ndarray of int
        Which of them may be drawn.
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
        """Give the scores of twin and champion; after the first call one that fails is undefined, and not an error."""
        try:
            twin, champion = (self._scored(which, places, swapped) for which in (0, 1))
        except Exception:  # whatever a metric says of a draw that lacks a class
            if not self._has_scored:
                raise
            return float("nan"), float("nan")
        self._has_scored = True
        return twin, champion

    def _scored(self, which: int, places: np.ndarray, swapped: np.ndarray) -> float:
        stand_in = _StandIn(self._models[which], self, which, places, swapped)
        if self._wants_rows is None:
            self._wants_rows = self._looks_at_rows(stand_in, places)
        return self._given(stand_in, self.rows.iloc[places] if self._wants_rows else Rows(), places)

    def _given(self, stand_in: Any, X: Any, places: np.ndarray) -> float:
        params = {key: values[places] for key, values in self._params.items()}
        given = self._judge(stand_in, X, self._y[places], **params)
        return float(given[self._name] if isinstance(given, Mapping) else given)

    def _looks_at_rows(self, stand_in: Any, places: np.ndarray) -> bool:
        rows = Rows()
        with suppress(Exception):
            self._given(stand_in, rows, places)
            return was_looked_at(rows)
        return True

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The samples that may be drawn; their index is their place."""
        return self._data.rows(self._places).reset_index(drop=True)

    @property
    def can_swap(self) -> bool:
        """Whether an answer of the one may stand for one of the other."""
        twin, champion = self._models
        alike = np.array_equal(np.asarray(getattr(twin, "classes_", ())), np.asarray(getattr(champion, "classes_", ())))
        return alike and not self._asked_itself and self._asked[0] == self._asked[1] and self._asked[0] <= _ON_ONE_SCALE

    def differing(self) -> np.ndarray:
        """Tell for which samples the models have given different answers."""
        differs = np.zeros(len(self._places), dtype=bool)
        for method in self._asked[0] & self._asked[1]:
            twin, champion = (self._data.answers(model, method)[self._places] for model in self._models)
            same_shape = twin.shape == champion.shape
            differs |= (twin != champion).reshape(len(differs), -1).any(axis=1) if same_shape else True
        return differs if self._asked[0] == self._asked[1] else np.ones_like(differs)

    def answer(self, which: int, method: str, places: np.ndarray, swapped: np.ndarray) -> np.ndarray:
        """Give what a model, or where exchanged the other one, says of samples."""
        self._asked[which].add(method)
        chosen = self._places[places]
        own = np.asarray(self._data.answers(self._models[which], method)[chosen])
        if not swapped.any():
            return own
        other = np.asarray(self._data.answers(self._models[1 - which], method)[chosen])
        return np.where(swapped[:, None] if own.ndim == 2 else swapped, other, own)

    def answer_rows(self, which: int, method: str, rows: Any, swapped_of: dict[int, bool]) -> np.ndarray:
        """Give what a model says of rows that the scorer hands to it."""
        places = self._places_of(rows)
        if places is None:
            self._asked_itself = True
            return np.asarray(getattr(self._models[which], method)(rows))
        return self.answer(which, method, places, np.array([swapped_of.get(place, False) for place in places.tolist()]))

    def _places_of(self, rows: Any) -> np.ndarray | None:
        """Find rows among those that were given, unless they were changed."""
        if not isinstance(rows, pd.DataFrame) or not pd.api.types.is_integer_dtype(rows.index.dtype):
            return None
        places = rows.index.to_numpy()
        known = len(places) > 0 and places.min() >= 0 and places.max() < len(self.rows)
        return places if known and self.rows.iloc[places].equals(rows) else None


class _StandIn(Answering):
    """A model in a draw."""

    def __init__(self, model: Any, draws: Draws, which: int, places: np.ndarray, swapped: np.ndarray) -> None:
        super().__init__(model, draws)
        self._which, self._places, self._swapped = which, places, swapped

    def _answer(self, method: str, rows: Any) -> np.ndarray:
        if type(rows) is Rows:
            return np.asarray(self._stream.answer(self._which, method, self._places, self._swapped))
        swapped = dict(zip(self._places.tolist(), self._swapped.tolist(), strict=True)) if self._swapped.any() else {}
        return np.asarray(self._stream.answer_rows(self._which, method, rows, swapped))
