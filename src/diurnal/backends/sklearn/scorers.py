"""What a search is: whether it tunes, what for, and by which score."""

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
from diurnal.backends.sklearn.fit import fitting
from diurnal.backends.sklearn.fit_metadata import NOTHING, Needs
from diurnal.errors import ExperimentError, did_you_mean

Score = Callable[..., Scores]

# What the candidates of a search are given as, by what library.
_SPACES = ("param_grid", "param_distributions", "search_spaces", "search_space", "param_space", "best_params_")


def task(search: BaseEstimator) -> Task:
    """Tell ``"classification"`` or ``"regression"``; anything else is refused."""
    for one in (search, getattr(search, "estimator", None)):  # a search need not say what it is itself
        if is_classifier(one):
            return "classification"
        if is_regressor(one):
            return "regression"
    raise ExperimentError(
        f"{type(search).__name__} is neither a classifier nor a regressor",
        hint="return a search over one, or an estimator whose tags say which it is",
    )


def is_search(estimator: BaseEstimator) -> bool:
    """Tell whether it tunes: scikit-learn's own searches and those that follow their conventions."""
    return hasattr(estimator, "estimator") and (
        any(hasattr(estimator, name) for name in _SPACES) or hasattr(type(estimator), "best_params_")
    )


def has_tuned(fitted: BaseEstimator) -> bool:
    """Tell whether a fitted estimator has chosen among candidates; some searches only show it then."""
    return hasattr(fitted, "best_estimator_") and hasattr(fitted, "best_params_")


def too_small(search: BaseEstimator, y: np.ndarray, needs: Needs = NOTHING) -> str | None:
    """Say what a target lacks to be learnt from: a second value, or as many samples as scikit-learn's folds need."""
    values = np.unique(y)
    if len(values) < 2:
        return f"all {len(y)} train samples of the window have one value of the target"
    n = _n_folds(search, y)
    if len(y) < n:
        return f"the window has {len(y)} train samples, and {n} folds are asked for"
    largest = max(_class_counts(search, y).values(), default=n)
    if largest < n:
        return f"no class has more than {largest} train samples in the window, and {n} folds are asked for"
    return _unsplittable(search, y, needs)


def _unsplittable(search: BaseEstimator, y: np.ndarray, needs: Needs) -> str | None:
    """Give what scikit-learn says of too few groups, or too few samples for a series of folds."""
    splitter = getattr(search, "cv", None) if is_search(search) else None
    if not isinstance(splitter, GroupsConsumerMixin | TimeSeriesSplit) or not type(splitter).__module__.startswith(
        "sklearn."
    ):
        return None
    with python_warnings.catch_warnings(action="ignore"):
        try:
            next(iter(deepcopy(splitter).split(y, y, needs.groups)))  # a copy: it may draw random numbers
        except ValueError as error:
            return f"the train samples of the window cannot be split: {error}"
    return None


def scarce(search: BaseEstimator, y: np.ndarray) -> str | None:
    """Say which classes have fewer samples than there are folds, so that some fold lacks them."""
    n = _n_folds(search, y)
    few = {label: count for label, count in _class_counts(search, y).items() if count < n}
    if not few:
        return None
    listed = ", ".join(f"{label!r} has {count}" for label, count in sorted(few.items())[:20])
    return f"a class has fewer train samples in the window than there are folds ({n}): {listed}"


def _class_counts(search: BaseEstimator, y: np.ndarray) -> dict[str, int]:
    """Count the samples of each class, where folds are stratified."""
    if not is_search(search) or task(search) != "classification":
        return {}
    stratified = (StratifiedKFold, RepeatedStratifiedKFold, StratifiedShuffleSplit)
    if not isinstance(_splitter(search, y), stratified):
        return {}
    return {str(label): int(n) for label, n in zip(*np.unique(y, return_counts=True), strict=True)}


def _n_folds(search: BaseEstimator, y: np.ndarray) -> int:
    """Tell into how many folds samples are dealt; 1 where they are not dealt."""
    if not is_search(search):
        return 1
    splitter = _splitter(search, y)
    if isinstance(splitter, StratifiedShuffleSplit):
        return 2  # each class is on both sides
    if isinstance(splitter, RepeatedKFold | RepeatedStratifiedKFold):
        return int(splitter.cvargs["n_splits"])
    return int(splitter.n_splits) if isinstance(splitter, KFold | StratifiedKFold) else 1


def _splitter(search: BaseEstimator, y: np.ndarray) -> Any:
    return check_cv(getattr(search, "cv", None), y, classifier=task(search) == "classification")


def scorer(search: BaseEstimator) -> tuple[str, Score]:
    """Give the name of the main score, and a function that gives all scores of a fitted estimator.

    Returns
    -------
    str
        Name of the main score, a key of what the function gives.
    callable
        ``(estimator, X, y, needs=NOTHING) -> dict of str to float``; greater is better.
    """
    inner = getattr(search, "estimator", search)
    scoring = scoring_of(search)
    name = score_name(search)
    try:
        check_scoring(inner, scoring=scoring)
    except (ValueError, TypeError):
        unknown = [one for one in ([scoring] if isinstance(scoring, str) else scoring or ()) if isinstance(one, str)]
        raise ExperimentError(
            f"scoring={scoring!r} names no scorer of scikit-learn{did_you_mean(str(unknown[0]), get_scorer_names())}"
            if unknown
            else f"scoring={scoring!r} is no scorer",
            hint="take one of sklearn.metrics.get_scorer_names(), or a callable (estimator, X, y)",
        ) from None

    def score(estimator: BaseEstimator, X: pd.DataFrame, y: np.ndarray, needs: Needs = NOTHING) -> Scores:
        with fitting(), metadata_requests.judging(inner, scoring, estimator, needs) as (judge, params):
            given = judge(estimator, X, y, **params)
        return {k: float(v) for k, v in given.items()} if isinstance(given, Mapping) else {name: float(given)}

    return name, score


def scoring_of(search: BaseEstimator) -> Any:
    """Give what a search is scored by; a bare estimator's own `scoring` is about its early stopping."""
    return getattr(search, "scoring", None) if is_search(search) else None


def _is_multimetric(search: BaseEstimator) -> bool:
    return isinstance(scoring_of(search), list | tuple | set | Mapping)


def score_name(search: BaseEstimator) -> str:
    """Give the name of the main score."""
    scoring: Any = scoring_of(search)
    if _is_multimetric(search) or isinstance(getattr(search, "refit", None), str):
        main = getattr(search, "refit", None)
        if not isinstance(main, str):
            raise ExperimentError(
                f"the search has the scores {sorted(scoring)}, and refit={main!r} does not say which is the main one",
                hint=f"give refit= the name of one, such as refit={sorted(scoring)[0]!r}",
            )
        return main
    if scoring is None:
        return "accuracy" if task(search) == "classification" else "r2"
    return scoring if isinstance(scoring, str) else getattr(scoring, "__name__", type(scoring).__name__)
