"""What is to be fitted: the candidates of a search as a tree of pipeline steps, each distinct prefix once.

A pipeline is taken as the list of its pipeline steps; a pipeline within it gives its own, and what is passed through is
left out. Candidates whose first pipeline steps are the same share these as a path from the root of the tree.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sklearn.base import clone
from sklearn.pipeline import Pipeline

from diurnal.search.cache_keys import is_estimator, is_theirs, key_of, parts
from diurnal.search.sklearn_private import Call, has_callbacks

Path = tuple[str, ...]


class NotUnderstood(Exception):
    """A search that is not proved to be safe in our hands; its message says why."""


@dataclass(frozen=True, eq=False)
class Step:
    """A pipeline step of one or many candidates.

    Attributes
    ----------
    path : tuple of str
        Its name, after those of the pipelines that it is in; empty for an estimator that is no pipeline.
    key : Hashable
        The same for what gives the same fit on the same data.
    template : estimator
        What it is cloned from.
    changes : Mapping of str to Any
        The parameters that are set on the clone.
    defaults : Mapping of str to Any
        The template's own parameters.
    """

    path: Path
    key: Hashable
    template: Any
    changes: Mapping[str, Any]
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def make(self) -> Any:
        """Give a new estimator, not fitted, as the candidate has it."""
        estimator = clone(self.template)
        return estimator.set_params(**clone(dict(self.changes), safe=False)) if self.changes else estimator

    def params(self) -> dict[str, Any]:
        """Give the estimator's own parameters, as the candidate has them."""
        return {**self.defaults, **self.changes}

    @cached_property
    def requests(self) -> Hashable:
        """The same for steps that request the same metadata: those that differ in no estimator."""
        estimators = sorted((name, id(value)) for name, value in self.changes.items() if is_estimator(value))
        return self.path, id(self.template), tuple(estimators)

    @cached_property
    def is_theirs(self) -> bool:
        """Tell whether it is scikit-learn's own all through, which is safe on threads and writes into nothing."""
        return is_theirs(self.template) and all(map(is_theirs, self.changes.values()))


@dataclass(frozen=True, eq=False, slots=True)
class Leaf:
    """A final estimator that is fitted on what its node gives, for one or more candidates that are the same."""

    step: Step
    candidates: list[int]


@dataclass(eq=False, slots=True)
class Node:
    """A pipeline step in the tree; that of the root does nothing."""

    step: Step
    children: dict[Hashable, Node] = field(default_factory=dict)
    leaves: dict[Hashable, Leaf] = field(default_factory=dict)

    def all_leaves(self) -> Iterator[Leaf]:
        """Give the leaves of this node and of all below it."""
        yield from self.leaves.values()
        for child in self.children.values():
            yield from child.all_leaves()

    def size(self) -> tuple[int, int]:
        """Count the pipeline steps and the final estimators below."""
        sizes = [child.size() for child in self.children.values()]
        return len(sizes) + sum(s for s, _ in sizes), len(self.leaves) + sum(n for _, n in sizes)


@dataclass(frozen=True, eq=False, slots=True)
class Plan:
    """The candidates of one round of a search, as a tree, and the folds that it is walked on.

    Attributes
    ----------
    base : estimator
        What the search tunes.
    params : list of dict
        The parameters of each candidate.
    splits : list of (train, test)
        The rows of each fold.
    root : Node
        The tree.
    n_steps : int
        How many pipeline steps would be fitted on each fold if nothing was shared.
    odd : set of int
        Candidates that are left to scikit-learn.
    """

    base: Any
    params: list[dict[str, Any]]
    splits: list[tuple[Any, Any]]
    root: Node
    n_steps: int
    odd: set[int]

    def shares(self) -> bool:
        """Tell whether a pipeline step, or a whole candidate, is fitted once for several."""
        steps, finals = self.root.size()
        return steps < self.n_steps or finals < len(self.params) - len(self.odd)


def plan(calls: Sequence[Call]) -> Plan:
    """Lay the calls of one round out as a tree.

    Raises
    ------
    NotUnderstood
        If what is tuned, or the order of the calls, is not one that we know.
    """
    n_splits = calls[0].words["split_progress"][1]
    places = [(c.words["candidate_progress"][0], c.words["split_progress"][0]) for c in calls]
    if places != [divmod(i, n_splits) for i in range(len(calls))]:
        raise NotUnderstood("the calls are not every candidate on every fold")
    params = [c.words["parameters"] for c in calls[::n_splits]]
    splits = [(c.words["train"], c.words["test"]) for c in calls[:n_splits]]
    base = calls[0].estimator
    lay, root, n_steps, odd = _Layout(base), Node(Step((), None, None, {})), 0, set[int]()
    for i, chosen in enumerate(params):
        try:
            *prefix, final = lay.steps(chosen, worded=bool(calls[0].words["fit_params"]))
        except NotUnderstood:
            odd.add(i)
            continue
        node = root
        for step in prefix:
            node = node.children.setdefault(step.key, Node(step))
        node.leaves.setdefault(final.key, Leaf(final, [])).candidates.append(i)
        n_steps += len(prefix)
    return Plan(base, params, splits, root, n_steps, odd)


def flatten(estimator: Any, path: Path = ()) -> list[tuple[Path, Any]]:
    """Give the pipeline steps of an estimator, those of pipelines within it included.

    Raises
    ------
    NotUnderstood
        If a pipeline is set to do more than to chain its pipeline steps.
    """
    if type(estimator) is not Pipeline:
        return [(path, estimator)]
    names = [name for name, _ in estimator.steps]
    taken = {"steps", "memory", "verbose", "transform_input"}
    if not names or len(set(names)) < len(names) or any("__" in n or n in taken for n in names):
        raise NotUnderstood(f"the pipeline has the names {names}")
    if estimator.verbose or estimator.transform_input is not None:
        raise NotUnderstood("the pipeline prints what it does, or transforms its metadata")
    return [found for name, step in estimator.steps for found in flatten(step, (*path, name))]


def own_params(estimator: Any) -> dict[str, Any]:
    """Give the parameters of an estimator without those of estimators within it; of what is none, nothing."""
    return estimator.get_params(deep=False) if is_estimator(estimator) else {}


class _Layout:
    """Turns the parameters of candidates into their pipeline steps, most of them without building the pipeline."""

    def __init__(self, base: Any) -> None:
        self.base = base
        self.flat = flatten(base)
        self.keys = {path: _checked_key(estimator) for path, estimator in self.flat}
        self.params = {path: own_params(estimator) for path, estimator in self.flat}
        self.inner = {path[:n] for path, _ in self.flat for n in range(len(path))}

    def steps(self, params: Mapping[str, Any], *, worded: bool) -> list[Step]:
        """Give the pipeline steps of a candidate; `worded` tells that the fit has words for some of the base's."""
        replaced: dict[Path, Any] = {}
        changes: dict[Path, dict[str, Any]] = {}
        for name, value in params.items():
            path, rest = self._place(name)
            if path is None or (not rest and (type(value) is Pipeline or path in self.inner)):
                if worded:
                    raise NotUnderstood("the fit has words for pipeline steps that a candidate may not have")
                return self._built(params)
            if rest:
                changes.setdefault(path, {})[rest] = value
            else:
                replaced[path] = value
        return _finish([self._step(path, e, replaced, changes.get(path, {})) for path, e in self.flat])

    def _step(self, path: Path, estimator: Any, replaced: Mapping[Path, Any], changes: Mapping[str, Any]) -> Step:
        key, params = self.keys[path], self.params[path]
        if path in replaced:
            estimator = replaced[path]
            key, params = _checked_key(estimator), own_params(estimator)
        for name, value in changes.items():
            _checked_key(value)
            if name.rpartition("__")[2].startswith("copy") and value is False:
                raise NotUnderstood(f"{name}=False changes the data in place")
        key = path, key, tuple((n, key_of(changes[n])) for n in sorted(changes))
        return Step(path, key, estimator, changes, params)

    def _place(self, name: str) -> tuple[Path | None, str]:
        """Cut the name of a parameter into the path of a pipeline step and the rest."""
        if () in self.keys:
            return (), name
        words = tuple(name.split("__"))
        for n in range(len(words), 0, -1):
            if words[:n] in self.keys:
                return words[:n], "__".join(words[n:])
        return None, name

    def _built(self, params: Mapping[str, Any]) -> list[Step]:
        """Build the candidate: for parameters that change more than single pipeline steps."""
        try:
            whole = clone(self.base).set_params(**clone(dict(params), safe=False))
        except (ValueError, TypeError, AttributeError) as error:
            raise NotUnderstood(f"the parameters cannot be set: {error}") from error
        return _finish([Step(path, (path, _checked_key(e), ()), e, {}, own_params(e)) for path, e in flatten(whole)])


def _finish(steps: list[Step]) -> list[Step]:
    kept = [s for s in steps[:-1] if not _passes(s.template)]
    if _passes(steps[-1].template):
        raise NotUnderstood("the final estimator is passed through")
    return [*kept, steps[-1]]


def _passes(estimator: Any) -> bool:
    return estimator is None or (isinstance(estimator, str) and estimator == "passthrough")


def _checked_key(value: Any) -> Hashable:
    """Give the key of a value; refuse an estimator that changes the data that it is given."""
    if is_estimator(value):
        for part in parts(value):
            if has_callbacks(part):
                raise NotUnderstood("somebody listens to its fits")
            own = part.get_params(deep=False)
            if any(own[name] is False for name in own if name.startswith("copy")):
                raise NotUnderstood(f"{type(part).__name__} changes the data in place")
    return key_of(value)
