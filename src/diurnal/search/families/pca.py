"""Every size of an exact PCA, from one decomposition: a smaller one is its leading components, to the last bit.

The solvers `full` and `covariance_eigh` decompose completely and cut afterwards. `randomized` and `arpack` do not, and
are fitted size by size.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.decomposition import PCA

from diurnal.search.cache_keys import key_of
from diurnal.search.families.protocol import NotServed
from diurnal.search.tree import Step

_CUT = ("components_", "explained_variance_", "explained_variance_ratio_", "singular_values_")


class NestedPCA:
    """The family of `PCA` that differ in `n_components`, a whole number."""

    def key(self, step: Step) -> Hashable | None:
        """Give all other parameters; None for what is no exact PCA, or is cut by its variance."""
        if type(step.template) is not PCA or any("__" in name for name in step.changes):
            return None
        params = step.params()
        size = params.pop("n_components")
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
            return None
        if params["svd_solver"] not in ("auto", "full", "covariance_eigh"):
            return None
        return step.path, key_of(params), key_of(vars(step.template).get("_sklearn_output_config"))

    def serves(self, step: Step, shape: tuple[int, int]) -> bool:
        """Tell whether scikit-learn fits this size, and exactly."""
        exact = solver(step, shape) in ("full", "covariance_eigh")
        return exact and bool(step.params()["n_components"] <= min(shape))

    def fit(self, steps: Sequence[Step], X: Any, y: Any, words: Mapping[str, Any]) -> Cut:  # noqa: ARG002 - PCA needs no y
        """Decompose once."""
        if words:
            raise NotServed("PCA takes no words")
        return Cut(steps, X)


class Cut:
    """A complete PCA, and the smaller ones that are cut from it."""

    def __init__(self, steps: Sequence[Step], X: Any) -> None:
        self.largest = min(X.shape)
        exact = solver(steps[0], X.shape)
        self.complete = steps[0].make().set_params(n_components=self.largest, svd_solver=exact)
        self.given = self.complete.fit_transform(X) if exact == "full" else None
        if self.given is None:
            self.complete.fit(X)

    def width(self, step: Step) -> int:
        """Give the size."""
        return int(step.params()["n_components"])

    def fitted(self, step: Step) -> PCA:
        """Give a PCA of one size, fitted: each attribute is a copy of the leading part of the complete one's."""
        size, whole, pca = self.width(step), self.complete, step.make()
        for name, value in vars(whole).items():
            if name.endswith("_") or name == "_fit_svd_solver":
                setattr(pca, name, np.array(value[:size]) if name in _CUT else value)
        pca.n_components_ = step.params()["n_components"]
        rest = whole.explained_variance_[size:]
        pca.noise_variance_ = np.mean(rest) if size < self.largest else 0.0
        return pca

    def train(self, step: Step, X: Any, fitted: PCA) -> Any:
        """Give what `fit_transform` would have given."""
        if self.given is None or not isinstance(self.given, np.ndarray):
            return fitted.transform(X) if self.given is None else self.given.iloc[:, : self.width(step)]
        return self.given[:, : self.width(step)]

    def wide(self, steps: Sequence[Step], X_train: Any, others: Sequence[Any]) -> tuple[Any, list[Any]]:
        """Give the matrices of the largest of these sizes."""
        largest = max(steps, key=self.width)
        pca = self.fitted(largest)
        return self.train(largest, X_train, pca), [None if X is None else pca.transform(X) for X in others]


def solver(step: Step, shape: tuple[int, int]) -> str:
    """Tell which solver scikit-learn's PCA takes, by the rule of its `auto`."""
    params = step.params()
    if params["svd_solver"] != "auto":
        return str(params["svd_solver"])
    n, p = shape
    if p <= 1000 and n >= 10 * p:
        return "covariance_eigh"
    if max(n, p) <= 500:
        return "full"
    return "randomized" if 1 <= params["n_components"] < 0.8 * min(n, p) else "full"
