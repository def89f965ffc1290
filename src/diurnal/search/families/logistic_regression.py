"""Logistic regressions in lockstep: many candidates advance together, each by its own L-BFGS.

Each keeps scikit-learn's algorithm and stopping rule; only the functions and gradients that all of them want in a round
are computed together. On small matrices of two classes that is done to the last bit as scikit-learn does it. Otherwise
one product of matrices serves all candidates; it rounds differently, and L-BFGS multiplies the difference from
iteration to iteration. On 203 fits of up to 40 iterations, well and badly scaled, decisions moved by 3e-12 of the
largest at most; on longer ones by anything. So a fit of more than 40 iterations, or with a decision within 1e-8 of the
largest, is not served, and scikit-learn fits it. Only scores that are made of labels are served, and the area under the
ROC curve, which is made of the order of the decisions of two classes: where none of one class is within 1e-10 of one of
the other, it is the same to the last bit. A score that takes decisions or probabilities for what they are, such as the
log-loss, moves with them, and nothing says by how little: its candidates are fitted one by one.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import validate_data

from diurnal.search import sklearn_private
from diurnal.search.cache_keys import key_of
from diurnal.search.families.lbfgs import Minimisation
from diurnal.search.families.logistic_solver import ByMatrix, ByVector, Losses, Store
from diurnal.search.families.protocol import Design, NotServed
from diurnal.search.tree import Step

NEAR = 1e-8  # of the largest decision
TIED = 1e-10  # of the largest decision: narrower, for among many rows some decisions are always near each other
SHORT = 40  # iterations
CACHED = 1 << 17  # elements of a design matrix that stays in the cache: 1 MB


def key(step: Step) -> Hashable | None:
    """Tell which candidates can go in lockstep: those of one key."""
    params = step.params()
    if type(step.template) is not LogisticRegression or any("__" in name for name in step.changes):
        return None
    plain = (
        params["solver"] == "lbfgs" and params["penalty"] == "deprecated" and params["l1_ratio"] == 0
        and params["dual"] is False and params["warm_start"] is False and params["verbose"] == 0
        and params["n_jobs"] is None and type(params["fit_intercept"]) is bool
    )  # fmt: skip
    numbers_ok = (
        isinstance(params["C"], float | int | np.number) and 0 < params["C"] < math.inf
        and isinstance(params["tol"], float | int | np.number) and params["tol"] >= 0
        and isinstance(params["max_iter"], int | np.integer) and params["max_iter"] >= 0
    )  # fmt: skip
    if not (plain and numbers_ok):
        return None
    return step.path, params["fit_intercept"], key_of(params["class_weight"])


class Family:
    """The family of `LogisticRegression` by L-BFGS, with a squared penalty."""

    leading = True

    def key(self, step: Step) -> Hashable | None:
        """Give what the candidates of one lockstep have in common."""
        return key(step)

    def wide(self, shape: tuple[int, int], y: Any) -> bool:
        """Tell whether members want one wide matrix: where it is large, or there are more than two classes."""
        return shape[0] * shape[1] > CACHED or len(np.unique(np.asarray(y))) > 2

    def fit(self, steps: Sequence[Step], designs: Sequence[Design], y: Any, words: Mapping[str, Any]) -> Lockstep:
        """Fit them together."""
        return Lockstep(steps, designs, y, words)


class Lockstep:
    """Logistic regressions that were fitted together.

    Parameters
    ----------
    steps : sequence of Step
        The candidates, all of one :func:`key`.
    designs : sequence of Design
        What each is fitted on.
    y : vector
    words : Mapping of str to Any
        What else their `fit` is given.

    Raises
    ------
    NotServed
        If the data are not of a kind that is fitted so.
    """

    def __init__(self, steps: Sequence[Step], designs: Sequence[Design], y: Any, words: Mapping[str, Any]) -> None:
        if words.keys() - {"sample_weight"}:
            raise NotServed(f"the fit is given {sorted(words)}")
        self.steps, self.params = steps, [step.params() for step in steps]
        self.probes: dict[int, Any] = {}
        Zs = self._check(designs, y)
        y = np.asarray(y)
        if y.ndim != 1 or y.dtype.kind not in "biuUO":
            raise NotServed("the target is of another kind")
        self.classes, codes = np.unique(y, return_inverse=True)
        if len(self.classes) < 2:
            raise NotServed("the target is of one class")
        weights = self._weights(Zs[0], y, codes, words.get("sample_weight"))
        total = len(y) if weights is None else float(np.sum(weights))
        penalties = np.array([1.0 / (p["C"] * total) for p in self.params])
        widths = [Z.shape[1] if d.width is None else d.width for Z, d in zip(Zs, designs, strict=True)]
        self.store = Store(
            codes.astype(float), len(self.classes), weights, widths, penalties, self.params[0]["fit_intercept"]
        )
        self.exact = self.store.functions == 1 and max(Z.size for Z in Zs) <= CACHED and all(
            d.width is None for d in designs
        )  # fmt: skip
        if not self.exact and any(Z is not Zs[0] for Z in Zs):
            raise NotServed("they have not one matrix in common")
        self.losses: Losses = ByVector(self.store, Zs) if self.exact else ByMatrix(self.store, Zs[0])
        self.runs = self._minimise()

    def _check(self, designs: Sequence[Design], y: Any) -> list[np.ndarray]:
        """Check each matrix once, as scikit-learn's fit does."""
        checked: dict[int, np.ndarray] = {}
        for design in designs:
            if id(design.matrix) in checked:
                continue
            probe = LogisticRegression()  # as cheap as it gets: it only checks
            Z, _ = validate_data(
                probe, design.matrix, y, accept_sparse="csr", dtype=[np.float64, np.float32], order="C"
            )
            if not isinstance(Z, np.ndarray) or Z.dtype != np.float64:
                raise NotServed("a design matrix is not dense, or not of doubles")
            checked[id(design.matrix)], self.probes[id(design.matrix)] = Z, probe
        self.matrices = [id(d.matrix) for d in designs]
        return [checked[i] for i in self.matrices]

    def _weights(self, Z: np.ndarray, y: np.ndarray, codes: np.ndarray, given: Any) -> np.ndarray | None:
        by_class = self.params[0]["class_weight"]
        if given is None and by_class is None:
            return None
        check = sklearn_private.named("sklearn.utils.validation", "_check_sample_weight")
        weights: np.ndarray = check(given, Z, dtype=Z.dtype, copy=True)
        if by_class is not None:
            each = compute_class_weight(by_class, classes=self.classes, y=y, sample_weight=weights)
            weights *= each[codes].astype(Z.dtype)
        return weights

    def _minimise(self) -> list[Minimisation]:
        store = self.store
        runs = [
            Minimisation(store.own(store.points, i), store.own(store.grads, i), p["tol"], int(p["max_iter"]))
            for i, p in enumerate(self.params)
        ]
        active = [i for i, run in enumerate(runs) if run.ask()]
        while active:
            for i, value in zip(active, self.losses.at(np.array(active)), strict=True):
                runs[i].f = value
            active = [i for i in active if runs[i].ask()]
        return runs

    def estimator(self, i: int) -> Any:
        """Give the i-th as a fitted estimator, with scikit-learn's own warning if it has not converged."""
        self.conclude(i)
        store, final, width = self.store, self.steps[i].make(), int(self.store.widths[i])
        own = store.own(store.points, i).copy().reshape((store.functions, -1), order="F")
        final.classes_, final.n_features_in_ = self.classes, width
        if hasattr(self.probes[self.matrices[i]], "feature_names_in_"):
            final.feature_names_in_ = self.probes[self.matrices[i]].feature_names_in_
        final.n_iter_ = np.array([min(self.runs[i].n_iter, int(self.params[i]["max_iter"]))], dtype=np.int32)
        final.coef_ = own[:, :width]
        final.intercept_ = own[:, -1] if store.intercept else np.zeros(store.functions)
        return final

    def conclude(self, i: int) -> None:
        """Warn as scikit-learn does if the i-th has not converged; :class:`NotServed` if it was no short way."""
        if not self.exact and self.runs[i].n_iter > SHORT:
            raise NotServed("the fit is too long to be sure of its last digits")
        result = self.runs[i].result()
        if result.status != 0:
            more = sklearn_private.named("sklearn.linear_model._logistic", "_LOGISTIC_SOLVER_CONVERGENCE_MSG")
            check = sklearn_private.named("sklearn.utils.optimize", "_check_optimize_result")
            check("lbfgs", result, int(self.params[i]["max_iter"]), extra_warning_msg=more)

    def labels(self, Xs: Sequence[Any], apart: Any = None) -> list[np.ndarray | None]:
        """Give the labels that each predicts for rows of its own; None where a decision is too near to be sure of.

        With `apart`, the classes of the rows, decisions of different classes must be far enough from each other too.
        """
        labels: list[np.ndarray | None] = [None] * len(Xs)
        by_matrix: dict[int, list[int]] = {}
        for i, X in enumerate(Xs):
            by_matrix.setdefault(id(X), []).append(i)
        for places in by_matrix.values():
            X = np.asarray(Xs[places[0]])
            W, b = self.store.weights_of(np.array(places))
            raw = (W[:, : X.shape[1]] @ X.T + b[:, None]).reshape(len(places), self.store.functions, -1)
            for i, chosen, sure, decisions in zip(places, *_decide(raw), raw, strict=True):
                if sure and (apart is None or _is_ordered(decisions, apart)):
                    labels[i] = self.classes[chosen]
        return labels


def _decide(raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give the number of the class that each candidate chooses for each row, and whether all are clear."""
    if raw.shape[1] == 1:
        gaps, chosen = np.abs(raw[:, 0]), (raw[:, 0] > 0).astype(int)
    else:
        top = np.partition(raw, -2, axis=1)
        gaps, chosen = top[:, -1] - top[:, -2], raw.argmax(axis=1)
    return chosen, gaps.min(axis=1) > NEAR * np.abs(raw).max(axis=(1, 2))


def _is_ordered(decisions: np.ndarray, apart: Any) -> bool:
    """Tell whether it is clear, of any two rows of different classes, which has the greater decision."""
    if len(decisions) > 1:
        return False
    row, classes = decisions[0], np.asarray(apart)
    order = np.argsort(row)
    row, classes = row[order], classes[order]
    gaps = np.diff(row)[classes[1:] != classes[:-1]]
    return bool(np.all(gaps > TIED * np.abs(row).max()))
