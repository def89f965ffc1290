"""Selections of columns: the columns of a frame that an expression keeps or drops."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from diurnal.notebook.constants import NotConstantError, evaluate_constant, evaluate_string, evaluate_strings
from diurnal.notebook.program import Program
from diurnal.notebook.syntax import callee_name

FRAME_ATTRIBUTES = frozenset({
    "T", "apply", "at", "axes", "cat", "columns", "drop", "dt", "dtype", "dtypes", "empty", "groupby", "iat", "iloc",
    "index", "loc", "map", "mean", "ndim", "plot", "pop", "shape", "size", "str", "sum", "values",
})  # fmt: skip
"""Attributes of a frame that are not columns."""


@dataclass(frozen=True)
class ColumnSelection:
    """A selection of columns.

    Attributes
    ----------
    frame : ast.expr
        The frame that the columns are selected from.
    keep : tuple of str or None
        The columns that are kept, in order; None if all are.
    drop : tuple of str
        The columns that are dropped.
    column : str or None
        The column that is selected as a series.
    positions : ast.expr or None
        The expression that selects columns by position, if their names are not known.
    """

    frame: ast.expr
    keep: tuple[str, ...] | None = None
    drop: tuple[str, ...] = ()
    column: str | None = None
    positions: ast.expr | None = None


def parse_selection(program: Program, node: ast.expr, at: int) -> ColumnSelection | None:
    """Parse a selection of columns, such as ``df.drop(columns="label")`` or ``df[["age", "sex"]]``.

    Returns
    -------
    Columns or None
        None if the expression is not a selection.
    """
    if isinstance(node, ast.Call):
        return _selection_from_call(program, node, at)
    if isinstance(node, ast.Subscript):
        return _selection_from_subscript(program, node, at)
    return None


def parse_in_place_drop(program: Program, node: ast.stmt, name: str, at: int) -> tuple[str, ...] | None:
    """Return the columns that a statement drops from a frame in place; None if it changes anything else."""
    if isinstance(node, ast.Delete) and len(node.targets) == 1:
        target = node.targets[0]
        is_column = isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name) and target.value.id == name
        return evaluate_strings(program, target.slice, at) if is_column and isinstance(target, ast.Subscript) else None
    value = node.value if isinstance(node, ast.Expr | ast.Assign | ast.AnnAssign) else None
    call = next((part for part in ast.walk(value) if _is_drop_on(part, name)), None) if value is not None else None
    if not isinstance(call, ast.Call):
        return None
    if callee_name(call.func) == "pop":
        column = evaluate_string(program, call.args[0], at) if call.args else None
        return None if column is None else (column,)
    return (
        _dropped_columns(program, call, at) if callee_name(call.func) == "drop" and isinstance(node, ast.Expr) else None
    )


def _is_drop_on(node: ast.AST, name: str) -> bool:
    """Return whether a node is a call of ``pop`` or ``drop`` on a name."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    return node.func.attr in ("pop", "drop") and isinstance(node.func.value, ast.Name) and node.func.value.id == name


def _selection_from_call(program: Program, call: ast.Call, at: int) -> ColumnSelection | None:
    if not isinstance(call.func, ast.Attribute):
        return None
    frame, method = call.func.value, call.func.attr
    if method == "drop":
        names = _dropped_columns(program, call, at)
        return None if names is None else ColumnSelection(frame, drop=names)
    if method in ("pop", "get") and len(call.args) == 1:
        column = evaluate_string(program, call.args[0], at)
        return None if column is None else ColumnSelection(frame, column=column)
    if method == "filter":
        names = evaluate_strings(program, _find_argument(call, 0, "items"), at)
        return None if names is None else ColumnSelection(frame, keep=names)
    return None


def _dropped_columns(program: Program, call: ast.Call, at: int) -> tuple[str, ...] | None:
    """Return the columns of ``drop("a", axis=1)`` or ``drop(columns=["a", "b"])``; None if it drops rows."""
    axis = _find_argument(call, 1, "axis")
    if _find_argument(call, None, "columns") is not None:
        return evaluate_strings(program, _find_argument(call, None, "columns"), at)
    if axis is not None and getattr(axis, "value", None) in (1, "columns"):
        return evaluate_strings(program, _find_argument(call, 0, "labels"), at)
    return None


def _find_argument(call: ast.Call, position: int | None, name: str) -> ast.expr | None:
    argument = next((keyword.value for keyword in call.keywords if keyword.arg == name), None)
    if argument is None and position is not None and position < len(call.args):
        return call.args[position]
    return argument


def _selection_from_subscript(program: Program, node: ast.Subscript, at: int) -> ColumnSelection | None:
    frame, chosen = node.value, node.slice
    indexer = frame.attr if isinstance(frame, ast.Attribute) and frame.attr in ("loc", "iloc") else ""
    if indexer:
        frame = frame.value  # type: ignore[attr-defined]
    if isinstance(chosen, ast.Tuple):
        if len(chosen.elts) != 2 or not _is_full_slice(chosen.elts[0]):
            return None
        chosen = chosen.elts[1]
        if indexer != "loc":  # df.iloc[:, :-1], or an array's [:, :-1]
            return ColumnSelection(frame, positions=chosen)
    elif indexer:
        return None
    column = evaluate_string(program, chosen, at)
    if column is not None:
        return ColumnSelection(frame, column=column)
    names = evaluate_strings(program, chosen, at)
    if names is not None:
        return ColumnSelection(frame, keep=names)
    left_out = parse_excluded_columns(program, chosen, frame, at)
    return None if left_out is None else ColumnSelection(frame, drop=left_out)


def _is_full_slice(node: ast.expr) -> bool:
    return isinstance(node, ast.Slice) and node.lower is None and node.upper is None and node.step is None


def parse_excluded_columns(program: Program, node: ast.expr, frame: ast.expr, at: int) -> tuple[str, ...] | None:
    """Return the columns that a list of columns excludes: ``"label"`` in ``[c for c in df.columns if c != "label"]``.

    Returns
    -------
    tuple of str or None
        Empty if the list has all columns, None if the expression is not supported.
    """
    if _lists_columns(node, frame):
        return ()
    if isinstance(node, ast.Attribute) and node.attr == "values":
        return parse_excluded_columns(program, node.value, frame, at)
    parse = _PARSERS.get(type(node))
    return None if parse is None else parse(program, node, frame, at)


def _lists_columns(node: ast.expr, frame: ast.expr) -> bool:
    """Return whether an expression is ``df.columns``, or the frame itself, whose iteration yields its columns."""
    if isinstance(node, ast.Attribute) and node.attr == "columns":
        node = node.value
    return ast.dump(node) == ast.dump(frame)


def _exclusions_from_name(program: Program, node: ast.Name, frame: ast.expr, at: int) -> tuple[str, ...] | None:
    """Return the exclusions of a named list, including columns that later statements remove from it."""
    index = program.reaching_definition(node.id, at)
    if index is None or program[index].value is None:
        return None
    found = parse_excluded_columns(program, program[index].value, frame, index)  # type: ignore[arg-type]
    for change in program.changes(node.id, index, at):
        call = getattr(program[change].node, "value", None)
        removes = isinstance(call, ast.Call) and callee_name(call.func) == "remove" and len(call.args) == 1
        removed = evaluate_string(program, call.args[0], change) if removes and isinstance(call, ast.Call) else None
        found = None if found is None or removed is None else (*found, removed)
    return found


def _exclusions_from_call(program: Program, node: ast.Call, frame: ast.expr, at: int) -> tuple[str, ...] | None:
    if callee_name(node.func) in ("list", "tolist", "to_list"):
        inner = node.args[0] if node.args else getattr(node.func, "value", None)
        return None if inner is None else parse_excluded_columns(program, inner, frame, at)
    if isinstance(node.func, ast.Attribute) and node.func.attr in ("drop", "difference") and node.args:
        before, names = (
            parse_excluded_columns(program, node.func.value, frame, at),
            evaluate_strings(program, node.args[0], at),
        )
        return None if before is None or names is None else (*before, *names)
    return None


def _exclusions_from_comparison(
    program: Program, node: ast.Compare, frame: ast.expr, at: int
) -> tuple[str, ...] | None:
    """Return the exclusions of ``df.columns != "label"``."""
    if len(node.ops) == 1 and isinstance(node.ops[0], ast.NotEq) and _lists_columns(node.left, frame):
        return evaluate_strings(program, node.comparators[0], at)
    return None


def _exclusions_from_comprehension(
    program: Program, node: ast.ListComp, frame: ast.expr, at: int
) -> tuple[str, ...] | None:
    loop = node.generators[0]
    is_plain = len(node.generators) == 1 and isinstance(loop.target, ast.Name) and len(loop.ifs) <= 1
    if not is_plain or ast.dump(node.elt) != ast.dump(ast.Name(loop.target.id, ast.Load())):  # type: ignore[attr-defined]
        return None
    before = parse_excluded_columns(program, loop.iter, frame, at)
    if before is None or not loop.ifs:
        return before
    test = loop.ifs[0]
    is_other = (
        isinstance(test, ast.Compare)
        and len(test.ops) == 1
        and isinstance(test.ops[0], ast.NotEq | ast.NotIn)
        and ast.dump(test.left) == ast.dump(node.elt)
    )
    names = evaluate_strings(program, test.comparators[0], at) if is_other and isinstance(test, ast.Compare) else None
    return None if names is None else (*before, *names)


def uses_column_positions(search: Iterable[ast.AST]) -> bool:
    """Return whether a search selects columns by position: ``("city", OneHotEncoder(), [0, 3])``."""
    tuples = (part for node in search for part in ast.walk(node) if isinstance(part, ast.Tuple) and len(part.elts) > 1)
    last = [part.elts[-1] for part in tuples]
    listed = (element for part in last if isinstance(part, ast.List) for element in part.elts)
    slices = (part for part in last if isinstance(part, ast.Call) and callee_name(part.func) == "slice")
    return any(isinstance(getattr(e, "value", None), int) for e in listed) or any(True for _ in slices)


def resolve_positions(program: Program, header: list[str], node: ast.expr | None, at: int) -> list[str] | str | None:
    """Return the names at the positions of ``[:, :-1]`` or ``[:, -1]``."""
    if node is None:
        return None
    try:
        if isinstance(node, ast.Slice):
            ends = [
                None if end is None else evaluate_constant(program, end, at)
                for end in (node.lower, node.upper, node.step)
            ]
            return header[slice(*ends)]
        places = evaluate_constant(program, node, at)
        return [header[target] for target in places] if isinstance(places, list) else header[places]
    except (NotConstantError, IndexError, TypeError):
        return None


_PARSERS: dict[type, Any] = {
    ast.Name: _exclusions_from_name,
    ast.Compare: _exclusions_from_comparison,
    ast.ListComp: _exclusions_from_comprehension,
    ast.Call: _exclusions_from_call,
}
