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
from diurnal.backends.sklearn.fit import clone_unfitted, fit_context, format_warnings
from diurnal.backends.sklearn.fit_metadata import NO_METADATA, FitMetadata
from diurnal.backends.sklearn.label_checks import check_labels
from diurnal.backends.sklearn.metadata_routing import metadata_context
from diurnal.backends.sklearn.scorers import detect_task, has_tuned, is_search, main_score_name
from diurnal.errors import ExperimentError
from diurnal.runtime import cores
from diurnal.search.kept_folds import FoldStore
from diurnal.types.json_values import parameters_to_json


def tune_estimator(
    search: BaseEstimator,
    X: pd.DataFrame,
    y: np.ndarray,
    *,
    needs: FitMetadata = NO_METADATA,
    progress: Callable[[int, int], None] | None = None,
    parts: Sequence[Mapping[str, np.ndarray]] | None = None,
    fold_store: FoldStore | None = None,
) -> TuningResult:
    """Search over the candidates, or fit an estimator that has nothing to tune.

    Parameters
    ----------
    search : estimator
        A search in scikit-learn's conventions, or a bare estimator.
    X : pandas.DataFrame, shape (n_samples, n_features)
    y : numpy.ndarray, shape (n_samples,)
    needs : Needs
        Metadata for fits, folds and scores.
    progress : callable, optional
        Called with the number of finished fits and the number of all fits (candidates times folds).
    parts : sequence of Mapping, optional
        The scores of all shards, if shards were scored before.
    fold_store : FoldStore, optional
        Keeps the results of finished folds.

    Returns
    -------
    TuningResult

    Raises
    ------
    ExperimentError
        If no candidate has a score, or the search does not name its main score.
    """
    if detect_task(search) == "classification":
        check_labels(search, y)
    with fit_context() as seen, metadata_context(search, needs) as (ready, params):
        if parts is not None:
            fitted = searching.combine_scores(ready, X, y, parts, max_cores=cores.max_cores(), **params)
        elif is_search(search):
            own: dict[str, Any] = {"progress": progress, "max_cores": cores.max_cores(), "fold_store": fold_store}
            fitted = searching.tune(ready, X, y, **own, **params)
        else:
            fitted = clone_unfitted(ready).fit(X, y, **params)
        if not is_search(search) and not has_tuned(fitted):
            return TuningResult(fitted, {}, None, None, 1, 0, None, format_warnings(seen))
        twin = _best_estimator(fitted, search, X, y, needs)
    results = _candidate_results(fitted)
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
        warnings=format_warnings(seen),
    )


def split_into_shards(
    search: BaseEstimator, X: pd.DataFrame, y: np.ndarray, n: int, needs: FitMetadata = NO_METADATA
) -> list[dict[str, int]]:
    """Split a search into at most n shards."""
    with metadata_context(search, needs) as (ready, params):
        return searching.split_search(ready, X, y, n, **params)


def _candidate_results(fitted: BaseEstimator) -> Mapping[str, Any]:
    """Return `cv_results_`, with the parameters of each candidate; empty if a search does not store them."""
    results: Mapping[str, Any] = getattr(fitted, "cv_results_", None) or {}
    if not results or "params" in results:
        return results
    trials = [getattr(trial, "params", {}) for trial in getattr(fitted, "trials_", ())]  # Optuna stores them separately
    same = all(len(values) == len(trials) for values in results.values())
    return {"params": trials, **results} if same else {}


def _main_score(fitted: BaseEstimator, search: BaseEstimator, results: Mapping[str, Any]) -> tuple[float, float | None]:
    """Return mean and standard deviation over the folds of the best candidate's main score."""
    main, best = _main_metric(search, results), getattr(fitted, "best_index_", None)
    if best is None or f"mean_test_{main}" not in results:
        return float(fitted.best_score_), None
    return float(results[f"mean_test_{main}"][int(best)]), float(results[f"std_test_{main}"][int(best)])


def score_search_shard(
    search: BaseEstimator, X: pd.DataFrame, y: np.ndarray, shard: Mapping[str, int], needs: FitMetadata = NO_METADATA
) -> tuple[pa.Table, tuple[str, ...]]:
    """Run the fits of one shard of a search; return their scores as a table, and their warnings."""
    with fit_context() as seen, metadata_context(search, needs) as (ready, params):
        part = searching.score_shard(ready, X, y, shard, max_cores=cores.max_cores(), **params)
    return pa.table(part), format_warnings(seen)


def refit_estimator(
    twin: BaseEstimator, X: pd.DataFrame, y: np.ndarray, needs: FitMetadata = NO_METADATA
) -> BaseEstimator:
    """Fit the best candidate again, on all rows."""
    with fit_context():
        return _fit_clone(twin, X, y, needs)


def _fit_clone(estimator: BaseEstimator, X: pd.DataFrame, y: np.ndarray, needs: FitMetadata) -> BaseEstimator:
    with metadata_context(estimator, needs) as (ready, params):
        return clone_unfitted(ready).fit(X, y, **params)


def candidates_table(results: Mapping[str, Any]) -> pa.Table:
    """Return `cv_results_` as a table: the parameters as JSON, numbers unchanged."""
    columns: dict[str, Any] = {"params": [json.dumps(parameters_to_json(p), sort_keys=True) for p in results["params"]]}
    for name, values in results.items():
        if name != "params" and not name.startswith("param_"):
            columns[name] = np.asarray(values)
    return pa.table(columns)


def _main_metric(search: BaseEstimator, results: Mapping[str, Any]) -> str:
    """Return the suffix of the main score's columns in `cv_results_`."""
    return "score" if "mean_test_score" in results else main_score_name(search)


def _best_estimator(
    fitted: BaseEstimator, search: BaseEstimator, X: pd.DataFrame, y: np.ndarray, needs: FitMetadata
) -> BaseEstimator:
    if hasattr(fitted, "best_estimator_"):
        return fitted.best_estimator_
    if not hasattr(fitted, "best_params_"):
        raise ExperimentError(
            f"{type(search).__name__} names no best candidate after its fit (refit={getattr(search, 'refit', None)!r})",
            hint="set refit=True, or refit= to the name of the main score",
        )
    best = {name: clone(value, safe=False) for name, value in fitted.best_params_.items()}
    return _fit_clone(clone_unfitted(search.estimator).set_params(**best), X, y, needs)
