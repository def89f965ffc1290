"""All `ccp_alpha` of a decision tree from the complete tree, which scikit-learn's own function prunes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

from diurnal.search.families.family_protocol import (
    DesignMatrix,
    UnsupportedData,
    common_matrix,
    copy_fitted_attributes,
    key_without,
)
from diurnal.search.tree import PipelineStep

_TREES = {DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor}


class PrunedTreeFamily:
    """The family of decision trees that differ in `ccp_alpha`."""

    shares_leading_columns = False

    def group_key(self, step: PipelineStep) -> Hashable | None:
        """Return a key of all parameters but `ccp_alpha`; None without a seed."""
        if type(step.template) not in _TREES:
            return None
        params = step.params()
        alpha = params["ccp_alpha"]
        is_valid = isinstance(alpha, float | int | np.number) and not isinstance(alpha, bool) and alpha >= 0
        return key_without(step, "ccp_alpha") if is_valid and type(params["random_state"]) is int else None

    def prefers_shared_matrix(self, shape: tuple[int, int], y: Any) -> bool:  # noqa: ARG002 - of the protocol
        """Return False: each member uses its own matrix."""
        return False

    def fit(
        self, steps: Sequence[PipelineStep], designs: Sequence[DesignMatrix], y: Any, fit_params: Mapping[str, Any]
    ) -> FittedPrunedTrees:
        """Fit the complete tree."""
        X = common_matrix(designs)
        if not hasattr(type(steps[0].template), "_prune_tree"):
            raise UnsupportedData("the private method that prunes a tree is missing")
        if fit_params.keys() - {"sample_weight"}:
            raise UnsupportedData(f"the fit has the parameters {sorted(fit_params)}")
        return FittedPrunedTrees(steps, steps[0].build().set_params(ccp_alpha=0.0).fit(X, y, **fit_params))


class FittedPrunedTrees:
    """A complete tree, and trees that are pruned from it."""

    exact = True

    def __init__(self, steps: Sequence[PipelineStep], complete: Any) -> None:
        self.steps, self.complete = steps, complete

    def estimator(self, i: int) -> Any:
        """Return the i-th tree: a copy of the complete tree, pruned with its `ccp_alpha`."""
        pruned = copy_fitted_attributes(self.complete, self.steps[i].build())
        pruned._prune_tree()
        return pruned

    def emit_warnings(self, i: int) -> None:
        """Do nothing: the fit has no warnings."""

    def predict_labels(self, matrices: Sequence[Any], ranked_classes: Any = None) -> None:
        """Return None: each tree predicts on its own."""
