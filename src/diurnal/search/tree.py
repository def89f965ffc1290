"""The candidates of a search as a tree of pipeline steps, in which each distinct prefix occurs once.

A pipeline is read as the flat list of its steps: a nested pipeline contributes its own steps, and steps that are passed
through are left out. Candidates with equal first steps share them as a path from the root.

The grid ``{"pca__n_components": [2, 5], "svc__C": [1, 10]}`` over ``Pipeline([scale, pca, svc])`` has four candidates
and this tree. Fitting it takes 3 transformers and 4 classifiers on each fold, in place of 8 and 4:

    root
    └── scale
        ├── pca(n_components=2)
        │   ├── svc(C=1)     candidate 0
        │   └── svc(C=10)    candidate 1
        └── pca(n_components=5)
            ├── svc(C=1)     candidate 2
            └── svc(C=10)    candidate 3
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sklearn.base import clone
from sklearn.pipeline import Pipeline

from diurnal.search.cache_keys import is_estimator, is_from_sklearn, key_of, nested_estimators
from diurnal.search.sklearn_private import FitAndScoreCall, has_callbacks

Path = tuple[str, ...]


class UnsupportedSearch(Exception):
    """A search, or a part of it, for which equal numbers are not proved; the message gives the reason."""


@dataclass(frozen=True, eq=False)
class PipelineStep:
    """A pipeline step of one or more candidates.

    Attributes
    ----------
    path : tuple of str
        The name of the step, preceded by the names of the pipelines that contain it; empty if the estimator is not a
        pipeline.
    key : Hashable
        Equal for steps that give the same fit on the same data.
    template : estimator
        The estimator that is cloned.
    changes : Mapping of str to Any
        The parameters that are set on the clone.
    defaults : Mapping of str to Any
        The parameters of the template.
    """

    path: Path
    key: Hashable
    template: Any
    changes: Mapping[str, Any]
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> Any:
        """Return a new, unfitted estimator with the parameters of the candidate."""
        estimator = clone(self.template)
        return estimator.set_params(**clone(dict(self.changes), safe=False)) if self.changes else estimator

    def params(self) -> dict[str, Any]:
        """Return the parameters of the step, without those of estimators within it."""
        return {**self.defaults, **self.changes}

    @cached_property
    def routing_key(self) -> Hashable:
        """Equal for steps that request the same metadata: only another estimator can request something else."""
        estimators = sorted((name, id(value)) for name, value in self.changes.items() if is_estimator(value))
        return self.path, id(self.template), tuple(estimators)

    @cached_property
    def is_from_sklearn(self) -> bool:
        """Whether the step runs scikit-learn's code only: it is safe on threads and does not write into its input."""
        return is_from_sklearn(self.template) and all(map(is_from_sklearn, self.changes.values()))


@dataclass(frozen=True, eq=False, slots=True)
class FinalEstimator:
    """A leaf of the tree: a final estimator, and the candidates that it stands for (several if they are equal)."""

    step: PipelineStep
    candidates: list[int]


@dataclass(eq=False, slots=True)
class PrefixNode:
    """A transformer in the tree, with the transformers and final estimators that follow it; the root has no step."""

    step: PipelineStep
    children: dict[Hashable, PrefixNode] = field(default_factory=dict)
    finals: dict[Hashable, FinalEstimator] = field(default_factory=dict)

    def all_finals(self) -> Iterator[FinalEstimator]:
        """Yield the final estimators of this node and of all nodes below it."""
        yield from self.finals.values()
        for child in self.children.values():
            yield from child.all_finals()

    def size(self) -> tuple[int, int]:
        """Return the number of transformers and of final estimators below this node."""
        sizes = [child.size() for child in self.children.values()]
        return len(sizes) + sum(s for s, _ in sizes), len(self.finals) + sum(n for _, n in sizes)


@dataclass(frozen=True, eq=False, slots=True)
class PrefixTree:
    """The candidates of one round of a search as a tree, and the folds on which they are fitted.

    Attributes
    ----------
    base : estimator
        The estimator that the search tunes.
    params : list of dict
        The parameters of each candidate.
    splits : list of (train, test)
        The rows of each fold.
    root : PrefixNode
    n_steps : int
        The number of transformers that are fitted on each fold if nothing is shared.
    unsupported : set of int
        The candidates that are not in the tree; scikit-learn fits them.
    """

    base: Any
    params: list[dict[str, Any]]
    splits: list[tuple[Any, Any]]
    root: PrefixNode
    n_steps: int
    unsupported: set[int]

    def has_shared_fits(self) -> bool:
        """Return whether a transformer, or a whole candidate, is fitted once for several candidates."""
        steps, finals = self.root.size()
        return steps < self.n_steps or finals < len(self.params) - len(self.unsupported)


def build_tree(calls: Sequence[FitAndScoreCall]) -> PrefixTree:
    """Arrange the calls of one round as a tree.

    Raises
    ------
    UnsupportedSearch
        If the estimator is not supported, or the calls are not every candidate on every fold in scikit-learn's order.
    """
    # scikit-learn pairs candidates with folds by itertools.product, so call i is candidate i // n_splits on fold
    # i % n_splits. The executor relies on this order.
    n_splits = calls[0].kwargs["split_progress"][1]
    positions = [(c.kwargs["candidate_progress"][0], c.kwargs["split_progress"][0]) for c in calls]
    if positions != [divmod(i, n_splits) for i in range(len(calls))]:
        raise UnsupportedSearch("the calls are not every candidate on every fold")
    params = [c.kwargs["parameters"] for c in calls[::n_splits]]
    splits = [(c.kwargs["train"], c.kwargs["test"]) for c in calls[:n_splits]]
    base, has_fit_params = calls[0].estimator, bool(calls[0].kwargs["fit_params"])
    parser, root = _CandidateParser(base), PrefixNode(PipelineStep((), None, None, {}))
    n_steps, unsupported = 0, set[int]()
    for candidate, candidate_params in enumerate(params):
        try:
            *prefix, final = parser.steps_of(candidate_params, has_fit_params=has_fit_params)
        except UnsupportedSearch:
            unsupported.add(candidate)
            continue
        # Insert the candidate as into a trie: follow the nodes of equal steps, and append the steps that are new.
        node = root
        for step in prefix:
            node = node.children.setdefault(step.key, PrefixNode(step))
        node.finals.setdefault(final.key, FinalEstimator(final, [])).candidates.append(candidate)
        n_steps += len(prefix)
    return PrefixTree(base, params, splits, root, n_steps, unsupported)


def flatten_pipeline(estimator: Any, path: Path = ()) -> list[tuple[Path, Any]]:
    """Return the steps of an estimator with their paths, including those of nested pipelines.

    Raises
    ------
    UnsupportedSearch
        If a pipeline does more than chain its steps.
    """
    if type(estimator) is not Pipeline:
        return [(path, estimator)]
    names = [name for name, _ in estimator.steps]
    reserved = {"steps", "memory", "verbose", "transform_input"}
    if not names or len(set(names)) < len(names) or any("__" in n or n in reserved for n in names):
        raise UnsupportedSearch(f"the pipeline has the names {names}")
    if estimator.verbose or estimator.transform_input is not None:
        raise UnsupportedSearch("the pipeline prints its progress (verbose), or transforms its metadata")
    return [found for name, step in estimator.steps for found in flatten_pipeline(step, (*path, name))]


def own_params(estimator: Any) -> dict[str, Any]:
    """Return the parameters of an estimator, without those of estimators within it; {} for any other value."""
    return estimator.get_params(deep=False) if is_estimator(estimator) else {}


class _CandidateParser:
    """Turns the parameters of a candidate into its pipeline steps, in most cases without building the pipeline."""

    def __init__(self, base: Any) -> None:
        self.base = base
        self.flat = flatten_pipeline(base)
        self.keys = {path: _checked_key(estimator) for path, estimator in self.flat}
        self.params = {path: own_params(estimator) for path, estimator in self.flat}
        self.pipelines = {path[:n] for path, _ in self.flat for n in range(len(path))}

    def steps_of(self, params: Mapping[str, Any], *, has_fit_params: bool) -> list[PipelineStep]:
        """Return the pipeline steps of a candidate.

        Parameters
        ----------
        params : Mapping of str to Any
            The parameters of the candidate, as in the grid.
        has_fit_params : bool
            Whether the fit has parameters for steps of the base. They are assigned to steps by name, so a candidate
            that changes the names of the steps is not supported then.
        """
        replaced: dict[Path, Any] = {}
        changes: dict[Path, dict[str, Any]] = {}
        for name, value in params.items():
            path, rest = self._split_name(name)
            # A pipeline as a value, or a value in place of a pipeline, changes the list of steps; it is read from the
            # built candidate.
            if path is None or (not rest and (type(value) is Pipeline or path in self.pipelines)):
                if has_fit_params:
                    raise UnsupportedSearch("the fit has parameters for pipeline steps that a candidate may not have")
                return self._steps_of_built(params)
            if rest:
                changes.setdefault(path, {})[rest] = value
            else:
                replaced[path] = value
        return _drop_passthrough([self._step(path, e, replaced, changes.get(path, {})) for path, e in self.flat])

    def _step(
        self, path: Path, estimator: Any, replaced: Mapping[Path, Any], changes: Mapping[str, Any]
    ) -> PipelineStep:
        # The keys of the base are computed once. Only a replaced step needs a new one; changed parameters are appended.
        key, params = self.keys[path], self.params[path]
        if path in replaced:
            estimator = replaced[path]
            key, params = _checked_key(estimator), own_params(estimator)
        for name, value in changes.items():
            _checked_key(value)
            if name.rpartition("__")[2].startswith("copy") and value is False:
                raise UnsupportedSearch(f"{name}=False changes the data in place")
        key = path, key, tuple((n, key_of(changes[n])) for n in sorted(changes))
        return PipelineStep(path, key, estimator, changes, params)

    def _split_name(self, name: str) -> tuple[Path | None, str]:
        """Split the name of a parameter into the path of a step and the rest: ``a__b__c`` is ``("a", "b"), "c"``."""
        if () in self.keys:
            return (), name
        parts = tuple(name.split("__"))
        for n in range(len(parts), 0, -1):  # the longest path first
            if parts[:n] in self.keys:
                return parts[:n], "__".join(parts[n:])
        return None, name

    def _steps_of_built(self, params: Mapping[str, Any]) -> list[PipelineStep]:
        """Build the candidate and read its steps: for parameters that change more than single steps."""
        try:
            built = clone(self.base).set_params(**clone(dict(params), safe=False))
        except (ValueError, TypeError, AttributeError) as error:
            raise UnsupportedSearch(f"the parameters cannot be set: {error}") from error
        flat = flatten_pipeline(built)
        return _drop_passthrough(
            [PipelineStep(path, (path, _checked_key(e), ()), e, {}, own_params(e)) for path, e in flat]
        )


def _drop_passthrough(steps: list[PipelineStep]) -> list[PipelineStep]:
    # A step that is passed through does nothing: candidates with and without it share the steps behind it.
    kept = [s for s in steps[:-1] if not _is_passthrough(s.template)]
    if _is_passthrough(steps[-1].template):
        raise UnsupportedSearch("the final estimator is passed through")
    return [*kept, steps[-1]]


def _is_passthrough(estimator: Any) -> bool:
    return estimator is None or (isinstance(estimator, str) and estimator == "passthrough")


def _checked_key(value: Any) -> Hashable:
    """Return the key of a value; refuse an estimator that has callbacks, or writes into its input."""
    if is_estimator(value):
        for nested in nested_estimators(value):
            if has_callbacks(nested):
                raise UnsupportedSearch("an estimator has callbacks")
            own = nested.get_params(deep=False)
            if any(own[name] is False for name in own if name.startswith("copy")):
                raise UnsupportedSearch(f"{type(nested).__name__} changes the data in place")
    return key_of(value)
