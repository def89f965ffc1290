"""The statements of a notebook in the order in which they run, with definitions and data dependence of names."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from diurnal.notebook.chained_changes import assign_changes
from diurnal.notebook.document import Document
from diurnal.notebook.effects import (
    FITTING,
    Definition,
    Effects,
    find_changed_parameters,
    find_effects,
    find_free_names,
    find_global_names,
    find_method_receivers,
    reads_data,
)
from diurnal.notebook.inlining import linearize_statements
from diurnal.notebook.script_options import substitute_options
from diurnal.notebook.syntax import callee_name, root_name

BUILTINS = frozenset(dir(builtins)) | {"__name__", "__file__", "display", "get_ipython"}
_CONTAINERS = (ast.List, ast.Tuple, ast.Set, ast.Dict)


@dataclass(eq=False)
class Statement:
    """A statement with its effects on names.

    Attributes
    ----------
    node : ast.stmt
        The statement.
    uses, binds, may_bind, changes, fits : frozenset of str
        See :class:`diurnal.notebook.effects.Effects`. `changes` includes names that hold a changed object.
    data : frozenset of str
        The names whose values depend on the data, before the statement.
    """

    node: ast.stmt
    uses: frozenset[str]
    binds: frozenset[str]
    may_bind: frozenset[str]
    changes: frozenset[str]
    fits: frozenset[str]
    data: frozenset[str] = frozenset()

    @property
    def value(self) -> ast.expr | None:
        """The value of an assignment."""
        return self.node.value if isinstance(self.node, ast.Assign | ast.AnnAssign) else None

    @property
    def target(self) -> ast.expr | None:
        """The target of an assignment with one target."""
        if isinstance(self.node, ast.AnnAssign):
            return self.node.target
        return self.node.targets[0] if isinstance(self.node, ast.Assign) and len(self.node.targets) == 1 else None

    @property
    def definition(self) -> Definition | None:
        """The function or class that the statement defines."""
        is_one = isinstance(self.node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        return self.node if is_one else None  # type: ignore[return-value]

    @property
    def splitter_call(self) -> ast.Call | None:
        """The call of a splitter whose row numbers the statement unpacks."""
        calls = [] if self.value is None or not isinstance(self.target, ast.Tuple) else list(ast.walk(self.value))
        splits = (part for part in calls if isinstance(part, ast.Call) and callee_name(part.func) == "split")
        return next((call for call in splits if call.args and not isinstance(call.args[0], ast.Constant)), None)

    @property
    def is_import(self) -> bool:
        """Whether the statement is an import."""
        return isinstance(self.node, ast.Import | ast.ImportFrom)


class Program:
    """The linear sequence of statements of a document, with their effects on names.

    Parameters
    ----------
    document : Document
        A notebook or a script.
    """

    def __init__(self, document: Document) -> None:
        self.document = document
        nodes, self.options = substitute_options(linearize_statements(assign_changes(document.nodes)))
        defined = [node for node in nodes if isinstance(node, ast.FunctionDef)]
        changed: dict[str, frozenset[int]] = {}
        for function in defined:
            changed[function.name] = find_changed_parameters(function, changed)
        self.statements = [_build_statement(node, find_effects(node, changed)) for node in nodes]
        self._apply_own_code_changes(nodes)
        self._propagate_changes()
        self._trace_data()

    def __len__(self) -> int:
        return len(self.statements)

    def __getitem__(self, index: int) -> Statement:
        return self.statements[index]

    def reaching_definition(self, name: str, before: int) -> int | None:
        """Return the index of the last statement before another one that may bind a name, or None."""
        indexes = self._bindings.get(name, [])
        return next((index for index in reversed(indexes) if index < before), None)

    def changes(self, name: str, after: int, before: int) -> list[int]:
        """Return the indexes of the statements between two others that change the object of a name in place."""
        return [index for index in range(after + 1, before) if name in self[index].changes]

    def expand_names(self, names: Iterable[str], before: int) -> set[str]:
        """Return names together with the names that the functions and classes among them use."""
        found, more = set[str](), set(names)
        while more:
            name = more.pop()
            found.add(name)
            index = self.reaching_definition(name, before)
            if index is not None and self[index].definition is not None:
                more |= self[index].uses - found
        return found

    def resolve_definition(self, name: str, before: int) -> Definition | None:
        """Return the function or class that a name refers to, or None."""
        index = self.reaching_definition(name, before)
        return None if index is None else self[index].definition

    def qualified_name(self, function: ast.AST, before: int) -> str:
        """Return the qualified name of a function, resolved by the imports: ``sklearn.svm.SVC``."""
        if isinstance(function, ast.Attribute):
            return f"{self.qualified_name(function.value, before)}.{function.attr}"
        if not isinstance(function, ast.Name):
            return ""
        index = self.reaching_definition(function.id, before)
        node = None if index is None else self[index].node
        if isinstance(node, ast.ImportFrom):
            alias = next((a for a in node.names if (a.asname or a.name) == function.id), None)
            return f"{node.module}.{alias.name}" if alias else function.id
        if isinstance(node, ast.Import):
            alias = next((a for a in node.names if a.asname == function.id), None)
            return alias.name if alias else function.id
        return function.id

    def splitter_call(self, name: str, before: int) -> ast.Call | None:
        """Return the call of the splitter whose row numbers a name holds, or None."""
        index = self.reaching_definition(name, before)
        return None if index is None else self[index].splitter_call

    def location(self, index: int) -> str:
        """Return the location of a statement as text, such as ``cell 2, line 3``."""
        return self.document.location(self[index].node.lineno)

    def depends_on_data(self, node: ast.AST, at: int) -> bool:
        """Return whether an expression depends on the data."""
        data = self[at].data if at < len(self) else self._data_at_end
        return bool(find_free_names(node) & data) or reads_data(node)

    @cached_property
    def _bindings(self) -> dict[str, list[int]]:
        indexes: dict[str, list[int]] = {}
        for index, statement in enumerate(self.statements):
            for name in statement.binds | statement.may_bind:
                indexes.setdefault(name, []).append(index)
        return indexes

    def _apply_own_code_changes(self, nodes: list[ast.stmt]) -> None:
        """Add the effects of calls of the notebook's own code.

        A call of a function with ``global`` may bind these names. A call of a method of the notebook's own class may
        change the object.
        """
        bound = {node.name: find_global_names(node) for node in nodes if isinstance(node, ast.FunctionDef)}
        bound = {name: names for name, names in bound.items() if names}
        classes = {node.name for node in nodes if isinstance(node, ast.ClassDef)}
        objects: set[str] = set()
        for statement in self.statements:
            if statement.definition is not None:
                continue
            changed = {name for called in statement.uses & set(bound) for name in bound[called]}
            statement.uses |= changed
            statement.may_bind |= changed - statement.binds
            statement.changes |= objects & set(find_method_receivers(statement.node))
            is_object = isinstance(statement.value, ast.Call) and callee_name(statement.value.func) in classes
            objects = objects | statement.binds if is_object else objects - statement.binds

    def _propagate_changes(self) -> None:
        """Add the names that hold a changed object to the changes of a statement.

        After ``search = GridSearchCV(model, grid)``, the statement ``model.set_params(C=1)`` changes `search` as well.
        """
        holds: dict[str, set[str]] = {}
        for statement in self.statements:
            touched = set(statement.changes) | _names_changed_through_list(statement, holds)
            spread = {name for name, find_held_names in holds.items() if find_held_names & touched}
            statement.changes = frozenset(touched | spread)
            _update_held_names(holds, statement)

    def _trace_data(self) -> None:
        """Compute for each statement the names whose values depend on the data before it."""
        data: set[str] = set()
        for statement in self.statements:
            statement.data = frozenset(data)
            node = statement.node
            if statement.definition is not None or statement.is_import:
                depends = statement.definition is not None and not isinstance(node, ast.ClassDef) and reads_data(node)
            else:
                depends = bool(statement.uses & data) or reads_data(node)
            touched = statement.binds | statement.may_bind | (statement.changes if depends else frozenset())
            data = data | touched if depends else data - statement.binds
        self._data_at_end = frozenset(data)


def strip_fit_call(node: ast.expr) -> ast.expr:
    """Return the estimator of ``SVC().fit(X, y)``, which `fit` returns."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in FITTING:
        node = node.func.value
    return node


def find_held_names(value: ast.AST | None) -> set[str]:
    """Return the names whose objects the value of an expression holds, such as the estimator of a search."""
    if isinstance(value, ast.Name):
        return {value.id}
    if isinstance(value, _CONTAINERS):
        return {name for child in ast.iter_child_nodes(value) for name in find_held_names(child)}
    if isinstance(value, ast.Starred | ast.keyword):
        return find_held_names(value.value)
    if isinstance(value, ast.Call) and is_constructor_call(value):
        return {name for part in (*value.args, *value.keywords) for name in find_held_names(part)}
    return set()


def is_constructor_call(call: ast.Call) -> bool:
    """Return whether a call builds an object from its arguments: an estimator, a pipeline, a dictionary.

    Examples
    --------
    >>> [is_constructor_call(ast.parse(text, mode="eval").body) for text in ("SVC(C)", "make_pipeline(a)", "len(X)")]
    [True, True, False]
    """
    name = callee_name(call.func)
    return name[:1].isupper() or name.startswith("make_") or name in ("dict", "list", "tuple", "set", "range", "zip")


def _names_changed_through_list(statement: Statement, holds: Mapping[str, set[str]]) -> set[str]:
    """Return the names that a loop over a list of them changes: ``for frame in frames: frame["a"] = ...``."""
    node = statement.node
    is_one = isinstance(node, ast.For) and isinstance(node.target, ast.Name) and isinstance(node.iter, ast.Name)
    if not is_one or node.target.id not in statement.changes:  # type: ignore[attr-defined]
        return set()
    return {node.iter.id, *holds.get(node.iter.id, ())}  # type: ignore[attr-defined]


def _build_statement(node: ast.stmt, found: Effects) -> Statement:
    return Statement(node, found.uses, found.binds, found.may_bind, found.changes, found.fits)


def _update_held_names(holds: dict[str, set[str]], statement: Statement) -> None:
    """Update the names that each name holds, after a statement."""
    for name in statement.binds:
        holds.pop(name, None)
        for held_by in holds.values():
            held_by.discard(name)
    target, value = statement.target, statement.value
    if isinstance(target, ast.Name):
        names = find_held_names(value) - {target.id}
        holds[target.id] = names | {other for name in names for other in holds.get(name, ())}
        if isinstance(value, ast.Name):  # two names of one object
            holds.setdefault(value.id, set()).add(target.id)
    elif target is not None and value is not None and (changed := root_name(target)):
        holds.setdefault(changed, set()).update(find_held_names(value) - {changed})
