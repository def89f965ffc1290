"""All sizes of `SelectKBest` and `SelectPercentile` from one fit.

The fit computes one score per feature. The number of features matters only in `transform`, where scikit-learn's own
code selects the best features, and breaks ties, from these scores.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.feature_selection import SelectKBest, SelectPercentile

from diurnal.search.cache_keys import key_of
from diurnal.search.families.family_protocol import UnsupportedData, copy_fitted_attributes, key_without
from diurnal.search.tree import PipelineStep

_SIZE_PARAM = {SelectKBest: "k", SelectPercentile: "percentile"}


class SelectionFamily:
    """The families of `SelectKBest` that differ in `k`, and of `SelectPercentile` that differ in `percentile`."""

    def group_key(self, step: PipelineStep) -> Hashable | None:
        """Return a key of the scoring function; None if the size is not valid, or selects nothing."""
        name = _SIZE_PARAM.get(type(step.template))
        if name is None:
            return None
        size = step.params()[name]
        types = (int, np.integer) if name == "k" else (int, float, np.number)
        if size != "all" and (isinstance(size, bool) or not isinstance(size, types) or size <= 0):
            return None
        return key_without(step, name), key_of(vars(step.template).get("_sklearn_output_config"))

    def supports(self, step: PipelineStep, shape: tuple[int, int]) -> bool:
        """Return whether there are that many features; if not, the fit of this size warns or fails."""
        size = step.params()[_SIZE_PARAM[type(step.template)]]
        return bool(size == "all" or size <= (shape[1] if isinstance(step.template, SelectKBest) else 100))

    def fit(self, steps: Sequence[PipelineStep], X: Any, y: Any, fit_params: Mapping[str, Any]) -> FittedSelections:
        """Score the features once."""
        if fit_params:
            raise UnsupportedData("a feature selection takes no fit parameters")
        return FittedSelections(steps[0].build().fit(X, y))


class FittedSelections:
    """The scores of all features, and the selections of several sizes that use them."""

    def __init__(self, scored: Any) -> None:
        self.scored = scored
        self._fitted: dict[Hashable, Any] = {}

    def fitted_step(self, step: PipelineStep) -> Any:
        """Return the selection of one size with these scores."""
        if step.key not in self._fitted:
            self._fitted[step.key] = copy_fitted_attributes(self.scored, step.build())
        return self._fitted[step.key]

    def fit_transform_output(self, step: PipelineStep, X: Any) -> Any:
        """Return the output of `fit_transform` of one size."""
        return self.fitted_step(step).transform(X)

    def n_columns(self, step: PipelineStep) -> int:
        """Return the number of features that one size selects."""
        return int(self.fitted_step(step).get_support().sum())

    def shared_matrices(self, steps: Sequence[PipelineStep], X_train: Any, others: Sequence[Any]) -> None:
        """Return None: selected features stay in their order, so those of a size are not leading columns."""
