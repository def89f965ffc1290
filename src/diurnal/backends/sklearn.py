"""Tuning, fitting and scoring with scikit-learn.

A fit sees rows in the order of their hash and runs with one BLAS thread: the same rows shuffled move a random
forest's probabilities, and another number of threads moves the last digits of nearly everything.
"""

from __future__ import annotations

import json
import math
import warnings as python_warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor
from sklearn.metrics import check_scoring, get_scorer_names
from sklearn.model_selection import RepeatedStratifiedKFold, StratifiedKFold, StratifiedShuffleSplit, check_cv
from threadpoolctl import threadpool_limits

from diurnal import search as searching
from diurnal.errors import DeclarationError, DiurnalError, TryAgainLater, nearest

Scores = dict[str, float]
Task = Literal["classification", "regression"]


@dataclass(frozen=True)
class Tuned:
    """A finished search.

    Attributes
    ----------
    twin : estimator
        The best candidate, fitted on the samples of the search.
    best_params : dict
        In JSON's types.
    mean, std : float or None
        Of the main score over the folds; None where nothing was tuned.
    n_candidates, n_folds : int
        0 folds where nothing was tuned.
    table : pyarrow.Table or None
        All scores of all folds, one row for each candidate.
    warnings : tuple of str
        What the fits warned of, each once, with how often.
    """

    twin: BaseEstimator
    best_params: dict[str, Any]
    mean: float | None
    std: float | None
    n_candidates: int
    n_folds: int
    table: pa.Table | None
    warnings: tuple[str, ...]


def task(search: BaseEstimator) -> Task:
    """Tell ``"classification"`` or ``"regression"``; anything else is refused."""
    if is_classifier(search):
        return "classification"
    if is_regressor(search):
        return "regression"
    raise DeclarationError(
        f"{type(search).__name__} is neither a classifier nor a regressor",
        advice="return a search over one, or an estimator whose tags say which it is",
    )


def is_search(estimator: BaseEstimator) -> bool:
    """Tell whether it tunes: scikit-learn's own searches and those that follow their conventions."""
    return hasattr(estimator, "estimator") and any(
        hasattr(estimator, name) for name in ("param_grid", "param_distributions", "best_params_", "search_spaces")
    )


def least_of_a_class(search: BaseEstimator, y: np.ndarray) -> int:
    """Tell how many train samples each class needs: one for each fold where folds are stratified."""
    if not is_search(search):
        return 1
    splitter = check_cv(getattr(search, "cv", None), y, classifier=is_classifier(search))
    if isinstance(splitter, StratifiedShuffleSplit):
        return 2
    if isinstance(splitter, RepeatedStratifiedKFold):
        return int(splitter.cvargs["n_splits"])
    return int(splitter.n_splits) if isinstance(splitter, StratifiedKFold) else 1


def matrix(table: pa.Table, features: list[str]) -> pd.DataFrame:
    """Give the features as a frame: numbers as they are, text as Python objects, null as NaN."""
    frame: pd.DataFrame = table.select(features).to_pandas(date_as_object=False)
    for name in features:
        if pa.types.is_string(table.schema.field(name).type):
            frame[name] = frame[name].astype(object)
        if frame[name].dtype == object:
            frame[name] = frame[name].where(frame[name].notna(), np.nan)
    return frame


def vector(table: pa.Table, target: str) -> np.ndarray:
    """Give the target; text as NumPy strings."""
    column = table.column(target).combine_chunks()
    values: np.ndarray = column.to_numpy(zero_copy_only=False)
    return values.astype(str) if pa.types.is_string(column.type) else values


def tune(
    search: BaseEstimator,
    X: pd.DataFrame,
    y: np.ndarray,
    *,
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
        with _fitting() as seen:
            twin = clone(search).fit(X, y)
        return Tuned(twin, {}, None, None, 1, 0, None, _said(seen))
    with _fitting() as seen:
        if parts is None:
            fitted = searching.tune(search, X, y, progress=progress)
        else:
            fitted = searching.combine(search, X, y, parts)
        twin = _twin(fitted, search, X, y)
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
        warnings=_said(seen),
    )


def score_shard(
    search: BaseEstimator, X: pd.DataFrame, y: np.ndarray, shard: Mapping[str, int]
) -> tuple[pa.Table, tuple[str, ...]]:
    """Make the fits of one shard of a search; gives their scores as a table, and what they warned of."""
    with _fitting() as seen:
        part = searching.score_shard(search, X, y, shard)
    return pa.table(part), _said(seen)


def refit(twin: BaseEstimator, X: pd.DataFrame, y: np.ndarray) -> BaseEstimator:
    """Fit the winner anew, on all rows."""
    with _fitting():
        return clone(twin).fit(X, y)


def scorer(search: BaseEstimator) -> tuple[str, Callable[[BaseEstimator, pd.DataFrame, np.ndarray], Scores]]:
    """Give the name of the main score, and a function that gives all scores of a fitted estimator.

    Returns
    -------
    str
        Name of the main score, a key of what the function gives.
    callable
        ``(estimator, X, y) -> dict of str to float``; greater is better.
    """
    inner = getattr(search, "estimator", search)
    scoring = _scoring(search)
    name = _score_name(search)
    try:
        checked = check_scoring(inner, scoring=scoring)
    except (ValueError, TypeError):
        unknown = [one for one in ([scoring] if isinstance(scoring, str) else scoring or ()) if isinstance(one, str)]
        raise DeclarationError(
            f"scoring={scoring!r} names no scorer of scikit-learn{nearest(str(unknown[0]), get_scorer_names())}"
            if unknown
            else f"scoring={scoring!r} is no scorer",
            advice="take one of sklearn.metrics.get_scorer_names(), or a callable (estimator, X, y)",
        ) from None

    def score(estimator: BaseEstimator, X: pd.DataFrame, y: np.ndarray) -> Scores:
        with _fitting():
            given = checked(estimator, X, y)
        return {k: float(v) for k, v in given.items()} if isinstance(given, Mapping) else {name: float(given)}

    return name, score


def unseeded(estimator: BaseEstimator) -> list[str]:
    """Name the places where a `random_state` is unset and matters, such as ``estimator__forest.random_state``."""
    found = []
    for place, part in [("", estimator), *_parts(estimator)]:
        params = part.get_params(deep=False) if hasattr(part, "get_params") else vars(part)
        if "random_state" in params and params["random_state"] is None and _draws(part, params):
            name = type(part).__name__
            found.append(f"{place} ({name})" if place else name)
    return found


def plain(value: Any) -> Any:
    """Turn parameters into JSON's types; an object, such as an estimator, is given by its text."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)


def candidates_table(results: Mapping[str, Any]) -> pa.Table:
    """Lay `cv_results_` out as a table: the parameters as JSON, numbers as they are."""
    columns: dict[str, Any] = {"params": [json.dumps(plain(p), sort_keys=True) for p in results["params"]]}
    for name, values in results.items():
        if name != "params" and not name.startswith("param_"):
            columns[name] = np.asarray(values)
    return pa.table(columns)


def _main_metric(search: BaseEstimator, results: Mapping[str, Any]) -> str:
    """Give the suffix of the main score's columns in `cv_results_`."""
    return "score" if "mean_test_score" in results else _score_name(search)


def _scoring(search: BaseEstimator) -> Any:
    """Give what a search is scored by; a bare estimator's own `scoring` is about its early stopping."""
    return getattr(search, "scoring", None) if is_search(search) else None


def _is_multimetric(search: BaseEstimator) -> bool:
    return isinstance(_scoring(search), list | tuple | set | Mapping)


def _score_name(search: BaseEstimator) -> str:
    scoring: Any = _scoring(search)
    if _is_multimetric(search) or isinstance(getattr(search, "refit", None), str):
        main = getattr(search, "refit", None)
        if not isinstance(main, str):
            raise DeclarationError(
                f"the search has the scores {sorted(scoring)}, and refit={main!r} does not say which is the main one",
                advice=f"give refit= the name of one, such as refit={sorted(scoring)[0]!r}",
            )
        return main
    if scoring is None:
        return "accuracy" if is_classifier(search) else "r2"
    return scoring if isinstance(scoring, str) else getattr(scoring, "__name__", type(scoring).__name__)


def _twin(fitted: BaseEstimator, search: BaseEstimator, X: pd.DataFrame, y: np.ndarray) -> BaseEstimator:
    if hasattr(fitted, "best_estimator_"):
        return fitted.best_estimator_
    if not hasattr(fitted, "best_params_"):
        raise DeclarationError(
            f"{type(search).__name__} names no best candidate after its fit (refit={getattr(search, 'refit', None)!r})",
            advice="let it name one: refit=True, or the name of the main score",
        )
    best = {name: clone(value, safe=False) for name, value in fitted.best_params_.items()}
    return clone(search.estimator).set_params(**best).fit(X, y)


def _parts(estimator: Any) -> list[tuple[str, Any]]:
    deep = estimator.get_params(deep=True)
    return [(name, part) for name, part in deep.items() if hasattr(part, "get_params") or hasattr(part, "random_state")]


def _draws(part: Any, params: Mapping[str, Any]) -> bool:
    """Tell whether a part draws random numbers as it is set; one that we do not know is taken to."""
    rules: dict[str, Callable[[], bool]] = {
        "LogisticRegression": lambda: params["solver"] in ("sag", "saga", "liblinear"),
        "Ridge": lambda: params["solver"] in ("sag", "saga"),
        "RidgeClassifier": lambda: params["solver"] in ("sag", "saga"),
        "PCA": lambda: params["svd_solver"] in ("randomized", "arpack"),
        "TruncatedSVD": lambda: True,
        "SVC": lambda: params["probability"] is True,
        "NuSVC": lambda: params["probability"] is True,
        "LinearSVC": lambda: bool(params["dual"]),
        "Lasso": lambda: params["selection"] == "random",
        "ElasticNet": lambda: params["selection"] == "random",
        "GaussianProcessClassifier": lambda: params["n_restarts_optimizer"] > 0,
        "GaussianProcessRegressor": lambda: params["n_restarts_optimizer"] > 0,
        "QuantileTransformer": lambda: params["subsample"] is not None,
        "KBinsDiscretizer": lambda: params["subsample"] is not None,
    }
    rule = rules.get(type(part).__name__)
    if rule is not None:
        return rule()
    return not ("shuffle" in params and params["shuffle"] is False and not hasattr(part, "fit"))


@contextmanager
def _fitting() -> Iterator[list[Any]]:
    """Fit with one BLAS thread, and say whose fault a failure is.

    What is warned of is collected, to be said once in the row of the run and not a thousand times on the terminal.
    """
    with threadpool_limits(1), python_warnings.catch_warnings(record=True) as seen:
        python_warnings.simplefilter("always")
        try:
            yield seen
        except (DiurnalError, OSError, MemoryError):
            raise
        except BrokenProcessPool as error:  # joblib's TerminatedWorkerError is one
            raise TryAgainLater(
                "a process that was fitting was killed, most often because the memory was used up",
                advice="give the machine more, or the search a smaller n_jobs",
            ) from error
        except Exception as error:
            raise DeclarationError(
                f"the fit fails on this batch with {type(error).__name__}: {_without_traceback(str(error))}",
                advice="what the experiment returns must cope with every batch that its contract lets through",
            ) from error


def _without_traceback(said: str) -> str:
    """Give the first and the last line of what a search says when all its fits failed; between is a traceback."""
    lines = [line for line in said.splitlines() if line.strip()] or [""]
    return f"{lines[0]} {lines[-1]}" if "Traceback" in said else said.strip()


def _said(seen: list[Any]) -> tuple[str, ...]:
    counts = Counter(f"{w.category.__name__}: {str(w.message).strip().splitlines()[0]}" for w in seen)
    return tuple(f"{said} ({n} times)" if n > 1 else said for said, n in counts.items())
