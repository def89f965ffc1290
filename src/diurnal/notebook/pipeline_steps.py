"""Transformers that a notebook fits before its search, as the first steps of a pipeline within the search."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field

from diurnal.notebook.data_declaration import DataDeclaration
from diurnal.notebook.effects import find_free_names
from diurnal.notebook.fits import Fit, find_constructor
from diurnal.notebook.imports import Import, find_imports
from diurnal.notebook.program import Program
from diurnal.notebook.syntax import callee_name, choose_unused_name

_GRID_ATTRIBUTES = {
    "GridSearchCV": "param_grid",
    "HalvingGridSearchCV": "param_grid",
    "BayesSearchCV": "search_spaces",
}
_MODEL_STEP = "model"


@dataclass
class WrappedSearch:
    """The last statements of an experiment's function, which put transformers and search into one pipeline.

    Attributes
    ----------
    lines : list of str
        The statements, with a ``return`` at the end; empty if there are no transformers.
    comments : list of str
        The comments above them.
    imports : set of Import
        The imports that they need.
    """

    lines: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    imports: set[Import] = field(default_factory=set)


def wrap_search(
    program: Program, result: ast.expr, data: DataDeclaration, estimator_type: str, grid: str | None
) -> WrappedSearch:
    """Put the transformers that are fitted before a search into it.

    Parameters
    ----------
    program : Program
        The statements of the notebook.
    result : ast.expr
        The expression of the search or estimator.
    data : Data
        What is fitted outside, and which column is step_names as a series.
    kind : str
        The type of the estimator; see `Fit`.
    grid : str or None
        The attribute of the search with its candidates, and whether it is a list; see `find_grid_attribute`.
    """
    if not data.steps and data.column is None:
        return WrappedSearch()
    steps, imports = [], set[Import]()
    if data.column is not None:
        steps.append(f'("select", FunctionTransformer({selector_name(data.column)}))')
        imports.add(Import("sklearn.preprocessing", "FunctionTransformer"))
    step_names = {"select", _MODEL_STEP}
    for step in data.steps:
        imports |= find_imports(program, {}, find_free_names(step.estimator), step.index)
        written = ast.unparse(step.estimator) + ('.set_output(transform="pandas")' if step.frame else "")
        steps.append(f'("{_step_name(step.estimator, step_names)}", {written})')
    comments = _describe_steps(program, data)
    package = "imblearn.pipeline" if any(step.samples for step in data.steps) else "sklearn.pipeline"
    imports.add(Import(package, "Pipeline"))
    text = ast.unparse(result)
    if estimator_type != "search":
        return WrappedSearch(
            [f'return Pipeline([{", ".join([*steps, f"""("{_MODEL_STEP}", {text})"""])}])'], comments, imports
        )
    name = text if isinstance(result, ast.Name) else "search"
    lines = [] if isinstance(result, ast.Name) else [f"search = {text}"]
    lines.append(f'{name}.estimator = Pipeline([{", ".join([*steps, f"""("{_MODEL_STEP}", {name}.estimator)"""])}])')
    if grid is not None:
        lines.append(_prefix_grid(name, grid))
    return WrappedSearch([*lines, f"return {name}"], comments, imports)


def _describe_steps(program: Program, data: DataDeclaration) -> list[str]:
    """Describe what the notebook does instead of the pipeline."""
    listed = ", ".join(f"{ast.unparse(step.estimator)[:60]} ({program.location(step.index)})" for step in data.steps)
    lines = [f"The notebook fits on the column {data.column!r} alone."] if data.column is not None else []
    return lines + ([f"The notebook fits this before the search: {listed}."] if listed else [])


def selector_name(column: str) -> str:
    """Return the name of the function that selects a column as a series."""
    return "select_" + (re.sub(r"\W+", "_", column).strip("_").lower() or "column")


def _prefix_grid(name: str, grid: str) -> str:
    attribute, _, listed = grid.partition(" ")
    one = f'{{f"{_MODEL_STEP}__{{name}}": values for name, values in {{}}.items()}}'
    if listed == "list":
        return f"{name}.{attribute} = [{one.replace('{}.items', 'grid.items')} for grid in {name}.{attribute}]"
    return f"{name}.{attribute} = {one.replace('{}.items', f'{name}.{attribute}.items')}"


def _step_name(estimator: ast.expr, step_names: set[str]) -> str:
    constructor = callee_name(estimator.func) if isinstance(estimator, ast.Call) else ""
    base = estimator.id if isinstance(estimator, ast.Name) else constructor.lower() or "step"
    name = choose_unused_name(base.replace("__", "_"), step_names)
    step_names.add(name)
    return name


def find_grid_attribute(program: Program, fit: Fit) -> str | None:
    """Return the attribute of a search with its candidates, followed by ``" list"`` if its value is a list."""
    constructor = find_constructor(program, fit.estimator, fit.index) if fit.estimator_type == "search" else None
    if constructor is None:
        return None
    attribute = _GRID_ATTRIBUTES.get(callee_name(constructor.func), "param_distributions")
    candidates = next((keyword.value for keyword in constructor.keywords if keyword.arg == attribute), None)
    candidates = candidates if candidates is not None else constructor.args[1] if len(constructor.args) > 1 else None
    if isinstance(candidates, ast.Name):
        index = program.reaching_definition(candidates.id, fit.index)
        candidates = None if index is None else program[index].value
    return f"{attribute} list" if isinstance(candidates, ast.List) else attribute
