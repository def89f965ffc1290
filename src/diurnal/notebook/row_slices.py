"""Selections of rows by position: ``df[:800]``, ``df[: int(0.8 * len(df))]``."""

from __future__ import annotations

import ast

from diurnal.notebook.constants import NotConstantError, evaluate_constant
from diurnal.notebook.fits import find_constructor
from diurnal.notebook.program import Program
from diurnal.notebook.syntax import callee_name


def is_row_position(program: Program, node: ast.expr, at: int) -> bool:
    """Return whether an expression is a number of rows: a constant, or computed from the number of all rows."""
    try:
        return isinstance(evaluate_constant(program, node, at), int)
    except NotConstantError:
        counted = _find_row_count(program, node, at)
        return counted is not None


def _find_row_count(program: Program, node: ast.expr, at: int) -> ast.expr | None:
    """Return the expression that computes a number of rows, such as ``int(0.8 * len(df))``, or None."""
    if isinstance(node, ast.Name):
        index = program.reaching_definition(node.id, at)
        value = None if index is None else program[index].value
        return None if value is None or index is None else _find_row_count(program, value, index)
    calls = any(isinstance(part, ast.Call) and callee_name(part.func) == "len" for part in ast.walk(node))
    shapes = any(isinstance(part, ast.Attribute) and part.attr == "shape" for part in ast.walk(node))
    return node if calls or shapes else None


def fraction_after_position(program: Program, node: ast.expr, at: int) -> float | None:
    """Return the fraction of rows after a position: 0.2 for ``int(0.8 * len(df))``; None if it is not known."""
    counted = _find_row_count(program, node, at)
    parts = [] if counted is None else [part.value for part in ast.walk(counted) if isinstance(part, ast.Constant)]
    fractions = [part for part in parts if isinstance(part, float) and 0 < part < 1]
    return round(1 - fractions[0], 10) if len(fractions) == 1 else None


def read_splitter_fraction(program: Program, folds: ast.Call, at: int) -> float | None:
    """Return the test fraction of ``StratifiedShuffleSplit(test_size=0.2).split(X, y)``, or None."""
    splitter = find_constructor(program, folds.func.value, at) if isinstance(folds.func, ast.Attribute) else None
    argument = (
        next((k.value for k in splitter.keywords if k.arg == "test_size"), None) if splitter is not None else None
    )
    value = getattr(argument, "value", None)
    return value if isinstance(value, float) and 0 < value < 1 else None
