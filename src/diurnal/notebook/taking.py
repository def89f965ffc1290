"""From a notebook to an experiment."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from diurnal.errors import UsageError
from diurnal.notebook import cells
from diurnal.notebook.arguments import HOLE
from diurnal.notebook.column_selectors import Selectors
from diurnal.notebook.constants import NotConstant, constant
from diurnal.notebook.data import data_of
from diurnal.notebook.effects import last_name
from diurnal.notebook.experiment_file import Declaration, ExperimentFile
from diurnal.notebook.fits import choose
from diurnal.notebook.pipeline import around, grid_of
from diurnal.notebook.program import Program
from diurnal.notebook.readers import Places
from diurnal.notebook.report import Report, left_out
from diurnal.notebook.search import Search, search_of
from diurnal.notebook.slices import backward
from diurnal.notebook.text import holes_in
from diurnal.notebook.trail import follow


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
        return _Taking(path, name, search, Places(path.resolve().parent, project.resolve(), file)).draft()
    except (RecursionError, MemoryError):
        raise UsageError(
            f"{path} is nested too deeply to be read", advice="take the search out into a smaller script"
        ) from None


class _Taking:
    def __init__(self, path: Path, name: str, search: str | None, places: Places) -> None:
        self.document = cells.read(path)
        self.program = Program(self.document)
        self.fit, self.others = choose(self.program, search)
        self.name, self.places = name, places
        self.report = Report()

    def draft(self) -> Draft:
        program, fit = self.program, self.fit
        self.search = self._search()
        whole = [*self.search.nodes.values(), ast.Expr(self.search.result)]
        self.data = data_of(program, fit, list(whole), self.places)
        self._say_unresolved()
        size = self._test_size()
        grid = grid_of(program, fit.estimator, fit.index) if fit.kind == "search" else None
        ending = around(program, self.search.result, self.data, fit.kind, grid)
        file = ExperimentFile(
            program, Declaration(self.name, self.search, ending, self.data, size, self.places.expression())
        )
        text = file.text()
        self._report(file, text, size)
        return Draft(
            text,
            self.report,
            tuple(_modules(program, [*self.search.nodes.values(), *self.data.preparation.nodes.values()])),
        )

    def _search(self) -> Search:
        fit, program = self.fit, self.program
        if fit.features is None:
            return search_of(program, fit, [], Selectors(program, None, frozenset()))
        features = follow(program, fit.features, fit.index, steps=True)
        others = set(features.drop)
        if fit.target is not None:
            target = follow(program, fit.target, fit.index, steps=False)
            others |= {target.column} if target.column else set()
        extra = [(step.estimator, step.index) for step in features.steps]
        return search_of(program, fit, extra, Selectors(program, features, frozenset(others)))

    def _say_unresolved(self) -> None:
        """Name what the notebook uses and never defines."""
        stars = any(
            isinstance(s.node, ast.ImportFrom) and any(alias.name == "*" for alias in s.node.names)
            for s in self.program.statements
        )
        for name in sorted((self.search.unresolved | self.data.preparation.unresolved) - {HOLE, "spark"}):
            if stars and _is_of_star(self.program, name):
                continue
            self.data.to_fill_in.append(f"`{name}` is used, and the notebook does not define it")

    # -- the split

    def _test_size(self) -> float | None:
        call = self.data.split
        if call is None and self.data.share is not None:
            return self.data.share
        if call is None:
            if self.fit.features is not None:
                self.report.notes.append("the notebook does not split its rows; the experiment tests on 30 % of them")
            return None
        share = _share(self.program, call, self.fit.index)
        if share is None:
            self.report.notes.append(
                f"`{ast.unparse(call)}` gives a number of rows; the experiment takes a share, the default of 0.3"
            )
        return share

    # -- the report

    def _report(self, file: ExperimentFile, text: str, size: float | None) -> None:
        report, data = self.report, self.data
        report.taken = self._taken(size)
        report.to_fill_in = holes_in(text)
        report.notes = [*self._notes(file), *data.notes, *report.notes]
        taken = {
            *self.search.nodes,
            *data.preparation.nodes,
            *([data.place] if data.place >= 0 else []),
        } | self._chain()
        report.left_out = left_out(self.program, taken, self._arguments_left_out())

    def _taken(self, size: float | None) -> list[dict[str, str]]:
        program, data, fit = self.program, self.data, self.fit
        index = program.definition(fit.estimator.id, fit.index) if isinstance(fit.estimator, ast.Name) else fit.index
        place = fit.index - 1 if index is None else index
        found = [(fit.kind if fit.kind == "search" else "estimator", self._line(place), place)]
        source = data.source or "a function of its statements"
        found.append(("source", source, data.place if data.place >= 0 else fit.index - 1))
        found += [("target", data.target, data.place)] if data.target else []
        found += [("drop", ", ".join(data.drop), data.place)] if data.drop else []
        found += [(name, column, data.place) for name, column in data.named.items()]
        if size is not None and data.split is not None:
            return [*(self._entry(*one) for one in found),
                    {"what": "test_size", "text": str(size), "place": self.document.where(data.split.lineno)}]  # fmt: skip
        return [self._entry(*one) for one in found]

    def _entry(self, what: str, text: str, index: int) -> dict[str, str]:
        place = self.program.where(index) if 0 <= index < len(self.program) else ""
        return {"what": what, "text": text, "place": place}

    def _line(self, index: int) -> str:
        return self.document.lines[self.program[index].node.lineno - 1].strip()

    def _chain(self) -> set[int]:
        """Give the statements between the data and the fit that became arguments of the experiment."""
        fit, found = self.fit, {self.fit.index}
        for node in (fit.features, fit.target, *fit.keywords.values()):
            if node is not None:
                names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
                found |= set(backward(self.program, names, fit.index, fits=True).nodes)
        return {index for index in found if not self.program[index].is_import}

    def _arguments_left_out(self) -> list[tuple[int, str, str]]:
        program, data = self.program, self.data
        found = [(program[i].node.lineno, text, "moves no value") for i, text in data.left_out]
        if data.split is not None:
            line = data.split.lineno
            why = "a hash of each row decides for life whether it trains or tests"
            found += [
                (line, f"{keyword.arg}={ast.unparse(keyword.value)}", why)
                for keyword in data.split.keywords
                if keyword.arg in ("stratify", "random_state", "shuffle", "seed")
            ]
        taken = set(data.named)
        for name, node in self.fit.keywords.items():
            if self.fit.by == "fit" and name not in taken:
                found.append(
                    (program[self.fit.index].node.lineno, f"{name}={ast.unparse(node)[:60]}", "an argument of the fit")
                )
        return found

    def _notes(self, file: ExperimentFile) -> list[str]:
        fit, data, search = self.fit, self.data, self.search
        notes = []
        if self.others:
            listed = ", ".join(
                f"`{one.name}` ({self.program.where(one.index if one.by else one.index - 1)})" for one in self.others
            )
            notes.append(f"`{fit.name}` is taken; --search takes another one: {listed}")
        if not fit.by:
            notes.append(f"the notebook never fits `{fit.name}`")
        if fit.kind != "search":
            notes.append(f"`{fit.name}` is an estimator and no search: nothing is tuned")
        if fit.by not in ("", "fit"):
            notes.append(f"`{fit.by}` only scores: an experiment cross-validates what it tunes, in a search")
        if self.document.out_of_order:
            notes.append(
                "cells were run in another order than the one that they stand in, which is the one that counts"
            )
        notes += [f"the option {name} of the command line is {value}" for name, value in self.program.options.items()]
        notes += [
            f"{self.program.where(at)}: `{text[:80]}` is `{new}` now, which reads the data when it is fitted"
            for at, text, new in search.selected
        ]
        if file.named_functions:
            notes.append(f"lambdas became functions, so that a model can be saved: {', '.join(file.named_functions)}")
        if data.steps:
            listed = ", ".join(
                f"`{ast.unparse(step.estimator)[:40]}` ({self.program.where(step.index)})" for step in data.steps
            )
            notes.append(
                f"fitted outside of the search, and now the first steps of a pipeline within it: {listed}; "
                f"the parameters of the model are named model__..."
            )
        if data.column is not None:
            notes.append(
                f"the notebook fits on the column {data.column!r} alone: the first step of the pipeline selects it"
            )
        return notes


def _is_of_star(program: Program, name: str) -> bool:
    from diurnal.notebook.imports import needed

    return bool(needed(program, {}, [name], len(program)))


def _share(program: Program, call: ast.Call, at: int) -> float | None:
    """Give the share of rows that a split sets aside for testing."""
    if last_name(call.func) == "randomSplit":
        return _share_of_weights(program, call, at)
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    for name in ("test_size", "train_size"):
        if name in given and getattr(given[name], "value", 0) is not None:
            try:
                value = constant(program, given[name], at)
            except NotConstant:
                return None
            if not isinstance(value, float) or not 0 < value < 1:
                return None
            return value if name == "test_size" else round(1 - value, 10)
    return 0.25  # scikit-learn's default


def _share_of_weights(program: Program, call: ast.Call, at: int) -> float | None:
    try:
        weights = constant(program, call.args[0], at) if call.args else None
    except NotConstant:
        return None
    is_list = isinstance(weights, list) and len(weights) >= 2 and all(isinstance(w, int | float) for w in weights)
    return round(1 - weights[0] / sum(weights), 10) if is_list and weights is not None else None


def _modules(program: Program, nodes: list[ast.stmt]) -> list[Path]:
    """Give the files beside the notebook that some statements import, and those that these import."""
    folder, found = program.document.path.resolve().parent, list[Path]()
    waiting = [
        node for statement in program.statements for node in [statement.node] if statement.is_import and node in nodes
    ]
    while waiting:
        node = waiting.pop()
        for name in _imported(node):
            path = folder.joinpath(*name.split(".")).with_suffix(".py")
            if path.is_file() and path not in found and path != program.document.path.resolve():
                found.append(path)
                waiting += _imports_of(path)
    return found


def _imported(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module] if node.module else [alias.name for alias in node.names]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


def _imports_of(path: Path) -> list[ast.stmt]:
    from diurnal.notebook.magics import parsed

    try:
        tree = parsed(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return []
    return [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
