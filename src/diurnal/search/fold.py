"""One fold of a round: its rows, and how transformers and final estimators are fitted and scored on them.

A fit or score that fails here has no result. scikit-learn then makes that call itself, and reports the failure.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import clone

from diurnal.search import scoring, sklearn_private
from diurnal.search.column_branches import SharedBranches
from diurnal.search.metadata import FitParams, ScoreParams
from diurnal.search.side_effects import SideEffectMonitor, preserve_rng_for_svm
from diurnal.search.sklearn_private import FitAndScoreCall
from diurnal.search.tree import FinalEstimator, Path, PipelineStep, PrefixTree, flatten_pipeline


@dataclass(frozen=True, eq=False, slots=True)
class TransformedFold:
    """The rows of a fold as a node of the tree transforms them, and the fitted steps that lead to the node.

    Attributes
    ----------
    X_fit : matrix
        The train rows for the fits below: the output of `fit_transform`.
    X_test : matrix or None
        The test rows: the output of `transform`; None if the scorer needs the raw rows.
    X_train : matrix or None
        The train rows for train scores: the output of `transform`; None if there are no train scores. It can differ
        from `X_fit`, as scikit-learn computes train scores on `transform` too.
    fitted_steps : dict
        The fitted transformers on the path to the node.
    steps : tuple of PipelineStep
        The pipeline steps of these transformers.
    fit_seconds : float
        The time that the fits on the path took.
    score_seconds : float
        The time that the transformation of the test rows took.
    """

    X_fit: Any
    X_test: Any
    X_train: Any
    fitted_steps: Mapping[Path, Any] = field(default_factory=dict)
    steps: tuple[PipelineStep, ...] = ()
    fit_seconds: float = 0.0
    score_seconds: float = 0.0


class FoldRunner:
    """Fits and scores on one fold, and keeps the results.

    Parameters
    ----------
    tree : PrefixTree
    call : FitAndScoreCall
        Any call on this fold.
    split : int
        The number of the fold.
    monitor : SideEffectMonitor
        Records warnings, and detects draws of random numbers.
    on_progress : callable
        Receives the number of candidates that have got their scores since the last report.
    map_tasks : callable, optional
        Calls a function for each item of a sequence, on this thread and on idle ones. None: on this thread.

    Attributes
    ----------
    results : dict of int to dict
        The result of each candidate, in the form of scikit-learn's `_fit_and_score`.
    """

    def __init__(
        self,
        tree: PrefixTree,
        call: FitAndScoreCall,
        split: int,
        monitor: SideEffectMonitor,
        on_progress: Callable[[int], None],
        map_tasks: Callable[[Callable[[Any], Any], Sequence[Any]], Any] | None = None,
    ) -> None:
        self.map_tasks = map_tasks or (lambda function, items: [function(item) for item in items])
        self.tree, self.split, self.monitor, self.on_progress = tree, split, monitor, on_progress
        self.scorer = call.kwargs["scorer"]
        self.with_train_scores = bool(call.kwargs["return_train_score"])
        self.results: dict[int, dict[str, Any]] = {}
        train, test = tree.splits[split]
        self.X_train, self.y_train = sklearn_private.safe_split(call.estimator, call.X, call.y, train)
        self.X_test, self.y_test = sklearn_private.safe_split(call.estimator, call.X, call.y, test, train)
        fit_params, score_params = call.kwargs["fit_params"], call.kwargs["score_params"]
        self.fit_params = FitParams(tree.base, sklearn_private.slice_params(call.X, fit_params, train))
        on_rows = (sklearn_private.slice_params(call.X, score_params, rows) for rows in (train, test))
        self.score_params = ScoreParams(self.scorer, *on_rows)
        self.scores_predictions = scoring.uses_predictions_only(self.scorer)
        self.n_train, self.n_test = _n_rows(self.X_train), _n_rows(self.X_test)

    def pop_root_data(self) -> TransformedFold:
        """Return the data at the root of the tree, the raw rows, and keep them only if they are needed for scores."""
        X_train, X_test = self.X_train, self.X_test
        if not self.scores_predictions:
            # The scorer needs the pipeline and raw rows, so transformed rows for scores are not made at all.
            return TransformedFold(X_train, None, None)
        self.X_train = self.X_test = None
        return TransformedFold(X_train, X_test, X_train if self.with_train_scores else None)

    @contextmanager
    def suppress_failures(self, candidates: list[int]) -> Iterator[None]:
        """Leave these candidates to scikit-learn if the block fails; record the warnings of the block for them."""
        with self.monitor.attribute_warnings([c * len(self.tree.splits) + self.split for c in candidates]):
            yield

    def fit_final(self, step: PipelineStep, data: TransformedFold) -> tuple[Any, float]:
        """Return a fitted final estimator, and the seconds that its fit took."""
        final, start = step.build(), time.perf_counter()
        X, y = read_only_view(step, data.X_fit), self.y_train
        params = self.fit_params.for_final(step)
        self.fit_params.check_requested(data.steps, step)
        with preserve_rng_for_svm(final):
            # As scikit-learn: without y, an estimator is fitted without that argument, a pipeline with y=None.
            final.fit(X, **params) if y is None and not step.path else final.fit(X, y, **params)
        self.monitor.check_rng()
        return final, time.perf_counter() - start

    def fit_transform_step(
        self, step: PipelineStep, data: TransformedFold, branches: SharedBranches
    ) -> TransformedFold:
        """Fit a transformer, and return the data that it transforms."""
        transformer, start = branches.build(step), time.perf_counter()
        params = self.fit_params.for_transformer(step)
        X = read_only_view(step, data.X_fit)
        if hasattr(transformer, "fit_transform"):
            X_fit = transformer.fit_transform(X, self.y_train, **params)
        else:
            X_fit = transformer.fit(X, self.y_train, **params).transform(X)
        self.monitor.check_rng()
        seconds = time.perf_counter() - start + branches.restore_branches(transformer)
        return self.transform_rows(step, transformer, X_fit, data, seconds)

    def transform_rows(
        self, step: PipelineStep, fitted: Any, X_fit: Any, data: TransformedFold, seconds: float
    ) -> TransformedFold:
        """Return the data behind a fitted transformer: `X_fit`, and the rows to score, which it transforms here."""
        start = time.perf_counter()
        X_test = None if data.X_test is None else fitted.transform(read_only_view(step, data.X_test))
        score_seconds = data.score_seconds + time.perf_counter() - start
        X_train = None if data.X_train is None else fitted.transform(read_only_view(step, data.X_train))
        self.monitor.check_rng()
        fitted_steps, steps = {**data.fitted_steps, step.path: fitted}, (*data.steps, step)
        return TransformedFold(X_fit, X_test, X_train, fitted_steps, steps, data.fit_seconds + seconds, score_seconds)

    def score_final(self, leaf: FinalEstimator, final: Any, data: TransformedFold, seconds: float) -> None:
        """Score a fitted final estimator, and write the results of its candidates."""
        start = time.perf_counter()
        if self.scores_predictions:
            self.score_params.check_routing(data.steps, leaf.step)
            estimator, X_test, X_train = final, read_only_view(leaf.step, data.X_test), data.X_train
        else:
            estimator = self.assemble_pipeline(leaf, {**data.fitted_steps, leaf.step.path: final})
            X_test, X_train = self.X_test, self.X_train
        test_scores = self._score(estimator, X_test, self.y_test, self.score_params.on_test)
        score_seconds = data.score_seconds + time.perf_counter() - start
        train_scores = None
        if self.with_train_scores:
            train_scores = self._score(estimator, X_train, self.y_train, self.score_params.on_train)
        self.monitor.check_rng()
        self.write_results(leaf, test_scores, train_scores, data.fit_seconds + seconds, score_seconds)

    def scores_labels(self, final: Any) -> bool:
        """Return whether a score depends only on predicted labels."""
        return scoring.uses_labels_only(self.scorer, final)

    def scores_ranking(self, final: Any) -> bool:
        """Return whether a score depends only on labels, or on how decision values rank rows of different classes.

        With weights only labels count: a weighted area under the curve adds weights in the order of the decision
        values, and rounds differently if rows of one class change places.
        """
        if self.score_params:
            return self.scores_labels(final)
        return scoring.uses_ranking_only(self.scorer, final)

    def write_results(
        self, leaf: FinalEstimator, test_scores: Any, train_scores: Any, fit_seconds: float, score_seconds: float
    ) -> None:
        """Write the results of a leaf's candidates, in the form of scikit-learn's `_fit_and_score`."""
        for candidate in leaf.candidates:
            result: dict[str, Any] = {"fit_error": None, "test_scores": _copy_scores(test_scores)}
            if self.with_train_scores:
                result["train_scores"] = _copy_scores(train_scores)
            result |= {"n_test_samples": self.n_test, "fit_time": fit_seconds, "score_time": score_seconds}
            self.results[candidate] = result
        self.on_progress(len(leaf.candidates))

    def assemble_pipeline(self, leaf: FinalEstimator, fitted_steps: Mapping[Path, Any]) -> Any:
        """Return the fitted pipeline of a candidate, for a scorer that needs all of it."""
        params = self.tree.params[leaf.candidates[0]]
        whole = clone(self.tree.base).set_params(**clone(params, safe=False))
        for path, _ in flatten_pipeline(whole):
            if path not in fitted_steps:  # a step that is passed through
                continue
            if not path:  # the estimator is not a pipeline
                return fitted_steps[path]
            parent = whole
            for name in path[:-1]:
                parent = parent.named_steps[name]
            parent.steps = [(name, fitted_steps[path] if name == path[-1] else step) for name, step in parent.steps]
        return whole

    def _score(self, estimator: Any, X: Any, y: Any, params: Mapping[str, Any]) -> Any:
        return sklearn_private.score_estimator(estimator, X, y, self.scorer, params)


def read_only_view(step: PipelineStep, matrix: Any) -> Any:
    """Return a shared matrix so that a pipeline step cannot change it for the other steps that read it.

    Estimators of scikit-learn do not write into their input (``copy=False`` is not supported) and receive the matrix
    itself. Others receive a read-only or copy-on-write view, or a copy where there is no such view. An estimator that
    writes into a read-only view fails, and scikit-learn repeats the call with a copy.
    """
    if step.is_from_sklearn:
        return matrix
    if isinstance(matrix, np.ndarray):
        view = matrix.view()
        view.flags.writeable = False
        return view
    if isinstance(matrix, pd.DataFrame | pd.Series):
        return matrix.copy(deep=False)  # pandas copies on write
    return matrix.copy() if sparse.issparse(matrix) or isinstance(matrix, list) else matrix


def _n_rows(matrix: Any) -> int:
    return int(matrix.shape[0]) if hasattr(matrix, "shape") else len(matrix)


def _copy_scores(scores: Any) -> Any:
    """Copy scores by name, so that the results of equal candidates share no object."""
    return dict(scores) if isinstance(scores, dict) else scores
