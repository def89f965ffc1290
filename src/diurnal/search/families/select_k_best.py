"""Every number of best features from one fit: all that `SelectKBest` and `SelectPercentile` learn is scores.

Which features a size keeps is decided when it transforms, by scikit-learn's own rule for ties, from the same scores.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.feature_selection import SelectKBest, SelectPercentile

from diurnal.search.cache_keys import key_of
from diurnal.search.families.protocol import NotServed
from diurnal.search.families.shared import like, rest_key
from diurnal.search.tree import Step

_SIZE = {SelectKBest: "k", SelectPercentile: "percentile"}


class NestedSelection:
    """The family of `SelectKBest` that differ in `k`, and that of `SelectPercentile` that differ in `percentile`."""

    def key(self, step: Step) -> Hashable | None:
        """Give the scoring function; None for a size that keeps nothing, or is no size."""
        name = _SIZE.get(type(step.template))
        if name is None:
            return None
        size = step.params()[name]
        kinds = (int, np.integer) if name == "k" else (int, float, np.number)
        if size != "all" and (isinstance(size, bool) or not isinstance(size, kinds) or size <= 0):
            return None
        return rest_key(step, name), key_of(vars(step.template).get("_sklearn_output_config"))

    def serves(self, step: Step, shape: tuple[int, int]) -> bool:
        """Tell whether there are as many features; if not, the fit of this size warns of it, or fails."""
        size = step.params()[_SIZE[type(step.template)]]
        return bool(size == "all" or size <= (shape[1] if isinstance(step.template, SelectKBest) else 100))

    def fit(self, steps: Sequence[Step], X: Any, y: Any, words: Mapping[str, Any]) -> Selections:
        """Score the features once."""
        if words:
            raise NotServed("a selection takes no words")
        return Selections(steps[0].make().fit(X, y))


class Selections:
    """The scores of all features, and the selections that are made from them."""

    def __init__(self, scored: Any) -> None:
        self.scored = scored

    def fitted(self, step: Step) -> Any:
        """Give a selection of one size, with these scores."""
        return like(self.scored, step.make())

    def train(self, step: Step, X: Any, fitted: Any) -> Any:  # noqa: ARG002 - what the protocol asks
        """Give what `fit_transform` would have given."""
        return fitted.transform(X)

    def width(self, step: Step) -> int:
        """Give how many features a size keeps."""
        return int(self.fitted(step).get_support().sum())

    def wide(self, steps: Sequence[Step], X_train: Any, others: Sequence[Any]) -> None:
        """Give none: the features that are kept stay in their order."""
