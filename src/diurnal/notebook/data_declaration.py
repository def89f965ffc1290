"""The declaration of the data of an experiment: source, target and further columns."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from diurnal.notebook.preparation import Preparation
from diurnal.notebook.preprocessing_step import PreprocessingStep


@dataclass
class DataDeclaration:
    """The declaration of the data of an experiment.

    Attributes
    ----------
    source : str
        The expression of the source; empty if the source is a function.
    imports : tuple of str
        The names to import from `diurnal.sources`.
    preparation : Preparation
        The statements of the source function.
    result : str
        The expression that the source function returns.
    modules : tuple of str
        The imports that the result needs in addition: modules, or a module and a name.
    needs_session : bool
        Whether the source function needs a session of Spark.
    target : str or None
        The column to predict; None if it is not known.
    drop : tuple of str
        The columns that are not features.
    column_arguments : dict of str to str
        The other arguments of `@experiment` that name a column: ``groups``, ``sample_weight``.
    steps : list of PreprocessingStep
        The transformers that the notebook fits before the search.
    column : str or None
        The column that the estimator is fitted on as a series, as text vectorizers are.
    read_index : int
        The index of the statement that reads the rows.
    split : ast.Call or None
        The call that splits the rows.
    test_fraction : float or None
        The fraction of rows for testing, if the notebook splits by position.
    to_fill_in, notes : list of str
        Decisions for the user of the experiment, and differences from the notebook.
    left_out : list of (int, str)
        The index of a statement, and an argument of its call that was left out.
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
        """Return the declaration of data whose source is a function."""
        return cls(
            preparation=preparation,
            result=result,
            read_index=preparation.first_index,
            to_fill_in=list(preparation.to_fill_in),
            split=preparation.split,
            test_fraction=preparation.test_fraction,
        )
