"""Properties of a search: whether it tunes, its task, its folds and its scores."""

from __future__ import annotations

import warnings as python_warnings
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.metrics import check_scoring, get_scorer_names
from sklearn.model_selection import (
    KFold,
    RepeatedKFold,
    RepeatedStratifiedKFold,
    StratifiedKFold,
    StratifiedShuffleSplit,
    TimeSeriesSplit,
    check_cv,
)
from sklearn.model_selection._split import GroupsConsumerMixin

from diurnal.backends.protocol import Scores, Task
from diurnal.backends.sklearn import metadata_requests
from diurnal.backends.sklearn.fit import fit_context
from diurnal.backends.sklearn.fit_metadata import NO_METADATA, FitMetadata
from diurnal.errors import ExperimentError, did_you_mean

Score = Callable[..., Scores]

# The attributes with the candidates of a search, in several libraries.
_SPACES = ("param_grid", "param_distributions", "search_spaces", "search_space", "param_space", "best_params_")


def detect_task(search: BaseEstimator) -> Task:
    """Return ``"classification"`` or ``"regression"``; reject anything else."""
    for one in (search, getattr(search, "estimator", None)):  # a search itself need not have the tag
        if is_classifier(one):
            return "classification"
        if is_regressor(one):
            return "regression"
    raise ExperimentError(
        f"{type(search).__name__} is neither a classifier nor a regressor",
        hint="return a search over one, or an estimator whose tags say which it is",
    )


def is_search(estimator: BaseEstimator) -> bool:
    """Return whether it tunes: scikit-learn's own searches and those with the same conventions."""
    return hasattr(estimator, "estimator") and (
        any(hasattr(estimator, name) for name in _SPACES) or hasattr(type(estimator), "best_params_")
    )


def has_tuned(fitted: BaseEstimator) -> bool:
    """Return whether a fitted estimator has chosen among candidates; some searches show it only after the fit."""
    return hasattr(fitted, "best_estimator_") and hasattr(fitted, "best_params_")


def find_size_problem(search: BaseEstimator, y: np.ndarray, needs: FitMetadata = NO_METADATA) -> str | None:
    """Return why a target is too small: it has one value, or fewer samples than scikit-learn's folds need."""
    values = np.unique(y)
    if len(values) < 2:
        return f"all {len(y)} train samples of the window have one value of the target"
    n = _n_folds(search, y)
    if len(y) < n:
        return f"the window has {len(y)} train samples, and the search has {n} folds"
    largest = max(_class_counts(search, y).values(), default=n)
    if largest < n:
        return f"no class has more than {largest} train samples in the window, and {n} folds are asked for"
    return _find_split_problem(search, y, needs)


def _find_split_problem(search: BaseEstimator, y: np.ndarray, needs: FitMetadata) -> str | None:
    """Return scikit-learn's message about too few groups, or too few samples for a series of folds."""
    splitter = getattr(search, "cv", None) if is_search(search) else None
    if not isinstance(splitter, GroupsConsumerMixin | TimeSeriesSplit) or not type(splitter).__module__.startswith(
        "sklearn."
    ):
        return None
    with python_warnings.catch_warnings(action="ignore"):
        try:
            next(iter(deepcopy(splitter).split(y, y, needs.groups)))  # a copy, as it may use random numbers
        except ValueError as error:
            return f"the train samples of the window cannot be split: {error}"
    return None


def find_rare_classes(search: BaseEstimator, y: np.ndarray) -> str | None:
    """Return which classes have fewer samples than there are folds, so that some fold lacks them."""
    n = _n_folds(search, y)
    few = {label: count for label, count in _class_counts(search, y).items() if count < n}
    if not few:
        return None
    listed = ", ".join(f"{label!r} has {count}" for label, count in sorted(few.items())[:20])
    return f"a class has fewer train samples in the window than there are folds ({n}): {listed}"


def _class_counts(search: BaseEstimator, y: np.ndarray) -> dict[str, int]:
    """Return the number of samples of each class if folds are stratified."""
    if not is_search(search) or detect_task(search) != "classification":
        return {}
    stratified = (StratifiedKFold, RepeatedStratifiedKFold, StratifiedShuffleSplit)
    if not isinstance(_get_splitter(search, y), stratified):
        return {}
    return {str(label): int(n) for label, n in zip(*np.unique(y, return_counts=True), strict=True)}


def _n_folds(search: BaseEstimator, y: np.ndarray) -> int:
    """Return the number of folds that partition the samples; 1 if they are not partitioned."""
    if not is_search(search):
        return 1
    splitter = _get_splitter(search, y)
    if isinstance(splitter, StratifiedShuffleSplit):
        return 2  # each class is on both sides
    if isinstance(splitter, RepeatedKFold | RepeatedStratifiedKFold):
        return int(splitter.cvargs["n_splits"])
    return int(splitter.n_splits) if isinstance(splitter, KFold | StratifiedKFold) else 1


def _get_splitter(search: BaseEstimator, y: np.ndarray) -> Any:
    return check_cv(getattr(search, "cv", None), y, classifier=detect_task(search) == "classification")


def build_scorer(search: BaseEstimator) -> tuple[str, Score]:
    """Return the name of the main score, and a function that returns all scores of a fitted estimator.

    Returns
    -------
    str
        Name of the main score, a key of the scores.
    callable
        ``(estimator, X, y, needs=NOTHING) -> dict of str to float``; greater is better.
    """
    inner = getattr(search, "estimator", search)
    scoring = scoring_of(search)
    name = main_score_name(search)
    try:
        check_scoring(inner, scoring=scoring)
    except (ValueError, TypeError):
        unknown = [one for one in ([scoring] if isinstance(scoring, str) else scoring or ()) if isinstance(one, str)]
        raise ExperimentError(
            f"scoring={scoring!r} names no scorer of scikit-learn{did_you_mean(str(unknown[0]), get_scorer_names())}"
            if unknown
            else f"scoring={scoring!r} is not a scorer",
            hint="use one of sklearn.metrics.get_scorer_names(), or a callable (estimator, X, y)",
        ) from None

    def score(estimator: BaseEstimator, X: pd.DataFrame, y: np.ndarray, needs: FitMetadata = NO_METADATA) -> Scores:
        with fit_context(), metadata_requests.score_context(inner, scoring, estimator, needs) as (judge, params):
            given = judge(estimator, X, y, **params)
        return {k: float(v) for k, v in given.items()} if isinstance(given, Mapping) else {name: float(given)}

    return name, score


def scoring_of(search: BaseEstimator) -> Any:
    """Return the scoring of a search; the `scoring` of a bare estimator is for its early stopping."""
    return getattr(search, "scoring", None) if is_search(search) else None


def _is_multimetric(search: BaseEstimator) -> bool:
    return isinstance(scoring_of(search), list | tuple | set | Mapping)


def main_score_name(search: BaseEstimator) -> str:
    """Return the name of the main score."""
    scoring: Any = scoring_of(search)
    if _is_multimetric(search) or isinstance(getattr(search, "refit", None), str):
        main = getattr(search, "refit", None)
        if not isinstance(main, str):
            raise ExperimentError(
                f"the search has the scores {sorted(scoring)}, and refit={main!r} does not name the main one",
                hint=f"set refit= to the name of one, such as refit={sorted(scoring)[0]!r}",
            )
        return main
    if scoring is None:
        return "accuracy" if detect_task(search) == "classification" else "r2"
    return scoring if isinstance(scoring, str) else getattr(scoring, "__name__", type(scoring).__name__)
