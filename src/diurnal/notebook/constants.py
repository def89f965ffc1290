"""Constant folding: values of expressions that consist of literals."""

from __future__ import annotations

import ast
import posixpath
from pathlib import PurePosixPath
from typing import Any

from diurnal.notebook.program import Program
from diurnal.notebook.syntax import callee_name

_MAX_DEPTH = 30
_MARK = "/\0"  # before an absolute path that is computed from that of the notebook
_OS_CONSTANTS = {"curdir": ".", "pardir": "..", "sep": "/"}
_PATH_FUNCTIONS = ("join", "getcwd", "cwd", "abspath", "realpath", "dirname")
_PATH_METHODS = ("joinpath", "resolve", "absolute")


class NotConstantError(Exception):
    """The value of an expression is not known before the notebook runs."""


def evaluate_constant(program: Program, node: ast.AST, at: int, depth: int = 0) -> Any:
    """Return the value of an expression before a statement.

    Raises
    ------
    NotConstant
        If the expression depends on anything other than literals.
    """
    if depth > _MAX_DEPTH:
        raise NotConstantError
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        pass
    evaluate = _EVALUATORS.get(type(node))
    if evaluate is None:
        raise NotConstantError
    return evaluate(program, node, at, depth + 1)


def evaluate_strings(program: Program, node: ast.AST | None, at: int) -> tuple[str, ...] | None:
    """Return the value of a string or of a list of strings as a tuple, or None for any other expression."""
    if node is None:
        return None
    try:
        value = evaluate_constant(program, node, at)
    except NotConstantError:
        return None
    value = [value] if isinstance(value, str) else value
    if isinstance(value, list | tuple) and all(isinstance(evaluate_string, str) for evaluate_string in value):
        return tuple(value)
    return None


def evaluate_string(program: Program, node: ast.AST | None, at: int) -> str | None:
    """Return the value of a string or a path as a string, or None for any other expression."""
    if node is None:
        return None
    try:
        value = evaluate_constant(program, node, at)
    except NotConstantError:
        return None
    return _to_relative(program, str(value)) if isinstance(value, str | PurePosixPath) else None


def _file_path(program: Program) -> PurePosixPath:
    """Return the marked path of the notebook, in whose folder it runs."""
    return PurePosixPath(f"{_MARK}{program.document.path.resolve().as_posix()}")


def _to_relative(program: Program, path: str) -> str:
    """Return a path that is computed from that of the notebook, relative to its folder; any other one as it is."""
    return posixpath.relpath(path, _file_path(program).parent) if path.startswith(_MARK) else path


def _evaluate_name(program: Program, node: ast.Name, at: int, depth: int) -> Any:
    index = program.reaching_definition(node.id, at)
    if index is None and node.id == "__file__":
        return str(_file_path(program))
    if index is None or node.id not in program[index].binds:
        raise NotConstantError
    statement = program[index]
    changes = program.changes(node.id, index, at)
    if not isinstance(statement.target, ast.Name) or statement.value is None:
        return _evaluate_unpacked_name(program, node, index, changes, depth)
    value = evaluate_constant(program, statement.value, index, depth)
    for change in changes:
        value = _apply_list_change(program, value, node.id, change, depth)
    return value


def _evaluate_unpacked_name(program: Program, node: ast.Name, index: int, changes: list[int], depth: int) -> Any:
    """Return the value of one name of ``a, b = 1, 2``."""
    target, value = program[index].target, program[index].value
    if changes or not isinstance(target, ast.Tuple) or not isinstance(value, ast.Tuple):
        raise NotConstantError
    for key, part in zip(target.elts, value.elts, strict=False):
        if isinstance(key, ast.Name) and key.id == node.id:
            return evaluate_constant(program, part, index, depth)
    raise NotConstantError


def _apply_list_change(program: Program, value: Any, name: str, change: int, depth: int) -> Any:
    """Return the value of a list after ``features.remove("label")`` or ``features.append("age")``."""
    node = program[change].node
    call = node.value if isinstance(node, ast.Expr) else None
    is_own = (
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == name
    )
    if not isinstance(value, list) or not is_own or len(call.args) != 1:  # type: ignore[union-attr]
        raise NotConstantError
    argument = evaluate_constant(program, call.args[0], change, depth)  # type: ignore[union-attr]
    method = call.func.attr  # type: ignore[union-attr]
    if method == "append":
        return [*value, argument]
    if method == "extend" and isinstance(argument, list | tuple):
        return [*value, *argument]
    if method == "remove" and argument in value:
        position = value.index(argument)
        return [*value[:position], *value[position + 1 :]]
    raise NotConstantError


def _evaluate_f_string(program: Program, node: ast.JoinedStr, at: int, depth: int) -> str:
    parts = []
    for part in node.values:
        if isinstance(part, ast.FormattedValue):
            if part.format_spec is not None or part.conversion != -1:
                raise NotConstantError
            parts.append(str(evaluate_constant(program, part.value, at, depth)))
        else:
            parts.append(str(evaluate_constant(program, part, at, depth)))
    return "".join(parts)


def _evaluate_operation(program: Program, node: ast.BinOp, at: int, depth: int) -> Any:
    left, right = evaluate_constant(program, node.left, at, depth), evaluate_constant(program, node.right, at, depth)
    if (
        isinstance(node.op, ast.Add)
        and type(left) is type(right)
        and isinstance(left, str | list | tuple | int | float)
    ):
        return left + right
    if isinstance(node.op, ast.Sub) and isinstance(left, int | float) and isinstance(right, int | float):
        return left - right
    if isinstance(node.op, ast.Div) and isinstance(left, PurePosixPath) and isinstance(right, str | PurePosixPath):
        return left / right
    raise NotConstantError


def _evaluate_elements(program: Program, node: ast.List | ast.Tuple, at: int, depth: int) -> Any:
    found: list[Any] = []
    for element in node.elts:
        if isinstance(element, ast.Starred):
            found += evaluate_constant(program, element.value, at, depth)
        else:
            found.append(evaluate_constant(program, element, at, depth))
    return found if isinstance(node, ast.List) else tuple(found)


def _evaluate_call(program: Program, node: ast.Call, at: int, depth: int) -> Any:
    name = callee_name(node.func)
    if node.keywords:
        raise NotConstantError
    arguments = [evaluate_constant(program, argument, at, depth) for argument in node.args]
    if len(arguments) == 1 and name in ("str", "list", "tuple"):
        return {"str": str, "list": list, "tuple": tuple}[name](arguments[0])
    if not all(isinstance(argument, str | PurePosixPath) for argument in arguments):
        raise NotConstantError
    if name in ("Path", "PurePath", "PosixPath"):
        return PurePosixPath(*arguments)
    if name in _PATH_METHODS and isinstance(node.func, ast.Attribute):
        return _evaluate_path(program, name, [evaluate_constant(program, node.func.value, at, depth), *arguments])
    if name in _PATH_FUNCTIONS:
        return _evaluate_path(program, name, arguments)
    raise NotConstantError


def _evaluate_path(program: Program, name: str, arguments: list[str | PurePosixPath]) -> str | PurePosixPath:
    """Return the value of a function of `os.path` or of a method of a path, of which `arguments` has the path first."""
    folder = _file_path(program).parent
    paths = [*map(str, arguments)]
    if name in ("getcwd", "cwd") and not paths:
        return str(folder) if name == "getcwd" else folder
    if name == "join" and len(paths) > 1:
        return posixpath.join(*paths)
    if name == "joinpath" and isinstance(arguments[0], PurePosixPath):
        return PurePosixPath(*paths)
    if name in ("abspath", "realpath") and len(paths) == 1:
        return posixpath.normpath(folder / paths[0])
    if name in ("resolve", "absolute") and len(paths) == 1 and isinstance(arguments[0], PurePosixPath):
        return PurePosixPath(posixpath.normpath(folder / paths[0]))
    if name == "dirname" and len(paths) == 1:
        return posixpath.dirname(paths[0])
    raise NotConstantError


def _evaluate_attribute(program: Program, node: ast.Attribute, at: int, depth: int) -> Any:
    """Return the value of a constant of a class, as ``CFG.target``, or a folder above a path."""
    definition = program.resolve_definition(node.value.id, at) if isinstance(node.value, ast.Name) else None
    if isinstance(definition, ast.ClassDef):
        for part in reversed(definition.body):
            targets = part.targets if isinstance(part, ast.Assign) else []
            if any(isinstance(target, ast.Name) and target.id == node.attr for target in targets):
                return evaluate_constant(program, part.value, at, depth)  # type: ignore[attr-defined]
        raise NotConstantError
    if isinstance(node.value, ast.Name) and node.value.id == "os" and node.attr in _OS_CONSTANTS:
        return _OS_CONSTANTS[node.attr]
    value = evaluate_constant(program, node.value, at, depth) if node.attr in ("parent", "parents") else None
    if isinstance(value, PurePosixPath):
        return value.parent if node.attr == "parent" else list(value.parents)
    raise NotConstantError


def _evaluate_subscript(program: Program, node: ast.Subscript, at: int, depth: int) -> Any:
    """Return an element of a constant: ``config["target"]``, ``columns[:-1]``."""
    value = evaluate_constant(program, node.value, at, depth)
    if isinstance(node.slice, ast.Slice):
        ends = (node.slice.lower, node.slice.upper, node.slice.step)
        key: Any = slice(*(None if end is None else evaluate_constant(program, end, at, depth) for end in ends))
    else:
        key = evaluate_constant(program, node.slice, at, depth)
    try:
        return value[key]
    except (LookupError, TypeError, ValueError):
        raise NotConstantError from None


def _evaluate_dictionary(program: Program, node: ast.Dict, at: int, depth: int) -> Any:
    if None in node.keys:
        raise NotConstantError
    keys = [evaluate_constant(program, key, at, depth) for key in node.keys if key is not None]
    return dict(zip(keys, (evaluate_constant(program, value, at, depth) for value in node.values), strict=True))


_EVALUATORS: dict[type, Any] = {
    ast.Name: _evaluate_name,
    ast.JoinedStr: _evaluate_f_string,
    ast.BinOp: _evaluate_operation,
    ast.List: _evaluate_elements,
    ast.Tuple: _evaluate_elements,
    ast.Call: _evaluate_call,
    ast.Dict: _evaluate_dictionary,
    ast.Attribute: _evaluate_attribute,
    ast.Subscript: _evaluate_subscript,
}
