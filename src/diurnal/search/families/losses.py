"""The loss of many linear classifiers on one design matrix: one matrix product forth, one back, for all of them.

A candidate may use the leading columns of the matrix only; its other weights are 0 and stay so. The pointwise loss is
scikit-learn's own compiled one. Rows go in blocks that stay in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diurnal.search import door

_BLOCK = 1 << 17  # elements of a block's predictions: 1 MB each of predictions, losses and gradients


class Losses:
    """The mean loss of several candidates, each at its own point, with the gradients.

    Parameters
    ----------
    Z : numpy.ndarray, shape (n_samples, n_columns)
        The design matrix, in C order.
    codes : numpy.ndarray, shape (n_samples,)
        The number of each row's class, as float.
    n_classes : int
    weights : numpy.ndarray or None, shape (n_samples,)
        The weights of the rows.
    widths : sequence of int
        How many leading columns each candidate uses.
    penalties : numpy.ndarray, shape (n_candidates,)
        The strength of each candidate's squared penalty.
    intercept : bool
        Whether a candidate's last unknowns are intercepts.

    Attributes
    ----------
    points, grads : numpy.ndarray, shape (n_candidates, n_columns + intercept, n_functions)
        The unknowns of each candidate, and the gradient there; a candidate's own come first.
    """

    def __init__(
        self, Z: np.ndarray, codes: np.ndarray, n_classes: int, weights: np.ndarray | None,
        widths: Sequence[int], penalties: np.ndarray, intercept: bool,
    ) -> None:  # fmt: skip
        self.Z, self.codes, self.weights = Z, codes, weights
        self.widths, self.penalties, self.intercept = np.asarray(widths), penalties, intercept
        self.functions = 1 if n_classes == 2 else n_classes
        module = "sklearn._loss.loss"
        if self.functions == 1:
            self.loss = door.named(module, "HalfBinomialLoss")()
        else:
            self.loss = door.named(module, "HalfMultinomialLoss")(n_classes=n_classes)
        self.total = float(len(Z)) if weights is None else float(weights.sum())
        self.points = np.zeros((len(widths), Z.shape[1] + intercept, self.functions))
        self.grads = np.zeros_like(self.points)
        self._tiles: tuple[np.ndarray, np.ndarray | None] | None = None

    def own(self, values: np.ndarray, i: int) -> np.ndarray:
        """Give one candidate's part of `points` or `grads` as a flat view."""
        flat: np.ndarray = values[i].reshape(-1)[: (self.widths[i] + self.intercept) * self.functions]
        return flat

    def at(self, active: np.ndarray) -> list[float]:
        """Give the value of each of these candidates, and put their gradients in place."""
        W, b = self.weights_of(active)
        m, r = len(active), self.functions
        values, grads, grads_b = np.zeros(m), np.zeros_like(W), np.zeros_like(b)
        size = max(256, _BLOCK // len(W))
        for start in range(0, len(self.Z), size):
            block = self.Z[start : start + size]
            raw = W @ block.T
            raw += b[:, None]
            loss, pull = self._pointwise(raw, slice(start, start + size), m)
            values += loss.sum(axis=1)
            grads += pull @ block
            grads_b += pull.sum(axis=1)
        penalties = self.penalties[active]
        values = values / self.total + 0.5 * penalties * (W * W).reshape(m, -1).sum(axis=1)
        grads = grads / self.total + np.repeat(penalties, r)[:, None] * W
        inner = self.Z.shape[1]
        self.grads[active, :inner] = grads.reshape(m, r, inner).transpose(0, 2, 1)
        if self.intercept:
            self.grads[active, self.widths[active]] = (grads_b / self.total).reshape(m, r)
        given: list[float] = values.tolist()
        return given

    def weights_of(self, active: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give the weights of these candidates, a row for each linear function, and their intercepts."""
        points, m, inner = self.points[active], len(active), self.Z.shape[1]
        b = np.zeros(m * self.functions)
        if self.intercept:
            place = np.arange(m), self.widths[active]
            b = points[place].reshape(-1)
            points[place] = 0.0
        W = points[:, :inner].transpose(0, 2, 1).reshape(m * self.functions, inner)
        return np.ascontiguousarray(W), b

    def _pointwise(self, raw: np.ndarray, rows: slice, m: int) -> tuple[np.ndarray, np.ndarray]:
        """Give the loss of each row for each candidate, and its pull on each linear function."""
        n, r = raw.shape[1], self.functions
        codes, weights = self._tiled(rows, m, n)
        if r == 1:
            loss, pull = self._loss(codes, raw.reshape(-1), weights)
            return loss.reshape(m, n), pull.reshape(m, n)
        raw = np.ascontiguousarray(raw.reshape(m, r, n).transpose(0, 2, 1)).reshape(m * n, r)
        loss, pull = self._loss(codes, raw, weights)
        pull = np.ascontiguousarray(pull.reshape(m, n, r).transpose(0, 2, 1))
        return loss.reshape(m, n), pull.reshape(m * r, n)

    def _loss(self, codes: np.ndarray, raw: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        loss, pull = np.empty(len(codes)), np.empty_like(raw)
        self.loss.loss_gradient(codes, raw, weights, loss, pull, 1)
        return loss, pull

    def _tiled(self, rows: slice, m: int, n: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Repeat classes and weights of a block of rows for each candidate; those of a single block are kept."""
        if n < len(self.Z):
            return np.tile(self.codes[rows], m), None if self.weights is None else np.tile(self.weights[rows], m)
        if self._tiles is None or len(self._tiles[0]) < m * n:
            self._tiles = np.tile(self.codes, m), None if self.weights is None else np.tile(self.weights, m)
        codes, weights = self._tiles
        return codes[: m * n], None if weights is None else weights[: m * n]
