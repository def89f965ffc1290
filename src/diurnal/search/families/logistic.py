"""Logistic regressions in lockstep: all candidates on one design matrix advance together.

Each runs its own L-BFGS, with scikit-learn's algorithm and stopping rule, but the functions and gradients that all of
them want in a round are two matrix products instead of many products with a vector. Products of another shape round
differently in the last bit, so the coefficients agree to some digits less than all. Scores that are made of labels are
the same as long as no decision is that near to 0; where one is, :meth:`Lockstep.labels` says so and the candidate is
fitted by scikit-learn.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import validate_data

from diurnal.search import door
from diurnal.search.families.kinds import NotServed
from diurnal.search.families.lbfgs import Minimisation
from diurnal.search.families.losses import Losses
from diurnal.search.keys import key_of
from diurnal.search.plan import Step

NEAR = 1e-6  # of the largest decision: rounding has been seen to move one by some 1e-9


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
        isinstance(params["C"], numbers.Real) and 0 < params["C"] < math.inf
        and isinstance(params["tol"], numbers.Real) and params["tol"] >= 0
        and isinstance(params["max_iter"], numbers.Integral) and params["max_iter"] >= 0
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

    def fit(
        self, steps: Sequence[Step], widths: Sequence[int | None], X: Any, y: Any, words: Mapping[str, Any]
    ) -> Lockstep:
        """Fit them together."""
        return Lockstep(steps, widths, X, y, words)


class Lockstep:
    """Logistic regressions that were fitted together.

    Parameters
    ----------
    steps : sequence of Step
        The candidates, all of one :func:`key`.
    widths : sequence of int or None
        How many leading columns of `X` each uses; None for all.
    X : matrix
    y : numpy.ndarray
    words : Mapping of str to Any
        What else their `fit` is given.

    Raises
    ------
    NotServed
        If the data are not of a kind that is fitted so.
    """

    def __init__(
        self, steps: Sequence[Step], widths: Sequence[int | None], X: Any, y: Any, words: Mapping[str, Any]
    ) -> None:
        if words.keys() - {"sample_weight"}:
            raise NotServed(f"the fit is given {sorted(words)}")
        self.steps, self.params = steps, [step.params() for step in steps]
        self.probe = steps[0].make()
        Z, y = validate_data(self.probe, X, y, accept_sparse="csr", dtype=[np.float64, np.float32], order="C")
        if not isinstance(Z, np.ndarray) or Z.dtype != np.float64 or y.dtype.kind not in "biuUOf":
            raise NotServed("the design matrix is not dense, or not of doubles")
        self.classes, codes = np.unique(y, return_inverse=True)
        if len(self.classes) < 2 or y.dtype.kind == "f":
            raise NotServed("the target is of one class, or of another kind")
        weights = self._weights(Z, y, codes, words.get("sample_weight"))
        total = len(Z) if weights is None else float(weights.sum())
        penalties = np.array([1.0 / (float(p["C"]) * total) for p in self.params])
        full = [Z.shape[1] if w is None else w for w in widths]
        self.losses = Losses(
            Z, codes.astype(float), len(self.classes), weights, full, penalties, self.params[0]["fit_intercept"]
        )
        self.runs = self._minimise()

    def _weights(self, Z: np.ndarray, y: np.ndarray, codes: np.ndarray, given: Any) -> np.ndarray | None:
        by_class = self.params[0]["class_weight"]
        if given is None and by_class is None:
            return None
        check = door.named("sklearn.utils.validation", "_check_sample_weight")
        weights: np.ndarray = check(given, Z, dtype=Z.dtype, copy=True)
        if by_class is not None:
            each = compute_class_weight(by_class, classes=self.classes, y=y, sample_weight=weights)
            weights *= each[codes].astype(Z.dtype)
        return weights

    def _minimise(self) -> list[Minimisation]:
        losses = self.losses
        runs = [
            Minimisation(losses.own(losses.points, i), losses.own(losses.grads, i), p["tol"], int(p["max_iter"]))
            for i, p in enumerate(self.params)
        ]
        active = [i for i, run in enumerate(runs) if run.ask()]
        while active:
            for i, value in zip(active, losses.at(np.array(active)), strict=True):
                runs[i].f = value
            active = [i for i in active if runs[i].ask()]
        return runs

    def estimator(self, i: int) -> Any:
        """Give the i-th as a fitted estimator, with scikit-learn's own warning if it has not converged."""
        losses, final = self.losses, self.steps[i].make()
        self.conclude(i)
        own = losses.own(losses.points, i).reshape(-1, losses.functions).T.copy(order="F")
        width = int(losses.widths[i])
        final.classes_, final.n_features_in_ = self.classes, width
        if hasattr(self.probe, "feature_names_in_"):
            final.feature_names_in_ = self.probe.feature_names_in_
        final.n_iter_ = np.array([min(self.runs[i].n_iter, int(self.params[i]["max_iter"]))], dtype=np.int32)
        final.coef_ = own[:, :width]
        final.intercept_ = own[:, -1] if losses.intercept else np.zeros(losses.functions)
        return final

    def conclude(self, i: int) -> None:
        """Warn as scikit-learn does if the i-th has not converged."""
        result = self.runs[i].result()
        if result.status != 0:
            more = door.named("sklearn.linear_model._logistic", "_LOGISTIC_SOLVER_CONVERGENCE_MSG")
            check = door.named("sklearn.utils.optimize", "_check_optimize_result")
            check("lbfgs", result, int(self.params[i]["max_iter"]), extra_warning_msg=more)

    def labels(self, X: np.ndarray) -> list[np.ndarray | None]:
        """Give the labels that each predicts for these rows; None where a decision is too near to be sure of."""
        every = np.arange(len(self.steps))
        W, b = self.losses.weights_of(every)
        raw = (W @ np.asarray(X).T + b[:, None]).reshape(len(every), self.losses.functions, -1)
        if self.losses.functions == 1:
            gaps, chosen = np.abs(raw[:, 0]), (raw[:, 0] > 0).astype(int)
        else:
            top = np.partition(raw, -2, axis=1)
            gaps, chosen = top[:, -1] - top[:, -2], raw.argmax(axis=1)
        sure = gaps.min(axis=1) > NEAR * np.abs(raw).max(axis=(1, 2))
        return [self.classes[c] if s else None for c, s in zip(chosen, sure, strict=True)]
