"""Running one round of a search: every fold of a plan, and what is left over to scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from diurnal.search.door import Call
from diurnal.search.fold import Fold
from diurnal.search.plan import Plan
from diurnal.search.walk import has_families, walk
from diurnal.search.witness import Drawn, Witness, say_again, strict


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
    if not (plan.shares() or has_families(plan.root)):
        return None
    witness = Witness()
    try:
        with witness.watching():
            folds = [_walk(plan, calls[split], split, witness, done) for split in range(len(plan.splits))]
    except Drawn:
        witness.put_back()
        return None
    results = []
    for i, call in enumerate(calls):
        candidate, split = divmod(i, len(plan.splits))
        result, notes = folds[split].results.get(candidate), witness.warned.get(i, [])
        if result is None or (notes and strict()):
            result = call.make()
            done(1)
        else:
            say_again(notes)
        results.append(result)
    return results


def _walk(plan: Plan, call: Call, split: int, witness: Witness, done: Callable[[int], None]) -> Fold:
    fold = Fold(plan, call, split, witness, done)
    walk(fold, plan.root, fold.start())
    return fold
