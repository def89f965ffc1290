"""Ridge for all penalties from one Gram matrix: what costs most, the products of columns, does not know the penalty.

Each penalty then solves its own small system, as scikit-learn does, so coefficients are the same to the last bit; one
eigendecomposition for all would be a little faster, and differ in the last digits.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import linalg
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.utils.validation import validate_data

from diurnal.search import sklearn_private
from diurnal.search.families.protocol import Design, NotServed
from diurnal.search.families.shared import one_matrix, rest_key
from diurnal.search.tree import Step


class Family:
    """The family of `Ridge` and `RidgeClassifier` that differ in `alpha`, on dense matrices."""

    leading = False

    def key(self, step: Step) -> Hashable | None:
        """Give all parameters but the penalty."""
        params = step.params()
        if type(step.template) not in {Ridge, RidgeClassifier} or params["solver"] not in ("auto", "cholesky"):
            return None
        alpha = params["alpha"]
        plain = isinstance(alpha, float | int | np.number) and alpha > 0
        return rest_key(step, "alpha") if plain and params["positive"] is False else None

    def wide(self, shape: tuple[int, int], y: Any) -> bool:  # noqa: ARG002 - what the protocol asks
        """Tell that each member wants its own matrix."""
        return False

    def fit(self, steps: Sequence[Step], designs: Sequence[Design], y: Any, words: Mapping[str, Any]) -> Ridges:
        """Compute what all penalties share."""
        if words.keys() - {"sample_weight"}:
            raise NotServed(f"the fit is given {sorted(words)}")
        return Ridges(steps, one_matrix(designs), y, words.get("sample_weight"))


class Ridges:
    """Ridge regressions of one Gram matrix, each solved when it is asked for."""

    exact = True

    def __init__(self, steps: Sequence[Step], X: Any, y: Any, weights: Any) -> None:
        self.steps, self.probe = steps, steps[0].make()
        X, Y, weights = self._prepare(X, y, weights)
        if not isinstance(X, np.ndarray) or not isinstance(Y, np.ndarray):
            raise NotServed("the data are not dense arrays")
        base = "sklearn.linear_model._base"
        if weights is not None:
            weights = sklearn_private.named("sklearn.utils.validation", "_check_sample_weight")(
                weights, X, dtype=X.dtype
            )
        center = sklearn_private.named(base, "_preprocess_data")
        X, Y, *offsets, _ = center(
            X, Y, fit_intercept=self.probe.fit_intercept, copy=True, sample_weight=weights, rescale_with_sw=False
        )
        self.offsets = offsets
        Y = Y.reshape(-1, 1) if Y.ndim == 1 else Y
        if weights is not None:
            X, Y, _ = sklearn_private.named(base, "_rescale_data")(X, Y, weights)
        self.X, self.Y = X, Y
        self.dual = X.shape[1] > X.shape[0]
        self.gram = X @ X.T if self.dual else X.T @ X
        self.right = None if self.dual else X.T @ Y

    def _prepare(self, X: Any, y: Any, weights: Any) -> tuple[Any, Any, Any]:
        """Check the data as the fit does, and make numbers of a classifier's labels."""
        probe = self.probe
        if isinstance(probe, RidgeClassifier):
            X, _, weights, Y = probe._prepare_data(X, y, weights, probe.solver)
            return X, Y, weights
        kinds = [np.float64, np.float32]
        X, y = validate_data(probe, X, y, dtype=kinds, force_writeable=True, multi_output=True, y_numeric=True)
        return X, y, weights

    def estimator(self, i: int) -> Any:
        """Solve for the i-th penalty."""
        final = self.steps[i].make()
        vars(final).update({k: v for k, v in vars(self.probe).items() if k not in final.get_params(deep=False)})
        try:
            coef = self._solve(np.asarray(final.alpha, dtype=self.X.dtype).ravel())
        except linalg.LinAlgError as error:
            raise NotServed("singular; scikit-learn takes another solver") from error
        final.coef_ = coef.ravel() if self.Y.shape[1] == 1 else coef
        final.n_iter_, final.solver_ = None, "cholesky"
        final._set_intercept(*self.offsets)
        return final

    def _solve(self, alpha: np.ndarray) -> np.ndarray:
        gram = self.gram.copy()
        if self.dual:
            solve = sklearn_private.named("sklearn.linear_model._ridge", "_solve_cholesky_kernel")
            every = np.full(self.Y.shape[1], float(alpha[0]), dtype=alpha.dtype) if self.Y.shape[1] > 1 else alpha
            dual: np.ndarray = (self.X.T @ solve(gram, self.Y, every)).T
            return dual
        gram.flat[:: len(gram) + 1] += alpha[0]
        coef: np.ndarray = linalg.solve(gram, self.right, assume_a="pos", overwrite_a=True).T
        return coef

    def conclude(self, i: int) -> None:
        """Nothing is warned of before the estimator is made."""

    def labels(self, Xs: Sequence[Any], apart: Any = None) -> None:
        """Predict one by one."""
