"""One fold of a round: its rows, and how a pipeline step or a final estimator is fitted and scored on them.

Whatever fails here is left without a result; scikit-learn then makes that call itself, and says what is wrong in its
own words.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import clone

from diurnal.search import scoring, sklearn_private
from diurnal.search.column_branches import Branches
from diurnal.search.metadata import FitParams, ScoreParams
from diurnal.search.side_effects import Witness, spared
from diurnal.search.sklearn_private import Call
from diurnal.search.tree import Leaf, Path, Plan, Step, flatten


@dataclass(frozen=True, eq=False, slots=True)
class Matrices:
    """What a node gives: the rows that are learnt from, those that are scored, and the way there.

    Attributes
    ----------
    train : matrix
        What `fit_transform` gave, for the fits below.
    test : matrix or None
        What `transform` gave for the test rows; None where the scorer wants the raw rows.
    seen : matrix or None
        What `transform` gave for the train rows, where train scores are asked for.
    way : dict
        The fitted pipeline steps on the way.
    steps : tuple of Step
        What they were made from.
    seconds : float
        What they took to fit.
    score_seconds : float
        What they took to transform the rows that are scored.
    """

    train: Any
    test: Any
    seen: Any
    way: Mapping[Path, Any] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    seconds: float = 0.0
    score_seconds: float = 0.0


class Fold:
    """One fold of a round: its rows, its words, and what came of it.

    Parameters
    ----------
    plan : Plan
    call : Call
        Any call on this fold.
    split : int
        Which fold it is.
    witness : Witness
        Sees warnings and draws of random numbers.
    done : callable
        Told how many candidates have got their scores.
    """

    def __init__(self, plan: Plan, call: Call, split: int, witness: Witness, done: Callable[[int], None]) -> None:
        self.plan, self.split, self.witness, self.done = plan, split, witness, done
        self.words, self.scorer = call.words, call.words["scorer"]
        self.results: dict[int, dict[str, Any]] = {}
        train, test = plan.splits[split]
        self.X_train, self.y_train = sklearn_private.safe_split(call.estimator, call.X, call.y, train)
        self.X_test, self.y_test = sklearn_private.safe_split(call.estimator, call.X, call.y, test, train)
        self.fit_params = FitParams(plan.base, sklearn_private.cut_params(call.X, self.words["fit_params"], train))
        on_rows = (sklearn_private.cut_params(call.X, self.words["score_params"], rows) for rows in (train, test))
        self.score_params = ScoreParams(self.scorer, *on_rows)
        self.only_predicts = scoring.only_predicts(self.scorer)
        self.seen = bool(self.words["return_train_score"])
        self.n_train, self.n_test = _n_rows(self.X_train), _n_rows(self.X_test)

    def start(self) -> Matrices:
        """Give the matrices of the root."""
        short = self.only_predicts
        return Matrices(self.X_train, self.X_test if short else None, self.X_train if short and self.seen else None)

    @contextmanager
    def attempt(self, candidates: list[int]) -> Iterator[None]:
        """Note what is warned of for these candidates; what fails is left to scikit-learn."""
        with self.witness.watch([c * len(self.plan.splits) + self.split for c in candidates]):
            yield

    def fit(self, step: Step, given: Matrices) -> tuple[Any, float]:
        """Fit a final estimator, and tell how long it took."""
        final, start = step.make(), time.perf_counter()
        X, y = lend(step, given.train), self.y_train
        words = self.fit_params.of_fit(step)
        self.fit_params.check(given.steps, step)
        with spared(final):
            final.fit(X, **words) if y is None and not step.path else final.fit(X, y, **words)
        self.witness.check_draws()
        return final, time.perf_counter() - start

    def transform(self, step: Step, given: Matrices, branches: Branches) -> Matrices:
        """Fit a pipeline step on what it is given, and transform the rows that go on."""
        fitted, start, words = branches.make(step), time.perf_counter(), self.fit_params.of_fit_transform(step)
        X = lend(step, given.train)
        if hasattr(fitted, "fit_transform"):
            train = fitted.fit_transform(X, self.y_train, **words)
        else:
            train = fitted.fit(X, self.y_train, **words).transform(X)
        self.witness.check_draws()
        seconds = time.perf_counter() - start + branches.settle(fitted)
        return self.onward(step, fitted, train, given, seconds)

    def onward(self, step: Step, fitted: Any, train: Any, given: Matrices, seconds: float) -> Matrices:
        """Give the matrices behind a fitted pipeline step."""
        start = time.perf_counter()
        test = None if given.test is None else fitted.transform(lend(step, given.test))
        score_seconds = given.score_seconds + time.perf_counter() - start
        seen = None if given.seen is None else fitted.transform(lend(step, given.seen))
        self.witness.check_draws()
        way, steps = {**given.way, step.path: fitted}, (*given.steps, step)
        return Matrices(train, test, seen, way, steps, given.seconds + seconds, score_seconds)

    def record(self, leaf: Leaf, fitted: tuple[Any, float], given: Matrices) -> None:
        """Score a fitted final estimator, and write down the results of its candidates."""
        final, seconds = fitted
        start = time.perf_counter()
        if self.only_predicts:
            self.score_params.check(given.steps, leaf.step)
            estimator, test, seen = final, lend(leaf.step, given.test), given.seen
        else:
            estimator = self.whole(leaf, {**given.way, leaf.step.path: final})
            test, seen = self.X_test, self.X_train
        on_train, on_test = self.score_params.on_train, self.score_params.on_test
        scores = scoring.score(estimator, test, self.y_test, self.scorer, on_test)
        score_seconds = given.score_seconds + time.perf_counter() - start
        train_scores = scoring.score(estimator, seen, self.y_train, self.scorer, on_train) if self.seen else None
        self.witness.check_draws()
        self.write(leaf, scores, train_scores, given.seconds + seconds, score_seconds)

    def only_order(self, final: Any) -> bool:
        """Tell whether a score is made of labels, or of the order of the decisions.

        Weights are added up in that order: where rows of one class change places, a weighted sum rounds differently.
        """
        if self.score_params:
            return scoring.only_labels(self.scorer, final)
        return scoring.only_order(self.scorer, final)

    def write(self, leaf: Leaf, scores: Any, train_scores: Any, seconds: float, score_seconds: float) -> None:
        """Write down the results of a leaf's candidates, in the form of scikit-learn's "fit and score"."""
        for candidate in leaf.candidates:
            result: dict[str, Any] = {"fit_error": None, "test_scores": _own(scores)}
            if self.seen:
                result["train_scores"] = _own(train_scores)
            result |= {"n_test_samples": self.n_test, "fit_time": seconds, "score_time": score_seconds}
            self.results[candidate] = result
        self.done(len(leaf.candidates))

    def whole(self, leaf: Leaf, way: Mapping[Path, Any]) -> Any:
        """Put the fitted pipeline together, for a scorer that wants to see all of it."""
        params = self.plan.params[leaf.candidates[0]]
        whole = clone(self.plan.base).set_params(**clone(params, safe=False))
        for path, _ in flatten(whole):
            if path not in way:
                continue
            if not path:
                return way[path]
            place = whole
            for name in path[:-1]:
                place = place.named_steps[name]
            place.steps = [(name, way[path] if name == path[-1] else step) for name, step in place.steps]
        return whole


def lend(step: Step, matrix: Any) -> Any:
    """Lend a shared matrix: scikit-learn's estimators do not write into what they are given, others cannot."""
    if step.is_theirs:
        return matrix
    if isinstance(matrix, np.ndarray):
        view = matrix.view()
        view.flags.writeable = False
        return view
    if isinstance(matrix, pd.DataFrame | pd.Series):
        return matrix.copy(deep=False)  # copy on write
    return matrix.copy() if sparse.issparse(matrix) or isinstance(matrix, list) else matrix


def _n_rows(matrix: Any) -> int:
    return int(matrix.shape[0]) if hasattr(matrix, "shape") else len(matrix)


def _own(scores: Any) -> Any:
    return dict(scores) if isinstance(scores, dict) else scores
