"""Branches: what stands side by side in a `ColumnTransformer` or a `FeatureUnion`, each fitted once for all siblings.

Siblings are one pipeline step with several parameters, on the same data. Where they differ in one branch, the others
are the same fit. scikit-learn's own class still picks columns, weighs, stacks and names: it is given a stand-in for
each branch that siblings share, which fits the first time and remembers.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Hashable, Iterable
from typing import Any, NamedTuple

import joblib
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion

from diurnal.search.cache_keys import is_estimator, key_of
from diurnal.search.side_effects import Note, Witness
from diurnal.search.tree import Node, Step

_LISTS = {ColumnTransformer: "transformers", FeatureUnion: "transformer_list"}


class Done(NamedTuple):
    """A branch that has been fitted: itself, what it gave, what was warned of, and how long it took."""

    fitted: Any
    output: Any
    notes: list[Note]
    seconds: float


class Branches:
    """The branches of sibling pipeline steps, on one fold; what the last sibling has read is forgotten.

    Parameters
    ----------
    steps : iterable of Step
        The siblings.
    witness : Witness
        Hears what a branch warns of, once for each sibling.
    """

    def __init__(self, steps: Iterable[Step], witness: Witness) -> None:
        self._readers = _shared(steps)
        self._done: dict[Hashable, Done] = {}
        self._lent: list[_StandIn] = []
        self._witness = witness

    def make(self, step: Step) -> Any:
        """Give a new estimator as the candidate has it, with stand-ins for the branches that it shares."""
        estimator, self._lent = step.make(), []
        keys = {name: key for name, key in branch_keys(step).items() if key in self._readers}
        if keys and joblib.effective_n_jobs(estimator.n_jobs) == 1:
            listed = _LISTS[type(estimator)]
            branches = [
                (name, self._lend(keys.get(name), branch), *columns)
                for name, branch, *columns in getattr(estimator, listed)
            ]
            setattr(estimator, listed, branches)
            if "remainder" in keys:
                estimator.remainder = self._lend(keys["remainder"], estimator.remainder)
        return estimator

    def settle(self, estimator: Any) -> float:
        """Put the fitted branches in the places of their stand-ins; tell the seconds that others had spent on them."""
        if self._lent:
            attributes = vars(estimator)
            for name, value in attributes.items():
                attributes[name] = _bare(value, fitted=name not in {"transformers", "remainder"})
        return sum(stand_in.spared for stand_in in self._lent)

    def read(self, key: Hashable, branch: Any, X: Any, y: Any, words: dict[str, Any]) -> Done:
        """Give a branch that has been fitted; its seconds are 0 for whoever makes it wait."""
        done = self._done.get(key)
        if done is None:
            self._done[key] = self._fit(clone(branch), X, y, words)
            done = self._done[key]._replace(seconds=0.0)
        else:
            self._witness.hear_again(done.notes)
        self._readers[key] -= 1
        if not self._readers[key]:
            del self._done[key]
        return done

    def _lend(self, key: Hashable | None, branch: Any) -> Any:
        if key is None:
            return branch
        self._lent.append(_StandIn(self, key, branch))
        return self._lent[-1]

    def _fit(self, branch: Any, X: Any, y: Any, words: dict[str, Any]) -> Done:
        start = time.perf_counter()
        with self._witness.listening() as notes:
            if hasattr(branch, "fit_transform"):
                output = branch.fit_transform(X, y, **words)
            else:
                output = branch.fit(X, y, **words).transform(X)
        return Done(branch, output, notes, time.perf_counter() - start)


class _StandIn:
    """Stands for a branch until its estimator has been fitted."""

    def __init__(self, branches: Branches, key: Hashable, branch: Any) -> None:
        self.branches, self.key, self.branch, self.fitted, self.spared = branches, key, branch, branch, 0.0

    def __sklearn_clone__(self) -> _StandIn:
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["fitted"], name)

    def fit_transform(self, X: Any, y: Any = None, **words: Any) -> Any:
        """Give what the branch gives, whoever has fitted it."""
        done = self.branches.read(self.key, self.branch, X, y, words)
        self.fitted, self.spared = done.fitted, done.seconds
        return done.output


def has_branches(node: Node) -> bool:
    """Tell whether siblings anywhere below share a branch."""
    children = node.children.values()
    return bool(_shared(child.step for child in children)) or any(map(has_branches, children))


def branch_keys(step: Step) -> dict[str, Hashable]:
    """Give for each branch by name the same for what gives the same fit; nothing for a step without branches."""
    listed = _LISTS.get(type(step.template))
    if listed is None:
        return {}
    params, keys = step.params(), dict[str, Hashable]()
    try:
        branches = [(name, branch, key_of(columns)) for name, branch, *columns in params[listed]]
    except (TypeError, ValueError):  # what scikit-learn will refuse, in its own words
        return {}
    if "remainder" in params:
        branches.append(("remainder", params["remainder"], tuple(columns for _, _, columns in branches)))
    for name, branch, columns in branches:
        chosen = step.changes.get(name, branch)
        if is_estimator(chosen):
            inner = sorted(n for n in step.changes if n.startswith(f"{name}__"))
            words = tuple((n, key_of(step.changes[n])) for n in inner)
            keys[name] = step.path, name, key_of(chosen), columns, words
    return keys


def _shared(steps: Iterable[Step]) -> dict[Hashable, int]:
    """Count the readers of each branch that has more than one."""
    readers = Counter(key for step in steps for key in branch_keys(step).values())
    return {key: n for key, n in readers.items() if n > 1}


def _bare(value: Any, *, fitted: bool) -> Any:
    """Give a value with the branches themselves in it, fitted or as they were given."""
    if type(value) in {list, tuple}:
        return type(value)(_bare(part, fitted=fitted) for part in value)
    if isinstance(value, _StandIn):
        return value.fitted if fitted else value.branch
    return value
