"""Nearest neighbours for all k: one index, one search for the most neighbours, of which each k takes the first.

A search for k finds the same as the first k of a search for more, except where two neighbours are equally far and only
one of them is among the k. Such a k is not served. Predicted labels are then counted as scikit-learn counts them;
what is more than labels of uniform votes is predicted by a copy of the fitted estimator, which saves the index only.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from diurnal.search.families.protocol import Design, NotServed
from diurnal.search.families.shared import like, one_matrix, rest_key
from diurnal.search.tree import Step


class Family:
    """The family of nearest neighbours that differ in their number."""

    leading = False

    def key(self, step: Step) -> Hashable | None:
        """Give all parameters but the number of neighbours."""
        if type(step.template) not in {KNeighborsClassifier, KNeighborsRegressor}:
            return None
        params = step.params()
        k = params["n_neighbors"]
        plain = not isinstance(k, bool) and isinstance(k, int | np.integer) and k >= 1
        known = params["metric"] in ("minkowski", "euclidean", "manhattan") and params["n_jobs"] in (None, 1)
        return rest_key(step, "n_neighbors") if plain and known else None

    def wide(self, shape: tuple[int, int], y: Any) -> bool:  # noqa: ARG002 - what the protocol asks
        """Tell that each member wants its own matrix."""
        return False

    def fit(self, steps: Sequence[Step], designs: Sequence[Design], y: Any, words: Mapping[str, Any]) -> Neighbours:
        """Build the index."""
        X = one_matrix(designs)
        if words:
            raise NotServed(f"the fit is given {sorted(words)}")
        return Neighbours(steps, X, y)


class Neighbours:
    """One index for several numbers of neighbours."""

    exact = True

    def __init__(self, steps: Sequence[Step], X: Any, y: Any) -> None:
        self.steps, self.ks = steps, [int(step.params()["n_neighbors"]) for step in steps]
        half = X.shape[0] // 2  # from here on scikit-learn may choose another kind of index
        self.served = [k < half for k in self.ks]
        if sum(self.served) < 2:
            raise NotServed("most are of too many neighbours")
        self.most = max(k for k in self.ks if k < half)
        self.widest = steps[self.ks.index(self.most)].make().fit(X, y)

    def estimator(self, i: int) -> Any:
        """Give the i-th with the one index."""
        if not self.served[i]:
            raise NotServed("it may have another kind of index")
        return like(self.widest, self.steps[i].make())

    def conclude(self, i: int) -> None:
        """Nothing is warned of."""

    def labels(self, Xs: Sequence[Any], apart: Any = None) -> list[np.ndarray | None] | None:
        """Give the labels that each number of neighbours votes for; None where a tie makes it unsure who votes."""
        knn, X = self.widest, Xs[0]
        if (
            apart is not None
            or not isinstance(knn, KNeighborsClassifier)
            or knn.weights != "uniform"
            or knn.outputs_2d_
        ):
            return None
        if any(other is not X for other in Xs) or self.most + 1 > knn.n_samples_fit_:
            return None
        far, which = knn.kneighbors(X, self.most + 1)
        codes, n_classes = knn._y[which], len(knn.classes_)
        votes = np.zeros((len(codes), n_classes), dtype=np.int64)
        by_k: dict[int, np.ndarray | None] = {}
        rows = np.arange(len(codes))
        for k in range(1, self.most + 1):
            votes[rows, codes[:, k - 1]] += 1
            if k in self.ks:
                sure = bool(np.all(far[:, k] > far[:, k - 1] * (1 + 1e-9)))
                by_k[k] = knn.classes_[votes.argmax(axis=1)] if sure else None
        return [by_k.get(k) for k in self.ks]
