"""Ridge regressions of all penalties from one Gram matrix.

The coefficients solve ``(X'X + alpha I) w = X'y``. The products X'X and X'y cost most and do not depend on alpha, so
they are computed once. Each penalty solves its own system with the routine that scikit-learn calls, so coefficients are
equal to the last bit. One eigendecomposition for all penalties would be slightly faster, and differ in the last digits.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import linalg
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.utils.validation import validate_data

from diurnal.search import sklearn_private
from diurnal.search.families.family_protocol import DesignMatrix, UnsupportedData, common_matrix, key_without
from diurnal.search.tree import PipelineStep


class RidgeFamily:
    """The family of `Ridge` and `RidgeClassifier` that differ in `alpha`, on dense matrices."""

    shares_leading_columns = False

    def group_key(self, step: PipelineStep) -> Hashable | None:
        """Return a key of all parameters but `alpha`."""
        params = step.params()
        if type(step.template) not in {Ridge, RidgeClassifier} or params["solver"] not in ("auto", "cholesky"):
            return None
        alpha = params["alpha"]
        is_number = isinstance(alpha, float | int | np.number) and alpha > 0
        return key_without(step, "alpha") if is_number and params["positive"] is False else None

    def prefers_shared_matrix(self, shape: tuple[int, int], y: Any) -> bool:  # noqa: ARG002 - of the protocol
        """Return False: each member uses its own matrix."""
        return False

    def fit(
        self, steps: Sequence[PipelineStep], designs: Sequence[DesignMatrix], y: Any, fit_params: Mapping[str, Any]
    ) -> FittedRidges:
        """Compute the products that all penalties share."""
        if fit_params.keys() - {"sample_weight"}:
            raise UnsupportedData(f"the fit has the parameters {sorted(fit_params)}")
        return FittedRidges(steps, common_matrix(designs), y, fit_params.get("sample_weight"))


class FittedRidges:
    """Ridge regressions of one Gram matrix; each system is solved when its estimator is built."""

    exact = True

    def __init__(self, steps: Sequence[PipelineStep], X: Any, y: Any, weights: Any) -> None:
        self.steps, self.validated = steps, steps[0].build()
        X, Y, weights = self._validate(X, y, weights)
        if not isinstance(X, np.ndarray) or not isinstance(Y, np.ndarray):
            raise UnsupportedData("the data are not dense arrays")
        # From here on as in _BaseRidge.fit: center, scale rows by the square roots of their weights, then multiply.
        base = "sklearn.linear_model._base"
        if weights is not None:
            check_weights = sklearn_private.private_attr("sklearn.utils.validation", "_check_sample_weight")
            weights = check_weights(weights, X, dtype=X.dtype)
        preprocess = sklearn_private.private_attr(base, "_preprocess_data")
        X, Y, *offsets, _ = preprocess(
            X, Y, fit_intercept=self.validated.fit_intercept, copy=True, sample_weight=weights, rescale_with_sw=False
        )
        self.offsets = offsets
        Y = Y.reshape(-1, 1) if Y.ndim == 1 else Y
        if weights is not None:
            X, Y, _ = sklearn_private.private_attr(base, "_rescale_data")(X, Y, weights)
        self.X, self.Y = X, Y
        # With more columns than rows the dual system, of the size of the rows, is smaller: (XX' + alpha I) d = y, and
        # w = X'd.
        self.is_dual = X.shape[1] > X.shape[0]
        self.gram = X @ X.T if self.is_dual else X.T @ X
        self.right_side = None if self.is_dual else X.T @ Y

    def _validate(self, X: Any, y: Any, weights: Any) -> tuple[Any, Any, Any]:
        """Validate the data as the fit does, and encode the labels of a classifier as numbers."""
        estimator = self.validated
        if isinstance(estimator, RidgeClassifier):
            X, _, weights, Y = estimator._prepare_data(X, y, weights, estimator.solver)
            return X, Y, weights
        dtypes = [np.float64, np.float32]
        X, y = validate_data(estimator, X, y, dtype=dtypes, force_writeable=True, multi_output=True, y_numeric=True)
        return X, y, weights

    def estimator(self, i: int) -> Any:
        """Solve the system of the i-th penalty, and return the fitted estimator."""
        final = self.steps[i].build()
        params = final.get_params(deep=False)
        # Validation has set attributes such as n_features_in_ and classes_.
        vars(final).update({k: v for k, v in vars(self.validated).items() if k not in params})
        try:
            coef = self._solve(np.asarray(final.alpha, dtype=self.X.dtype).ravel())
        except linalg.LinAlgError as error:
            raise UnsupportedData("the system is singular; scikit-learn uses another solver then") from error
        final.coef_ = coef.ravel() if self.Y.shape[1] == 1 else coef
        final.n_iter_, final.solver_ = None, "cholesky"
        final._set_intercept(*self.offsets)
        return final

    def _solve(self, alpha: np.ndarray) -> np.ndarray:
        gram = self.gram.copy()  # the solvers add the penalty to its diagonal, and overwrite it
        if self.is_dual:
            solve = sklearn_private.private_attr("sklearn.linear_model._ridge", "_solve_cholesky_kernel")
            alphas = np.full(self.Y.shape[1], float(alpha[0]), dtype=alpha.dtype) if self.Y.shape[1] > 1 else alpha
            coef_of_dual: np.ndarray = (self.X.T @ solve(gram, self.Y, alphas)).T
            return coef_of_dual
        gram.flat[:: len(gram) + 1] += alpha[0]  # the diagonal
        coef: np.ndarray = linalg.solve(gram, self.right_side, assume_a="pos", overwrite_a=True).T
        return coef

    def emit_warnings(self, i: int) -> None:
        """Do nothing: a fit has no warnings before its estimator is built."""

    def predict_labels(self, matrices: Sequence[Any], ranked_classes: Any = None) -> None:
        """Return None: each estimator predicts on its own."""
