"""What an experiment declares about its rows."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from diurnal.notebook.preparation import Preparation
from diurnal.notebook.provenance import PreprocessingStep


@dataclass
class DataDeclaration:
    """What an experiment declares about its rows.

    Attributes
    ----------
    source : str
        The expression of the source; empty where it is a function.
    imports : tuple of str
        What it needs of `diurnal.sources`.
    preparation : Preparation
        The statements of the function.
    result : str
        What the function returns.
    modules : tuple of str
        What the result needs beside the statements: modules, or a module and a name.
    session : bool
        Whether the function is one of Spark's.
    target : str or None
        The column to predict, if it is known.
    drop : tuple of str
        Columns that are no features.
    named : dict of str to str
        Further arguments that name columns: ``groups``, ``sample_weight``.
    steps : list of Step
        What is fitted outside of the search.
    column : str or None
        The one column that the estimator takes as a series, as those of texts do.
    place : int
        The index of the statement that reads.
    split : ast.Call or None
        How the notebook splits.
    share : float or None
        The share of rows that it leaves for testing, where it splits by places.
    to_fill_in, notes : list of str
        What is to be decided, and what may surprise.
    left_out : list of (int, str)
        By the index of a statement, arguments that were not taken over.
    """

    source: str = ""
    imports: tuple[str, ...] = ()
    preparation: Preparation = field(default_factory=Preparation)
    result: str = ""
    modules: tuple[str, ...] = ()
    needs_session: bool = False
    target: str | None = None
    drop: tuple[str, ...] = ()
    column_arguments: dict[str, str] = field(default_factory=dict)
    steps: list[PreprocessingStep] = field(default_factory=list)
    column: str | None = None
    read_index: int = -1
    split: ast.Call | None = None
    test_fraction: float | None = None
    to_fill_in: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: list[tuple[int, str]] = field(default_factory=list)

    @classmethod
    def from_function(cls, preparation: Preparation, result: str) -> DataDeclaration:
        """Make one whose source is a function."""
        return cls(
            preparation=preparation,
            result=result,
            read_index=preparation.first_index,
            to_fill_in=list(preparation.to_fill_in),
            split=preparation.split,
            test_fraction=preparation.test_fraction,
        )
