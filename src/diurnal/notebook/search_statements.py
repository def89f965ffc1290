"""The statements that build the search, rewritten for a function without data."""

from __future__ import annotations

import ast
import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

from diurnal.notebook.backward_slice import slice_backward
from diurnal.notebook.column_selectors import SELECTOR, ColumnSelectors
from diurnal.notebook.fits import Fit
from diurnal.notebook.placeholders import PlaceholderRewriter, is_placeholder
from diurnal.notebook.program import Program, Statement, strip_fit_call
from diurnal.notebook.script_options import PLACEHOLDER
from diurnal.notebook.syntax import callee_name

_MODEL_SETTINGS = (
    "enable_metadata_routing",
    "transform_output",
)  # the options of sklearn.set_config that affect models


@dataclass
class SearchStatements:
    """The statements that build a search.

    Attributes
    ----------
    nodes : dict of int to ast.stmt
        The statements, by index.
    result : ast.expr
        The expression that the experiment returns.
    comments : dict of int to list of str
        The comments about placeholders above the statements; those of the result are at the index of the fit.
    selected : list of (int, str, str)
        The index of a statement, an expression that depends on data, and the selector that replaces it.
    unresolved : frozenset of str
        Names without a definition.
    """

    nodes: dict[int, ast.stmt]
    result: ast.expr
    comments: dict[int, list[str]] = field(default_factory=dict)
    selected: list[tuple[int, str, str]] = field(default_factory=list)
    unresolved: frozenset[str] = frozenset()


def collect_search(
    program: Program, fit: Fit, estimators_before: list[tuple[ast.expr, int]], selectors: ColumnSelectors
) -> SearchStatements:
    """Collect the statements that build a search.

    Parameters
    ----------
    program : Program
        The statements of the notebook.
    fit : Fit
        The fit of the search.
    estimators_before : list of (ast.expr, int)
        The transformers before the search, each with the index of its statement.
    selectors : ColumnSelectors
        Finds the selectors that replace lists of columns.
    """
    rewriter = _SearchRewriter(program, selectors, fit)
    result = rewriter.placeholders.rewrite(fit.estimator, fit.index)
    rewriter.record_comments(fit.index, result)
    nodes, unresolved = dict[int, ast.stmt](), set[str]()
    for node, at in [(result, fit.index), *estimators_before]:
        names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
        found = slice_backward(program, names, at, rewrite=rewriter.node, keep=rewriter.is_followed)
        nodes |= found.nodes
        unresolved |= found.unresolved
    nodes |= _config_calls(program, fit.index)
    return SearchStatements(
        dict(sorted(nodes.items())),
        result,
        rewriter.comments,
        sorted(rewriter.selected),
        frozenset(unresolved - {PLACEHOLDER, SELECTOR}),
    )


def _config_calls(program: Program, before: int) -> dict[int, ast.stmt]:
    """Return the calls of `set_config` that affect models, with their imports."""
    found: dict[int, ast.stmt] = {}
    for index, statement in enumerate(program.statements[:before]):
        call = statement.node.value if isinstance(statement.node, ast.Expr) else None
        is_one = isinstance(call, ast.Call) and callee_name(call.func) == "set_config"
        if is_one and any(keyword.arg in _MODEL_SETTINGS for keyword in call.keywords):  # type: ignore[union-attr]
            found |= {index: statement.node, **slice_backward(program, statement.uses, index).nodes}
    return found


class _SearchRewriter:
    """Rewrites the statements of a search that depend on the data."""

    def __init__(self, program: Program, selectors: ColumnSelectors, fit: Fit) -> None:
        self.program = program
        self.selectors = selectors
        self.placeholders = PlaceholderRewriter(program, selectors)
        self.comments: dict[int, list[str]] = {}
        self.selected: set[tuple[int, str, str]] = set()
        self.later_nodes: dict[int, ast.AST] = {
            fit.index: fit.estimator
        }  # the statements that use the names of earlier ones

    def is_followed(self, name: str, at: int) -> bool:
        """Return whether to include the definition of a name that a function uses; data are excluded."""
        index = self.program.reaching_definition(name, at)
        is_data = at < len(self.program) and name in self.program[at].data
        return not is_data or index is None or self.program[index].definition is not None

    def node(self, index: int, statement: Statement) -> ast.stmt | None:
        """Return the replacement of a statement, or None to leave it out."""
        node: ast.stmt | None = statement.node
        if statement.definition is None and not statement.is_import:
            node = self._rewrite_statement(index, statement)
        if node is not None:
            self.later_nodes[index] = node
            self.record_comments(index, node)
        return node

    def record_comments(self, index: int, node: ast.AST) -> None:
        """Record the comments about the placeholders and the selectors of a statement."""
        sources = dict.fromkeys(
            part.replaced_source for part in ast.walk(node) if is_placeholder(part) and hasattr(part, "replaced_source")
        )
        location = self.program.location(index) if index < len(self.program) else ""
        self.comments[index] = [
            f"{text} ({location} of the notebook) depends on the data, which are not available here" for text in sources
        ]
        self.selected |= {
            (index, part.replaced_source, ast.unparse(part))
            for part in ast.walk(node)
            if isinstance(part, ast.expr) and not is_placeholder(part) and hasattr(part, "replaced_source")
        }

    def _rewrite_statement(self, index: int, statement: Statement) -> ast.stmt | None:
        node = statement.node
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            return self._rewrite_assignment(index, node, node.value)
        if not self.program.depends_on_data(node, index):
            return node
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            return self._rewrite_call(index, node, node.value)
        used_names = {
            part.id
            for later_nodes in self.later_nodes.values()
            for part in ast.walk(later_nodes)
            if isinstance(part, ast.Name)
        }
        names = sorted((statement.binds | statement.may_bind | statement.changes) & used_names)
        text = ast.unparse(node).split("\n")[0]
        targets: list[ast.expr] = [ast.Name(name, ast.Store()) for name in names]
        return _at_location_of(ast.Assign(targets, self.placeholders.make_placeholder(text)), node)

    def _rewrite_assignment(self, index: int, node: ast.Assign | ast.AnnAssign, value: ast.expr) -> ast.stmt:
        if strip_fit_call(value) is value and not self.program.depends_on_data(value, index):
            return node
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        new = self.placeholders.rewrite(value, index, columns=self._is_only_used_as_columns(targets))
        if new is value:
            return node
        changed = copy.copy(node)
        changed.value = new
        return ast.fix_missing_locations(changed)

    def _is_only_used_as_columns(self, targets: Sequence[ast.expr]) -> bool:
        """Return whether a variable is only used as the columns of a transformer."""
        names = [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
        uses = [use for node in self.later_nodes.values() for name in names for use in _uses_as_columns(node, name)]
        return bool(uses) and all(uses)

    def _rewrite_call(self, index: int, node: ast.Expr, call: ast.Call) -> ast.stmt | None:
        """Rewrite ``grid.update(...)``; leave out a statement that only removes the target from a list of columns."""
        if self.selectors.only_removes_non_features(index):
            return None
        changed = copy.copy(call)
        changed.args = [self.placeholders.rewrite(argument, index) for argument in call.args]
        changed.keywords = [ast.keyword(k.arg, self.placeholders.rewrite(k.value, index)) for k in call.keywords]
        return _at_location_of(ast.Expr(changed), node)


def _at_location_of(node: ast.stmt, like: ast.stmt) -> ast.stmt:
    return ast.fix_missing_locations(ast.copy_location(node, like))


def _uses_as_columns(node: ast.AST, name: str) -> list[bool]:
    """Return for each use of a name whether it is the last element of a tuple, as columns are."""
    at_end = {id(part.elts[-1]) for part in ast.walk(node) if isinstance(part, ast.Tuple) and part.elts}
    reads = [part for part in ast.walk(node) if isinstance(part, ast.Name) and part.id == name]
    return [id(part) in at_end for part in reads if isinstance(part.ctx, ast.Load)]
