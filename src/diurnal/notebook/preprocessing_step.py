"""A transformer or a sampler that a notebook applies before its search."""

from __future__ import annotations

import ast
from dataclasses import dataclass


@dataclass(frozen=True)
class PreprocessingStep:
    """A transformer or a sampler that the notebook applies before the search.

    Attributes
    ----------
    estimator : ast.expr
        The transformer, as an expression of the statement `index`.
    index : int
        The index of the statement that applies it.
    samples : bool
        Whether it resamples rows, as imbalanced-learn does.
    frame : bool
        Whether the notebook converts its result to a frame.
    """

    estimator: ast.expr
    index: int
    samples: bool = False
    frame: bool = False
