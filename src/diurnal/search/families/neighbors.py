"""Nearest neighbors for all `n_neighbors`: one index, and one query for the largest number.

The neighbors for k are the first k of a query for more, unless the k-th and the next one have equal distances: then it
is not defined which of the two belongs to the k, and labels of that k are not certain. Labels of uniform votes are
counted as scikit-learn counts them. Any other prediction is made by a copy of the fitted estimator, which shares the
index only.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from diurnal.search.families.family_protocol import (
    DesignMatrix,
    UnsupportedData,
    common_matrix,
    copy_fitted_attributes,
    key_without,
)
from diurnal.search.tree import PipelineStep

# Distances that depend on two rows only, and fulfil the triangle inequality or are searched by brute force. A ball tree
# with another one, such as braycurtis, finds other neighbors for another k.
_METRICS = (
    "minkowski", "euclidean", "l2", "manhattan", "l1", "cityblock", "chebyshev", "cosine", "canberra", "hamming",
    "sqeuclidean", "correlation",
)  # fmt: skip


class NeighborsFamily:
    """The family of nearest neighbors that differ in `n_neighbors`."""

    shares_leading_columns = False

    def group_key(self, step: PipelineStep) -> Hashable | None:
        """Return a key of all parameters but `n_neighbors`."""
        if type(step.template) not in {KNeighborsClassifier, KNeighborsRegressor}:
            return None
        params = step.params()
        k = params["n_neighbors"]
        is_valid = not isinstance(k, bool) and isinstance(k, int | np.integer) and k >= 1
        is_known = params["metric"] in _METRICS and params["n_jobs"] in (None, 1)
        return key_without(step, "n_neighbors") if is_valid and is_known else None

    def prefers_shared_matrix(self, shape: tuple[int, int], y: Any) -> bool:  # noqa: ARG002 - of the protocol
        """Return False: each member uses its own matrix."""
        return False

    def fit(
        self, steps: Sequence[PipelineStep], designs: Sequence[DesignMatrix], y: Any, fit_params: Mapping[str, Any]
    ) -> FittedNeighbors:
        """Build the index."""
        X = common_matrix(designs)
        if fit_params:
            raise UnsupportedData(f"the fit has the parameters {sorted(fit_params)}")
        return FittedNeighbors(steps, X, y)


class FittedNeighbors:
    """One index for several numbers of neighbors."""

    exact = True

    def __init__(self, steps: Sequence[PipelineStep], X: Any, y: Any) -> None:
        self.steps, self.ks = steps, [int(step.params()["n_neighbors"]) for step in steps]
        # From half of the rows on, ``algorithm="auto"`` may choose another kind of index (NeighborsBase._fit).
        half = X.shape[0] // 2
        self.is_served = [k < half for k in self.ks]
        if sum(self.is_served) < 2:
            raise UnsupportedData("fewer than two members have less neighbors than half of the rows")
        self.max_k = max(k for k in self.ks if k < half)
        self.largest = steps[self.ks.index(self.max_k)].build().fit(X, y)

    def estimator(self, i: int) -> Any:
        """Return the i-th estimator, which shares the index."""
        if not self.is_served[i]:
            raise UnsupportedData("it may have another kind of index")
        return copy_fitted_attributes(self.largest, self.steps[i].build())

    def emit_warnings(self, i: int) -> None:
        """Do nothing: the fit has no warnings."""

    def predict_labels(self, matrices: Sequence[Any], ranked_classes: Any = None) -> list[np.ndarray | None] | None:
        """Predict the labels for each number of neighbors; None where a tie of distances makes the voters uncertain."""
        knn, X = self.largest, matrices[0]
        is_plain_vote = isinstance(knn, KNeighborsClassifier) and knn.weights == "uniform" and not knn.outputs_2d_
        if ranked_classes is not None or not is_plain_vote:
            return None
        if any(other is not X for other in matrices) or self.max_k + 1 > knn.n_samples_fit_:
            return None
        return self._count_votes(*knn.kneighbors(X, self.max_k + 1))

    def _count_votes(self, distances: np.ndarray, indices: np.ndarray) -> list[np.ndarray | None]:
        """Count the votes of the first k neighbors, for k = 1, 2, ...: each step adds the vote of one neighbor.

        For a row with the neighbors a, b, b the votes for (a, b) are (1, 0), (1, 1), (1, 2), and the labels a, a, b:
        argmax returns the first class of a tie, as scikit-learn does. One more neighbor than `max_k` is needed to see
        whether the last one is tied.
        """
        knn = self.largest
        codes = knn._y[indices]
        votes = np.zeros((len(codes), len(knn.classes_)), dtype=np.int64)
        labels_of: dict[int, np.ndarray | None] = {}
        rows = np.arange(len(codes))
        for k in range(1, self.max_k + 1):
            votes[rows, codes[:, k - 1]] += 1
            if k in self.ks:
                is_certain = bool(np.all(distances[:, k] > distances[:, k - 1] * (1 + 1e-9)))
                labels_of[k] = knn.classes_[votes.argmax(axis=1)] if is_certain else None
        return [labels_of.get(k) for k in self.ks]
