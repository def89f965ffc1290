"""The fraction of rows that a notebook uses for testing."""

from __future__ import annotations

import ast

from diurnal.notebook.constants import NotConstantError, evaluate_constant
from diurnal.notebook.program import Program
from diurnal.notebook.syntax import callee_name


def read_test_fraction(program: Program, call: ast.Call, at: int) -> float | None:
    """Return the fraction of rows for testing of a split; None if it is a number of rows, or not known."""
    if callee_name(call.func) == "randomSplit":
        return _fraction_from_weights(program, call, at)
    arguments = {keyword.arg: keyword.value for keyword in call.keywords}
    named = next((name for name in ("test_size", "train_size") if not _is_missing(arguments.get(name))), None)
    if named is None:
        return 0.25  # scikit-learn's default
    try:
        value = evaluate_constant(program, arguments[named], at)
    except NotConstantError:
        return None
    if not isinstance(value, float) or not 0 < value < 1:
        return None
    return value if named == "test_size" else round(1 - value, 10)


def _is_missing(node: ast.expr | None) -> bool:
    return node is None or (isinstance(node, ast.Constant) and node.value is None)


def _fraction_from_weights(program: Program, call: ast.Call, at: int) -> float | None:
    try:
        weights = evaluate_constant(program, call.args[0], at) if call.args else None
    except NotConstantError:
        return None
    is_list = isinstance(weights, list) and len(weights) >= 2 and all(isinstance(w, int | float) for w in weights)
    return round(1 - weights[0] / sum(weights), 10) if is_list and weights is not None else None
