"""All sizes of an exact PCA from one decomposition.

The solvers `full` and `covariance_eigh` decompose the matrix completely, and keep the first `n_components` components.
So the components of ``PCA(2)`` are the first two of ``PCA(5)``, to the last bit. `randomized` and `arpack` compute an
approximation that depends on the size, and are fitted size by size.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.decomposition import PCA

from diurnal.search.cache_keys import key_of
from diurnal.search.families.family_protocol import UnsupportedData
from diurnal.search.tree import PipelineStep

_PER_COMPONENT = ("components_", "explained_variance_", "explained_variance_ratio_", "singular_values_")


class PCAFamily:
    """The family of `PCA` that differ in a whole number of `n_components`."""

    def group_key(self, step: PipelineStep) -> Hashable | None:
        """Return a key of all other parameters; None if the PCA is not exact, or `n_components` is a variance."""
        if type(step.template) is not PCA or any("__" in name for name in step.changes):
            return None
        params = step.params()
        size = params.pop("n_components")
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
            return None
        if params["svd_solver"] not in ("auto", "full", "covariance_eigh"):
            return None
        return step.path, key_of(params), key_of(vars(step.template).get("_sklearn_output_config"))

    def supports(self, step: PipelineStep, shape: tuple[int, int]) -> bool:
        """Return whether scikit-learn accepts this size, and decomposes exactly."""
        exact = choose_pca_solver(step, shape) in ("full", "covariance_eigh")
        return exact and bool(step.params()["n_components"] <= min(shape))

    def fit(
        self,
        steps: Sequence[PipelineStep],
        X: Any,
        y: Any,  # noqa: ARG002 - PCA is unsupervised
        fit_params: Mapping[str, Any],
    ) -> FittedPCASizes:
        """Decompose the matrix once."""
        if fit_params:
            raise UnsupportedData("PCA takes no fit parameters")
        return FittedPCASizes(steps, X)


class FittedPCASizes:
    """A complete PCA, and the smaller ones that are its leading components."""

    def __init__(self, steps: Sequence[PipelineStep], X: Any) -> None:
        self.n_complete = min(X.shape)
        exact = choose_pca_solver(steps[0], X.shape)
        self.complete = steps[0].build().set_params(n_components=self.n_complete, svd_solver=exact)
        # PCA.fit_transform with `full` computes the output from U and S of the decomposition, not by `transform`; the
        # two differ in the last bits. With `covariance_eigh` there is no U, and it calls `transform`.
        self.complete_output = self.complete.fit_transform(X) if exact == "full" else None
        if self.complete_output is None:
            self.complete.fit(X)
        self._fitted: dict[Hashable, PCA] = {}

    def n_columns(self, step: PipelineStep) -> int:
        """Return the number of components of one size."""
        return int(step.params()["n_components"])

    def fitted_step(self, step: PipelineStep) -> PCA:
        """Return the fitted PCA of one size."""
        if step.key not in self._fitted:
            self._fitted[step.key] = self._cut(step)
        return self._fitted[step.key]

    def _cut(self, step: PipelineStep) -> PCA:
        """Build the PCA of one size: per-component attributes are cut, the others are copied."""
        size, complete, pca = self.n_columns(step), self.complete, step.build()
        for name, value in vars(complete).items():
            if name.endswith("_") or name == "_fit_svd_solver":
                setattr(pca, name, np.array(value[:size]) if name in _PER_COMPONENT else value)
        pca.n_components_ = step.params()["n_components"]
        # The noise variance is the mean of the variances that are left out, as PCA._fit_full computes it.
        left_out = complete.explained_variance_[size:]
        pca.noise_variance_ = np.mean(left_out) if size < self.n_complete else 0.0
        return pca

    def fit_transform_output(self, step: PipelineStep, X: Any) -> Any:
        """Return the output of `fit_transform` of one size."""
        if self.complete_output is None:
            return self.fitted_step(step).transform(X)
        if not isinstance(self.complete_output, np.ndarray):  # a frame, by set_output
            return self.complete_output.iloc[:, : self.n_columns(step)]
        return self.complete_output[:, : self.n_columns(step)]

    def shared_matrices(
        self, steps: Sequence[PipelineStep], X_train: Any, others: Sequence[Any]
    ) -> tuple[Any, list[Any]]:
        """Return the matrices of the largest of these sizes."""
        largest = max(steps, key=self.n_columns)
        pca = self.fitted_step(largest)
        transformed = [None if X is None else pca.transform(X) for X in others]
        return self.fit_transform_output(largest, X_train), transformed


def choose_pca_solver(step: PipelineStep, shape: tuple[int, int]) -> str:
    """Return the solver that scikit-learn's PCA uses, by the rule of ``svd_solver="auto"``."""
    params = step.params()
    if params["svd_solver"] != "auto":
        return str(params["svd_solver"])
    n, p = shape
    if p <= 1000 and n >= 10 * p:
        return "covariance_eigh"
    if max(n, p) <= 500:
        return "full"
    return "randomized" if 1 <= params["n_components"] < 0.8 * min(n, p) else "full"
