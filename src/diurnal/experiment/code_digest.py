"""The digest of an experiment's code: equal if the numbers must be equal, even if the code was reformatted.

The digest is computed from the parsed file of the experiment. Comments, formatting, docstrings, the other experiments
of the file and the arguments of ``@experiment`` that affect no number (schedule, retries, promotion) do not count.
Helper functions and constants in the file count, and so do the project's modules that the file imports and uses
(:mod:`diurnal.experiment.helper_modules`); of a source function from such a module, its own code counts. Values that
the function closes over count by their ``repr``.

A function from a notebook has no file: its own source counts, other cells do not. A function without any source (typed
at a prompt) counts by its bytecode and constants, so that another version of Python gives another digest.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from diurnal.experiment.code import Code
from diurnal.experiment.helper_modules import helper_texts, path_in_project

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def source_text(function: FunctionType) -> str:
    """Return the text of the file or notebook cell that contains a function; empty if there is none."""
    linecache.checkcache(function.__code__.co_filename)
    return "".join(linecache.getlines(function.__code__.co_filename, function.__globals__))


def compute_code(
    function: FunctionType,
    text: str,
    *,
    source: Any,
    others: Collection[int],
    declared: Mapping[str, Any],
) -> Code:
    """Return the code of an experiment, with its digest.

    Parameters
    ----------
    function : function
        The function of the experiment.
    text : str
        The result of :func:`source_text` at the declaration of the experiment.
    source : Any
        The source of the batches.
    others : collection of int
        The first lines of the other experiments of the same file.
    declared : Mapping of str to Any
        The arguments that affect numbers, in JSON's types.
    """
    import hashlib
    import json

    path = Path(function.__code__.co_filename)
    in_file = bool(text) and path.is_file()
    tree, counted = (
        _counted_code(text, function.__code__.co_firstlineno, frozenset(others))
        if in_file
        else (None, _function_code(function, text))
    )
    helpers = helper_texts(tree, path) if tree else {}
    place = path_in_project(path) if in_file else path.name
    parts = {
        place: counted,
        "values from outside the function": _closure_text(function),
        "source": _source_identity(source, function),
        "declared": json.dumps(declared, sort_keys=True),
    } | {helper: f"{helper}\n{_normalize_helper(text)}" for helper, text in helpers.items()}
    return Code(
        digest=hashlib.sha256("\0".join(parts.values()).encode()).hexdigest(),
        name=function.__name__,
        file=place if in_file else None,
        parts={name: hashlib.sha256(part.encode()).hexdigest() for name, part in parts.items() if name != "declared"},
        declared=dict(declared),
    )


def collect_files(function: FunctionType, text: str) -> dict[str, str]:
    """Return the text of an experiment's file and of the project's modules that it imports, by path in the project."""
    path = Path(function.__code__.co_filename)
    if not (text and path.is_file()):
        return {path.name: text}
    return {path_in_project(path): text, **helper_texts(ast.parse(text), path, unused=True)}


@lru_cache(maxsize=64)
def _normalize_helper(text: str) -> str:
    return ast.unparse(_CountedCode(0, ()).visit(ast.parse(text)))


class _CountedCode(ast.NodeTransformer):
    """Keep the code that affects numbers: no docstrings, no other experiments, not the decorator of the experiment.

    For example, ``@experiment(...)`` above ``def churn(): "Doc."; return SVC()`` becomes ``def churn(): return SVC()``.
    """

    def __init__(self, own: int, others: Collection[int], used: Collection[str] = ()) -> None:
        self.own = own
        self.others = others
        self.used = used  # an experiment may call another one of its file

    def visit_Module(self, node: ast.Module) -> ast.AST:
        return self._without_docstring(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._without_docstring(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._without_docstring(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST | None:
        line = _first_line(node)
        if line in self.others and node.name not in self.used:
            return None
        if line == self.own or line in self.others:
            del node.decorator_list[
                :1
            ]  # @experiment is the first decorator: below another one, it would get another line
        return self._without_docstring(node)

    def _without_docstring(self, node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return self.generic_visit(node)


def _first_line(node: ast.FunctionDef | ast.Lambda) -> int:
    """Return the line in ``co_firstlineno``: that of the first decorator if there is one."""
    decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
    return decorators[0].lineno if decorators else node.lineno


@lru_cache(maxsize=64)  # each step of a run asks for it
def _counted_code(text: str, own: int, others: frozenset[int]) -> tuple[ast.AST, str]:
    """Return a file without the parts that do not count for the experiment in a line, as a tree and as a text."""
    tree = ast.parse(text)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and _first_line(node) == own]
    used = {name.id for node in functions for name in ast.walk(node) if isinstance(name, ast.Name)}
    counted: ast.AST = _CountedCode(own, others, used).visit(tree)
    return counted, ast.unparse(counted)


def _function_code(function: FunctionType, text: str) -> str:
    """Return the code of one function or lambda, or its bytecode if its text is not available."""
    line = function.__code__.co_firstlineno
    nodes = [
        node
        for node in (ast.walk(ast.parse(text)) if text else ())
        if isinstance(node, (ast.FunctionDef, ast.Lambda)) and _first_line(node) == line
    ]
    if nodes:
        return "\n".join(ast.unparse(_CountedCode(line, ()).visit(node)) for node in nodes)
    return _bytecode_text(function.__code__)


def _bytecode_text(code: CodeType) -> str:
    constants = [
        _bytecode_text(value) if isinstance(value, CodeType) else _stable_repr(value) for value in code.co_consts
    ]
    return repr((code.co_code.hex(), code.co_names, code.co_varnames, constants))


def _closure_text(function: FunctionType) -> str:
    closed = inspect.getclosurevars(function).nonlocals
    return repr(sorted((name, _stable_repr(value)) for name, value in closed.items()))


def _source_identity(source: Any, beside: FunctionType) -> str:
    """Return the identity of a source: its repr, or its code unless the file of the experiment contains it."""
    if not isinstance(source, FunctionType):
        return f"{type(source).__qualname__} {_stable_repr(source)}"
    same_file = (
        source.__code__.co_filename == beside.__code__.co_filename and Path(beside.__code__.co_filename).is_file()
    )
    if same_file and source.__name__ != "<lambda>":  # a lambda is part of the decorator, which does not count
        return source.__qualname__
    return _function_code(source, source_text(source)) + _closure_text(source)


def _stable_repr(value: object) -> str:
    """Return a repr that is equal in every process: no addresses, sets in order."""
    if isinstance(value, (set, frozenset)):
        return repr(sorted(map(_stable_repr, value)))
    return _ADDRESS.sub("", repr(value))
