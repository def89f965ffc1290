"""Expressions without the data: with selectors of columns, or with holes to be filled in."""

from __future__ import annotations

import ast
import copy

from diurnal.notebook.column_selectors import ColumnSelectors
from diurnal.notebook.effects import reads_data
from diurnal.notebook.program import Program, is_constructor_call, strip_fit_call
from diurnal.notebook.script_options import PLACEHOLDER
from diurnal.notebook.syntax import callee_name

_TRANSFORMERS = ("ColumnTransformer", "make_column_transformer")


class PlaceholderRewriter:
    """Takes the data out of expressions.

    Parameters
    ----------
    program : Program
        All statements.
    selectors : Selectors
        Replaces lists of columns.
    """

    def __init__(self, program: Program, selectors: ColumnSelectors) -> None:
        self.program = program
        self.selectors = selectors

    def make_placeholder(self, text: str) -> ast.expr:
        """Make a hole, which remembers what stood there."""
        return _with_source(ast.Name(PLACEHOLDER, ast.Load()), f"`{text[:100]}`")

    def rewrite(self, node: ast.expr, at: int, *, columns: bool = False) -> ast.expr:
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
        node = strip_fit_call(node)
        if not self.program.depends_on_data(node, at):
            return node
        equivalent = self._find_equivalent(node, at, columns=columns)
        if equivalent is not None:
            return _with_source(equivalent, ast.unparse(node))
        if isinstance(node, ast.Call) and is_constructor_call(node) and not reads_data(ast.Call(node.func, [], [])):
            return self._rewrite_call(node, at)
        if isinstance(node, ast.List | ast.Tuple | ast.Dict | ast.Set | ast.Starred):
            return self._rewrite_container(node, at, columns=columns)
        return self.make_placeholder(ast.unparse(node)) if self._reads_data_itself(node, at) else node

    def _find_equivalent(self, node: ast.expr, at: int, *, columns: bool) -> ast.expr | None:
        """Return what does the same without the data; a name is left to the statement that binds it."""
        equivalent = self.selectors.find_equivalent(node, at) if columns else None
        if isinstance(node, ast.Name):
            return equivalent if isinstance(equivalent, ast.List) else None
        if equivalent is not None:
            return equivalent
        splitter = self._find_splitter(node, at)
        return None if splitter is None else copy.copy(splitter)

    def _find_splitter(self, node: ast.expr, at: int) -> ast.expr | None:
        """Return the splitter of ``list(folds.split(X, y))``: a search makes the same folds with it."""
        is_list = isinstance(node, ast.Call) and callee_name(node.func) == "list" and len(node.args) == 1
        inner = node.args[0] if is_list and isinstance(node, ast.Call) else node
        if not isinstance(inner, ast.Call) or not isinstance(inner.func, ast.Attribute) or inner.func.attr != "split":
            return None
        splitter = inner.func.value
        return None if not inner.args or self.program.depends_on_data(splitter, at) else splitter

    def _reads_data_itself(self, node: ast.expr, at: int) -> bool:
        """Return whether an expression reads the data itself, and not only names that are filled in elsewhere."""
        if isinstance(node, ast.Name):
            return self.selectors.is_fitted_frame(node, at)
        if isinstance(node, ast.Attribute | ast.Subscript) or reads_data(node):
            return True
        loops = getattr(node, "generators", [])
        parts = [part for child in (node, *loops) for part in ast.iter_child_nodes(child) if isinstance(part, ast.expr)]
        return any(contains_placeholder(self.rewrite(part, at)) for part in parts)

    def _rewrite_call(self, call: ast.Call, at: int) -> ast.expr:
        in_columns = callee_name(call.func) in _TRANSFORMERS
        changed = copy.copy(call)
        changed.args = [self._rewrite_argument(argument, at, in_columns=in_columns) for argument in call.args]
        changed.keywords = [
            ast.keyword(k.arg, self._rewrite_argument(k.value, at, in_columns=in_columns)) for k in call.keywords
        ]
        return ast.fix_missing_locations(changed)

    def _rewrite_argument(self, node: ast.expr, at: int, *, in_columns: bool) -> ast.expr:
        """Rewrite an argument; those of a column transformer name columns at the ends of their tuples."""
        if not in_columns or not isinstance(node, ast.List | ast.Tuple) or not node.elts:
            return self.rewrite(node, at)
        changed = copy.copy(node)
        if isinstance(changed, ast.List):
            changed.elts = [self._rewrite_argument(element, at, in_columns=True) for element in node.elts]
        else:
            last = self.rewrite(node.elts[-1], at, columns=True)
            changed.elts = [*(self.rewrite(element, at) for element in node.elts[:-1]), last]
        return changed

    def _rewrite_container(
        self, node: ast.List | ast.Tuple | ast.Dict | ast.Set | ast.Starred, at: int, *, columns: bool
    ) -> ast.expr:
        changed = copy.copy(node)
        if isinstance(changed, ast.Dict):
            changed.values = [self.rewrite(value, at) for value in changed.values]
        elif isinstance(changed, ast.Starred):
            changed.value = self.rewrite(changed.value, at)
        else:
            changed.elts = [self.rewrite(element, at, columns=columns) for element in changed.elts]
        return ast.fix_missing_locations(changed)


def _with_source(node: ast.expr, text: str) -> ast.expr:
    node.replaced_source = text  # type: ignore[attr-defined]
    return node


def is_placeholder(node: ast.AST) -> bool:
    """Return whether a node is to be filled in."""
    return isinstance(node, ast.Name) and node.id == PLACEHOLDER


def contains_placeholder(node: ast.AST) -> bool:
    """Return whether something within a node is to be filled in."""
    return any(map(is_placeholder, ast.walk(node)))
