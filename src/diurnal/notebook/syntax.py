"""Small helpers for syntax trees and names."""

from __future__ import annotations

import ast
from collections.abc import Collection


def root_name(node: ast.AST) -> str | None:
    """Return the name that a chain of attributes and subscripts begins with.

    Examples
    --------
    >>> root_name(ast.parse("df.loc[0].values", mode="eval").body)
    'df'
    """
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def callee_name(function: ast.AST) -> str:
    """Return the last part of the name of a called function: ``read_csv`` of ``pd.read_csv``."""
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def is_definition(node: ast.AST) -> bool:
    """Return whether a statement defines a function or a class."""
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)


def is_import(node: ast.AST) -> bool:
    """Return whether a statement is an import."""
    return isinstance(node, ast.Import | ast.ImportFrom)


def choose_unused_name(name: str, used_names: Collection[str]) -> str:
    """Return a name, with a number behind it where the name is already in use.

    Examples
    --------
    >>> choose_unused_name("scaler", {"scaler", "scaler_2"})
    'scaler_3'
    """
    chosen, number = name, 2
    while chosen in used_names:
        chosen, number = f"{name}_{number}", number + 1
    return chosen
