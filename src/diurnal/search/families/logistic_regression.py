"""Logistic regressions that are fitted together, each by its own L-BFGS.

Each candidate keeps scikit-learn's algorithm and stopping rule; only the losses and gradients that all candidates need
in one round are computed together. There are two cases:

Small matrix of two classes
    The arithmetic is that of scikit-learn, in the same order. Everything is equal to the last bit.
Large matrix, or more classes
    One product of matrices serves all candidates. It rounds differently, and L-BFGS multiplies the difference from
    iteration to iteration. Over 1,950 fits of two classes and up to 40 iterations, well and badly scaled, collinear and
    with ties, decision values differed by at most 7e-11 of the largest one, and by 1e-11 up to 30 iterations; over 226
    others, also of more classes, by 3e-10. Over longer fits it has no bound. So scikit-learn fits what takes
    more than 40 iterations, and what has a decision value within 1e-8 of the border between two labels (relative to the
    largest). The other labels are certain.

In the second case only scores of labels are computed, and the area under the ROC curve, which depends on the ranking of
rows of two classes: if no two rows of different classes are within 1e-10, after at most 30 iterations, it is equal to
the last bit. A score that uses decision values or probabilities themselves, such as the log-loss, changes with them by
an amount without a bound; its candidates are fitted one by one.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.utils import assert_all_finite
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import validate_data

from diurnal.search import sklearn_private
from diurnal.search.cache_keys import key_of
from diurnal.search.families.family_protocol import DesignMatrix, UnsupportedData
from diurnal.search.families.logistic_solver import (
    BatchedLoss,
    LBFGSMinimizer,
    LossState,
    MatrixLoss,
    VectorLoss,
    find_lbfgs_routine,
)
from diurnal.search.tree import PipelineStep

LABEL_MARGIN = 1e-8  # relative to the largest decision value
RANK_MARGIN = 1e-10  # the same; smaller, because among many rows some decision values are always close to each other
MAX_CERTAIN_ITERATIONS = 40
MAX_RANKED_ITERATIONS = 30
MAX_MEAN_SQUARE = (
    100.0  # of a column; with numbers of about 1000, decision values differed by up to 11 % of the largest
)
MAX_CACHED_SIZE = 1 << 17  # elements of a design matrix that stays in the cache: 1 MB


class LogisticFamily:
    """The family of `LogisticRegression` with the solver `lbfgs` and a squared penalty."""

    shares_leading_columns = True

    def group_key(self, step: PipelineStep) -> Hashable | None:
        """Return a key of `fit_intercept` and `class_weight`; `C`, `tol` and `max_iter` can differ."""
        params = step.params()
        if type(step.template) is not LogisticRegression or any("__" in name for name in step.changes):
            return None
        is_squared_lbfgs = (
            params["solver"] == "lbfgs" and params["penalty"] == "deprecated" and params["l1_ratio"] == 0
            and params["dual"] is False and params["warm_start"] is False and params["verbose"] == 0
            and params["n_jobs"] is None and type(params["fit_intercept"]) is bool
        )  # fmt: skip
        has_valid_numbers = (
            isinstance(params["C"], float | int | np.number) and 0 < params["C"] < math.inf
            and isinstance(params["tol"], float | int | np.number) and params["tol"] >= 0
            and isinstance(params["max_iter"], int | np.integer) and params["max_iter"] >= 0
        )  # fmt: skip
        if not (is_squared_lbfgs and has_valid_numbers):
            return None
        return step.path, params["fit_intercept"], key_of(params["class_weight"])

    def prefers_shared_matrix(self, shape: tuple[int, int], y: Any) -> bool:
        """Return True if the matrix is large, or there are more than two classes: fits are not exact then anyway."""
        return shape[0] * shape[1] > MAX_CACHED_SIZE or len(np.unique(np.asarray(y))) > 2

    def fit(
        self, steps: Sequence[PipelineStep], designs: Sequence[DesignMatrix], y: Any, fit_params: Mapping[str, Any]
    ) -> BatchedLogistic:
        """Fit the members together."""
        return BatchedLogistic(steps, designs, y, fit_params)


class LogisticBatch:
    """The data of logistic regressions that are fitted together, and the labels that they predict.

    Parameters
    ----------
    steps : sequence of PipelineStep
        The members, all of one :meth:`LogisticFamily.group_key`.
    designs : sequence of DesignMatrix
        The matrix of each member.
    y : vector
    fit_params : Mapping of str to Any
        The other parameters of their `fit`.

    Attributes
    ----------
    n_iter : sequence of int
        The number of iterations of each member. Subclasses set it, and the points of the state.
    label_margin : float
        The smallest distance of a decision value from the border, relative to the largest one, with certain labels.

    Raises
    ------
    UnsupportedData
        If the data are not dense float64 matrices and a vector of at least two classes.
    """

    label_margin = LABEL_MARGIN
    n_iter: Sequence[int]

    def __init__(
        self,
        steps: Sequence[PipelineStep],
        designs: Sequence[DesignMatrix],
        y: Any,
        fit_params: Mapping[str, Any],
    ) -> None:
        if fit_params.keys() - {"sample_weight"}:
            raise UnsupportedData(f"the fit has the parameters {sorted(fit_params)}")
        self.steps, self.params = steps, [step.params() for step in steps]
        self.matrices = self._validate_matrices(designs, y)
        y, codes = self._encode_labels(y)
        weights = self._sample_weights(self.matrices[0], y, codes, fit_params.get("sample_weight"))
        self.state = self._create_state(self.matrices, designs, codes, weights)

    def _validate_matrices(self, designs: Sequence[DesignMatrix], y: Any) -> list[np.ndarray]:
        """Validate each distinct matrix once, and y once, as scikit-learn does; return the matrix of each member."""
        validated: dict[int, np.ndarray] = {}
        self.validated_by: dict[int, Any] = {}  # the estimators that have n_features_in_ and feature_names_in_ now
        self.matrix_ids = [id(design.matrix) for design in designs]
        for design, matrix_id in zip(designs, self.matrix_ids, strict=True):
            if matrix_id in validated:
                continue
            estimator = LogisticRegression()
            validated[matrix_id] = _validate_matrix(estimator, design.matrix, None if validated else y)
            self.validated_by[matrix_id] = estimator
        return [validated[matrix_id] for matrix_id in self.matrix_ids]

    def _encode_labels(self, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the labels as an array, and the number of the class of each row."""
        y = np.asarray(y)
        if y.ndim != 1 or y.dtype.kind not in "biuUO":
            raise UnsupportedData("the target is not a vector of labels")
        self.classes, codes = np.unique(y, return_inverse=True)
        if len(self.classes) < 2:
            raise UnsupportedData("the target has one class")
        return y, codes

    def _sample_weights(self, Z: np.ndarray, y: np.ndarray, codes: np.ndarray, weights: Any) -> np.ndarray | None:
        """Return the weights of rows and classes multiplied, as scikit-learn does; None if there are none."""
        class_weight = self.params[0]["class_weight"]
        if weights is None and class_weight is None:
            return None
        check = sklearn_private.private_attr("sklearn.utils.validation", "_check_sample_weight")
        sample_weight: np.ndarray = check(weights, Z, dtype=Z.dtype, copy=True)
        if class_weight is not None:
            per_class = compute_class_weight(class_weight, classes=self.classes, y=y, sample_weight=sample_weight)
            sample_weight *= per_class[codes].astype(Z.dtype)
        return sample_weight

    def _create_state(
        self,
        matrices: Sequence[np.ndarray],
        designs: Sequence[DesignMatrix],
        codes: np.ndarray,
        weights: np.ndarray | None,
    ) -> LossState:
        total = len(codes) if weights is None else float(np.sum(weights))
        # scikit-learn minimizes the mean loss plus 1 / (2 C total) |w|^2, not C times the sum of the losses.
        penalties = np.array([1.0 / (p["C"] * total) for p in self.params])
        widths = [Z.shape[1] if d.n_columns is None else d.n_columns for Z, d in zip(matrices, designs, strict=True)]
        fit_intercept = self.params[0]["fit_intercept"]
        return LossState(codes.astype(float), len(self.classes), weights, widths, penalties, fit_intercept)

    def predict_labels(self, matrices: Sequence[Any], ranked_classes: Any = None) -> list[np.ndarray | None]:
        """Predict the labels of each member; None where a decision value is too close to the border to be certain."""
        labels: list[np.ndarray | None] = [None] * len(matrices)
        members_of: dict[int, list[int]] = {}
        for i, X in enumerate(matrices):
            members_of.setdefault(id(X), []).append(i)
        for members in members_of.values():
            # One product gives the decision values of all members of a matrix: an array of (member, function, row).
            W, b = self.state.coefficients(np.array(members))
            X = np.asarray(matrices[members[0]])[:, : W.shape[1]]
            raw = (W[:, : X.shape[1]] @ X.T + b[:, None]).reshape(len(members), self.state.n_functions, -1)
            decided = _decide_labels(raw, self.label_margin)
            for i, codes, is_certain, decisions in zip(members, *decided, raw, strict=True):
                n_iter = self.n_iter[i]
                if is_certain and (ranked_classes is None or _is_ranking_certain(decisions, ranked_classes, n_iter)):
                    labels[i] = self.classes[codes]
        return labels


class BatchedLogistic(LogisticBatch):
    """Logistic regressions that were fitted together, each by its own L-BFGS."""

    def __init__(
        self,
        steps: Sequence[PipelineStep],
        designs: Sequence[DesignMatrix],
        y: Any,
        fit_params: Mapping[str, Any],
    ) -> None:
        super().__init__(steps, designs, y, fit_params)
        self.exact = (
            self.state.n_functions == 1
            and max(matrix.size for matrix in self.matrices) <= MAX_CACHED_SIZE
            and all(design.n_columns is None for design in designs)
        )
        self.loss = self._create_loss(self.matrices)
        self.minimizers = self._minimize()
        self.n_iter = [minimizer.n_iter for minimizer in self.minimizers]

    def _create_loss(self, matrices: Sequence[np.ndarray]) -> BatchedLoss:
        if self.exact:
            return VectorLoss(self.state, matrices)
        if any(matrix is not matrices[0] for matrix in matrices):
            raise UnsupportedData("the members are fitted on different matrices")
        if np.einsum("ij,ij->j", matrices[0], matrices[0]).max() > MAX_MEAN_SQUARE * len(matrices[0]):
            raise UnsupportedData("columns are far from standardized, so that rounding can decide between iterations")
        return MatrixLoss(self.state, matrices[0])

    def _minimize(self) -> list[LBFGSMinimizer]:
        """Run one L-BFGS per member; in each round, evaluate the loss once for all members that request it."""
        state, routine = self.state, find_lbfgs_routine()
        minimizers = [
            LBFGSMinimizer(state.own(state.points, i), state.own(state.grads, i), p["tol"], int(p["max_iter"]), routine)
            for i, p in enumerate(self.params)
        ]
        active = [i for i, minimizer in enumerate(minimizers) if minimizer.advance()]
        while active:
            for i, value in zip(active, self.loss.evaluate(np.array(active)), strict=True):
                minimizers[i].f = value
            active = [i for i in active if minimizers[i].advance()]
        return minimizers

    def estimator(self, i: int) -> Any:
        """Return the i-th fitted estimator, with scikit-learn's warning if it has not converged."""
        self.emit_warnings(i)
        state, final, width = self.state, self.steps[i].build(), int(self.state.widths[i])
        own = state.own(state.points, i).copy().reshape((state.n_functions, -1), order="F")
        final.classes_, final.n_features_in_ = self.classes, width
        validated = self.validated_by[self.matrix_ids[i]]
        if hasattr(validated, "feature_names_in_"):
            final.feature_names_in_ = validated.feature_names_in_
        # At most max_iter, as scikit-learn's _check_optimize_result reports it.
        final.n_iter_ = np.array([min(self.n_iter[i], int(self.params[i]["max_iter"]))], dtype=np.int32)
        final.coef_ = own[:, :width]
        final.intercept_ = own[:, -1] if state.fit_intercept else np.zeros(state.n_functions)
        return final

    def emit_warnings(self, i: int) -> None:
        """Emit scikit-learn's warning if the i-th has not converged.

        Raises
        ------
        UnsupportedData
            If the fit took too many iterations to be certain of its labels.
        """
        if not self.exact and self.n_iter[i] > MAX_CERTAIN_ITERATIONS:
            raise UnsupportedData("the fit takes too many iterations to be certain of its last digits")
        if self.minimizers[i].status != 0:
            result = self.minimizers[i].result()
            advice = sklearn_private.private_attr("sklearn.linear_model._logistic", "_LOGISTIC_SOLVER_CONVERGENCE_MSG")
            check = sklearn_private.private_attr("sklearn.utils.optimize", "_check_optimize_result")
            check("lbfgs", result, int(self.params[i]["max_iter"]), extra_warning_msg=advice)


def _validate_matrix(estimator: Any, matrix: Any, y: Any) -> np.ndarray:
    """Return a matrix as the fit of scikit-learn uses it; set the names of its columns on the estimator.

    If y is None, it has been validated before.

    Raises
    ------
    UnsupportedData
        If it is not dense and of float64.
    """
    is_plain = type(matrix) is np.ndarray and matrix.ndim == 2 and matrix.dtype == np.float64 and matrix.size > 0
    if is_plain and y is None:  # the same, in a tenth of the time
        assert_all_finite(matrix)
        return np.ascontiguousarray(matrix)
    options = {"accept_sparse": "csr", "dtype": [np.float64, np.float32], "order": "C"}
    Z = validate_data(estimator, matrix, **options) if y is None else validate_data(estimator, matrix, y, **options)[0]
    if not isinstance(Z, np.ndarray) or Z.dtype != np.float64:
        raise UnsupportedData("a design matrix is not dense, or not of float64")
    return Z


def _decide_labels(raw: np.ndarray, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the class that each member chooses for each row, and for each member whether all choices are certain."""
    if raw.shape[1] == 1:  # two classes: the sign decides
        gaps, chosen = np.abs(raw[:, 0]), (raw[:, 0] > 0).astype(int)
    else:  # the largest value decides; its distance from the second largest is the margin
        top = np.partition(raw, -2, axis=1)
        gaps, chosen = top[:, -1] - top[:, -2], raw.argmax(axis=1)
    return chosen, gaps.min(axis=1) > margin * np.abs(raw).max(axis=(1, 2))


def _is_ranking_certain(decisions: np.ndarray, classes: Any, n_iter: int) -> bool:
    """Return whether any two rows of different classes have clearly different decision values.

    For the values 1, 2, 2, 3 of the classes a, b, b, a the gaps that count are 1 (a, b) and 1 (b, a); the tie is
    between rows of one class. Neighbors in the sorted order are enough: between any two rows of different classes there
    is such a gap.
    """
    if len(decisions) > 1 or n_iter > MAX_RANKED_ITERATIONS:  # more than two classes have no single ranking
        return False
    row, classes = decisions[0], np.asarray(classes)
    order = np.argsort(row)
    row, classes = row[order], classes[order]
    gaps = np.diff(row)[classes[1:] != classes[:-1]]
    return bool(np.all(gaps > RANK_MARGIN * np.abs(row).max()))
