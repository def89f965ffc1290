"""One candidate of each kind, to see whether a search can be carried out at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.model_selection import GridSearchCV, ParameterGrid, ParameterSampler, RandomizedSearchCV

from diurnal.backends.sklearn.fit import clone_unfitted
from diurnal.backends.sklearn.scorers import is_search

MOST_CANDIDATES = 10_000  # that are looked at for their kinds
MOST_KINDS = 10


def trial_searches(search: BaseEstimator) -> Iterator[tuple[str, BaseEstimator]]:
    """Yield, for each kind of candidate, its name and a search over one candidate of it.

    Candidates are of one kind where they put the same classes of estimators into the pipeline. A search that is none of
    scikit-learn's own two gives its estimator alone.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0, 10.0]}, cv=5)
    >>> [(kind, reduced.param_grid) for kind, reduced in trial_searches(search)]
    [('LogisticRegression', [{'C': [0.1]}])]
    """
    name = type(getattr(search, "estimator", search)).__name__
    candidates = _first_candidates(search)
    if candidates is None:
        yield name, search.estimator if is_search(search) else search
        return
    kinds: dict[tuple[tuple[str, str], ...], Mapping[str, Any]] = {}
    for candidate in islice(candidates, MOST_CANDIDATES):
        kinds.setdefault(_estimator_classes(candidate), candidate)
    for kind, candidate in islice(kinds.items(), MOST_KINDS):
        one = [{parameter: [value] for parameter, value in candidate.items()}]
        label = ", ".join([name, *(f"{parameter}={value}" for parameter, value in kind)])
        yield label, _search_over(search, one)


def _first_candidates(search: BaseEstimator) -> Iterator[Mapping[str, Any]] | None:
    if isinstance(search, GridSearchCV):
        grid: Iterator[Mapping[str, Any]] = iter(ParameterGrid(search.param_grid))
        return grid
    if isinstance(search, RandomizedSearchCV):
        n = min(search.n_iter, MOST_CANDIDATES)
        drawn: Iterator[Mapping[str, Any]] = iter(ParameterSampler(search.param_distributions, n, random_state=0))
        return drawn
    return None


def _estimator_classes(candidate: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Name the classes of the estimators and functions among the values of a candidate's parameters."""
    return tuple(
        (parameter, type(value).__name__ if hasattr(value, "get_params") else getattr(value, "__name__", repr(value)))
        for parameter, value in sorted(candidate.items())
        if hasattr(value, "get_params") or callable(value)
    )


def _search_over(search: BaseEstimator, grid: list[dict[str, list[Any]]]) -> GridSearchCV:
    """Return a search over another grid, which raises what its fits raise."""
    kept = {name: value for name, value in search.get_params(deep=False).items() if name in _SHARED}
    return GridSearchCV(**{**kept, "estimator": clone_unfitted(search.estimator)}, param_grid=grid, error_score="raise")


_SHARED = ("estimator", "scoring", "n_jobs", "refit", "cv", "verbose", "pre_dispatch", "return_train_score")
