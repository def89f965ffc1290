"""Conversion of a notebook or script into the file of an experiment."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from diurnal.errors import UsageError
from diurnal.notebook.column_selectors import ColumnSelectors
from diurnal.notebook.data_declaration import DataDeclaration
from diurnal.notebook.document import read_document
from diurnal.notebook.effects import find_global_names
from diurnal.notebook.experiment_file import ExperimentDeclaration, ExperimentFile
from diurnal.notebook.fit_data import find_data
from diurnal.notebook.fits import Fit, choose_fit
from diurnal.notebook.imports import find_imports, find_missing_import
from diurnal.notebook.pipeline_steps import find_grid_attribute, wrap_search
from diurnal.notebook.program import Program
from diurnal.notebook.provenance import trace_provenance
from diurnal.notebook.readers import ProjectPaths
from diurnal.notebook.report import Report
from diurnal.notebook.report_builder import ReportBuilder
from diurnal.notebook.search_statements import SearchStatements, collect_search
from diurnal.notebook.sibling_modules import find_sibling_modules
from diurnal.notebook.test_fraction import read_test_fraction


@dataclass(frozen=True)
class ExperimentDraft:
    """An experiment that was extracted from a notebook.

    Attributes
    ----------
    text : str
        The text of the experiment's file.
    report : Report
        The parts that were extracted and the lines that were left out.
    modules : tuple of Path
        The modules in the notebook's folder that the experiment imports.
    """

    text: str
    report: Report
    modules: tuple[Path, ...]


def draft_experiment(path: Path, name: str, *, search: str | None = None, project: Path, file: Path) -> ExperimentDraft:
    """Extract the search of a notebook or script, with the statements that it depends on, without running them.

    Parameters
    ----------
    path : Path
        The notebook (``.ipynb``) or script (``.py``).
    name : str
        The name of the experiment.
    search : str, optional
        The variable of the search; by default the last search that the notebook fits.
    project : Path
        The folder of the experiment's project.
    file : Path
        The path of the experiment's file.

    Raises
    ------
    UsageError
        If the file cannot be read, or fits neither a search nor an estimator.
    """
    try:
        return _convert(path, name, search, ProjectPaths(path.resolve().parent, project.resolve(), file))
    except (RecursionError, MemoryError):
        raise UsageError(
            f"{path} is nested too deeply to be read", hint="move the search into a smaller script"
        ) from None


def _convert(path: Path, name: str, search_name: str | None, paths: ProjectPaths) -> ExperimentDraft:
    program = Program(read_document(path))
    fit, others = choose_fit(program, search_name)
    search = _collect_search(program, fit)
    data = find_data(program, fit, [*search.nodes.values(), ast.Expr(search.result)], paths)
    data.to_fill_in += _describe_undefined(program, search, data)
    data.notes += _describe_missing_imports(program, search, data)
    test_size = data.test_fraction if data.split is None else read_test_fraction(program, data.split, fit.index)
    wrapped = wrap_search(program, search.result, data, fit.estimator_type, find_grid_attribute(program, fit))
    declaration = ExperimentDeclaration(name, search, wrapped, data, test_size, paths.project_expression())
    file = ExperimentFile(program, declaration)
    text = file.text()
    report = ReportBuilder(program, fit, others, search, data, test_size, file.named_functions).build(text)
    used = [*search.nodes.values(), *data.preparation.nodes.values()]
    return ExperimentDraft(text, report, tuple(find_sibling_modules(used, path)))


def _collect_search(program: Program, fit: Fit) -> SearchStatements:
    """Collect the statements of the search and of the transformers that are fitted before it."""
    if fit.features is None:
        return collect_search(program, fit, [], ColumnSelectors(program, None, frozenset()))
    features = trace_provenance(program, fit.features, fit.index, steps=True)
    others = set(features.drop)
    if fit.target is not None:
        others |= {trace_provenance(program, fit.target, fit.index, steps=False).column or ""}
    before = [(step.estimator, step.index) for step in features.steps]
    return collect_search(program, fit, before, ColumnSelectors(program, features, frozenset(others)))


def _describe_undefined(program: Program, search: SearchStatements, data: DataDeclaration) -> list[str]:
    """Describe the names that the notebook uses without a definition, except those of ``import *``."""
    nodes = {**search.nodes, **data.preparation.nodes}
    binding = [node.name for node in nodes.values() if isinstance(node, ast.FunctionDef) and find_global_names(node)]
    messages = [f"`{name}` assigns global names; return the values from the function instead" for name in binding]
    unresolved = search.unresolved | data.preparation.unresolved
    names = [name for name in sorted(unresolved) if not find_imports(program, {}, [name], len(program))]
    return [*messages, *(f"`{name}` is used but not defined in the notebook; define or import it" for name in names)]


def _describe_missing_imports(program: Program, search: SearchStatements, data: DataDeclaration) -> list[str]:
    """Describe the names of libraries that the notebook uses without an import."""
    found = {
        name: find_missing_import(program, name) for name in sorted(search.unresolved | data.preparation.unresolved)
    }
    return [
        f"`{name}` is not imported in the notebook; the experiment imports it from {one.module or one.name}"
        for name, one in found.items()
        if one
    ]
