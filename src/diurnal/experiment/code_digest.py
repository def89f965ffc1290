"""The digest of an experiment's code: equal where the numbers must be equal, whatever was tidied up in between.

It is taken over the experiment's file as Python reads it: comments, formatting and docstrings do not count, and neither
do the other experiments of the file nor the arguments of ``@experiment`` that move no number (schedule, retries,
promotion). A helper function or a constant beside the experiment counts, and so do the project's own modules that the
file imports and uses (:mod:`diurnal.experiment.helper_modules`); of a source function that comes from one, its own
code. Values that the function closes over count by their ``repr``.

A function from a notebook has no file: its own source counts, without what stands in other cells. One without any
source (typed at a prompt) counts by its bytecode and constants, and then another Python gives another digest.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from diurnal.experiment.code import Code
from diurnal.experiment.helper_modules import helper_texts, place_of

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def source_text(function: FunctionType) -> str:
    """Give the text of the file or notebook cell that a function stands in; empty where there is none."""
    linecache.checkcache(function.__code__.co_filename)
    return "".join(linecache.getlines(function.__code__.co_filename, function.__globals__))


def code_of(
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
        The experiment's own.
    text : str
        What :func:`source_text` gave when the experiment was declared.
    source : Any
        Where the batches come from.
    others : collection of int
        Lines on which other experiments of the same file begin.
    declared : Mapping of str to Any
        The arguments that move numbers, in JSON's types.
    """
    import hashlib
    import json

    path = Path(function.__code__.co_filename)
    in_file = bool(text) and path.is_file()
    tree = _counted(function, text, others) if in_file else None
    counted = ast.unparse(tree) if tree else _own_code(function, text)
    helpers = helper_texts(tree, path) if tree else {}
    place = place_of(path) if in_file else path.name
    parts = {
        place: counted,
        "values from outside the function": _closure(function),
        "source": _source_identity(source, function),
        "declared": json.dumps(declared, sort_keys=True),
    } | {helper: f"{helper}\n{_helper_code(text)}" for helper, text in helpers.items()}
    return Code(
        digest=hashlib.sha256("\0".join(parts.values()).encode()).hexdigest(),
        name=function.__name__,
        file=place if in_file else None,
        parts={name: hashlib.sha256(part.encode()).hexdigest() for name, part in parts.items() if name != "declared"},
        declared=dict(declared),
    )


def files_of(function: FunctionType, text: str) -> dict[str, str]:
    """Return the text of an experiment's file and of the project's modules that it imports, by place in the project."""
    path = Path(function.__code__.co_filename)
    if not (text and path.is_file()):
        return {path.name: text}
    return {place_of(path): text, **helper_texts(ast.parse(text), path, unused=True)}


def _helper_code(text: str) -> str:
    return ast.unparse(_Reader(0, ()).visit(ast.parse(text)))


class _Reader(ast.NodeTransformer):
    """Keep what moves numbers: no docstrings, no other experiments, not the experiment's own decorator."""

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
        begins = _first_line(node)
        if begins in self.others and node.name not in self.used:
            return None
        if begins == self.own or begins in self.others:
            del node.decorator_list[:1]  # @experiment stands first: below another, that one would be the experiment
        return self._without_docstring(node)

    def _without_docstring(self, node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return self.generic_visit(node)


def _first_line(node: ast.FunctionDef | ast.Lambda) -> int:
    """Give the line that ``co_firstlineno`` names: the first decorator's, where there is one."""
    decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
    return decorators[0].lineno if decorators else node.lineno


def _counted(function: FunctionType, text: str, others: Collection[int]) -> ast.AST:
    """Give a file as read, less what does not count for one of its experiments."""
    tree, own = ast.parse(text), function.__code__.co_firstlineno
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and _first_line(node) == own]
    used = {name.id for node in functions for name in ast.walk(node) if isinstance(name, ast.Name)}
    counted: ast.AST = _Reader(own, others, used).visit(tree)
    return counted


def _own_code(function: FunctionType, text: str) -> str:
    """Give the code of one function or lambda, or what it was compiled to where its text cannot be had."""
    line = function.__code__.co_firstlineno
    nodes = [
        node
        for node in (ast.walk(ast.parse(text)) if text else ())
        if isinstance(node, (ast.FunctionDef, ast.Lambda)) and _first_line(node) == line
    ]
    if nodes:
        return "\n".join(ast.unparse(_Reader(line, ()).visit(node)) for node in nodes)
    return _bytecode(function.__code__)


def _bytecode(code: CodeType) -> str:
    constants = [_bytecode(value) if isinstance(value, CodeType) else _stable_repr(value) for value in code.co_consts]
    return repr((code.co_code.hex(), code.co_names, code.co_varnames, constants))


def _closure(function: FunctionType) -> str:
    closed = inspect.getclosurevars(function).nonlocals
    return repr(sorted((name, _stable_repr(value)) for name, value in closed.items()))


def _source_identity(source: Any, beside: FunctionType) -> str:
    """Name a source: by its repr, or by its code where that does not stand beside the experiment already."""
    if not isinstance(source, FunctionType):
        return f"{type(source).__qualname__} {_stable_repr(source)}"
    same_file = (
        source.__code__.co_filename == beside.__code__.co_filename and Path(beside.__code__.co_filename).is_file()
    )
    if same_file and source.__name__ != "<lambda>":  # a lambda stands in the decorator, which does not count
        return source.__qualname__
    return _own_code(source, source_text(source)) + _closure(source)


def _stable_repr(value: object) -> str:
    """Give a repr that is the same in every process: no addresses, sets in order."""
    if isinstance(value, (set, frozenset)):
        return repr(sorted(map(_stable_repr, value)))
    return _ADDRESS.sub("", repr(value))
