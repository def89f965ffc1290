"""Branches of a `ColumnTransformer` or a `FeatureUnion`, each fitted once for all siblings that contain it.

Siblings are the variants of one pipeline step that are fitted on the same data. If they differ in one branch, the fits
of the other branches are the same. For the grid ``{"columns__num__n_components": [2, 5]}`` and these two siblings

    ColumnTransformer([("cat", OneHotEncoder(), ...), ("num", PCA(2), ...)])
    ColumnTransformer([("cat", OneHotEncoder(), ...), ("num", PCA(5), ...)])

the encoder is fitted once. scikit-learn's own class still selects columns, applies weights, stacks and names the
output: it receives a proxy in place of each shared branch. The proxy fits the branch the first time, and returns the
stored result afterwards.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import joblib
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion

from diurnal.search.cache_keys import is_estimator, key_of
from diurnal.search.side_effects import RecordedWarning, SideEffectMonitor
from diurnal.search.tree import PipelineStep, PrefixNode

_BRANCHES_PARAM = {ColumnTransformer: "transformers", FeatureUnion: "transformer_list"}


@dataclass(frozen=True, eq=False, slots=True)
class FittedBranch:
    """A fitted branch, its output for the train rows, its warnings, and the seconds that the fit took."""

    fitted: Any
    output: Any
    warned: list[RecordedWarning]
    seconds: float


class SharedBranches:
    """The branches that sibling pipeline steps share, on one fold.

    Parameters
    ----------
    steps : iterable of PipelineStep
        The siblings.
    monitor : SideEffectMonitor
        Records the warnings of a branch, once for each sibling.
    """

    def __init__(self, steps: Iterable[PipelineStep], monitor: SideEffectMonitor) -> None:
        self._n_readers = _count_shared(steps)
        self._fitted: dict[Hashable, FittedBranch] = {}
        self._proxies: list[_BranchProxy] = []
        self._monitor = monitor

    def __bool__(self) -> bool:
        return bool(self._n_readers)

    def build(self, step: PipelineStep) -> Any:
        """Return a new estimator with the parameters of the candidate, and proxies in place of its shared branches."""
        estimator, self._proxies = step.build(), []
        keys = {name: key for name, key in branch_keys(step).items() if key in self._n_readers}
        # With more than one job scikit-learn fits the branches in other processes, where the stored results are not.
        if keys and joblib.effective_n_jobs(estimator.n_jobs) == 1:
            param = _BRANCHES_PARAM[type(estimator)]
            branches = [
                (name, self._proxy(keys.get(name), branch), *columns)
                for name, branch, *columns in getattr(estimator, param)
            ]
            setattr(estimator, param, branches)
            if "remainder" in keys:
                estimator.remainder = self._proxy(keys["remainder"], estimator.remainder)
        return estimator

    def restore_branches(self, estimator: Any) -> float:
        """Replace the proxies in a fitted estimator by their branches.

        Returns
        -------
        float
            The seconds that the fits of the reused branches took: scikit-learn counts them for every sibling.
        """
        if self._proxies:
            attributes = vars(estimator)
            for name, value in attributes.items():
                attributes[name] = _unwrap(value, fitted=name not in {"transformers", "remainder"})
        return sum(proxy.saved_seconds for proxy in self._proxies)

    def fit_or_reuse(self, key: Hashable, branch: Any, X: Any, y: Any, fit_params: dict[str, Any]) -> FittedBranch:
        """Return the fitted branch of a key; its seconds are 0 where it is fitted now, as the sibling waits for it."""
        result = self._fitted.get(key)
        if result is None:
            self._fitted[key] = self._fit(clone(branch), X, y, fit_params)
            result = replace(self._fitted[key], seconds=0.0)
        else:
            self._monitor.replay_warnings(result.warned)
        self._n_readers[key] -= 1
        if not self._n_readers[key]:  # no sibling is left that needs it: free the memory
            del self._fitted[key]
        return result

    def _proxy(self, key: Hashable | None, branch: Any) -> Any:
        if key is None:
            return branch
        self._proxies.append(_BranchProxy(self, key, branch))
        return self._proxies[-1]

    def _fit(self, branch: Any, X: Any, y: Any, fit_params: dict[str, Any]) -> FittedBranch:
        start = time.perf_counter()
        with self._monitor.collect_warnings() as warned:
            if hasattr(branch, "fit_transform"):
                output = branch.fit_transform(X, y, **fit_params)
            else:
                output = branch.fit(X, y, **fit_params).transform(X)
        return FittedBranch(branch, output, warned, time.perf_counter() - start)


class _BranchProxy:
    """Takes the place of a shared branch while the estimator that contains it is fitted."""

    def __init__(self, branches: SharedBranches, key: Hashable, branch: Any) -> None:
        self.branches, self.key, self.branch, self.fitted, self.saved_seconds = branches, key, branch, branch, 0.0

    def __sklearn_clone__(self) -> _BranchProxy:
        return self  # the estimator clones its branches before it fits them; the proxy must remain the same object

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["fitted"], name)

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Any:
        """Return the output of the branch for the train rows; fit it if no sibling has done so."""
        result = self.branches.fit_or_reuse(self.key, self.branch, X, y, fit_params)
        self.fitted, self.saved_seconds = result.fitted, result.seconds
        return result.output


def has_shared_branches(node: PrefixNode) -> bool:
    """Return whether siblings anywhere below a node share a branch."""
    children = node.children.values()
    return bool(_count_shared(child.step for child in children)) or any(map(has_shared_branches, children))


def branch_keys(step: PipelineStep) -> dict[str, Hashable]:
    """Return for each branch, by name, a key that is equal for equal fits; {} for a step without branches."""
    param = _BRANCHES_PARAM.get(type(step.template))
    if param is None:
        return {}
    params, keys = step.params(), dict[str, Hashable]()
    try:
        branches = [(name, branch, key_of(columns)) for name, branch, *columns in params[param]]
    except (TypeError, ValueError):  # not a list of tuples: scikit-learn's fit raises the error
        return {}
    if "remainder" in params:  # the columns of the remainder are those that no other branch selects
        branches.append(("remainder", params["remainder"], tuple(columns for _, _, columns in branches)))
    for name, branch, columns in branches:
        # A candidate can replace the branch (``num=PCA()``), change its parameters (``num__n_components=2``), or both.
        chosen = step.changes.get(name, branch)
        if is_estimator(chosen):
            inner = sorted(n for n in step.changes if n.startswith(f"{name}__"))
            changes = tuple((n, key_of(step.changes[n])) for n in inner)
            keys[name] = step.path, name, key_of(chosen), columns, changes
    return keys


def _count_shared(steps: Iterable[PipelineStep]) -> dict[Hashable, int]:
    """Return the number of steps that contain each branch, for branches of more than one step."""
    readers = Counter(key for step in steps for key in branch_keys(step).values())
    return {key: n for key, n in readers.items() if n > 1}


def _unwrap(value: Any, *, fitted: bool) -> Any:
    """Replace proxies in a value by their branches, fitted or as the candidate has them."""
    if type(value) in {list, tuple}:
        return type(value)(_unwrap(part, fitted=fitted) for part in value)
    if isinstance(value, _BranchProxy):
        return value.fitted if fitted else value.branch
    return value
