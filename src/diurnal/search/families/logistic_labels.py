"""Many logistic regressions on a small matrix of which only labels are scored: minimized in lockstep.

Their labels are certain where no decision value is within 1e-5 of the border, relative to the largest. The others have
no labels, and are fitted by :class:`~diurnal.search.families.logistic_regression.LogisticFamily`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from diurnal.search.families.family_protocol import DesignMatrix, UnsupportedData
from diurnal.search.families.logistic_lockstep import NOT_CERTAIN, LockstepLoss, minimize_in_lockstep
from diurnal.search.families.logistic_regression import MAX_CACHED_SIZE, LogisticBatch, LogisticFamily
from diurnal.search.tree import PipelineStep

MIN_MEMBERS = 64  # with fewer, one minimization for each takes less time than array operations
MIN_TOLERANCE = 1e-6  # of the gradient: below, it may be rounding


class LogisticLabelFamily:
    """The members of :class:`LogisticFamily` with two classes and a small matrix, for scores of labels."""

    shares_leading_columns = True

    def __init__(self) -> None:
        self._family = LogisticFamily()

    def group_key(self, step: PipelineStep) -> Hashable | None:
        """Return the key of `LogisticFamily`; None if the tolerance is too small."""
        key = self._family.group_key(step)
        return key if key is None or step.params()["tol"] >= MIN_TOLERANCE else None

    def prefers_shared_matrix(self, shape: tuple[int, int], y: Any) -> bool:  # noqa: ARG002 - of the protocol
        """Return True."""
        return True

    def fit(
        self, steps: Sequence[PipelineStep], designs: Sequence[DesignMatrix], y: Any, fit_params: Mapping[str, Any]
    ) -> LogisticLabels:
        """Fit the members together."""
        if len(steps) < MIN_MEMBERS or np.size(designs[0].matrix) > MAX_CACHED_SIZE:
            raise UnsupportedData("there are few members, or the matrix is large")
        return LogisticLabels(steps, designs, y, fit_params)


class LogisticLabels(LogisticBatch):
    """Logistic regressions that predict labels only, where these are certain."""

    exact, label_margin = False, 1e-5

    def __init__(
        self,
        steps: Sequence[PipelineStep],
        designs: Sequence[DesignMatrix],
        y: Any,
        fit_params: Mapping[str, Any],
    ) -> None:
        super().__init__(steps, designs, y, fit_params)
        state = self.state
        if state.n_functions > 1 or any(matrix is not self.matrices[0] for matrix in self.matrices):
            raise UnsupportedData("there are several matrices, or more than two classes")
        order = np.argsort(state.widths, kind="stable")
        loss = LockstepLoss(
            self.matrices[0], state.codes, state.weights, state.widths[order], state.penalties[order],
            fit_intercept=state.fit_intercept,
        )  # fmt: skip
        tolerances, max_iter = (np.array([self.params[i][name] for i in order]) for name in ("tol", "max_iter"))
        points, n_iter = minimize_in_lockstep(loss, tolerances, max_iter)
        places = np.argsort(order).tolist()
        self.n_iter = [int(n_iter[place]) for place in places]
        for i, (place, width) in enumerate(zip(places, state.widths.tolist(), strict=True)):
            point = points[place]
            state.points[i, :width, 0] = point[1 : width + 1]
            if state.fit_intercept:
                state.points[i, width, 0] = point[0]

    def predict_labels(self, matrices: Sequence[Any], ranked_classes: Any = None) -> list[np.ndarray | None]:
        """Predict the labels of each member; None where they are not certain."""
        labels = super().predict_labels(matrices, ranked_classes)
        return [None if n == NOT_CERTAIN else own for n, own in zip(self.n_iter, labels, strict=True)]

    def emit_warnings(self, i: int) -> None:
        """Emit no warning: a fit that has not converged has no labels."""

    def estimator(self, i: int) -> Any:
        """Raise UnsupportedData: the coefficients differ in the last digits."""
        raise UnsupportedData(f"only labels are certain, not the coefficients of fit {i}")
