"""Inlining of a function: its body with the arguments of a call."""

from __future__ import annotations

import ast
import copy
from collections.abc import Mapping

from diurnal.notebook.effects import find_effects
from diurnal.notebook.syntax import choose_unused_name


def find_bound_names(node: ast.stmt) -> set[str]:
    """Return the names that a statement binds outside of the functions that it defines."""
    found = find_effects(node, {})
    return set(found.binds | found.may_bind)


def inline_body(
    function: ast.FunctionDef, call: ast.Call, used_names: frozenset[str]
) -> tuple[list[ast.stmt], ast.expr | None]:
    """Return the body of a function for a call, and the expression that it returns.

    An argument that is a plain name replaces its parameter, unless the body binds the parameter. Any other argument is
    assigned to the parameter first. Local names that are in use outside get a number: ``df`` becomes ``df_2``.
    """
    arguments_by_name = _bind_arguments(function, call)
    has_docstring = ast.get_docstring(function, clean=False) is not None
    body = [copy.deepcopy(node) for node in function.body[has_docstring:]] or [ast.Pass()]
    bound = {name for node in body for name in find_bound_names(node)}
    names: dict[str, str] = {}
    assigned: list[ast.stmt] = []
    for parameter, value in arguments_by_name.items():
        if isinstance(value, ast.Name) and parameter not in bound:
            names[parameter] = value.id
            continue
        names |= {parameter: choose_unused_name(parameter, used_names)} if parameter in used_names else {}
        if value is not None:
            target = ast.Name(parameter, ast.Store())
            assigned.append(ast.copy_location(ast.Assign([target], value), call))
    names |= {
        name: choose_unused_name(name, used_names) for name in bound - set(arguments_by_name) if name in used_names
    }
    renamed = [_NameReplacer(names).visit(node) for node in body]
    for node in assigned:
        node.targets = [_NameReplacer(names).visit(target) for target in node.targets]  # type: ignore[attr-defined]
    result = renamed.pop().value if isinstance(renamed[-1], ast.Return) else None
    whole = [*assigned, *renamed]
    for node in whole:
        ast.fix_missing_locations(node)
    return whole, result


def _bind_arguments(function: ast.FunctionDef, call: ast.Call) -> dict[str, ast.expr | None]:
    """Return the argument of each parameter, or its default, or None if it has neither."""
    arguments = function.args
    positional = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    arguments_by_name: dict[str, ast.expr | None] = dict.fromkeys(positional)
    arguments_by_name |= dict(
        zip(positional[len(positional) - len(arguments.defaults) :], arguments.defaults, strict=True)
    )
    arguments_by_name |= {
        argument.arg: default for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    }
    arguments_by_name |= dict(zip(positional, call.args, strict=False))
    arguments_by_name |= {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg in arguments_by_name}
    return arguments_by_name


class _NameReplacer(ast.NodeTransformer):
    """Renames names, parameters and functions."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.Name:
        node.id = self.names.get(node.id, node.id)
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.arg = self.names.get(node.arg, node.arg)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.name = self.names.get(node.name, node.name)
        self.generic_visit(node)
        return node


def substitute_result(node: ast.stmt, call: ast.Call, result: ast.expr | None) -> ast.stmt | None:
    """Return a statement with the result in place of a call; None if the statement is only that call."""
    if isinstance(node, ast.Expr) and node.value is call:
        return None
    value = result if result is not None else ast.Constant(None)

    class _Replaced(ast.NodeTransformer):
        def visit_Call(self, other: ast.Call) -> ast.AST:
            return value if other is call else self.generic_visit(other)

    changed: ast.stmt = _Replaced().visit(_copy_around(node, call))
    return ast.fix_missing_locations(changed)


def _copy_around(node: ast.stmt, call: ast.Call) -> ast.stmt:
    """Copy a statement except for one call, so that the call can be found in the copy by identity."""
    return copy.deepcopy(node, {id(call): call})
