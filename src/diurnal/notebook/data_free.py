"""Expressions without the data: with selectors of columns, or with holes to be filled in."""

from __future__ import annotations

import ast
import copy

from diurnal.notebook.column_selectors import Selectors
from diurnal.notebook.effects import last_name, reads
from diurnal.notebook.program import Program, is_structure, without_fit
from diurnal.notebook.script_options import HOLE

_TRANSFORMERS = ("ColumnTransformer", "make_column_transformer")


class Hollow:
    """Takes the data out of expressions.

    Parameters
    ----------
    program : Program
        All statements.
    selectors : Selectors
        Replaces lists of columns.
    """

    def __init__(self, program: Program, selectors: Selectors) -> None:
        self.program = program
        self.selectors = selectors

    def hole(self, text: str) -> ast.expr:
        """Make a hole, which remembers what stood there."""
        return _remembering(ast.Name(HOLE, ast.Load()), f"`{text[:100]}`")

    def of(self, node: ast.expr, at: int, *, columns: bool = False) -> ast.expr:
        """Return an expression with a hole wherever it depends on the data, or with a selector of columns.

        Parameters
        ----------
        node : ast.expr
            The expression.
        at : int
            The index of its statement.
        columns : bool
            Whether it stands where a transformer takes its columns.
        """
        node = without_fit(node)
        if not self.program.is_data(node, at):
            return node
        equal = self._equal(node, at, columns=columns)
        if equal is not None:
            return _remembering(equal, ast.unparse(node))
        if isinstance(node, ast.Call) and is_structure(node) and not reads(ast.Call(node.func, [], [])):
            return self._structure(node, at)
        if isinstance(node, ast.List | ast.Tuple | ast.Dict | ast.Set | ast.Starred):
            return self._container(node, at, columns=columns)
        return self.hole(ast.unparse(node)) if self._is_whole(node, at) else node

    def _equal(self, node: ast.expr, at: int, *, columns: bool) -> ast.expr | None:
        """Return what does the same without the data; a name is left to the statement that binds it."""
        equal = self.selectors.equal_to(node, at) if columns else None
        if isinstance(node, ast.Name):
            return equal if isinstance(equal, ast.List) else None
        if equal is not None:
            return equal
        splitter = self._splitter(node, at)
        return None if splitter is None else copy.copy(splitter)

    def _splitter(self, node: ast.expr, at: int) -> ast.expr | None:
        """Return the splitter of ``list(folds.split(X, y))``: a search makes the same folds with it."""
        is_list = isinstance(node, ast.Call) and last_name(node.func) == "list" and len(node.args) == 1
        inner = node.args[0] if is_list and isinstance(node, ast.Call) else node
        if not isinstance(inner, ast.Call) or not isinstance(inner.func, ast.Attribute) or inner.func.attr != "split":
            return None
        splitter = inner.func.value
        return None if not inner.args or self.program.is_data(splitter, at) else splitter

    def _is_whole(self, node: ast.expr, at: int) -> bool:
        """Return whether an expression reads the data itself, and not only names that are filled in elsewhere."""
        if isinstance(node, ast.Name):
            return self.selectors.is_frame(node, at)
        if isinstance(node, ast.Attribute | ast.Subscript) or reads(node):
            return True
        loops = getattr(node, "generators", [])
        parts = [part for child in (node, *loops) for part in ast.iter_child_nodes(child) if isinstance(part, ast.expr)]
        return any(has_hole(self.of(part, at)) for part in parts)

    def _structure(self, call: ast.Call, at: int) -> ast.expr:
        in_columns = last_name(call.func) in _TRANSFORMERS
        changed = copy.copy(call)
        changed.args = [self._part(argument, at, in_columns=in_columns) for argument in call.args]
        changed.keywords = [ast.keyword(k.arg, self._part(k.value, at, in_columns=in_columns)) for k in call.keywords]
        return ast.fix_missing_locations(changed)

    def _part(self, node: ast.expr, at: int, *, in_columns: bool) -> ast.expr:
        """Rewrite an argument; those of a column transformer name columns at the ends of their tuples."""
        if not in_columns or not isinstance(node, ast.List | ast.Tuple) or not node.elts:
            return self.of(node, at)
        changed = copy.copy(node)
        if isinstance(changed, ast.List):
            changed.elts = [self._part(element, at, in_columns=True) for element in node.elts]
        else:
            last = self.of(node.elts[-1], at, columns=True)
            changed.elts = [*(self.of(element, at) for element in node.elts[:-1]), last]
        return changed

    def _container(
        self, node: ast.List | ast.Tuple | ast.Dict | ast.Set | ast.Starred, at: int, *, columns: bool
    ) -> ast.expr:
        changed = copy.copy(node)
        if isinstance(changed, ast.Dict):
            changed.values = [self.of(value, at) for value in changed.values]
        elif isinstance(changed, ast.Starred):
            changed.value = self.of(changed.value, at)
        else:
            changed.elts = [self.of(element, at, columns=columns) for element in changed.elts]
        return ast.fix_missing_locations(changed)


def _remembering(node: ast.expr, text: str) -> ast.expr:
    node.said = text  # type: ignore[attr-defined]
    return node


def is_hole(node: ast.AST) -> bool:
    """Return whether a node is to be filled in."""
    return isinstance(node, ast.Name) and node.id == HOLE


def has_hole(node: ast.AST) -> bool:
    """Return whether something within a node is to be filled in."""
    return any(map(is_hole, ast.walk(node)))
