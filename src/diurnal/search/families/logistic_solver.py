"""The arithmetic of logistic regressions that are fitted together: the minimizer of each, and the loss of all.

:class:`LBFGSMinimizer` runs one minimization, and returns whenever it needs the loss at a point. So several
minimizations can run side by side, and a :class:`BatchedLoss` computes what they need in one step:

    minimizer 0    x0 ──┐                                ┌── f(x0), g(x0)
    minimizer 1    x1 ──┼── BatchedLoss.evaluate([0,1]) ──┼── f(x1), g(x1)
    (2 converged)      ─┘                                └──

Linear predictions and gradients are computed in one of two ways:

- :class:`VectorLoss`: one product of matrix and vector for each candidate, and the compiled pointwise loss, as
  scikit-learn makes them, equal to the last bit. It is the faster one where the matrix stays in the cache.
- :class:`MatrixLoss`: one product of matrices for all candidates of one design matrix. A matrix that does not fit into
  the cache is read once for all in place of once for each. The last bit differs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from diurnal.search import sklearn_private

_FACTORS = 512  # of a product of numbers from 1 to 2
_BLOCK = 1 << 16  # elements of the predictions of a block of rows: 512 kB each of predictions, losses and gradients

# The states of SciPy's `setulb`, and the reasons to stop, as in scipy.optimize._lbfgsb_py.
_NEEDS_VALUE, _NEW_ITERATE, _CONVERGED, _STOP = 3, 1, 4, 5
_REACHED_MAX_ITER, _REACHED_MAX_FUN = 504, 502
# The options of SciPy's `minimize` that LogisticRegression relies on: maxcor, maxls and maxfun.
_MEMORY, _MAX_LINE_SEARCH, _MAX_EVALUATIONS = 10, 50, 15_000


LBFGSRoutine = tuple[Callable[..., None], type[np.integer]]


class LBFGSMinimizer:
    """One L-BFGS minimization that returns whenever it needs a value.

    SciPy's `minimize` calls the function itself. The routine below it works by reverse communication: it returns to its
    caller when it needs a value. This class drives the routine as `minimize` does, with scikit-learn's tolerances.
    While :meth:`advance` returns True, set `f` to the value at `x`, and write the gradient into `g`.

    Parameters
    ----------
    x, g : numpy.ndarray, shape (n,)
        The memory of the point and of the gradient; the minimization starts at the values of `x`.
    gtol : float
        It has converged when no element of the projected gradient is greater.
    max_iter : int
        The largest number of iterations.
    routine : tuple
        What :func:`find_lbfgs_routine` returns.
    """

    def __init__(self, x: np.ndarray, g: np.ndarray, gtol: float, max_iter: int, routine: LBFGSRoutine) -> None:
        self._setulb, integer = routine
        n, m = len(x), _MEMORY
        self.x, self.f, self.g = x, 0.0, g
        self.max_iter, self.n_iter, self.n_evaluations = max_iter, 0, 0
        self._task = np.zeros(2, integer)
        # setulb(m, x, l, u, nbd, f, g, factr, pgtol, wa, iwa, task, lsave, isave, dsave, maxls, ln_task): no bounds,
        # and factr = ftol / eps, where ftol is 64 * eps in scikit-learn.
        self._args_before = (m, x, np.zeros(n), np.zeros(n), np.zeros(n, integer))
        self._args_after = (
            64.0, float(gtol), np.zeros(2 * m * n + 5 * n + 11 * m * m + 8 * m), np.zeros(3 * n, integer), self._task,
            np.zeros(4, integer), np.zeros(44, integer), np.zeros(29), _MAX_LINE_SEARCH, np.zeros(2, integer),
        )  # fmt: skip

    def advance(self) -> bool:
        """Run until the value at `x` is needed; return False at the end."""
        task = self._task
        while True:
            self._setulb(*self._args_before, self.f, self.g, *self._args_after)
            if task[0] == _NEEDS_VALUE:
                self.n_evaluations += 1
                return True
            if task[0] != _NEW_ITERATE:
                return False
            self.n_iter += 1
            # A limit is written into `task`; the next call of the routine then ends the minimization.
            if self.n_iter >= self.max_iter:
                task[:] = _STOP, _REACHED_MAX_ITER
            elif self.n_evaluations > _MAX_EVALUATIONS:
                task[:] = _STOP, _REACHED_MAX_FUN

    @property
    def status(self) -> int:
        """Return the status of the result: 0 if it has converged."""
        reached_limit = self.n_evaluations > _MAX_EVALUATIONS or self.n_iter >= self.max_iter
        return 0 if self._task[0] == _CONVERGED else 1 if reached_limit else 2

    def result(self) -> Any:
        """Return the result that SciPy's `minimize` returns."""
        from scipy.optimize import OptimizeResult

        module = "scipy.optimize._lbfgsb_py"
        statuses = sklearn_private.private_attr(module, "status_messages")
        reasons = sklearn_private.private_attr(module, "task_messages")
        message = f"{statuses[int(self._task[0])]}: {reasons[int(self._task[1])]}"
        return OptimizeResult(x=self.x, fun=self.f, nit=self.n_iter, status=self.status, message=message)


def find_lbfgs_routine() -> LBFGSRoutine:
    """Return SciPy's routine, and the type of its integers."""
    setulb = sklearn_private.private_attr("scipy.optimize._lbfgsb", "setulb")
    return setulb, np.int64 if sklearn_private.private_attr("scipy.linalg.lapack", "HAS_ILP64") else np.int32


class BatchedLoss(Protocol):
    """The losses of several candidates, each at its own point."""

    state: LossState

    def evaluate(self, active: np.ndarray) -> list[float]:
        """Return the loss of each of these candidates at its point, and write the gradients into the state."""


class LossState:
    """The points and gradients of all candidates, and the pointwise loss.

    Parameters
    ----------
    codes : numpy.ndarray, shape (n_samples,)
        The number of the class of each row, as float.
    n_classes : int
    weights : numpy.ndarray or None, shape (n_samples,)
        The weights of the rows.
    widths : sequence of int
        The number of columns that each candidate uses.
    penalties : numpy.ndarray, shape (n_candidates,)
        The strength of the squared penalty of each candidate.
    fit_intercept : bool
        Whether the last unknowns of a candidate are intercepts.

    Attributes
    ----------
    n_functions : int
        The number of linear functions: 1 for two classes, else one per class.
    points, grads : numpy.ndarray, shape (n_candidates, max(widths) + fit_intercept, n_functions)
        The unknowns of each candidate and their gradient. A candidate with fewer columns uses the first entries: for
        widths of 3 and 2 with intercepts the rows are ``w w w b`` and ``w w b .``.
    """

    def __init__(
        self, codes: np.ndarray, n_classes: int, weights: np.ndarray | None, widths: Sequence[int],
        penalties: np.ndarray, fit_intercept: bool,
    ) -> None:  # fmt: skip
        self.codes, self.weights = codes, weights
        self.widths, self.penalties, self.fit_intercept = np.asarray(widths), penalties, fit_intercept
        self.n_functions = 1 if n_classes == 2 else n_classes
        module = "sklearn._loss.loss"
        if self.n_functions == 1:
            self._compiled = sklearn_private.private_attr(module, "HalfBinomialLoss")()
        else:
            self._compiled = sklearn_private.private_attr(module, "HalfMultinomialLoss")(n_classes=n_classes)
        self.total = float(len(codes)) if weights is None else float(np.sum(weights))
        self.points = np.zeros((len(widths), max(widths) + fit_intercept, self.n_functions))
        self.grads = np.zeros_like(self.points)
        self._tiles: tuple[np.ndarray, np.ndarray | None] | None = None
        self._outputs: tuple[np.ndarray, np.ndarray] | None = None

    def own(self, values: np.ndarray, i: int) -> np.ndarray:
        """Return the entries of `points` or `grads` that the i-th candidate uses, as a flat view."""
        flat: np.ndarray = values[i].reshape(-1)[: (self.widths[i] + self.fit_intercept) * self.n_functions]
        return flat

    def coefficients(self, active: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the coefficients of candidates, one row per linear function, and their intercepts."""
        points, m, r = self.points[active], len(active), self.n_functions
        b = np.zeros(m * r)
        if self.fit_intercept:
            # The intercept is the entry after the last coefficient. It is set to 0 in the (copied) points, where a
            # wider candidate has a coefficient, so that the product with the wide matrix does not count it.
            position = np.arange(m), self.widths[active]
            b = points[position].reshape(-1)
            points[position] = 0.0
        inner = points.shape[1] - self.fit_intercept
        W = points[:, :inner].transpose(0, 2, 1).reshape(m * r, inner)
        return np.ascontiguousarray(W), b

    def set_grads(self, active: np.ndarray, grads: np.ndarray, grads_b: np.ndarray) -> None:
        """Write gradients: those of the coefficients, one row per linear function, and of the intercepts."""
        m, r, inner = len(active), self.n_functions, grads.shape[1]
        self.grads[active, :inner] = grads.reshape(m, r, inner).transpose(0, 2, 1)
        if self.fit_intercept:
            self.grads[active, self.widths[active]] = grads_b.reshape(m, r)

    def pointwise(self, raw: np.ndarray, rows: slice, m: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the loss of each of these rows for each of m candidates, and its derivative by each prediction.

        Both arrays are overwritten by the next call.
        """
        n, r = raw.shape[1], self.n_functions
        codes, weights = self._tiled(rows, m, n)
        if r == 1:
            loss, slope = self._loss_gradient(codes, raw.reshape(-1), weights)
            return loss.reshape(m, n), slope.reshape(m, n)
        # The compiled loss takes one row of r predictions per sample: (m, r, n) becomes (m * n, r), and back.
        raw = np.ascontiguousarray(raw.reshape(m, r, n).transpose(0, 2, 1)).reshape(m * n, r)
        loss, slope = self._loss_gradient(codes, raw, weights)
        slope = np.ascontiguousarray(slope.reshape(m, n, r).transpose(0, 2, 1))
        return loss.reshape(m, n), slope.reshape(m * r, n)

    def _loss_gradient(
        self, codes: np.ndarray, raw: np.ndarray, weights: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        if self._outputs is None or len(self._outputs[0]) < len(codes):  # new arrays each time would cost page faults
            self._outputs = np.empty(len(codes)), np.empty_like(raw)
        loss, slope = (values[: len(codes)] for values in self._outputs)
        self._compiled.loss_gradient(codes, raw, weights, loss, slope, 1)
        return loss, slope

    def _tiled(self, rows: slice, m: int, n: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Repeat the classes and weights of a block of rows for m candidates; those of a single block are cached."""
        if n < len(self.codes):
            return np.tile(self.codes[rows], m), None if self.weights is None else np.tile(self.weights[rows], m)
        if self._tiles is None or len(self._tiles[0]) < m * n:
            self._tiles = np.tile(self.codes, m), None if self.weights is None else np.tile(self.weights, m)
        codes, weights = self._tiles
        return codes[: m * n], None if weights is None else weights[: m * n]


class MatrixLoss:
    """The loss of candidates that share a design matrix, of which each uses the leading columns.

    The coefficients of other columns stay 0. Rows are processed in blocks that stay in the cache. For two classes, the
    pointwise loss is that of :func:`sum_log1p_exp`. Its last bit differs, as the product's does.
    """

    def __init__(self, state: LossState, Z: np.ndarray) -> None:
        self.state, self.Z = state, Z[:, : max(state.widths)]
        self._signs = 1 - 2 * state.codes

    def evaluate(self, active: np.ndarray) -> list[float]:
        """Return the loss of each of these candidates at its point, and write the gradients into the state."""
        state, (W, b) = self.state, self.state.coefficients(active)
        n_distinct = len(active) if W.any() or b.any() else 1  # all minimizations start at 0
        values, grads, grads_b = self._sum(W[: n_distinct * state.n_functions], b[: n_distinct * state.n_functions])
        repeats = len(active) // n_distinct
        values, grads, grads_b = np.tile(values, repeats), np.tile(grads, (repeats, 1)), np.tile(grads_b, repeats)
        penalties = state.penalties[active]
        values = values / state.total + 0.5 * penalties * (W * W).reshape(len(active), -1).sum(axis=1)
        grads = grads / state.total + np.repeat(penalties, state.n_functions)[:, None] * W
        state.set_grads(active, grads, grads_b / state.total)
        losses: list[float] = values.tolist()
        return losses

    def _sum(self, W: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the sum of the losses of each candidate, and of the derivatives by coefficients and intercepts."""
        n_functions = self.state.n_functions
        m = len(W) // n_functions
        values, grads, grads_b = np.zeros(m), np.zeros_like(W), np.zeros_like(b)
        size = min(max(256, _BLOCK // len(W)), len(self.Z))
        buffers = np.empty((3, len(W), size))  # of predictions, slopes and odds
        for start in range(0, len(self.Z), size):
            block = self.Z[start : start + size]
            raw = np.matmul(W, block.T, out=buffers[0, :, : len(block)])
            raw += b[:, None]
            rows = slice(start, start + size)
            if n_functions == 1:
                sums, slope = self._binomial(raw, rows, *buffers[1:, :, : len(block)])
            else:
                loss, slope = self.state.pointwise(raw, rows, m)
                sums = loss.sum(axis=1)
            values += sums
            grads += slope @ block
            grads_b += slope.sum(axis=1)
        return values, grads, grads_b

    def _binomial(
        self, raw: np.ndarray, rows: slice, slope: np.ndarray, odds: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the sum of the losses of each candidate, and their derivatives; all three arrays are overwritten."""
        signs, weights = self._signs[rows], self.state.weights
        raw *= signs  # t: positive where the prediction is wrong. The loss is log(1 + exp(t)).
        if weights is not None:
            weights = weights[rows]
        sums, slope = sum_log1p_exp(raw, np.abs(raw, out=slope), weights, odds)
        positive = np.maximum(raw, 0.0, out=raw)
        sums += positive.sum(axis=1) if weights is None else positive @ weights
        slope *= signs
        return sums, slope


class VectorLoss:
    """The loss of candidates of two classes, each with a design matrix of its own or one in common.

    Parameters
    ----------
    state : LossState
    matrices : sequence of numpy.ndarray
        The design matrix of each candidate; candidates of one matrix are adjacent.
    """

    def __init__(self, state: LossState, matrices: Sequence[np.ndarray]) -> None:
        self.state = state
        starts = [i for i in range(len(matrices)) if i == 0 or matrices[i] is not matrices[i - 1]]
        self.matrices, self.borders = [matrices[start] for start in starts], [*starts, len(matrices)]
        self._block = max(1, _BLOCK // len(state.codes))  # candidates
        self._raw = np.empty((min(len(matrices), self._block), len(state.codes)))

    def evaluate(self, active: np.ndarray) -> list[float]:
        """Return the loss of each of these candidates at its point, and write the gradients into the state."""
        starts = range(0, len(active), self._block)
        return [value for start in starts for value in self._evaluate_block(active[start : start + self._block])]

    def _evaluate_block(self, active: np.ndarray) -> list[float]:
        state, m = self.state, len(active)
        W, b = state.coefficients(active)
        # `active` is sorted, so the active candidates of a matrix are a slice of it.
        borders = np.searchsorted(active, self.borders).tolist()
        groups = [
            (Z, slice(start, stop), W[start:stop, : Z.shape[1]])
            for Z, start, stop in zip(self.matrices, borders[:-1], borders[1:], strict=True)
            if start < stop
        ]
        raw, squares, grads = self._raw[:m], np.empty((m, 1, 1)), np.zeros_like(W)
        for Z, own, w in groups:
            # A stack of products of matrix and vector, not of two matrices: BLAS rounds the two differently.
            np.matmul(Z, w[:, :, None], out=raw[own, :, None])
            np.matmul(w[:, None], w[:, :, None], out=squares[own])
        raw += b[:, None]
        loss, slope = state.pointwise(raw, slice(None), m)
        penalties = state.penalties[active]
        values = loss.sum(axis=1) / state.total + 0.5 * penalties * squares[:, 0, 0]
        slope /= state.total
        for Z, own, w in groups:
            np.matmul(Z.T, slope[own, :, None], out=grads[own, : w.shape[1], None])
        grads += penalties[:, None] * W
        state.set_grads(active, grads, slope.sum(axis=1))
        losses: list[float] = values.tolist()
        return losses


def sum_log1p_exp(
    t: np.ndarray, magnitudes: np.ndarray, weights: np.ndarray | None, odds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of log(1 + exp(-|t|)) for each candidate, and the derivatives of log(1 + exp(t)).

    The second is the first plus the positive part of t. One exponential is enough for both, and the sum of logarithms
    is the logarithm of a product.

    Parameters
    ----------
    t : numpy.ndarray, shape (n_candidates, n_samples)
    magnitudes : numpy.ndarray of the same shape
        The absolute values of t; receives the derivatives.
    weights : numpy.ndarray or None, shape (n_samples,)
    odds : numpy.ndarray of the same shape as t
        Is overwritten.
    """
    np.exp(np.negative(magnitudes, out=magnitudes), out=magnitudes)
    np.add(magnitudes, 1, out=odds)
    slopes = np.maximum(magnitudes, t > 0, out=magnitudes)  # 1 / (1 + exp(-t)), or exp(t) / (1 + exp(t))
    slopes /= odds
    if weights is None:
        products = np.multiply.reduceat(odds, np.arange(0, odds.shape[1], _FACTORS), axis=1)
        return np.log(products, out=products).sum(axis=1), slopes
    slopes *= weights
    return np.log(odds, out=odds) @ weights, slopes
