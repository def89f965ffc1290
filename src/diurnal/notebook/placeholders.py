"""Replacement of expressions that depend on the data, by column selectors or by placeholders."""

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
    """Removes the dependence on data from expressions.

    Parameters
    ----------
    program : Program
        The statements of the notebook.
    selectors : ColumnSelectors
        Finds the selectors that replace lists of columns.
    """

    def __init__(self, program: Program, selectors: ColumnSelectors) -> None:
        self.program = program
        self.selectors = selectors

    def make_placeholder(self, text: str) -> ast.expr:
        """Return a placeholder that stores the source text of the expression that it replaces."""
        return _with_source(ast.Name(PLACEHOLDER, ast.Load()), f"`{text[:100]}`")

    def rewrite(self, node: ast.expr, at: int, *, columns: bool = False) -> ast.expr:
        """Return an expression in which a selector or a placeholder replaces each part that depends on the data.

        Parameters
        ----------
        node : ast.expr
            The expression.
        at : int
            The index of its statement.
        columns : bool
            Whether the expression is the column argument of a transformer.
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
        """Return an equivalent expression that needs no data, or None.

        A name stays as it is: the statement that binds it is rewritten instead.
        """
        equivalent = self.selectors.find_equivalent(node, at) if columns else None
        if isinstance(node, ast.Name):
            return equivalent if isinstance(equivalent, ast.List) else None
        if equivalent is not None:
            return equivalent
        splitter = self._find_splitter(node, at)
        return None if splitter is None else copy.copy(splitter)

    def _find_splitter(self, node: ast.expr, at: int) -> ast.expr | None:
        """Return the splitter of ``list(folds.split(X, y))``: with ``cv=folds``, a search uses the same folds."""
        is_list = isinstance(node, ast.Call) and callee_name(node.func) == "list" and len(node.args) == 1
        inner = node.args[0] if is_list and isinstance(node, ast.Call) else node
        if not isinstance(inner, ast.Call) or not isinstance(inner.func, ast.Attribute) or inner.func.attr != "split":
            return None
        splitter = inner.func.value
        return None if not inner.args or self.program.depends_on_data(splitter, at) else splitter

    def _reads_data_itself(self, node: ast.expr, at: int) -> bool:
        """Return whether an expression reads the data itself, and not only through names that other statements bind."""
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
        """Rewrite an argument; in a column transformer, the last element of a tuple is its columns."""
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
    """Return whether a node is a placeholder."""
    return isinstance(node, ast.Name) and node.id == PLACEHOLDER


def contains_placeholder(node: ast.AST) -> bool:
    """Return whether a node contains a placeholder."""
    return any(map(is_placeholder, ast.walk(node)))
