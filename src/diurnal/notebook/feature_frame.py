"""The expression that joins features and target into one frame."""

from __future__ import annotations

import ast

from diurnal.notebook.program import Program
from diurnal.notebook.syntax import callee_name

_MAX_DEPTH = 20


def format_frame(
    program: Program, features: ast.expr, at: int, column: str | None, columns: dict[str, ast.expr]
) -> tuple[str, tuple[str, ...]]:
    """Return the expression of a frame that consists of features and further columns.

    Parameters
    ----------
    program : Program
        The statements of the notebook.
    features : ast.expr
        A frame or an array; the columns of an array are named ``x0``, ``x1``, ...
    at : int
        The index of the statement that uses the features.
    column : str or None
        The name of the features, if they are a single series.
    columns : dict of str to ast.expr
        The expressions of the further columns, by name.

    Returns
    -------
    text : str
        The expression.
    modules : tuple of str
        The modules that the expression needs.
    """
    text, modules = ast.unparse(features), ["numpy"]
    if column is not None:
        text, modules = f"pd.DataFrame({{{column!r}: {text}}})", ["numpy", "pandas"]
    elif is_array(program, features, at):
        text, modules = f'pd.DataFrame({text}).add_prefix("x")', ["numpy", "pandas"]
    flattened = {name: f"np.ravel({ast.unparse(value)})" for name, value in columns.items()}
    if all(name.isidentifier() for name in flattened):
        arguments = ", ".join(f"{name}={value}" for name, value in flattened.items())
    else:
        arguments = "**{" + ", ".join(f"{name!r}: {value}" for name, value in flattened.items()) + "}"
    return f"{text}.assign({arguments})", tuple(modules)


def is_array(program: Program, node: ast.expr, at: int, depth: int = 0) -> bool:
    """Return whether the value of an expression is an array or a list, which has no column names."""
    if depth > _MAX_DEPTH:
        return False
    if isinstance(node, ast.Name):
        return _is_array_name(program, node, at, depth + 1)
    if isinstance(node, ast.BinOp | ast.Subscript):
        return is_array(program, node.left if isinstance(node, ast.BinOp) else node.value, at, depth + 1)
    if isinstance(node, ast.Attribute):
        return node.attr == "values" or (node.attr == "data" and not _asks_for_frame(program, node.value, at))
    is_numpy = isinstance(node, ast.Call) and program.qualified_name(node.func, at).startswith("numpy.")
    return is_numpy or (isinstance(node, ast.Call) and callee_name(node.func) in ("to_numpy", "tolist", "reshape"))


def _is_array_name(program: Program, node: ast.Name, at: int, depth: int) -> bool:
    index = program.reaching_definition(node.id, at)
    value = None if index is None else program[index].value
    if index is None or value is None:
        return False
    if not isinstance(program[index].target, ast.Tuple):
        return is_array(program, value, index, depth)
    if not isinstance(value, ast.Call):
        return False
    if callee_name(value.func) == "train_test_split" and value.args:
        return is_array(program, value.args[0], index, depth)
    is_loaded = program.qualified_name(value.func, index).startswith("sklearn.datasets.")
    return is_loaded and "as_frame" not in {keyword.arg for keyword in value.keywords}


def _asks_for_frame(program: Program, node: ast.expr, at: int) -> bool:
    index = program.reaching_definition(node.id, at) if isinstance(node, ast.Name) else None
    value = node if index is None else program[index].value
    return isinstance(value, ast.Call) and "as_frame" in {keyword.arg for keyword in value.keywords}
