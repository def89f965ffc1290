"""The text of the file of an experiment."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from diurnal.notebook import imports
from diurnal.notebook.column_selectors import SELECTOR
from diurnal.notebook.data_declaration import DataDeclaration
from diurnal.notebook.effects import find_free_names
from diurnal.notebook.functions import find_definition_names, name_lambdas, select_module_statements
from diurnal.notebook.imports import Import
from diurnal.notebook.layout import Layout
from diurnal.notebook.pipeline_steps import WrappedSearch, selector_name
from diurnal.notebook.preparation import PROJECT
from diurnal.notebook.program import Program
from diurnal.notebook.script_options import PLACEHOLDER
from diurnal.notebook.search_statements import SearchStatements
from diurnal.notebook.source_text import (
    Block,
    format_comment,
    format_docstring,
    format_placeholder,
    join_blocks,
    quote_string,
)
from diurnal.notebook.syntax import is_import

_Nodes = dict[int, ast.stmt]


@dataclass(frozen=True)
class ExperimentDeclaration:
    """The content of the file of an experiment.

    Attributes
    ----------
    name : str
        The name of the experiment.
    search : Search
        The statements that build the search.
    wrapped : WrappedSearch
        The statements that put the search and the earlier transformers into one pipeline.
    data : Data
        The source and the target.
    test_size : float or None
        The fraction of rows for testing; None for the default.
    project : str
        The expression of the project's folder.
    """

    name: str
    search: SearchStatements
    wrapped: WrappedSearch
    data: DataDeclaration
    test_size: float | None
    project: str


class ExperimentFile:
    """Writes the file of an experiment.

    Parameters
    ----------
    program : Program
        The statements of the notebook.
    declaration : Declaration
        The content of the file.

    Attributes
    ----------
    named_functions : list of str
        The functions that replace lambdas.
    """

    def __init__(self, program: Program, declaration: ExperimentDeclaration) -> None:
        self.program = program
        self.declaration = declaration
        self.data, self.search = declaration.data, declaration.search
        self.layout = Layout(program.document.lines, self.data.preparation.edits)
        names = {name for statement in program.statements for name in statement.uses | statement.binds}
        self.used_names = names | {declaration.name, "experiment", PROJECT}
        self.nodes, self.functions = name_lambdas(self.search.nodes, self.used_names)
        self.named_functions = [node.name for functions in self.functions.values() for node in functions]
        all_nodes = {**self.data.preparation.nodes, **self.nodes}
        self.module_nodes = select_module_statements(program, all_nodes, self.functions)
        self.above = self._module_imports()

    def text(self) -> str:
        """Return the text of the file."""
        source, source_block = self._format_source()
        project_line = f"{PROJECT} = {self.declaration.project}"
        return join_blocks(
            [
                Block([format_docstring(self._title())]),
                Block(imports.format_imports(self.above)),
                Block([project_line] if self._uses_project() else []),
                *self._module_definitions(),
                *self._column_selector(),
                source_block,
                Block(
                    [*self._format_decorator(source), f"def {self.declaration.name}():", *self._format_body()],
                    is_definition=True,
                ),
            ]
        )

    def _title(self) -> str:
        return self.program.document.title or f"Experiment from {self.program.document.path.name}."

    def _uses_project(self) -> bool:
        preparation = self.data.preparation
        nodes = [*preparation.nodes.values(), *(ast.parse(self.data.result).body if self.data.result else [])]
        return bool(preparation.edits) or any(PROJECT in find_free_names(node) for node in nodes)

    # -- module level: imports, functions, classes and constants

    def _module_imports(self) -> set[Import]:
        """Return the module-level imports: those of diurnal, and those that classes, constants and signatures need."""
        found = {Import("diurnal", "experiment"), *(Import("diurnal.sources", name) for name in self.data.imports)}
        found |= {Import("pathlib", "Path")} if self._uses_project() else set()
        if self.data.preparation.queries:
            found |= {Import("dataclasses", "dataclass"), Import("diurnal.sources", "Sql")}
        for index, node in self.module_nodes.items():
            found |= imports.find_imports(self.program, {}, find_definition_names(node), index)
        return found

    def _format_missing_imports(self, needed: set[Import], indent: int) -> list[str]:
        """Return the lines of the imports that the module level does not have."""
        bound = {one.bound for one in self.above}
        lines = imports.format_imports({one for one in needed if one.bound not in bound}, indent)
        return [*lines, ""] if lines else []

    def _module_definitions(self) -> list[Block]:
        """Return the functions, classes and constants of the module level."""
        functions = [(index, node) for index, nodes in self.functions.items() for node in nodes]
        blocks: list[Block] = []
        for index, node in sorted([*self.module_nodes.items(), *functions], key=lambda pair: pair[0]):
            above = self.layout.comments_above(node)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                blocks.append(Block([*above, *self._format_function(node, index)], is_definition=True))
            elif isinstance(node, ast.ClassDef):
                blocks.append(Block([*above, *self.layout.format_statement(node)], is_definition=True))
            elif blocks and not blocks[-1].is_definition:
                blocks[-1].lines.extend([*above, *self.layout.format_statement(node)])
            else:
                blocks.append(Block([*above, *self.layout.format_statement(node)]))
        return blocks

    def _format_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, index: int) -> list[str]:
        """Return the lines of a function, with the imports that it needs at the start of its body."""
        lines = self.layout.format_statement(node)
        needed = imports.find_imports(self.program, {index: node})
        if not self._format_missing_imports(needed, 0):
            return lines
        first = _first_body_statement(lines)
        if first.lineno == 1:  # def f(x): return x
            lines = ast.unparse(node).split("\n")
            first = _first_body_statement(lines)
        start = min([first.lineno, *(d.lineno for d in getattr(first, "decorator_list", []))]) - 1
        while lines[start - 1].strip().startswith("#"):
            start -= 1
        inserted = self._format_missing_imports(needed, first.col_offset)
        return [*lines[:start], *_indent_lines(inserted, first.col_offset), *lines[start:]]

    def _column_selector(self) -> list[Block]:
        """Return the function that selects the single column on which the estimator is fitted, as a series."""
        if self.data.column is None:
            return []
        name = selector_name(self.data.column)
        return [Block([f"def {name}(rows):", f"    return rows[{quote_string(self.data.column)}]"], is_definition=True)]

    # -- the source

    def _format_source(self) -> tuple[str, Block]:
        """Return the expression of the source, and the definition of the function or class that it refers to."""
        data, preparation = self.data, self.data.preparation
        if data.source:
            return data.source, Block([])
        body = self._format_source_body(8 if preparation.queries else 4)
        if preparation.queries:
            queries = [f"{name}: Sql = {source}" for name, source in preparation.queries.items()]
            fields = [line for text in queries for line in self._format_line(text)]
            head = [
                "@dataclass(frozen=True)",
                "class Rows:",
                *_indent_lines([format_docstring(self._source_docstring()), "", *fields, ""], 4),
            ]
            return "Rows()", Block([*head, "    def read(self, interval, connections):", *body], is_definition=True)
        name = "rows" if "rows" not in self.used_names else "read_rows"
        head = [
            f"def {name}({'spark, ' if data.needs_session else ''}interval):",
            f"    {format_docstring(self._source_docstring())}",
        ]
        return name, Block([*head, *body], is_definition=True)

    def _source_docstring(self) -> str:
        return f"Read and prepare the rows as in {self.program.document.path.name}."

    def _format_source_body(self, indent: int) -> list[str]:
        data = self.data
        own = {index: node for index, node in data.preparation.nodes.items() if index not in self.module_nodes}
        result = ast.parse(data.result, mode="eval").body
        needed = imports.find_imports(self.program, own, find_free_names(result), len(self.program))
        needed |= {_import_of_module(module) for module in data.modules}
        needed |= {Import("", "pyarrow", "pa")} if data.preparation.queries else set()
        lines = self._format_missing_imports(needed, indent)
        return _indent_lines([*lines, *self._format_with_return(own, result, {}, indent)], indent)

    # -- the experiment

    def _format_decorator(self, source: str) -> list[str]:
        data = self.data
        target = PLACEHOLDER if data.target is None else quote_string(data.target)
        arguments = [f"source={source}", f"target={target}"]
        if data.drop:
            listed = ", ".join(map(quote_string, data.drop))
            arguments.append(f"drop={listed}" if len(data.drop) == 1 else f"drop=({listed})")
        arguments += [
            f"{name}={PLACEHOLDER if column == PLACEHOLDER else quote_string(column)}"
            for name, column in data.column_arguments.items()
        ]
        arguments += [] if self.declaration.test_size is None else [f"test_size={self.declaration.test_size}"]
        call = ast.parse(f"experiment({', '.join(arguments)}, schedule='@daily')", mode="eval").body
        placeholders = [line for text in data.to_fill_in for line in format_placeholder(text, 0)]
        return [*placeholders, *self.layout.format_expression(call, "@")]

    def _format_body(self) -> list[str]:
        own = {i: n for i, n in self.nodes.items() if i not in self.module_nodes and not is_import(n)}
        result, wrapped = self.search.result, self.declaration.wrapped
        needed = imports.find_imports(self.program, own, find_free_names(result), len(self.program))
        needed |= wrapped.imports
        if any(SELECTOR in find_free_names(node) for node in [*own.values(), ast.Expr(result)]):
            needed.add(Import("sklearn.compose", SELECTOR))
        head = [format_docstring(self._title()), *self._format_missing_imports(needed, 4)]
        if wrapped.lines:
            above = [line for text in wrapped.comments for line in format_comment(text, 4)]
            statements = [*self._format_statements(own, self.search.comments, 4), *above]
            statements += [line for text in wrapped.lines for line in self._format_line(text)]
        else:
            statements = self._format_with_return(own, result, self.search.comments, 4)
        return _indent_lines([*head, *statements], 4)

    def _format_line(self, text: str) -> list[str]:
        node = ast.parse(text.replace("return ", "_ = ", 1) if text.startswith("return ") else text).body[0]
        lines = self.layout.format_statement(node, 4)
        return [
            line.removeprefix("    ").replace("_ = ", "return ", 1) if text.startswith("return ") else line[4:]
            for line in lines
        ]

    def _format_with_return(
        self, nodes: _Nodes, result: ast.expr, comments: dict[int, list[str]], indent: int
    ) -> list[str]:
        """Return the lines of statements and of the return of a result.

        If the last statement assigns the result, its value is returned directly.
        """
        nodes = {index: node for index, node in nodes.items() if not is_import(node)}
        last = max(nodes, default=-1)
        node = nodes.get(last)
        if not isinstance(node, ast.Assign) or not _is_same_name(node.targets, result):
            return [*self._format_statements(nodes, comments, indent), *self._format_at(indent, result, "return ")]
        del nodes[last]
        placeholders = [line for text in comments.get(last, []) for line in format_placeholder(text, indent)]
        above = [*self.layout.comments_above(node), *placeholders]
        return [
            *self._format_statements(nodes, comments, indent),
            *above,
            *self._format_at(indent, node.value, "return "),
        ]

    def _format_at(self, indent: int, node: ast.expr, prefix: str) -> list[str]:
        return [line[indent:] for line in self.layout.format_expression(node, prefix, "", indent)]

    def _format_statements(self, nodes: _Nodes, comments: dict[int, list[str]], indent: int) -> list[str]:
        """Return the lines of statements, with the comments above them in the notebook."""
        lines: list[str] = []
        for index, node in nodes.items():
            if not is_import(node):
                placeholders = [line for text in comments.get(index, []) for line in format_placeholder(text, indent)]
                own = self.layout.format_statement(node, indent)
                lines += [*self.layout.comments_above(node), *placeholders, *(line[indent:] for line in own)]
        return lines


def _is_same_name(targets: list[ast.expr], result: ast.expr) -> bool:
    is_one = len(targets) == 1 and isinstance(targets[0], ast.Name) and isinstance(result, ast.Name)
    return is_one and targets[0].id == result.id  # type: ignore[attr-defined]


def _first_body_statement(lines: list[str]) -> ast.stmt:
    """Return the first statement of a function after its docstring."""
    body = ast.parse("\n".join(lines)).body[0].body  # type: ignore[attr-defined]
    has_docstring = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant) and len(body) > 1
    return body[1] if has_docstring else body[0]  # type: ignore[no-any-return]


def _indent_lines(lines: list[str], indent: int) -> list[str]:
    return [" " * indent + line if line else "" for line in lines]


def _import_of_module(module: str) -> Import:
    """Return the import of a module under its usual alias, or of a name from a module."""
    alias = next((alias for alias, name in imports.ALIASES.items() if name == module), None)
    package, _, name = module.rpartition(".")
    return Import("", module, alias) if alias else Import(package, name)
