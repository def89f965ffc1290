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
from diurnal.backends.protocol import Tuned, plain
from diurnal.backends.sklearn.fitting import fitting, said
from diurnal.backends.sklearn.needs import NOTHING, Needs
from diurnal.backends.sklearn.routing import offering
from diurnal.backends.sklearn.scoring import is_search, score_name
from diurnal.errors import DeclarationError


def tune(
    search: BaseEstimator,
    X: pd.DataFrame,
    y: np.ndarray,
    *,
    needs: Needs = NOTHING,
    progress: Callable[[int, int], None] | None = None,
    parts: Sequence[Mapping[str, np.ndarray]] | None = None,
) -> Tuned:
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
    Tuned

    Raises
    ------
    DeclarationError
        If no candidate has a score, or the search does not say which score is its main one.
    """
    if not is_search(search):
        with fitting() as seen:
            twin = _fitted(search, X, y, needs)
        return Tuned(twin, {}, None, None, 1, 0, None, said(seen))
    with fitting() as seen, offering(search, needs) as (ready, params):
        if parts is None:
            fitted = searching.tune(ready, X, y, progress=progress, **params)
        else:
            fitted = searching.combine(ready, X, y, parts, **params)
        twin = _twin(fitted, search, X, y, needs)
    results: Mapping[str, Any] = getattr(fitted, "cv_results_", {})
    best = int(fitted.best_index_)
    main = _main_metric(search, results)
    mean = float(results[f"mean_test_{main}"][best])
    if not math.isfinite(mean):
        raise DeclarationError(
            f"the best of {len(results['params'])} candidates has the score {mean}: its fits or its scorer failed",
            advice="fit the search by hand with error_score='raise' to see why",
        )
    return Tuned(
        twin=twin,
        best_params=plain(fitted.best_params_),
        mean=mean,
        std=float(results[f"std_test_{main}"][best]),
        n_candidates=len(results["params"]),
        n_folds=int(getattr(fitted, "n_splits_", 0)),
        table=candidates_table(results),
        warnings=said(seen),
    )


def shards(
    search: BaseEstimator, X: pd.DataFrame, y: np.ndarray, n: int, needs: Needs = NOTHING
) -> list[dict[str, int]]:
    """Cut a search into at most n shards."""
    with offering(search, needs) as (ready, params):
        return searching.shards(ready, X, y, n, **params)


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
        return clone(ready).fit(X, y, **params)


def candidates_table(results: Mapping[str, Any]) -> pa.Table:
    """Lay `cv_results_` out as a table: the parameters as JSON, numbers as they are."""
    columns: dict[str, Any] = {"params": [json.dumps(plain(p), sort_keys=True) for p in results["params"]]}
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
        raise DeclarationError(
            f"{type(search).__name__} names no best candidate after its fit (refit={getattr(search, 'refit', None)!r})",
            advice="let it name one: refit=True, or the name of the main score",
        )
    best = {name: clone(value, safe=False) for name, value in fitted.best_params_.items()}
    return _fitted(clone(search.estimator).set_params(**best), X, y, needs)
