"""What a notebook fits before its search, as the first steps of a pipeline within it."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field

from diurnal.notebook.effects import callee_name
from diurnal.notebook.fits import Fit, constructor
from diurnal.notebook.imports import Import
from diurnal.notebook.program import Program
from diurnal.notebook.row_declaration import Data

_GRIDS = {
    "GridSearchCV": "param_grid",
    "HalvingGridSearchCV": "param_grid",
    "BayesSearchCV": "search_spaces",
}
_MODEL = "model"


@dataclass
class Ending:
    """The last lines of an experiment's function.

    Attributes
    ----------
    lines : list of str
        They end with ``return``; none where nothing stands around the search.
    comments : list of str
        What is said above them.
    imports : set of Import
        What they need.
    """

    lines: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    imports: set[Import] = field(default_factory=set)


def around(program: Program, result: ast.expr, data: Data, kind: str, grid: str | None) -> Ending:
    """Put what is fitted outside of a search into it.

    Parameters
    ----------
    program : Program
        All statements.
    result : ast.expr
        The search or estimator.
    data : Data
        What is fitted outside, and which column is taken as a series.
    kind : str
        ``"search"`` or something else.
    grid : str or None
        The attribute of the search with its candidates, and whether it is a list: see `grid_of`.
    """
    if not data.steps and data.column is None:
        return Ending()
    steps, found = [], set[Import]()
    if data.column is not None:
        steps.append(f'("select", FunctionTransformer({selecting(data.column)}))')
        found.add(Import("sklearn.preprocessing", "FunctionTransformer"))
    taken = {"select", _MODEL}
    for step in data.steps:
        written = ast.unparse(step.estimator) + ('.set_output(transform="pandas")' if step.frame else "")
        steps.append(f'("{_step_name(step.estimator, taken)}", {written})')
    comments = _said(program, data)
    package = "imblearn.pipeline" if any(step.samples for step in data.steps) else "sklearn.pipeline"
    found.add(Import(package, "Pipeline"))
    text = ast.unparse(result)
    if kind != "search":
        return Ending([f'return Pipeline([{", ".join([*steps, f"""("{_MODEL}", {text})"""])}])'], comments, found)
    name = text if isinstance(result, ast.Name) else "search"
    lines = [] if isinstance(result, ast.Name) else [f"search = {text}"]
    lines.append(f'{name}.estimator = Pipeline([{", ".join([*steps, f"""("{_MODEL}", {name}.estimator)"""])}])')
    if grid is not None:
        lines.append(_prefixed(name, grid))
    return Ending([*lines, f"return {name}"], comments, found)


def _said(program: Program, data: Data) -> list[str]:
    """Describe what the notebook does instead."""
    listed = ", ".join(f"{ast.unparse(step.estimator)[:60]} ({program.location(step.index)})" for step in data.steps)
    said = [f"The notebook fits on the column {data.column!r} alone."] if data.column is not None else []
    return said + ([f"The notebook fits this before the search: {listed}."] if listed else [])


def selecting(column: str) -> str:
    """Name the function that gives one column as a series."""
    return "select_" + (re.sub(r"\W+", "_", column).strip("_").lower() or "column")


def _prefixed(name: str, grid: str) -> str:
    attribute, _, listed = grid.partition(" ")
    one = f'{{f"{_MODEL}__{{name}}": values for name, values in {{}}.items()}}'
    if listed == "list":
        return f"{name}.{attribute} = [{one.replace('{}.items', 'grid.items')} for grid in {name}.{attribute}]"
    return f"{name}.{attribute} = {one.replace('{}.items', f'{name}.{attribute}.items')}"


def _step_name(estimator: ast.expr, taken: set[str]) -> str:
    made = callee_name(estimator.func) if isinstance(estimator, ast.Call) else ""
    base = estimator.id if isinstance(estimator, ast.Name) else made.lower() or "step"
    name, number = base.replace("__", "_"), 2
    while name in taken:
        name, number = f"{base}_{number}", number + 1
    taken.add(name)
    return name


def grid_of(program: Program, fit: Fit) -> str | None:
    """Return the attribute of a search that holds its candidates, followed by ``list`` where that is a list."""
    made = constructor(program, fit.estimator, fit.index) if fit.kind == "search" else None
    if made is None:
        return None
    attribute = _GRIDS.get(callee_name(made.func), "param_distributions")
    given = next((keyword.value for keyword in made.keywords if keyword.arg == attribute), None)
    given = given if given is not None else made.args[1] if len(made.args) > 1 else None
    if isinstance(given, ast.Name):
        index = program.definition(given.id, fit.index)
        given = None if index is None else program[index].value
    return f"{attribute} list" if isinstance(given, ast.List) else attribute
