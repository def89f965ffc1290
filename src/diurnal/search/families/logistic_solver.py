"""The losses of many linear classifiers at once, each at its own point, with their gradients.

The pointwise loss is scikit-learn's own compiled one, called once for all candidates where they fit into the cache.
There are two ways to the linear predictions, and back to the gradients:

- :class:`ByVector`: a product of matrix and vector for each candidate, as scikit-learn makes it, to the last bit. As
  fast as it gets where the matrix stays in the cache.
- :class:`ByMatrix`: one product of matrices for all candidates that share a design matrix. Where the matrix does not
  fit into the cache, it is read once for all instead of once for each. It rounds differently in the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from diurnal.search import sklearn_private

_BLOCK = 1 << 17  # elements of a block's predictions: 1 MB each of predictions, losses and gradients


class Losses(Protocol):
    """What a lockstep asks: the values of some candidates, with their gradients put into place."""

    store: Store

    def at(self, active: np.ndarray) -> list[float]:
        """Give the value of each of these candidates at its point."""


class Store:
    """Where the candidates' points and gradients live, and what all ways have in common.

    Parameters
    ----------
    codes : numpy.ndarray, shape (n_samples,)
        The number of each row's class, as float.
    n_classes : int
    weights : numpy.ndarray or None, shape (n_samples,)
        The weights of the rows.
    widths : sequence of int
        How many columns each candidate uses.
    penalties : numpy.ndarray, shape (n_candidates,)
        The strength of each candidate's squared penalty.
    intercept : bool
        Whether a candidate's last unknowns are intercepts.

    Attributes
    ----------
    points, grads : numpy.ndarray, shape (n_candidates, greatest width + intercept, n_functions)
        The unknowns of each candidate, and the gradient there; a candidate's own come first.
    """

    def __init__(
        self, codes: np.ndarray, n_classes: int, weights: np.ndarray | None, widths: Sequence[int],
        penalties: np.ndarray, intercept: bool,
    ) -> None:  # fmt: skip
        self.codes, self.weights = codes, weights
        self.widths, self.penalties, self.intercept = np.asarray(widths), penalties, intercept
        self.functions = 1 if n_classes == 2 else n_classes
        module = "sklearn._loss.loss"
        if self.functions == 1:
            self._compiled = sklearn_private.named(module, "HalfBinomialLoss")()
        else:
            self._compiled = sklearn_private.named(module, "HalfMultinomialLoss")(n_classes=n_classes)
        self.total = float(len(codes)) if weights is None else float(np.sum(weights))
        self.points = np.zeros((len(widths), max(widths) + intercept, self.functions))
        self.grads = np.zeros_like(self.points)
        self._tiles: tuple[np.ndarray, np.ndarray | None] | None = None

    def own(self, values: np.ndarray, i: int) -> np.ndarray:
        """Give one candidate's part of `points` or `grads` as a flat view."""
        flat: np.ndarray = values[i].reshape(-1)[: (self.widths[i] + self.intercept) * self.functions]
        return flat

    def weights_of(self, active: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give the weights of candidates, a row for each linear function, and their intercepts."""
        points, m, r = self.points[active], len(active), self.functions
        b = np.zeros(m * r)
        if self.intercept:
            place = np.arange(m), self.widths[active]
            b = points[place].reshape(-1)
            points[place] = 0.0
        inner = points.shape[1] - self.intercept
        W = points[:, :inner].transpose(0, 2, 1).reshape(m * r, inner)
        return np.ascontiguousarray(W), b

    def put_grads(self, active: np.ndarray, grads: np.ndarray, grads_b: np.ndarray) -> None:
        """Put gradients into place: those of the weights, a row for each linear function, and of the intercepts."""
        m, r, inner = len(active), self.functions, grads.shape[1]
        self.grads[active, :inner] = grads.reshape(m, r, inner).transpose(0, 2, 1)
        if self.intercept:
            self.grads[active, self.widths[active]] = grads_b.reshape(m, r)

    def pointwise(self, raw: np.ndarray, rows: slice, m: int) -> tuple[np.ndarray, np.ndarray]:
        """Give the loss of each of these rows for each candidate, and its pull on each linear function."""
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
        self._compiled.loss_gradient(codes, raw, weights, loss, pull, 1)
        return loss, pull

    def _tiled(self, rows: slice, m: int, n: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Repeat classes and weights of a block of rows for each candidate; those of a single block are kept."""
        if n < len(self.codes):
            return np.tile(self.codes[rows], m), None if self.weights is None else np.tile(self.weights[rows], m)
        if self._tiles is None or len(self._tiles[0]) < m * n:
            self._tiles = np.tile(self.codes, m), None if self.weights is None else np.tile(self.weights, m)
        codes, weights = self._tiles
        return codes[: m * n], None if weights is None else weights[: m * n]


class ByMatrix:
    """Candidates that share a design matrix, of which each uses the leading columns; the weights of others stay 0.

    Rows go in blocks that stay in the cache.
    """

    def __init__(self, store: Store, Z: np.ndarray) -> None:
        self.store, self.Z = store, Z

    def at(self, active: np.ndarray) -> list[float]:
        """Give the value of each of these candidates at its point, and put the gradients into place."""
        store, m = self.store, len(active)
        W, b = store.weights_of(active)
        values, grads, grads_b = np.zeros(m), np.zeros_like(W), np.zeros_like(b)
        size = max(256, _BLOCK // len(W))
        for start in range(0, len(self.Z), size):
            block = self.Z[start : start + size]
            raw = W @ block.T
            raw += b[:, None]
            loss, pull = store.pointwise(raw, slice(start, start + size), m)
            values += loss.sum(axis=1)
            grads += pull @ block
            grads_b += pull.sum(axis=1)
        penalties = store.penalties[active]
        values = values / store.total + 0.5 * penalties * (W * W).reshape(m, -1).sum(axis=1)
        grads = grads / store.total + np.repeat(penalties, store.functions)[:, None] * W
        store.put_grads(active, grads, grads_b / store.total)
        given: list[float] = values.tolist()
        return given


class ByVector:
    """Candidates of two classes that have one design matrix each, or some in common: `Zs[i]` is that of the i-th.

    Candidates of one matrix stand next to each other.
    """

    def __init__(self, store: Store, Zs: Sequence[np.ndarray]) -> None:
        self.store = store
        starts = [i for i in range(len(Zs)) if i == 0 or Zs[i] is not Zs[i - 1]]
        self.groups = [(Zs[i], i, end) for i, end in zip(starts, [*starts[1:], len(Zs)], strict=True)]

    def at(self, active: np.ndarray) -> list[float]:
        """Give the value of each of these candidates at its point, and put the gradients into place."""
        store, m = self.store, len(active)
        W, b = store.weights_of(active)
        parts = [(Z, slice(*np.searchsorted(active, (start, end)))) for Z, start, end in self.groups]
        parts = [(Z, mine) for Z, mine in parts if mine.stop > mine.start]
        raw = np.empty((m, len(store.codes)))
        for Z, mine in parts:
            raw[mine] = np.matmul(Z, W[mine, : Z.shape[1], None])[:, :, 0]
        raw += b[:, None]
        loss, pull = store.pointwise(raw, slice(None), m)
        values, penalties = loss.sum(axis=1) / store.total, store.penalties[active]
        pull /= store.total
        grads = np.zeros_like(W)
        for Z, mine in parts:
            k = Z.shape[1]
            w = np.ascontiguousarray(W[mine, :k])
            values[mine] += 0.5 * penalties[mine] * np.matmul(w[:, None, :], w[:, :, None])[:, 0, 0]
            grads[mine, :k] = np.matmul(Z.T, pull[mine, :, None])[:, :, 0] + penalties[mine, None] * w
        store.put_grads(active, grads, pull.sum(axis=1))
        given: list[float] = values.tolist()
        return given
