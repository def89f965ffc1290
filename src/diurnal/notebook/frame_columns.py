"""Which columns of a frame an expression takes or leaves out."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from diurnal.notebook.constants import NotConstantError, evaluate_constant, evaluate_string, evaluate_strings
from diurnal.notebook.effects import callee_name
from diurnal.notebook.program import Program

OF_FRAMES = frozenset({
    "T", "apply", "at", "axes", "cat", "columns", "drop", "dt", "dtype", "dtypes", "empty", "groupby", "iat", "iloc",
    "index", "loc", "map", "mean", "ndim", "plot", "pop", "shape", "size", "str", "sum", "values",
})  # fmt: skip
"""What is no column where it stands behind the dot of a frame."""


@dataclass(frozen=True)
class Columns:
    """A choice of columns.

    Attributes
    ----------
    frame : ast.expr
        The frame that they are taken from.
    keep : tuple of str or None
        Those that are taken, in their order.
    drop : tuple of str
        Those that are left out.
    column : str or None
        The one that is taken as a series.
    positions : str or None
        How they are taken by their places, whose names are not known: the text of the expression.
    """

    frame: ast.expr
    keep: tuple[str, ...] | None = None
    drop: tuple[str, ...] = ()
    column: str | None = None
    positions: ast.expr | None = None


def taken(program: Program, node: ast.expr, at: int) -> Columns | None:
    """Read an expression as a choice of columns, such as ``df.drop(columns="label")`` or ``df[["age", "sex"]]``.

    Returns
    -------
    Columns or None
        None where it is something else.
    """
    if isinstance(node, ast.Call):
        return _of_call(program, node, at)
    if isinstance(node, ast.Subscript):
        return _of_subscript(program, node, at)
    return None


def dropped_in_place(program: Program, node: ast.stmt, name: str, at: int) -> tuple[str, ...] | None:
    """Return the columns that a statement takes out of a frame, where it does nothing else to it."""
    if isinstance(node, ast.Delete) and len(node.targets) == 1:
        place = node.targets[0]
        is_column = isinstance(place, ast.Subscript) and isinstance(place.value, ast.Name) and place.value.id == name
        return evaluate_strings(program, place.slice, at) if is_column and isinstance(place, ast.Subscript) else None
    value = node.value if isinstance(node, ast.Expr | ast.Assign | ast.AnnAssign) else None
    call = next((part for part in ast.walk(value) if _is_on(part, name)), None) if value is not None else None
    if not isinstance(call, ast.Call):
        return None
    if callee_name(call.func) == "pop":
        column = evaluate_string(program, call.args[0], at) if call.args else None
        return None if column is None else (column,)
    return _dropped(program, call, at) if callee_name(call.func) == "drop" and isinstance(node, ast.Expr) else None


def _is_on(node: ast.AST, name: str) -> bool:
    """Return whether a node is a call of a method of a name that takes columns away."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    return node.func.attr in ("pop", "drop") and isinstance(node.func.value, ast.Name) and node.func.value.id == name


def _of_call(program: Program, call: ast.Call, at: int) -> Columns | None:
    if not isinstance(call.func, ast.Attribute):
        return None
    frame, method = call.func.value, call.func.attr
    if method == "drop":
        names = _dropped(program, call, at)
        return None if names is None else Columns(frame, drop=names)
    if method in ("pop", "get") and len(call.args) == 1:
        column = evaluate_string(program, call.args[0], at)
        return None if column is None else Columns(frame, column=column)
    if method == "filter":
        names = evaluate_strings(program, _argument(call, 0, "items"), at)
        return None if names is None else Columns(frame, keep=names)
    return None


def _dropped(program: Program, call: ast.Call, at: int) -> tuple[str, ...] | None:
    """Return the columns of ``drop("a", axis=1)`` or ``drop(columns=["a", "b"])``; rows are something else."""
    axis = _argument(call, 1, "axis")
    if _argument(call, None, "columns") is not None:
        return evaluate_strings(program, _argument(call, None, "columns"), at)
    if axis is not None and getattr(axis, "value", None) in (1, "columns"):
        return evaluate_strings(program, _argument(call, 0, "labels"), at)
    return None


def _argument(call: ast.Call, position: int | None, name: str) -> ast.expr | None:
    given = next((keyword.value for keyword in call.keywords if keyword.arg == name), None)
    if given is None and position is not None and position < len(call.args):
        return call.args[position]
    return given


def _of_subscript(program: Program, node: ast.Subscript, at: int) -> Columns | None:
    frame, chosen = node.value, node.slice
    indexer = frame.attr if isinstance(frame, ast.Attribute) and frame.attr in ("loc", "iloc") else ""
    if indexer:
        frame = frame.value  # type: ignore[attr-defined]
    if isinstance(chosen, ast.Tuple):
        if len(chosen.elts) != 2 or not _is_all(chosen.elts[0]):
            return None
        chosen = chosen.elts[1]
        if indexer != "loc":  # df.iloc[:, :-1], or an array's [:, :-1]
            return Columns(frame, positions=chosen)
    elif indexer:
        return None
    column = evaluate_string(program, chosen, at)
    if column is not None:
        return Columns(frame, column=column)
    names = evaluate_strings(program, chosen, at)
    if names is not None:
        return Columns(frame, keep=names)
    left_out = all_but(program, chosen, frame, at)
    return None if left_out is None else Columns(frame, drop=left_out)


def _is_all(node: ast.expr) -> bool:
    return isinstance(node, ast.Slice) and node.lower is None and node.upper is None and node.step is None


def all_but(program: Program, node: ast.expr, frame: ast.expr, at: int) -> tuple[str, ...] | None:
    """Return the names that a list of a frame's columns leaves out: ``[c for c in df.columns if c != "label"]``.

    Returns
    -------
    tuple of str or None
        Empty for all columns, None where the list is made in another way.
    """
    if _is_columns(node, frame):
        return ()
    if isinstance(node, ast.Attribute) and node.attr == "values":
        return all_but(program, node.value, frame, at)
    read = _READ.get(type(node))
    return None if read is None else read(program, node, frame, at)


def _is_columns(node: ast.expr, frame: ast.expr) -> bool:
    """Return whether an expression is ``df.columns``, or the frame itself, which gives its columns."""
    if isinstance(node, ast.Attribute) and node.attr == "columns":
        node = node.value
    return ast.dump(node) == ast.dump(frame)


def _named_list(program: Program, node: ast.Name, frame: ast.expr, at: int) -> tuple[str, ...] | None:
    """Follow a list to where it is made, and what is removed from it afterwards."""
    index = program.definition(node.id, at)
    if index is None or program[index].value is None:
        return None
    found = all_but(program, program[index].value, frame, index)  # type: ignore[arg-type]
    for change in program.changes(node.id, index, at):
        call = getattr(program[change].node, "value", None)
        removes = isinstance(call, ast.Call) and callee_name(call.func) == "remove" and len(call.args) == 1
        removed = evaluate_string(program, call.args[0], change) if removes and isinstance(call, ast.Call) else None
        found = None if found is None or removed is None else (*found, removed)
    return found


def _called(program: Program, node: ast.Call, frame: ast.expr, at: int) -> tuple[str, ...] | None:
    if callee_name(node.func) in ("list", "tolist", "to_list"):
        inner = node.args[0] if node.args else getattr(node.func, "value", None)
        return None if inner is None else all_but(program, inner, frame, at)
    if isinstance(node.func, ast.Attribute) and node.func.attr in ("drop", "difference") and node.args:
        before, names = all_but(program, node.func.value, frame, at), evaluate_strings(program, node.args[0], at)
        return None if before is None or names is None else (*before, *names)
    return None


def _compared(program: Program, node: ast.Compare, frame: ast.expr, at: int) -> tuple[str, ...] | None:
    """Read ``df.columns != "label"``."""
    if len(node.ops) == 1 and isinstance(node.ops[0], ast.NotEq) and _is_columns(node.left, frame):
        return evaluate_strings(program, node.comparators[0], at)
    return None


def _comprehended(program: Program, node: ast.ListComp, frame: ast.expr, at: int) -> tuple[str, ...] | None:
    loop = node.generators[0]
    is_plain = len(node.generators) == 1 and isinstance(loop.target, ast.Name) and len(loop.ifs) <= 1
    if not is_plain or ast.dump(node.elt) != ast.dump(ast.Name(loop.target.id, ast.Load())):  # type: ignore[attr-defined]
        return None
    before = all_but(program, loop.iter, frame, at)
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


def counts_columns(search: Iterable[ast.AST]) -> bool:
    """Return whether a search takes columns by their places: ``("words", OneHotEncoder(), [0, 3])``."""
    tuples = (part for node in search for part in ast.walk(node) if isinstance(part, ast.Tuple) and len(part.elts) > 1)
    last = [part.elts[-1] for part in tuples]
    listed = (element for part in last if isinstance(part, ast.List) for element in part.elts)
    slices = (part for part in last if isinstance(part, ast.Call) and callee_name(part.func) == "slice")
    return any(isinstance(getattr(e, "value", None), int) for e in listed) or any(True for _ in slices)


def at_positions(program: Program, header: list[str], node: ast.expr | None, at: int) -> list[str] | str | None:
    """Return the names at the places of ``[:, :-1]`` or ``[:, -1]``."""
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
        return [header[place] for place in places] if isinstance(places, list) else header[places]
    except (NotConstantError, IndexError, TypeError):
        return None


_READ: dict[type, Any] = {
    ast.Name: _named_list,
    ast.Compare: _compared,
    ast.ListComp: _comprehended,
    ast.Call: _called,
}
