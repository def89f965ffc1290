"""Tuning in pieces, anywhere: shards of a search, their scores, and the fitted search that they add up to.

A search is a list of fits, one for each candidate on each fold. Here they are ordered fold by fold, and within a fold
as the tree of shared prefixes is walked; a shard is a run of this list. So a prefix is cut by a border between two
shards at most, and the scores do not depend on how many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.base import clone

from diurnal.errors import UsageError
from diurnal.search import search_api
from diurnal.search.sklearn_private import Call
from diurnal.search.tree import NotUnderstood, plan

Shard = dict[str, Any]
Part = dict[str, np.ndarray]

WHOLE: Shard = {"start": 0, "stop": 0, "n_candidates": 0, "n_splits": 0}


class _Taken(Exception):
    """Carries what was wanted of a fit out of it, before it goes on."""

    def __init__(self, wanted: Any) -> None:
        super().__init__()
        self.wanted = wanted


def shards(search: Any, X: Any, y: Any = None, n: int = 2, **fit_params: Any) -> list[Shard]:
    """Cut a search into at most n shards of about the same number of fits.

    Parameters
    ----------
    search : estimator
        A scikit-learn search.
    X, y : matrix and vector
        What it is to be fitted on.
    n : int
        How many shards are wanted.
    **fit_params
        What the search's own `fit` takes.

    Returns
    -------
    list of dict
        Plain values, for JSON. A search that decides on its candidates while it goes, or whose candidates or folds are
        drawn anew each time, has one shard without fits; :func:`combine` then tunes it as a whole.

    Raises
    ------
    UsageError
        If n is no positive whole number.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.model_selection import GridSearchCV
    >>> X, y = np.arange(20.0).reshape(10, 2), np.arange(10.0)
    >>> search = GridSearchCV(Ridge(), {"alpha": [1, 2]}, cv=3)
    >>> cut = shards(search, X, y, 2)
    >>> [(shard["start"], shard["stop"]) for shard in cut]
    [(0, 3), (3, 6)]
    >>> parts = [score_shard(search, X, y, shard) for shard in cut]
    >>> combine(search, X, y, parts).best_params_
    {'alpha': 1}
    """
    if type(n) is not int or n < 1:
        raise UsageError(f"n={n!r} shards were wanted; allowed is a whole number from 1", advice="give n=2 or more")
    if not _repeats(search):
        return [dict(WHOLE)]
    calls = _calls(search, X, y, fit_params)
    if calls is None:
        return [dict(WHOLE)]
    n_splits, n = int(calls[0].words["split_progress"][1]), min(n, len(calls))
    borders = [round(i * len(calls) / n) for i in range(n + 1)]
    whole = {"n_candidates": len(calls) // n_splits, "n_splits": n_splits}
    return [{"start": a, "stop": b, **whole} for a, b in pairwise(borders)]


def score_shard(search: Any, X: Any, y: Any, shard: Mapping[str, Any], **fit_params: Any) -> Part:
    """Make the fits of one shard.

    Parameters
    ----------
    search, X, y, **fit_params
        As they were given to :func:`shards`.
    shard : Mapping
        One of what it gave.

    Returns
    -------
    dict of str to numpy.ndarray
        `call` (candidate times folds plus fold), `fit_time`, `score_time`, `n_test_samples`, `fit_error` (empty where
        there is none) and the scores, ``test_scores`` or ``test_scores:name``.

    Raises
    ------
    UsageError
        If the shard is not one of this search.
    """
    if dict(shard) == WHOLE:
        return {"call": np.zeros(0, dtype=np.int64)}
    calls = _calls(search, X, y, fit_params)
    found = None if calls is None else {"n_candidates": len(calls) // int(calls[0].words["split_progress"][1])}
    if calls is None or found is None or found["n_candidates"] != shard["n_candidates"]:
        raise UsageError(f"the shard {dict(shard)} is not of this search", advice="cut it with shards() of this search")
    wanted = _order(calls)[shard["start"] : shard["stop"]]
    results: dict[int, dict[str, Any]] = {}
    n_splits = int(shard["n_splits"])
    for group in _alike(wanted, n_splits):
        made = search_api.evaluate(_numbered_anew([calls[i] for i in group], n_splits, group))
        results.update(zip(group, made, strict=True))
    return _pack(results)


def combine(search: Any, X: Any, y: Any, parts: Iterable[Mapping[str, np.ndarray]], **fit_params: Any) -> Any:
    """Put the scores of all shards together and finish the search: rank, report, refit.

    Parameters
    ----------
    search, X, y, **fit_params
        As they were given to :func:`shards`.
    parts : iterable of Mapping
        What :func:`score_shard` gave for each shard, in any order.

    Returns
    -------
    estimator
        The fitted clone of the search, as :func:`~diurnal.search.tune` gives it.

    Raises
    ------
    UsageError
        If a fit is missing, or given twice.
    """
    results: dict[int, dict[str, Any]] = {}
    for part in parts:
        results.update(_unpack(part, results))
    if not results:
        return search_api.tune(search, X, y, **fit_params)
    fitted = clone(search)

    def put(calls: list[Call]) -> list[dict[str, Any]]:
        missing = sorted(set(range(len(calls))) - results.keys())
        if missing or len(results) != len(calls):
            raise UsageError(
                f"the parts have {len(results)} fits of {len(calls)}; the first that is missing is {missing[:1]}",
                advice="give the parts of every shard of this search",
            )
        return [results[i] for i in range(len(calls))]

    with search_api.in_hands_of(fitted, put):
        return fitted.fit(X, y, **fit_params)


def _calls(search: Any, X: Any, y: Any, fit_params: Mapping[str, Any]) -> list[Call] | None:
    """Take down the calls of a search that makes all of them at once; None for another."""
    taken = clone(search)

    def take(calls: list[Call]) -> list[dict[str, Any]]:
        raise _Taken(calls)

    try:
        with search_api.in_hands_of(taken, take):
            taken.fit(X, y, **fit_params)
    except _Taken as carrier:
        calls: list[Call] = carrier.wanted
        return calls
    raise UsageError(f"{type(search).__name__} made no fits", advice="give a search with candidates and folds")


def _repeats(search: Any) -> bool:
    """Tell whether a search makes all its fits at once, and the same ones each time."""
    from sklearn.model_selection import GridSearchCV, RandomizedSearchCV

    if search_api.understands(search) is not None or type(search) not in {GridSearchCV, RandomizedSearchCV}:
        return False
    seeds = [search] if isinstance(search, RandomizedSearchCV) else []
    if getattr(search.cv, "shuffle", hasattr(search.cv, "random_state")):
        seeds.append(search.cv)
    iterable = search.cv is None or isinstance(search.cv, int | list | tuple) or hasattr(search.cv, "split")
    return iterable and all(isinstance(seed.random_state, int | np.integer) for seed in seeds)


def _order(calls: Sequence[Call]) -> list[int]:
    """Give the places of the calls: fold by fold, and the candidates of each as the tree is walked."""
    n_splits = int(calls[0].words["split_progress"][1])
    candidates = list(range(len(calls) // n_splits))
    try:
        walked = [c for leaf in plan(calls).root.all_leaves() for c in leaf.candidates]
    except NotUnderstood:
        walked = []
    walked += sorted(set(candidates) - set(walked))
    return [c * n_splits + split for split in range(n_splits) for c in walked]


def _alike(wanted: Sequence[int], n_splits: int) -> list[list[int]]:
    """Group calls so that each group is some candidates on some folds, all on all; folds run fastest."""
    of_fold: dict[int, list[int]] = {}
    for i in wanted:
        of_fold.setdefault(i % n_splits, []).append(i // n_splits)
    folds: dict[tuple[int, ...], list[int]] = {}
    for split, candidates in of_fold.items():
        folds.setdefault(tuple(sorted(candidates)), []).append(split)
    return [[c * n_splits + s for c in candidates for s in splits] for candidates, splits in folds.items()]


def _numbered_anew(calls: Sequence[Call], n_splits: int, places: Sequence[int]) -> list[Call]:
    """Number the candidates and folds of some calls from 0, as if they were all."""
    folds = len({i % n_splits for i in places})
    total = len(calls) // folds
    progress: Callable[[int], dict[str, Any]] = lambda i: {  # noqa: E731 - used once, on the next line
        "candidate_progress": (i // folds, total),
        "split_progress": (i % folds, folds),
    }
    return [Call(c.estimator, c.X, c.y, {**c.words, **progress(i)}) for i, c in enumerate(calls)]


def _pack(results: Mapping[int, Mapping[str, Any]]) -> Part:
    columns: dict[str, list[Any]] = {"call": []}
    for i in sorted(results):
        columns["call"].append(i)
        for name, value in results[i].items():
            if isinstance(value, dict):
                for metric, score in value.items():
                    columns.setdefault(f"{name}:{metric}", []).append(score)
            else:
                columns.setdefault(name, []).append(value or "" if name == "fit_error" else value)
    return {name: np.array(values) for name, values in columns.items()}


def _unpack(part: Mapping[str, np.ndarray], before: Mapping[int, Any]) -> dict[int, dict[str, Any]]:
    results: dict[int, dict[str, Any]] = {}
    for row, call in enumerate(part["call"].tolist()):
        if call in before or call in results:
            raise UsageError(f"fit {call} is given twice", advice="give the part of each shard once")
        result: dict[str, Any] = {}
        for name, values in part.items():
            what, _, metric = name.partition(":")
            value = values[row].item()
            if metric:
                result.setdefault(what, {})[metric] = value
            elif name != "call":
                result[what] = (value or None) if name == "fit_error" else value
        results[call] = result
    return results
