"""Running one round of a search: every fold of a plan, and what is left over to scikit-learn."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import joblib
import sklearn

from diurnal.search import workers
from diurnal.search.column_branches import has_branches
from diurnal.search.fold import Fold
from diurnal.search.side_effects import Drawn, Note, Witness, say_again, strict
from diurnal.search.sklearn_private import Call
from diurnal.search.traversal import has_families, walk
from diurnal.search.tree import Plan

Results = dict[int, dict[str, Any]]


def run(plan: Plan, calls: Sequence[Call], done: Callable[[int], None]) -> list[dict[str, Any]] | None:
    """Make all calls of a round, what they share only once.

    Parameters
    ----------
    plan : Plan
        The calls as a tree.
    calls : sequence of Call
        Every candidate on every fold, folds running fastest.
    done : callable
        Told how many more have been made.

    Returns
    -------
    list of dict, or None
        The results in the order of the calls; None if there is nothing to share, or nothing can be shared.
    """
    if not (plan.shares() or has_families(plan.root) or has_branches(plan.root)):
        return None
    n_splits, lock = len(plan.splits), threading.Lock()

    def count(n: int) -> None:
        with lock:
            done(n)

    witness = Witness()
    try:
        folds = _folds(plan, calls[:n_splits], witness, count)
    except Drawn:
        witness.put_back()
        return None
    results = []
    for i, call in enumerate(calls):
        candidate, split = divmod(i, n_splits)
        found, warned = folds[split]
        result, notes = found.get(candidate), warned.get(i, [])
        if result is None or (notes and strict()):
            count(0 if result else 1)
            result = call.make()
        else:
            say_again(notes)
        results.append(result)
    return results


def _folds(
    plan: Plan, calls: Sequence[Call], witness: Witness, done: Callable[[int], None]
) -> list[tuple[Results, dict[int, list[Note]]]]:
    """Walk every fold, by the workers that suit it; give results by candidate, and warnings by call."""
    kind, n = workers.choose(plan, calls[0])
    splits = range(len(calls))
    if kind == "processes":
        config = sklearn.get_config()
        found = joblib.Parallel(n_jobs=n)(
            joblib.delayed(_elsewhere)(plan, calls[split], split, config) for split in splits
        )
        if any(each is None for each in found):
            raise Drawn
        for results, _ in found:
            done(len(results))
        return list(found)
    here = partial(_walk, plan, dict(enumerate(calls)), witness, done)
    with workers.one_blas_thread(), witness.watching():
        walked = workers.on_threads(here, splits, n) if kind == "threads" else [here(split) for split in splits]
    return [(results, witness.warned) for results in walked]


def _walk(plan: Plan, calls: Mapping[int, Call], witness: Witness, done: Callable[[int], None], split: int) -> Results:
    fold = Fold(plan, calls[split], split, witness, done)
    walk(fold, plan.root, fold.start())
    return fold.results


def _elsewhere(
    plan: Plan, call: Call, split: int, config: Mapping[str, Any]
) -> tuple[Results, dict[int, list[Note]]] | None:
    """Walk a fold in another process, with scikit-learn's settings as here; None if it has drawn from the stream."""
    witness = Witness()
    try:
        with sklearn.config_context(**config), workers.one_blas_thread(), witness.watching():
            return _walk(plan, {split: call}, witness, _nobody, split), dict(witness.warned)
    except Drawn:
        return None


def _nobody(_: int) -> None:
    """Tell nobody: another process counts."""
