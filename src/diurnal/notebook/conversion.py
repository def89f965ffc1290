"""From a notebook to an experiment."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from diurnal.errors import UsageError
from diurnal.notebook import cells
from diurnal.notebook.column_selectors import ColumnSelectors
from diurnal.notebook.effects import find_global_names
from diurnal.notebook.experiment_file import Declaration, ExperimentFile
from diurnal.notebook.fit_data import data_of
from diurnal.notebook.fits import Fit, choose
from diurnal.notebook.frame_trail import follow
from diurnal.notebook.imports import needed
from diurnal.notebook.pipeline_steps import around, grid_of
from diurnal.notebook.program import Program
from diurnal.notebook.readers import Places
from diurnal.notebook.report import Report
from diurnal.notebook.row_declaration import Data
from diurnal.notebook.search_statements import Search, search_of
from diurnal.notebook.sibling_modules import modules_of
from diurnal.notebook.summary import Summary
from diurnal.notebook.test_splits import share


@dataclass(frozen=True)
class Draft:
    """An experiment that was taken from a notebook.

    Attributes
    ----------
    text : str
        Of its file.
    report : Report
        What was taken and what was left out.
    modules : tuple of Path
        Files beside the notebook that it imports.
    """

    text: str
    report: Report
    modules: tuple[Path, ...]


def draft(path: Path, name: str, *, search: str | None = None, project: Path, file: Path) -> Draft:
    """Take the search of a notebook or script, and what it is made of. Nothing of it is run.

    Parameters
    ----------
    path : Path
        The notebook (``.ipynb``) or script (``.py``).
    name : str
        The name of the experiment.
    search : str, optional
        The variable that holds the search; the last one that is fitted unless given.
    project : Path
        The project that the experiment is for.
    file : Path
        The file that the experiment will have.

    Raises
    ------
    UsageError
        If it cannot be read, or fits neither a search nor an estimator.
    """
    try:
        return _drafted(path, name, search, Places(path.resolve().parent, project.resolve(), file))
    except (RecursionError, MemoryError):
        raise UsageError(
            f"{path} is nested too deeply to be read", hint="take the search out into a smaller script"
        ) from None


def _drafted(path: Path, name: str, wanted: str | None, places: Places) -> Draft:
    program = Program(cells.read_document(path))
    fit, others = choose(program, wanted)
    search = _search(program, fit)
    data = data_of(program, fit, [*search.nodes.values(), ast.Expr(search.result)], places)
    data.to_fill_in += _undefined(program, search, data)
    test_size = data.share if data.split is None else share(program, data.split, fit.index)
    ending = around(program, search.result, data, fit.kind, grid_of(program, fit))
    declaration = Declaration(name, search, ending, data, test_size, places.expression())
    file = ExperimentFile(program, declaration)
    text = file.text()
    report = Summary(program, fit, others, search, data, test_size, file.named_functions).report(text)
    used = [*search.nodes.values(), *data.preparation.nodes.values()]
    return Draft(text, report, tuple(modules_of(used, path)))


def _search(program: Program, fit: Fit) -> Search:
    """Take the search, with what is fitted before it."""
    if fit.features is None:
        return search_of(program, fit, [], ColumnSelectors(program, None, frozenset()))
    features = follow(program, fit.features, fit.index, steps=True)
    others = set(features.drop)
    if fit.target is not None:
        others |= {follow(program, fit.target, fit.index, steps=False).column or ""}
    before = [(step.estimator, step.index) for step in features.steps]
    return search_of(program, fit, before, ColumnSelectors(program, features, frozenset(others)))


def _undefined(program: Program, search: Search, data: Data) -> list[str]:
    """Name what the notebook uses and never defines, but for what ``import *`` gives."""
    nodes = {**search.nodes, **data.preparation.nodes}
    binding = [node.name for node in nodes.values() if isinstance(node, ast.FunctionDef) and find_global_names(node)]
    said = [f"`{name}` binds global names; let it return what it makes" for name in binding]
    unresolved = search.unresolved | data.preparation.unresolved
    names = [name for name in sorted(unresolved) if not needed(program, {}, [name], len(program))]
    return [*said, *(f"`{name}` is used, and the notebook does not define it" for name in names)]
