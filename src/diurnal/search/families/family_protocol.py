"""Interfaces of the two kinds of families, and functions that several families use.

A *transformer family* fits siblings that differ in a size, such as `n_components`, once for all sizes. A *final
estimator family* fits final estimators that differ in a parameter, such as `alpha`, together.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from diurnal.search.cache_keys import key_of
from diurnal.search.tree import PipelineStep


class UnsupportedData(Exception):
    """A family cannot fit these data with equal numbers; each member is fitted on its own."""


@dataclass(frozen=True, eq=False, slots=True)
class DesignMatrix:
    """The matrix that a member is fitted on, or its leading columns.

    Attributes
    ----------
    matrix : matrix
    n_columns : int or None
        The number of leading columns; None for all.
    """

    matrix: Any
    n_columns: int | None = None


class FittedGroup(Protocol):
    """Final estimators that were fitted together.

    Attributes
    ----------
    exact : bool
        Whether all results equal those of single fits to the last bit.
    """

    exact: bool

    def estimator(self, i: int) -> Any:
        """Return the i-th fitted estimator, and emit its warnings.

        Raises
        ------
        UnsupportedData
            If it must be fitted on its own.
        """

    def emit_warnings(self, i: int) -> None:
        """Emit the warnings of the i-th fit, where its estimator is not built. It raises as :meth:`estimator` does."""

    def predict_labels(self, matrices: Sequence[Any], ranked_classes: Any = None) -> Sequence[np.ndarray | None] | None:
        """Predict the labels of each member for its rows.

        Parameters
        ----------
        matrices : sequence of matrix
            The rows of each member.
        ranked_classes : array, optional
            The true class of each row. If given, labels are returned only where it is also certain which of any two
            rows of different classes has the greater decision value.

        Returns
        -------
        sequence of (array or None), or None
            None in place of an array where the labels are not certain. None in place of the sequence if the family
            does not predict; then each estimator predicts on its own.
        """


class FinalEstimatorFamily(Protocol):
    """A family of final estimators.

    Attributes
    ----------
    shares_leading_columns : bool
        Whether members below several sizes of a transformer family are fitted together.
    """

    shares_leading_columns: bool

    def group_key(self, step: PipelineStep) -> Hashable | None:
        """Return a key that is equal for steps that are fitted together; None for a step outside the family."""

    def prefers_shared_matrix(self, shape: tuple[int, int], y: Any) -> bool:
        """Return whether members below several sizes use one matrix of this shape; if not, each uses its own."""

    def fit(
        self, steps: Sequence[PipelineStep], designs: Sequence[DesignMatrix], y: Any, fit_params: Mapping[str, Any]
    ) -> FittedGroup:
        """Fit the members; raise :class:`UnsupportedData` if the family does not support the data."""


class FittedSizes(Protocol):
    """One fit of a transformer family, which serves several sizes."""

    def fitted_step(self, step: PipelineStep) -> Any:
        """Return the fitted transformer of one size, always the same object."""

    def fit_transform_output(self, step: PipelineStep, X: Any) -> Any:
        """Return the output of `fit_transform` of one size."""

    def n_columns(self, step: PipelineStep) -> int:
        """Return the number of output columns of one size."""

    def shared_matrices(
        self, steps: Sequence[PipelineStep], X_train: Any, others: Sequence[Any]
    ) -> tuple[Any, list[Any]] | None:
        """Transform the train rows, and each of the other matrices, so that every size is the leading columns.

        None if the columns of a size are not the leading columns of a larger one.
        """


class TransformerFamily(Protocol):
    """A family of pipeline steps that transform."""

    def group_key(self, step: PipelineStep) -> Hashable | None:
        """Return a key that is equal for steps that one fit serves; None for a step outside the family."""

    def supports(self, step: PipelineStep, shape: tuple[int, int]) -> bool:
        """Return whether this size can be served for a matrix of this shape."""

    def fit(self, steps: Sequence[PipelineStep], X: Any, y: Any, fit_params: Mapping[str, Any]) -> FittedSizes:
        """Fit once for all sizes; raise :class:`UnsupportedData` if the family does not support the data."""


def key_without(step: PipelineStep, *excluded: str) -> Hashable:
    """Return a key of the class, the path and all parameters but these, with changes of estimators within the step."""
    params = step.params()
    kept = tuple((name, key_of(value)) for name, value in sorted(params.items()) if name not in excluded)
    return type(step.template), step.path, kept


def common_matrix(designs: Sequence[DesignMatrix]) -> Any:
    """Return the matrix that all members are fitted on; raise :class:`UnsupportedData` if there are several."""
    first = designs[0]
    if any(d.matrix is not first.matrix or d.n_columns is not None for d in designs):
        raise UnsupportedData("the members are fitted on different matrices")
    return first.matrix


def copy_fitted_attributes(source: Any, target: Any) -> Any:
    """Set all attributes of a fitted estimator but its parameters on another one, and return that one."""
    params = target.get_params(deep=False)
    vars(target).update({name: value for name, value in vars(source).items() if name not in params})
    return target
