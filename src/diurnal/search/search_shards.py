"""Distributed search: shards of a search, their scores, and the fitted search that combines them.

A search is a list of fits, one for each candidate on each fold. The list is ordered fold by fold, and within a fold in
the order in which the tree of prefixes is traversed; a shard is a contiguous part of it:

    fold 0                     fold 1
    scale ───┐ minmax ┐        scale ───┐ minmax ┐
    c0 c2 c4   c1 c3           c0 c2 c4   c1 c3
    └── shard 0 ─┘└──── shard 1 ───┘└── shard 2 ─┘

So a border between two shards splits at most one path of prefixes, which is fitted on both sides. The scores do not
depend on the number of shards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.base import clone

from diurnal.errors import UsageError
from diurnal.search import search_api
from diurnal.search.fold_arrays import FoldArrays, arrays_to_results, results_to_arrays
from diurnal.search.sklearn_private import FitAndScoreCall
from diurnal.search.tree import UnsupportedSearch, build_tree

Shard = dict[str, Any]

UNSPLIT: Shard = {"start": 0, "stop": 0, "n_candidates": 0, "n_splits": 0}


class _CallsRecorded(Exception):
    """Ends the `fit` of a search as soon as its calls are known, and carries them."""

    def __init__(self, calls: list[FitAndScoreCall]) -> None:
        super().__init__()
        self.calls = calls


def split_search(search: Any, X: Any, y: Any = None, n: int = 2, **fit_params: Any) -> list[Shard]:
    """Split a search into at most n shards with about the same number of fits.

    Parameters
    ----------
    search : estimator
        A scikit-learn search.
    X, y : matrix and vector
        The data that it is fitted on.
    n : int
        The greatest number of shards.
    **fit_params
        The other parameters of the search's `fit`.

    Returns
    -------
    list of dict
        Plain values that can be written as JSON. A search that selects candidates as it runs, or whose candidates or
        folds are drawn anew each time, has one shard without fits; :func:`combine_scores` then fits the whole search.

    Raises
    ------
    UsageError
        If n is not a positive whole number.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.model_selection import GridSearchCV
    >>> X, y = np.arange(20.0).reshape(10, 2), np.arange(10.0)
    >>> search = GridSearchCV(Ridge(), {"alpha": [1, 2]}, cv=3)
    >>> shards = split_search(search, X, y, 2)
    >>> [(shard["start"], shard["stop"]) for shard in shards]
    [(0, 3), (3, 6)]
    >>> scores = [score_shard(search, X, y, shard) for shard in shards]
    >>> combine_scores(search, X, y, scores).best_params_
    {'alpha': 1}
    """
    if type(n) is not int or n < 1:
        raise UsageError(f"n={n!r} is not possible; allowed is a whole number from 1", hint="give n=2 or more")
    if not _repeats_fits(search):
        return [dict(UNSPLIT)]
    calls = _record_calls(search, X, y, fit_params)
    n_splits, n = _n_splits(calls), min(n, len(calls))
    borders = [round(i * len(calls) / n) for i in range(n + 1)]
    totals = {"n_candidates": len(calls) // n_splits, "n_splits": n_splits}
    return [{"start": start, "stop": stop, **totals} for start, stop in pairwise(borders)]


def score_shard(
    search: Any, X: Any, y: Any, shard: Mapping[str, Any], *, max_cores: int | None = None, **fit_params: Any
) -> FoldArrays:
    """Make the fits of one shard.

    Parameters
    ----------
    search, X, y, **fit_params
        The same as for :func:`split_search`.
    shard : Mapping
        One of the shards that it returned.
    max_cores : int, optional
        The greatest number of cores, as for :func:`~diurnal.search.tune`.

    Returns
    -------
    dict of str to numpy.ndarray
        `call` (candidate times folds plus fold), `fit_time`, `score_time`, `n_test_samples`, `fit_error` (empty where
        there is none) and the scores, ``test_scores`` or ``test_scores:name``.

    Raises
    ------
    UsageError
        If the shard does not belong to this search.
    """
    if dict(shard) == UNSPLIT:
        return {"call": np.zeros(0, dtype=np.int64)}
    calls = _record_calls(search, X, y, fit_params)
    if len(calls) // _n_splits(calls) != shard["n_candidates"]:
        raise UsageError(
            f"the shard {dict(shard)} does not belong to this search", hint="split this search with split_search()"
        )
    positions = _traversal_order(calls)[shard["start"] : shard["stop"]]
    results: dict[int, dict[str, Any]] = {}
    n_splits = int(shard["n_splits"])
    for group in _complete_groups(positions, n_splits):
        group_results = search_api.evaluate_calls(
            _renumber_calls([calls[i] for i in group], n_splits, group), max_cores
        )
        results.update(zip(group, group_results, strict=True))
    return results_to_arrays(results)


def combine_scores(
    search: Any,
    X: Any,
    y: Any,
    parts: Iterable[Mapping[str, np.ndarray]],
    *,
    max_cores: int | None = None,
    **fit_params: Any,
) -> Any:
    """Combine the scores of all shards and finish the search: rank, report, refit.

    Parameters
    ----------
    search, X, y, **fit_params
        The same as for :func:`split_search`.
    parts : iterable of Mapping
        The scores that :func:`score_shard` returned for each shard, in any order.
    max_cores : int, optional
        The greatest number of cores, as for :func:`~diurnal.search.tune`, if the search was not split.

    Returns
    -------
    estimator
        The fitted clone of the search, as :func:`~diurnal.search.tune` returns it.

    Raises
    ------
    UsageError
        If a fit is missing, or occurs twice.
    """
    results: dict[int, dict[str, Any]] = {}
    for part in parts:
        results.update(arrays_to_results(part, results))
    if not results:
        return search_api.tune(search, X, y, max_cores=max_cores, **fit_params)
    fitted = clone(search)

    def return_results(calls: list[FitAndScoreCall]) -> list[dict[str, Any]]:
        missing = sorted(set(range(len(calls))) - results.keys())
        if missing or len(results) != len(calls):
            raise UsageError(
                f"the scores have {len(results)} fits of {len(calls)}; the first that is missing is {missing[:1]}",
                hint="give the scores of every shard of this search",
            )
        return [results[i] for i in range(len(calls))]

    with search_api.use_runner(fitted, return_results):
        return fitted.fit(X, y, **fit_params)


def _record_calls(search: Any, X: Any, y: Any, fit_params: Mapping[str, Any]) -> list[FitAndScoreCall]:
    """Return the calls of the first round of a search, without making them."""
    recorder = clone(search)

    def stop(calls: list[FitAndScoreCall]) -> list[dict[str, Any]]:
        raise _CallsRecorded(calls)

    try:
        with search_api.use_runner(recorder, stop):
            recorder.fit(X, y, **fit_params)
    except _CallsRecorded as recorded:
        return recorded.calls
    raise UsageError(f"{type(search).__name__} made no fits", hint="give a search with candidates and folds")


def _repeats_fits(search: Any) -> bool:
    """Return whether a search makes all its fits in one round, and the same ones each time."""
    from sklearn.model_selection import GridSearchCV, RandomizedSearchCV

    if search_api.unsupported_reason(search) is not None or type(search) not in {GridSearchCV, RandomizedSearchCV}:
        return False
    randomized = [search] if isinstance(search, RandomizedSearchCV) else []
    if getattr(search.cv, "shuffle", hasattr(search.cv, "random_state")):
        randomized.append(search.cv)
    # An iterator of splits is consumed by the first fit, and cannot be repeated.
    is_repeatable = search.cv is None or isinstance(search.cv, int | list | tuple) or hasattr(search.cv, "split")
    return is_repeatable and all(isinstance(each.random_state, int | np.integer) for each in randomized)


def _n_splits(calls: Sequence[FitAndScoreCall]) -> int:
    return int(calls[0].kwargs["split_progress"][1])


def _traversal_order(calls: Sequence[FitAndScoreCall]) -> list[int]:
    """Return the positions of the calls: fold by fold, and the candidates of a fold in the order of the tree."""
    n_splits = _n_splits(calls)
    candidates = range(len(calls) // n_splits)
    try:
        ordered = [candidate for leaf in build_tree(calls).root.all_finals() for candidate in leaf.candidates]
    except UnsupportedSearch:
        ordered = []
    ordered += sorted(set(candidates) - set(ordered))  # candidates that are not in the tree
    return [candidate * n_splits + split for split in range(n_splits) for candidate in ordered]


def _complete_groups(positions: Sequence[int], n_splits: int) -> list[list[int]]:
    """Group calls so that each group is every one of some candidates on every one of some folds.

    `build_tree` requires such groups. A shard of 2 candidates on 2 folds that lacks the first call, the positions 1, 2
    and 3, gives the groups [2] (candidate 1 on fold 0) and [1, 3] (both candidates on fold 1). The fold varies fastest
    in a group.
    """
    candidates_of: dict[int, list[int]] = {}
    for i in positions:
        candidates_of.setdefault(i % n_splits, []).append(i // n_splits)
    splits_of: dict[tuple[int, ...], list[int]] = {}
    for split, candidates in candidates_of.items():
        splits_of.setdefault(tuple(sorted(candidates)), []).append(split)
    return [[c * n_splits + s for c in candidates for s in splits] for candidates, splits in splits_of.items()]


def _renumber_calls(calls: Sequence[FitAndScoreCall], n_splits: int, positions: Sequence[int]) -> list[FitAndScoreCall]:
    """Number the candidates and folds of a group of calls from 0, as if the group were a whole search."""
    n_folds = len({i % n_splits for i in positions})
    n_candidates = len(calls) // n_folds
    renumbered = []
    for i, call in enumerate(calls):
        candidate, split = divmod(i, n_folds)
        progress = {"candidate_progress": (candidate, n_candidates), "split_progress": (split, n_folds)}
        renumbered.append(FitAndScoreCall(call.estimator, call.X, call.y, {**call.kwargs, **progress}))
    return renumbered
