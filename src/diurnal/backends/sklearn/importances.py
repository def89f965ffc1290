"""Permutation importance within a budget: how much the declared score drops if a feature is shuffled.

The method is that of :func:`sklearn.inspection.permutation_importance`. Many shuffled copies of a bounded sample are
predicted by one call, as most of the cost of a call of a pipeline does not depend on the number of rows.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from diurnal.backends.evaluation_data import EvaluationData
from diurnal.backends.evaluation_data.json_numbers import rounded
from diurnal.backends.sklearn.batched_predict import BatchedData
from diurnal.backends.sklearn.fast_scores import DeclaredScore, PlacedAnswers, ReadsRowsError, declared_score

MAX_IMPORTANCES = 50
PLANS = ((1_000, 5), (1_000, 2), (400, 5), (400, 2), (150, 5), (150, 2), (150, 1))
"""Rows and repeats, the best first."""
ROWS_AT_ONCE = 8_192
LEAST_SECONDS = 1.5
"""What the smallest of the plans may take, also with a smaller budget: a small problem always has importances."""
MAX_OVERRUN = 5  # of the clock, where other programs use the processors
PROBES = (64, 1_024)
"""Rows of the smallest and the largest sample whose prediction is measured."""


def permutation_importances(
    estimator: Any, model: Any, data: BatchedData, seconds: float, found: EvaluationData
) -> list[dict[str, Any]]:
    """Return the features whose permutation lowers the declared score most, with mean and standard deviation.

    Parameters
    ----------
    estimator : estimator
        A search, or a bare estimator.
    model : estimator
        Fitted.
    data : BatchedData
        The samples.
    seconds : float
        The budget. Of a slow model there are fewer repeats, and fewer samples; with the fewest, the budget is at least
        :data:`LEAST_SECONDS`.
    found : EvaluationData
        Gets a note where there are no importances.
    """
    with declared_score(estimator, model, data) as score:
        try:
            drops = _Shuffles(score, model, data).drops(seconds)
        except ReadsRowsError:
            found.note("no importances, as the scorer reads the rows")
            return []
    if not len(drops):
        most = max(seconds, LEAST_SECONDS)
        found.note(f"no importances: {len(data.features)} features do not fit in {most:.2f} seconds")
        return []
    means, deviations = drops.mean(axis=0), drops.std(axis=0)
    if not np.isfinite(means).any():
        found.note("no importances, as the score is undefined")
    strongest = np.argsort(-means, kind="stable")[:MAX_IMPORTANCES]
    return [
        {"feature": data.features[i], "mean": rounded(means[i]), "std": rounded(deviations[i])}
        for i in strongest.tolist()
        if math.isfinite(means[i])
    ]


class _Shuffles:
    """The scores of a model on copies of a bounded sample, each with one shuffled feature.

    Parameters
    ----------
    score : DeclaredScore
        The declared score.
    model : estimator
        Fitted.
    data : BatchedData
        All samples.
    """

    def __init__(self, score: DeclaredScore, model: Any, data: BatchedData) -> None:
        self._score, self._model, self._data = score, model, data
        self._places = data.sample_places(PLANS[0][0])
        self._X = data.rows(self._places).reset_index(drop=True)

    def drops(self, seconds: float) -> npt.NDArray[np.float64]:
        """Return how much the score drops, for each repeat and each feature; no repeat if none fits in the budget.

        The sizes depend on the measured cost of one prediction, not on the progress, so that equal runs mostly give
        equal numbers.
        """
        plan = self._affordable_plan(seconds)
        if plan is None:
            return np.empty((0, self._X.shape[1]))
        n_rows, n_repeats = plan
        chosen = slice(None, None, max(1, len(self._places) // n_rows))
        self._places, self._X = self._places[chosen][:n_rows], self._X.iloc[chosen][:n_rows]
        rng, base = np.random.default_rng(0), self._baseline()
        end = time.perf_counter() + MAX_OVERRUN * max(seconds, LEAST_SECONDS)
        rounds: list[npt.NDArray[np.float64]] = []
        while len(rounds) < n_repeats and time.perf_counter() < end:
            rounds.append(base - self._shuffled_scores(rng))
        return np.array(rounds)

    def _affordable_plan(self, seconds: float) -> tuple[int, int] | None:
        """Return the largest numbers of rows and repeats that fit in a budget."""
        cost_of_round = self._cost_of_small_round(seconds) or self._cost_of_rounds(seconds)
        for size, n_repeats in PLANS:
            n_rows = min(size, len(self._X))
            is_smallest = (size, n_repeats) == PLANS[-1]
            most = max(seconds, LEAST_SECONDS) if is_smallest else seconds
            if (cost_of_round(n_rows) * n_repeats).fits_in(most):
                return n_rows, n_repeats
        return None

    def _cost_of_small_round(self, seconds: float) -> Callable[[int], Cost] | None:
        """Return the cost of a round, measured by whole rounds; None if it predicts more rows than the probes do."""
        if self._X.size > PROBES[1]:
            return None
        most = max(seconds, LEAST_SECONDS / 10) / 10
        cost = _measure_cost(
            lambda: self._shuffled_scores(np.random.default_rng(0)), most, enough=seconds / PLANS[0][1]
        )
        return lambda n_rows: cost  # noqa: ARG005 - of so few rows, the cost hardly depends on their number

    def _cost_of_rounds(self, seconds: float) -> Callable[[int], Cost]:
        """Return the cost of a round by its number of rows, computed from the costs of a call, a row and a score."""
        most = max(seconds, LEAST_SECONDS / 10) / 10
        score = _measure_cost(self._baseline, most)
        call, row = self._predict_costs(most)
        n_features = self._X.shape[1]

        def cost_of_round(n_rows: int) -> Cost:
            n_calls = math.ceil(n_features / max(1, ROWS_AT_ONCE // n_rows))
            return call * n_calls + (row * n_rows + score) * n_features

        return cost_of_round

    def _baseline(self) -> float:
        return self._score.of_places(self._model, PlacedAnswers(self._data, self._places), self._places)

    def _predict_costs(self, most: float) -> tuple[Cost, Cost]:
        """Return the costs of a call and of each row, from growing samples until one takes `most`."""
        size, measured = PROBES[0], list[tuple[int, Cost]]()
        while True:
            rows = np.arange(size) % len(self._X)
            X, places = self._X.iloc[rows], self._places[rows]

            def predict(X: pd.DataFrame = X, places: np.ndarray = places) -> float:
                return self._score.of_places(self._model, _Copies(X, len(X)), places)

            measured.append((size, _measure_cost(predict, most)))
            if not measured[-1][1].fits_in(most) or size >= PROBES[1]:
                break
            size *= 4
        (few, short), (many, long) = measured[0], measured[-1]
        row = (long + short * -1) * (1 / (many - few)) if many > few else short * (1 / few)
        return short + row * -few, row

    def _shuffled_scores(self, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        n_rows, n_features = self._X.shape
        scores = np.empty(n_features)
        at_once = max(1, ROWS_AT_ONCE // n_rows)
        for start in range(0, n_features, at_once):
            features = range(start, min(start + at_once, n_features))
            copies = _Copies(self._stack_copies(features, rng), n_rows)
            for feature in features:
                copies.number = feature - start
                scores[feature] = self._score.of_places(self._model, copies, self._places)
        return scores

    def _stack_copies(self, features: range, rng: np.random.Generator) -> pd.DataFrame:
        """Return copies of the sample, one below the other; in each, another feature is shuffled."""
        n_rows = len(self._X)
        same = np.tile(np.arange(n_rows), len(features))
        columns = {}
        for i, name in enumerate(self._X.columns):
            rows = same
            if i in features:
                rows, start = same.copy(), (i - features.start) * n_rows
                rows[start : start + n_rows] = rng.permutation(n_rows)
            columns[name] = self._X[name].array.take(rows)
        return pd.DataFrame(columns)


@dataclass(frozen=True)
class Cost:
    """Seconds of the processor, and of the clock, which also count while other programs run; never below 0."""

    cpu: float
    wall: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(max(0.0, self.cpu + other.cpu), max(0.0, self.wall + other.wall))

    def __mul__(self, factor: float) -> Cost:
        return Cost(self.cpu * factor, self.wall * factor)

    def fits_in(self, seconds: float) -> bool:
        """Return whether the processor has enough time, and the clock does not show far more."""
        return self.cpu < seconds and self.wall < MAX_OVERRUN * seconds


def _measure_cost(function: Callable[[], object], most: float, *, enough: float = 0.0) -> Cost:
    """Return the shortest of three durations, or of fewer if one is far above `most` or fits in `enough`."""
    cpu = wall = math.inf
    for _ in range(3):
        started = time.process_time(), time.perf_counter()
        function()
        cpu, wall = min(cpu, time.process_time() - started[0]), min(wall, time.perf_counter() - started[1])
        if wall > 3 * most or Cost(cpu, wall).fits_in(enough):
            break
    return Cost(cpu, wall)


class _Copies:
    """The predictions for copies of a sample, which one call computes for all of them.

    Parameters
    ----------
    X : pandas.DataFrame
        The copies, one below the other.
    n_rows : int
        The number of rows of each.
    """

    def __init__(self, X: pd.DataFrame, n_rows: int) -> None:
        self._X, self._n_rows, self.number = X, n_rows, 0
        self._answered: dict[str, np.ndarray] = {}

    def answers(self, model: Any, method: str = "predict") -> np.ndarray:
        """Return the predictions for the copy with the present number."""
        if method not in self._answered:
            self._answered[method] = np.asarray(getattr(model, method)(self._X))
        start = self.number * self._n_rows
        return self._answered[method][start : start + self._n_rows]
