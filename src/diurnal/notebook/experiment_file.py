"""The text of an experiment's file."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from diurnal.notebook import imports
from diurnal.notebook.column_selectors import SELECTOR
from diurnal.notebook.effects import find_free_names
from diurnal.notebook.functions import names_when_defined, of_the_module, with_named_lambdas
from diurnal.notebook.imports import Import
from diurnal.notebook.layout import Layout
from diurnal.notebook.pipeline_steps import Ending, selecting
from diurnal.notebook.preparation import PROJECT
from diurnal.notebook.program import Program
from diurnal.notebook.row_declaration import Data
from diurnal.notebook.script_options import PLACEHOLDER
from diurnal.notebook.search_statements import Search
from diurnal.notebook.text import Block, comment, docstring, hole, joined, quoted

_Nodes = dict[int, ast.stmt]


@dataclass(frozen=True)
class Declaration:
    """What an experiment's file declares.

    Attributes
    ----------
    name : str
        The experiment's name.
    search : Search
        What it returns.
    ending : Ending
        What stands around the search.
    data : Data
        Its rows.
    test_size : float or None
        The share of rows for testing; the default where it is None.
    project : str
        The expression for the folder of the project.
    """

    name: str
    search: Search
    ending: Ending
    data: Data
    test_size: float | None
    project: str


class ExperimentFile:
    """Writes an experiment.

    Parameters
    ----------
    program : Program
        The notebook.
    declaration : Declaration
        What is written.

    Attributes
    ----------
    named_functions : list of str
        Functions that were lambdas.
    """

    def __init__(self, program: Program, declaration: Declaration) -> None:
        self.program = program
        self.declared = declaration
        self.data, self.search = declaration.data, declaration.search
        self.layout = Layout(program.document.lines, self.data.preparation.edits)
        names = {name for statement in program.statements for name in statement.uses | statement.binds}
        self.taken = names | {declaration.name, "experiment", PROJECT}
        self.nodes, self.functions = with_named_lambdas(self.search.nodes, self.taken)
        self.named_functions = [node.name for made in self.functions.values() for node in made]
        together = {**self.data.preparation.nodes, **self.nodes}
        self.shared = of_the_module(program, together, self.functions)
        self.above = self._imports_above()

    def text(self) -> str:
        """Return the text of the file."""
        source, source_block = self._source()
        place = f"{PROJECT} = {self.declared.project}"
        return joined(
            [
                Block([docstring(self._heading())]),
                Block(imports.lines_of(self.above)),
                Block([place] if self._uses_project() else []),
                *self._shared(),
                *self._selecting(),
                source_block,
                Block([*self._decorator(source), f"def {self.declared.name}():", *self._body()], is_definition=True),
            ]
        )

    def _heading(self) -> str:
        return self.program.document.title or f"What {self.program.document.path.name} fits."

    def _uses_project(self) -> bool:
        preparation = self.data.preparation
        nodes = [*preparation.nodes.values(), *(ast.parse(self.data.result).body if self.data.result else [])]
        return bool(preparation.edits) or any(PROJECT in find_free_names(node) for node in nodes)

    # -- what stands beside the experiment

    def _imports_above(self) -> set[Import]:
        """Return the imports of the module: diurnal's, and what classes, constants and signatures need."""
        found = {Import("diurnal", "experiment"), *(Import("diurnal.sources", name) for name in self.data.imports)}
        found |= {Import("pathlib", "Path")} if self._uses_project() else set()
        if self.data.preparation.queries:
            found |= {Import("dataclasses", "dataclass"), Import("diurnal.sources", "Sql")}
        for index, node in self.shared.items():
            found |= imports.needed(self.program, {}, names_when_defined(node), index)
        return found

    def _import_lines(self, needed: set[Import], indent: int) -> list[str]:
        """Write imports in a body, but for those that the module has."""
        bound = {one.bound for one in self.above}
        lines = imports.lines_of({one for one in needed if one.bound not in bound}, indent)
        return [*lines, ""] if lines else []

    def _shared(self) -> list[Block]:
        """Write the functions, classes and constants of the module."""
        made = [(index, node) for index, nodes in self.functions.items() for node in nodes]
        blocks: list[Block] = []
        for index, node in sorted([*self.shared.items(), *made], key=lambda pair: pair[0]):
            above = self.layout.comments_above(node)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                blocks.append(Block([*above, *self._function(node, index)], is_definition=True))
            elif isinstance(node, ast.ClassDef):
                blocks.append(Block([*above, *self.layout.statement(node)], is_definition=True))
            elif blocks and not blocks[-1].is_definition:
                blocks[-1].lines.extend([*above, *self.layout.statement(node)])
            else:
                blocks.append(Block([*above, *self.layout.statement(node)]))
        return blocks

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, index: int) -> list[str]:
        """Write a function, with the imports that it needs at the head of its body."""
        lines = self.layout.statement(node)
        wanted = imports.needed(self.program, {index: node})
        if not self._import_lines(wanted, 0):
            return lines
        first = _first_of_body(lines)
        if first.lineno == 1:  # def f(x): return x
            lines = ast.unparse(node).split("\n")
            first = _first_of_body(lines)
        start = min([first.lineno, *(d.lineno for d in getattr(first, "decorator_list", []))]) - 1
        while lines[start - 1].strip().startswith("#"):
            start -= 1
        inserted = self._import_lines(wanted, first.col_offset)
        return [*lines[:start], *_indented(inserted, first.col_offset), *lines[start:]]

    def _selecting(self) -> list[Block]:
        """Write the function that gives the one column which the estimator takes as a series."""
        if self.data.column is None:
            return []
        name = selecting(self.data.column)
        return [Block([f"def {name}(rows):", f"    return rows[{quoted(self.data.column)}]"], is_definition=True)]

    # -- the source

    def _source(self) -> tuple[str, Block]:
        """Return the expression of the source, and the function that it names."""
        data, preparation = self.data, self.data.preparation
        if data.source:
            return data.source, Block([])
        body = self._source_body(8 if preparation.queries else 4)
        if preparation.queries:
            queries = [f"{name}: Sql = {source}" for name, source in preparation.queries.items()]
            fields = [line for text in queries for line in self._laid_out(text)]
            head = [
                "@dataclass(frozen=True)",
                "class Rows:",
                *_indented([docstring(self._source_said()), "", *fields, ""], 4),
            ]
            return "Rows()", Block([*head, "    def read(self, interval, connections):", *body], is_definition=True)
        name = "rows" if "rows" not in self.taken else "read_rows"
        head = [f"def {name}({'spark, ' if data.session else ''}interval):", f"    {docstring(self._source_said())}"]
        return name, Block([*head, *body], is_definition=True)

    def _source_said(self) -> str:
        return f"Give the rows of {self.program.document.path.name}, as it reads and prepares them."

    def _source_body(self, indent: int) -> list[str]:
        data = self.data
        own = {index: node for index, node in data.preparation.nodes.items() if index not in self.shared}
        result = ast.parse(data.result, mode="eval").body
        needed = imports.needed(self.program, own, find_free_names(result), len(self.program))
        needed |= {_module(module) for module in data.modules}
        needed |= {Import("", "pyarrow", "pa")} if data.preparation.queries else set()
        lines = self._import_lines(needed, indent)
        return _indented([*lines, *self._returning(own, result, {}, indent)], indent)

    # -- the experiment

    def _decorator(self, source: str) -> list[str]:
        data = self.data
        target = PLACEHOLDER if data.target is None else quoted(data.target)
        arguments = [f"source={source}", f"target={target}"]
        if data.drop:
            listed = ", ".join(map(quoted, data.drop))
            arguments.append(f"drop={listed}" if len(data.drop) == 1 else f"drop=({listed})")
        arguments += [
            f"{name}={PLACEHOLDER if column == PLACEHOLDER else quoted(column)}" for name, column in data.named.items()
        ]
        arguments += [] if self.declared.test_size is None else [f"test_size={self.declared.test_size}"]
        call = ast.parse(f"experiment({', '.join(arguments)}, schedule='@daily')", mode="eval").body
        said = [line for text in data.to_fill_in for line in hole(text, 0)]
        return [*said, *self.layout.wrapped(call, "@")]

    def _body(self) -> list[str]:
        own = {i: n for i, n in self.nodes.items() if i not in self.shared and not _is_import(n)}
        result, ending = self.search.result, self.declared.ending
        needed = imports.needed(self.program, own, find_free_names(result), len(self.program))
        needed |= ending.imports
        if any(SELECTOR in find_free_names(node) for node in [*own.values(), ast.Expr(result)]):
            needed.add(Import("sklearn.compose", SELECTOR))
        head = [docstring(self._heading()), *self._import_lines(needed, 4)]
        if ending.lines:
            above = [line for text in ending.comments for line in comment(text, 4)]
            statements = [*self._statements(own, self.search.comments, 4), *above]
            statements += [line for text in ending.lines for line in self._laid_out(text)]
        else:
            statements = self._returning(own, result, self.search.comments, 4)
        return _indented([*head, *statements], 4)

    def _laid_out(self, text: str) -> list[str]:
        node = ast.parse(text.replace("return ", "_ = ", 1) if text.startswith("return ") else text).body[0]
        lines = self.layout.statement(node, 4)
        return [
            line.removeprefix("    ").replace("_ = ", "return ", 1) if text.startswith("return ") else line[4:]
            for line in lines
        ]

    def _returning(self, nodes: _Nodes, result: ast.expr, comments: dict[int, list[str]], indent: int) -> list[str]:
        """Write statements and the return of a result; of the last assignment, if that is the result."""
        nodes = {index: node for index, node in nodes.items() if not _is_import(node)}
        last = max(nodes, default=-1)
        node = nodes.get(last)
        if not isinstance(node, ast.Assign) or not _is_name_of(node.targets, result):
            return [*self._statements(nodes, comments, indent), *self._at(indent, result, "return ")]
        del nodes[last]
        said = [line for text in comments.get(last, []) for line in hole(text, indent)]
        above = [*self.layout.comments_above(node), *said]
        return [*self._statements(nodes, comments, indent), *above, *self._at(indent, node.value, "return ")]

    def _at(self, indent: int, node: ast.expr, prefix: str) -> list[str]:
        return [line[indent:] for line in self.layout.wrapped(node, prefix, "", indent)]

    def _statements(self, nodes: _Nodes, comments: dict[int, list[str]], indent: int) -> list[str]:
        """Write statements, with the comments that stand above them in the notebook."""
        lines: list[str] = []
        for index, node in nodes.items():
            if not _is_import(node):
                said = [line for text in comments.get(index, []) for line in hole(text, indent)]
                own = self.layout.statement(node, indent)
                lines += [*self.layout.comments_above(node), *said, *(line[indent:] for line in own)]
        return lines


def _is_import(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def _is_name_of(targets: list[ast.expr], result: ast.expr) -> bool:
    is_one = len(targets) == 1 and isinstance(targets[0], ast.Name) and isinstance(result, ast.Name)
    return is_one and targets[0].id == result.id  # type: ignore[attr-defined]


def _first_of_body(lines: list[str]) -> ast.stmt:
    """Return the first statement of a function behind its docstring."""
    body = ast.parse("\n".join(lines)).body[0].body  # type: ignore[attr-defined]
    is_said = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant) and len(body) > 1
    return body[1] if is_said else body[0]  # type: ignore[no-any-return]


def _indented(lines: list[str], indent: int) -> list[str]:
    return [" " * indent + line if line else "" for line in lines]


def _module(module: str) -> Import:
    """Return the import of a module under its usual name, or of a name of a module."""
    usual = {"numpy": "np", "pandas": "pd"}
    package, _, name = module.rpartition(".")
    return Import("", module, usual[module]) if module in usual else Import(package, name)
