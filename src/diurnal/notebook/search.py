"""The search as the statements of the experiment's function, which does not see the data."""

from __future__ import annotations

import ast
import copy
from dataclasses import dataclass, field

from diurnal.notebook.arguments import HOLE
from diurnal.notebook.effects import last_name, root
from diurnal.notebook.fits import Fit
from diurnal.notebook.program import Program, Statement, is_structure, reads, without_fit
from diurnal.notebook.column_selectors import SELECTOR, Selectors
from diurnal.notebook.slices import backward

_TRANSFORMERS = ("ColumnTransformer", "make_column_transformer")
_SETTINGS = ("enable_metadata_routing", "transform_output")  # of sklearn.set_config: what changes a model


@dataclass
class Search:
    """What a search is made of.

    Attributes
    ----------
    nodes : dict of int to ast.stmt
        Its statements, by their indexes.
    result : ast.expr
        What the experiment returns.
    comments : dict of int to list of str
        What is to be filled in, above the statements.
    selected : list of (int, str)
        Lists of columns that were replaced by selectors.
    unresolved : frozenset of str
        Names that nothing defines.
    """

    nodes: dict[int, ast.stmt]
    result: ast.expr
    comments: dict[int, list[str]] = field(default_factory=dict)
    selected: list[tuple[int, str]] = field(default_factory=list)
    unresolved: frozenset[str] = frozenset()


def search_of(program: Program, fit: Fit, extra: list[tuple[ast.expr, int]], selectors: Selectors) -> Search:
    """Collect the statements that a search is made of.

    Parameters
    ----------
    program : Program
        All statements.
    fit : Fit
        The search.
    extra : list of (ast.expr, int)
        Further estimators that it is put together with, and where they stand.
    selectors : Selectors
        Replaces lists of columns.
    """
    rewriter = _Rewriter(program, selectors, fit)
    result = rewriter.hollow(fit.estimator, fit.index)
    names = {name.id for name in ast.walk(result) if isinstance(name, ast.Name)}

    def keep(name: str, at: int) -> bool:
        index = program.definition(name, at)
        is_data = at < len(program) and name in program[at].data
        return not is_data or index is None or program[index].definition is not None

    found = backward(program, names, fit.index, rewrite=rewriter.node, keep=keep)
    nodes, unresolved = dict(found.nodes), set(found.unresolved)
    for node, at in extra:
        more = backward(program, {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}, at, rewrite=rewriter.node)
        nodes |= more.nodes
        unresolved |= more.unresolved
    nodes |= _settings(program, fit.index)
    unresolved -= {HOLE, SELECTOR}
    return Search(dict(sorted(nodes.items())), result, rewriter.comments, sorted(rewriter.selected), frozenset(unresolved))


def _settings(program: Program, before: int) -> dict[int, ast.stmt]:
    """Give the calls of `set_config` that change what a model is, and their imports."""
    found: dict[int, ast.stmt] = {}
    for index, statement in enumerate(program.statements[:before]):
        call = statement.node.value if isinstance(statement.node, ast.Expr) else None
        if isinstance(call, ast.Call) and last_name(call.func) == "set_config":
            if any(keyword.arg in _SETTINGS for keyword in call.keywords):
                found[index] = statement.node
                found |= backward(program, statement.uses, index).nodes
    return found


class _Rewriter:
    """Rewrites the statements of a search that depend on the data."""

    def __init__(self, program: Program, selectors: Selectors, fit: Fit) -> None:
        self.program = program
        self.selectors = selectors
        self.comments: dict[int, list[str]] = {}
        self.selected: dict[tuple[int, str], None] = {}
        self.later: list[ast.AST] = [fit.estimator]  # what uses the names that are met next

    def node(self, index: int, statement: Statement) -> ast.stmt | None:
        """Give what stands for a statement."""
        node = statement.node
        if statement.definition is None and not statement.is_import:
            node = self._own(index, statement)  # type: ignore[assignment]
        if node is not None:
            self.later.append(node)
        return node

    def _own(self, index: int, statement: Statement) -> ast.stmt | None:
        node = statement.node
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            return self._assigned(index, node)
        if not self.program.is_data(node, index):
            return node
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            return self._called(index, node, node.value)
        names = sorted(statement.binds | statement.may_bind | statement.changes)
        self._explain(index, f"{', '.join(f'`{name}`' for name in names)}", node)
        hole: ast.expr = ast.Name(HOLE, ast.Load())
        targets: list[ast.expr] = [ast.Name(name, ast.Store()) for name in names]
        return ast.fix_missing_locations(ast.copy_location(ast.Assign(targets, hole), node))

    def _assigned(self, index: int, node: ast.Assign | ast.AnnAssign) -> ast.stmt:
        value = node.value
        if value is None or (without_fit(value) is value and not self.program.is_data(value, index)):
            return node
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        columns = self._for_columns(targets)
        new = self.hollow(value, index, columns=columns)
        if new is value:
            return node
        if is_hole(new):
            self._explain(index, f"`{ast.unparse(targets[0])}`", node)
        changed = copy.copy(node)
        changed.value = new
        return ast.fix_missing_locations(changed)

    def _for_columns(self, targets: list[ast.expr]) -> bool:
        """Say whether a variable is used as the columns of a transformer, and for nothing else."""
        if len(targets) != 1 or not isinstance(targets[0], ast.Name):
            return isinstance(targets[0], ast.Tuple)
        name = targets[0].id
        uses = [use for node in self.later for use in _uses(node, name)]
        return bool(uses) and all(uses)

    def _called(self, index: int, node: ast.Expr, call: ast.Call) -> ast.stmt | None:
        """Rewrite ``grid.update(...)``, and leave out what only takes the target out of a list of columns."""
        name = root(call.func.value) if isinstance(call.func, ast.Attribute) else None
        if name is not None and self.selectors.removes(name, index):
            return None
        changed = copy.copy(call)
        changed.args = [self.hollow(argument, index) for argument in call.args]
        changed.keywords = [ast.keyword(k.arg, self.hollow(k.value, index)) for k in call.keywords]
        if any(is_hole(part) for part in ast.walk(changed)):
            self._explain(index, f"`{ast.unparse(call.func)}`", node)
        return ast.fix_missing_locations(ast.copy_location(ast.Expr(changed), node))

    def hollow(self, node: ast.expr, at: int, *, columns: bool = False) -> ast.expr:
        """Give an expression with a hole where it depends on the data, or with a selector of columns.

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
        if isinstance(node, ast.Name):
            return node if self._can_be_written(node.id, at) else _hole()
        if columns:
            equal = self.selectors.equal_to(node, at)
            if equal is not None:
                self.selected[at, ast.unparse(node)] = None
                return ast.copy_location(equal, node)
        if isinstance(node, ast.Call) and is_structure(node) and not reads(ast.Call(node.func, [], [])):
            return self._structure(node, at)
        if isinstance(node, ast.List | ast.Tuple | ast.Dict | ast.Set | ast.Starred):
            return self._container(node, at, columns=columns)
        parts = [part for child in _parts(node) for part in ast.iter_child_nodes(child) if isinstance(part, ast.expr)]
        is_whole = isinstance(node, ast.Attribute | ast.Subscript) or _is_method(node)
        return _hole() if is_whole or any(is_hole(self.hollow(part, at)) for part in parts) else node

    def _can_be_written(self, name: str, at: int) -> bool:
        """Say whether the statement that binds a name can be rewritten by itself."""
        index = self.program.definition(name, at)
        if index is None or self.program[index].definition is not None:
            return index is not None
        value = self.program[index].value
        return value is not None and not is_hole(self.hollow(value, index, columns=True))

    def _structure(self, call: ast.Call, at: int) -> ast.expr:
        in_columns = last_name(call.func) in _TRANSFORMERS
        changed = copy.copy(call)
        changed.args = [self._part(argument, at, in_columns) for argument in call.args]
        changed.keywords = [ast.keyword(k.arg, self._part(k.value, at, in_columns)) for k in call.keywords]
        return ast.fix_missing_locations(changed)

    def _part(self, node: ast.expr, at: int, in_columns: bool) -> ast.expr:
        """Rewrite an argument; those of a column transformer name columns at the ends of their tuples."""
        if isinstance(node, ast.List) and in_columns:
            changed = copy.copy(node)
            changed.elts = [self._part(element, at, in_columns) for element in node.elts]
            return changed
        if isinstance(node, ast.Tuple) and in_columns and node.elts:
            whole = copy.copy(node)
            last = self.hollow(node.elts[-1], at, columns=True)
            whole.elts = [*(self.hollow(element, at) for element in node.elts[:-1]), last]
            return whole
        new = self.hollow(node, at)
        if is_hole(new) and not is_hole(node):
            self._explain(at, f"`{ast.unparse(node)[:100]}`", None)
        return new

    def _container(
        self, node: ast.List | ast.Tuple | ast.Dict | ast.Set | ast.Starred, at: int, *, columns: bool
    ) -> ast.expr:
        changed = copy.copy(node)
        if isinstance(changed, ast.Dict) and isinstance(node, ast.Dict):
            changed.values = [self.hollow(value, at) for value in node.values]
        elif isinstance(changed, ast.Starred) and isinstance(node, ast.Starred):
            changed.value = self.hollow(node.value, at)
        elif isinstance(changed, ast.List | ast.Tuple | ast.Set) and isinstance(node, ast.List | ast.Tuple | ast.Set):
            changed.elts = [self.hollow(element, at, columns=columns) for element in node.elts]
        return ast.fix_missing_locations(changed)

    def _explain(self, index: int, what: str, node: ast.stmt | None) -> None:
        shown = "" if node is None else f" = {ast.unparse(node.value)[:100]}" if isinstance(node, ast.Assign) else ""
        place = self.program.where(index)
        said = f"{what}{shown} ({place} of the notebook) depends on the data, which this function does not see"
        self.comments.setdefault(index, []).append(said)


def _hole() -> ast.expr:
    return ast.Name(HOLE, ast.Load())


def is_hole(node: ast.AST) -> bool:
    """Say whether an expression is to be filled in."""
    return isinstance(node, ast.Name) and node.id == HOLE


def _parts(node: ast.AST) -> list[ast.AST]:
    """Give an expression, and the loops of a comprehension."""
    return [node, *getattr(node, "generators", [])]


def _is_method(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and isinstance(
        node.func.value, ast.Attribute | ast.Subscript | ast.Call
    )


def _uses(node: ast.AST, name: str) -> list[bool]:
    """Say for each use of a name whether it stands at the end of a tuple, where columns stand."""
    at_end = {id(part.elts[-1]) for part in ast.walk(node) if isinstance(part, ast.Tuple) and part.elts}
    return [id(part) in at_end for part in ast.walk(node)
            if isinstance(part, ast.Name) and part.id == name and isinstance(part.ctx, ast.Load)]  # fmt: skip
