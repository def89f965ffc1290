"""Tuning and fitting with scikit-learn."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.base import BaseEstimator, clone

from diurnal import search as searching
from diurnal.backends.protocol import TuningResult
from diurnal.backends.sklearn.fit import fitting, fresh, said
from diurnal.backends.sklearn.fit_metadata import NOTHING, Needs
from diurnal.backends.sklearn.label_checks import refuse_labels
from diurnal.backends.sklearn.metadata_routing import offering
from diurnal.backends.sklearn.scorers import has_tuned, is_search, score_name, task
from diurnal.errors import ExperimentError
from diurnal.types.json_values import parameters_to_json


def tune(
    search: BaseEstimator,
    X: pd.DataFrame,
    y: np.ndarray,
    *,
    needs: Needs = NOTHING,
    progress: Callable[[int, int], None] | None = None,
    parts: Sequence[Mapping[str, np.ndarray]] | None = None,
) -> TuningResult:
    """Search over the candidates, or fit what has nothing to tune.

    Parameters
    ----------
    search : estimator
        A search in scikit-learn's conventions, or a bare estimator.
    X : pandas.DataFrame, shape (n_samples, n_features)
    y : numpy.ndarray, shape (n_samples,)
    needs : Needs
        What fits, folds and scores may be given beside them.
    progress : callable, optional
        Told how many of the candidates times folds are done, and how many there are.
    parts : sequence of Mapping, optional
        The scores of all shards, where they have been made elsewhere.

    Returns
    -------
    TuningResult

    Raises
    ------
    ExperimentError
        If no candidate has a score, or the search does not say which score is its main one.
    """
    if task(search) == "classification":
        refuse_labels(search, y)
    with fitting() as seen, offering(search, needs) as (ready, params):
        if parts is not None:
            fitted = searching.combine_scores(ready, X, y, parts, **params)
        elif is_search(search):
            fitted = searching.tune(ready, X, y, progress=progress, **params)
        else:
            fitted = fresh(ready).fit(X, y, **params)
        if not is_search(search) and not has_tuned(fitted):
            return TuningResult(fitted, {}, None, None, 1, 0, None, said(seen))
        twin = _twin(fitted, search, X, y, needs)
    results = _results(fitted)
    mean, std = _main_score(fitted, search, results)
    n_candidates = len(results["params"]) if results else 1
    if not math.isfinite(mean):
        raise ExperimentError(
            f"the best of {n_candidates} candidates has the score {mean}: its fits or its scorer failed",
            hint="fit the search by hand with error_score='raise' to see why",
        )
    return TuningResult(
        twin=twin,
        best_params=parameters_to_json(fitted.best_params_),
        mean=mean,
        std=std,
        n_candidates=n_candidates,
        n_folds=int(getattr(fitted, "n_splits_", 0)),
        table=candidates_table(results) if results else None,
        warnings=said(seen),
    )


def shards(
    search: BaseEstimator, X: pd.DataFrame, y: np.ndarray, n: int, needs: Needs = NOTHING
) -> list[dict[str, int]]:
    """Cut a search into at most n shards."""
    with offering(search, needs) as (ready, params):
        return searching.split_search(ready, X, y, n, **params)


def _results(fitted: BaseEstimator) -> Mapping[str, Any]:
    """Give `cv_results_`, with the parameters of each candidate; empty where a search does not keep them."""
    results: Mapping[str, Any] = getattr(fitted, "cv_results_", None) or {}
    if not results or "params" in results:
        return results
    trials = [getattr(trial, "params", {}) for trial in getattr(fitted, "trials_", ())]  # Optuna has them apart
    same = all(len(values) == len(trials) for values in results.values())
    return {"params": trials, **results} if same else {}


def _main_score(fitted: BaseEstimator, search: BaseEstimator, results: Mapping[str, Any]) -> tuple[float, float | None]:
    """Give mean and standard deviation over the folds of the best candidate's main score."""
    main, best = _main_metric(search, results), getattr(fitted, "best_index_", None)
    if best is None or f"mean_test_{main}" not in results:
        return float(fitted.best_score_), None
    return float(results[f"mean_test_{main}"][int(best)]), float(results[f"std_test_{main}"][int(best)])


def score_shard(
    search: BaseEstimator, X: pd.DataFrame, y: np.ndarray, shard: Mapping[str, int], needs: Needs = NOTHING
) -> tuple[pa.Table, tuple[str, ...]]:
    """Make the fits of one shard of a search; gives their scores as a table, and what they warned of."""
    with fitting() as seen, offering(search, needs) as (ready, params):
        part = searching.score_shard(ready, X, y, shard, **params)
    return pa.table(part), said(seen)


def refit(twin: BaseEstimator, X: pd.DataFrame, y: np.ndarray, needs: Needs = NOTHING) -> BaseEstimator:
    """Fit the winner anew, on all rows."""
    with fitting():
        return _fitted(twin, X, y, needs)


def _fitted(estimator: BaseEstimator, X: pd.DataFrame, y: np.ndarray, needs: Needs) -> BaseEstimator:
    with offering(estimator, needs) as (ready, params):
        return fresh(ready).fit(X, y, **params)


def candidates_table(results: Mapping[str, Any]) -> pa.Table:
    """Lay `cv_results_` out as a table: the parameters as JSON, numbers as they are."""
    columns: dict[str, Any] = {"params": [json.dumps(parameters_to_json(p), sort_keys=True) for p in results["params"]]}
    for name, values in results.items():
        if name != "params" and not name.startswith("param_"):
            columns[name] = np.asarray(values)
    return pa.table(columns)


def _main_metric(search: BaseEstimator, results: Mapping[str, Any]) -> str:
    """Give the suffix of the main score's columns in `cv_results_`."""
    return "score" if "mean_test_score" in results else score_name(search)


def _twin(fitted: BaseEstimator, search: BaseEstimator, X: pd.DataFrame, y: np.ndarray, needs: Needs) -> BaseEstimator:
    if hasattr(fitted, "best_estimator_"):
        return fitted.best_estimator_
    if not hasattr(fitted, "best_params_"):
        raise ExperimentError(
            f"{type(search).__name__} names no best candidate after its fit (refit={getattr(search, 'refit', None)!r})",
            hint="let it name one: refit=True, or the name of the main score",
        )
    best = {name: clone(value, safe=False) for name, value in fitted.best_params_.items()}
    return _fitted(fresh(search.estimator).set_params(**best), X, y, needs)
