"""Changes of a frame through one of its columns, which pandas has not made since version 3.

``df["a"].fillna(0, inplace=True)`` and ``df["a"][df["a"] < 0] = 0`` change a copy of the column there, and notebooks of
earlier versions have them often. See https://pandas.pydata.org/docs/user_guide/copy_on_write.html.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterable, Sequence

from diurnal.notebook.syntax import callee_name, root_name

_METHODS = frozenset({"bfill", "clip", "ffill", "fillna", "interpolate", "mask", "replace", "where"})


def assign_changes(nodes: Sequence[ast.stmt]) -> list[ast.stmt]:
    r"""Return statements in which a frame is changed itself.

    Parameters
    ----------
    nodes : sequence of ast.stmt
        The statements of a notebook; they stay as they are.

    Examples
    --------
    >>> text = "df['a'].fillna(0, inplace=True); df['b'][df['b'] < 0] = 0"
    >>> print("\n".join(map(ast.unparse, assign_changes(ast.parse(text).body))))
    df['a'] = df['a'].fillna(0)
    df.loc[df['b'] < 0, 'b'] = 0
    """
    assignments = [part for node in nodes for part in ast.walk(node) if isinstance(part, ast.Assign)]
    lists = _names_bound_by(one for one in assignments if not _is_text(one.value))
    dicts = _names_bound_by(one for one in assignments if _is_dict(one.value))
    return [_ChangesAssigned(lists, dicts).visit(copy.deepcopy(node)) for node in nodes]


def find_assigned_changes(nodes: Iterable[ast.stmt]) -> list[str]:
    """Return the changes of a column that :func:`assign_changes` has replaced, as the notebook has them."""
    parts = (part for node in nodes for part in ast.walk(node))
    return [part.replaced_change for part in parts if hasattr(part, "replaced_change")]


class _ChangesAssigned(ast.NodeTransformer):
    """Assigns changes of columns.

    Parameters
    ----------
    lists : set of str
        Names that may be those of lists of columns: a selection of several columns has always been a copy.
    dicts : set of str
        Names of dicts.
    """

    def __init__(self, lists: set[str], dicts: set[str]) -> None:
        self._lists, self._dicts = lists, dicts

    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        call = node.value
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute) or call.func.attr not in _METHODS:
            return node
        is_in_place = any(k.arg == "inplace" and getattr(k.value, "value", None) is True for k in call.keywords)
        if not is_in_place or not self._is_column(call.func.value):
            return node
        target = _with_context(call.func.value, ast.Store())
        keywords = [keyword for keyword in call.keywords if keyword.arg != "inplace"]
        return _replace(node, ast.Assign([target], ast.Call(call.func, call.args, keywords)))

    def visit_Assign(self, node: ast.Assign) -> ast.stmt:
        target = self._located_cells(node.targets[0]) if len(node.targets) == 1 else None
        return node if target is None else _replace(node, ast.Assign([target], node.value))

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        target = self._located_cells(node.target)
        return node if target is None else _replace(node, ast.AugAssign(target, node.op, node.value))

    def _is_column(self, node: ast.expr) -> bool:
        """Return whether an expression can be one column of a frame: ``df["a"]``, ``df[name]``, ``df.a``."""
        if isinstance(node, ast.Subscript):
            is_name = isinstance(node.slice, ast.Name) and node.slice.id not in self._lists
            is_located = isinstance(node.value, ast.Attribute) and node.value.attr in ("loc", "iloc")
            return (is_name or _is_text(node.slice)) and not is_located
        return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)

    def _located_cells(self, target: ast.expr) -> ast.Subscript | None:
        """Return ``df.loc[rows, "a"]`` for ``df["a"][rows]``; None if it may be something else, as a dict of dicts."""
        if not isinstance(target, ast.Subscript) or isinstance(target.slice, ast.Slice | ast.Tuple):
            return None
        column = target.value
        is_located = isinstance(column, ast.Attribute) and column.attr == "loc"
        column = column.value if is_located and isinstance(column, ast.Attribute) else column
        if not self._is_column(column) or not isinstance(column, ast.Subscript | ast.Attribute):
            return None
        names = {part.id for part in ast.walk(target.slice) if isinstance(part, ast.Name)}
        is_named = isinstance(column, ast.Subscript) and _is_text(column.slice)
        frame = root_name(column)
        if frame in self._dicts or (frame not in names and not (is_located and is_named)):
            return None
        name = column.slice if isinstance(column, ast.Subscript) else ast.Constant(column.attr)
        rows = ast.Tuple([target.slice, name], ast.Load())
        return ast.Subscript(ast.Attribute(column.value, "loc", ast.Load()), rows, ast.Store())


def _names_bound_by(assignments: Iterable[ast.Assign]) -> set[str]:
    return {target.id for one in assignments for target in one.targets if isinstance(target, ast.Name)}


def _is_dict(node: ast.expr) -> bool:
    is_call = isinstance(node, ast.Call) and callee_name(node.func) == "dict"
    return is_call or isinstance(node, ast.Dict | ast.DictComp)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _with_context(node: ast.expr, context: ast.expr_context) -> ast.expr:
    changed = copy.deepcopy(node)
    changed.ctx = context  # type: ignore[attr-defined]
    return changed


def _replace(old: ast.stmt, new: ast.stmt) -> ast.stmt:
    """Return a statement in the place of another one, which it has as a text."""
    new.replaced_change = ast.unparse(old)  # type: ignore[attr-defined]
    return ast.fix_missing_locations(ast.copy_location(new, old))
