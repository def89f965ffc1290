"""The two kinds of families: of pipeline steps, where one fit serves many sizes, and of final fits."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from diurnal.search.tree import Step


class NotServed(Exception):
    """A family cannot fit what it was given; each member is fitted on its own."""


class Design(NamedTuple):
    """What a member is fitted on: a matrix, or its leading columns."""

    matrix: Any
    width: int | None = None


class Fits(Protocol):
    """Final estimators that were fitted together."""

    exact: bool  # whether all is to the last bit as if each was fitted on its own

    def estimator(self, i: int) -> Any:
        """Give the i-th as a fitted estimator; :class:`NotServed` if it must be fitted on its own."""

    def conclude(self, i: int) -> None:
        """Warn of what the fit of the i-th would have warned of, where its estimator is not asked for."""

    def labels(self, Xs: Sequence[Any], apart: Any = None) -> Sequence[np.ndarray | None] | None:
        """Give the labels that each predicts for rows of its own, None where it is not sure; None: one by one.

        With `apart`, the classes of the rows, it must be as sure of which of two rows of different classes comes first.
        """


class Final(Protocol):
    """A family of final fits."""

    leading: bool  # whether members below several sizes of a nested family are fitted together

    def key(self, step: Step) -> Hashable | None:
        """Give the same for steps that are fitted together; None for a step that is not of the family."""

    def wide(self, shape: tuple[int, int], y: Any) -> bool:
        """Tell whether members below several sizes want one wide matrix, of these rows and columns, or each its own."""

    def fit(self, steps: Sequence[Step], designs: Sequence[Design], y: Any, words: Mapping[str, Any]) -> Fits:
        """Fit them; :class:`NotServed` if these data are not for this family."""


class Sizes(Protocol):
    """One fitted pipeline step that serves several sizes."""

    def fitted(self, step: Step) -> Any:
        """Give the fitted pipeline step of one size."""

    def train(self, step: Step, X: Any, fitted: Any) -> Any:
        """Give what `fit_transform` would have given."""

    def width(self, step: Step) -> int:
        """Give how many columns a size has."""

    def wide(self, steps: Sequence[Step], X_train: Any, others: Sequence[Any]) -> tuple[Any, list[Any]] | None:
        """Give one matrix of train rows, and one of each of the others, of which each size is the leading columns.

        None where a size is some other columns.
        """


class Nested(Protocol):
    """A family of pipeline steps."""

    def key(self, step: Step) -> Hashable | None:
        """Give the same for steps that one fit serves; None for a step that is not of the family."""

    def serves(self, step: Step, shape: tuple[int, int]) -> bool:
        """Tell whether this size is served for a matrix of this shape."""

    def fit(self, steps: Sequence[Step], X: Any, y: Any, words: Mapping[str, Any]) -> Sizes:
        """Fit once for all; :class:`NotServed` if these data are not for this family."""
