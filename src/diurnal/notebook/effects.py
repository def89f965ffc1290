"""Effects of a statement on names: which names it uses, binds, changes in place and fits."""

from __future__ import annotations

import ast
import copy
import re
import symtable
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from diurnal.notebook.syntax import callee_name, root_name

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

FITTING = frozenset({"fit", "fit_transform", "fit_resample", "fit_predict", "partial_fit"})
_MUTATING = frozenset(
    [
        "append",
        "extend",
        "insert",
        "remove",
        "update",
        "pop",
        "popitem",
        "setdefault",
        "clear",
        "add",
        "discard",
        "sort",
        "reverse",
        "set_params",
        "set_output",
        "set_fit_request",
        "set_score_request",
        "set_transform_request",
        "set_predict_request",
        "addGrid",
    ]
)
_SHUFFLING = frozenset({"shuffle"})
_READING = re.compile(
    r"read_\w+|scan_\w+|fetch_\w+|load\w*|genfromtxt|fromfile|open|urlopen|download|get_rdataset|connect|create_engine"
    r"|make_(classification|regression|blobs|moons|circles|gaussian_quantiles|hastie_10_2|friedman[123]|swiss_roll"
    r"|s_curve|multilabel_classification|sparse_uncorrelated|low_rank_matrix|checkerboard|biclusters)"
)
_COMPOUND = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.With, ast.AsyncWith, ast.Match)


@dataclass(frozen=True)
class Effects:
    """The effects of a statement on names.

    Attributes
    ----------
    uses : frozenset of str
        Names that it reads, including those in the bodies of functions that it defines.
    binds : frozenset of str
        Names that it always binds to a new value.
    may_bind : frozenset of str
        Names that it may bind: in a branch or a loop.
    changes : frozenset of str
        Names whose objects it changes in place.
    fits : frozenset of str
        Names whose objects it fits.
    """

    uses: frozenset[str]
    binds: frozenset[str]
    may_bind: frozenset[str]
    changes: frozenset[str]
    fits: frozenset[str]


def find_effects(node: ast.stmt, changed: Mapping[str, frozenset[int]]) -> Effects:
    """Return the effects of a statement.

    Parameters
    ----------
    node : ast.stmt
        A statement of the module.
    changed : Mapping of str to frozenset of int
        For each function of the notebook, the positions of the arguments that it changes in place.

    Examples
    --------
    >>> node = ast.parse("df['ratio'] = scale(df.a / df.b)").body[0]
    >>> found = find_effects(node, {})
    >>> sorted(found.uses), sorted(found.binds), sorted(found.changes)
    (['df', 'scale'], [], ['df'])
    """
    uses, bound = _names_of_statement(node)
    sure = frozenset(_always_bound_names(node))
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return Effects(uses, frozenset({node.name}), frozenset(), frozenset(), frozenset())
    walked = list(_walk_own_nodes(node))
    changes = {name for part in walked for name in _names_changed_by(part, changed)}
    changes |= {name for part in walked for name in _names_changed_by_loop(part, changes)}
    fits = {name for part in walked for name in _names_fitted_by(part)}
    return Effects(uses, sure, bound - sure, frozenset(changes), frozenset(fits))


def find_free_names(node: ast.AST) -> frozenset[str]:
    """Return the free names of a statement or an expression: those that it reads and does not bind itself."""
    statement = node if isinstance(node, ast.stmt) else ast.Expr(node)  # type: ignore[arg-type]
    return _names_of_statement(statement)[0]


def reads_data(node: ast.AST) -> bool:
    """Return whether an expression or a statement reads data, judged by the names of the functions that it calls."""
    return any(isinstance(part, ast.Call) and _READING.fullmatch(callee_name(part.func)) for part in ast.walk(node))


def find_global_names(function: Definition) -> frozenset[str]:
    """Return the module-level names that a function declares as ``global``."""
    return frozenset(name for part in ast.walk(function) if isinstance(part, ast.Global) for name in part.names)


def find_method_receivers(node: ast.AST) -> Iterator[str]:
    """Yield the names of the objects whose methods a statement calls."""
    for part in _walk_own_nodes(node):
        name = (
            root_name(part.func.value) if isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) else None
        )
        yield from [name] if name else []


def find_changed_parameters(function: Function, changed: Mapping[str, frozenset[int]]) -> frozenset[int]:
    """Return the positions of the parameters whose objects a function changes in place."""
    names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
    touched, own = set[str](), set[str]()
    for node in function.body:
        touched |= {name for part in _walk_own_nodes(node) for name in _names_changed_by(part, changed)} - own
        own |= set(_always_bound_names(node))  # df = df.copy(): from here on, the name refers to another object
    return frozenset(position for position, name in enumerate(names) if name in touched)


def _names_of_statement(node: ast.stmt) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names that a statement reads, and the names that it binds.

    `symtable` resolves the scopes. An augmented assignment reads its target as well, which `symtable` does not report.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = symtable.symtable(_standalone_source(node), "notebook", "exec")
    uses = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced()}
    bound = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    for symbol in _nested_globals(table):
        uses |= {symbol.get_name()} if symbol.is_referenced() else set()
        bound |= {symbol.get_name()} if symbol.is_assigned() else set()
    added = [part.target for part in _walk_own_nodes(node) if isinstance(part, ast.AugAssign)]
    uses |= {target.id for target in added if isinstance(target, ast.Name)}
    return frozenset(uses), frozenset(bound - {"*"})


def _standalone_source(node: ast.stmt) -> str:
    """Return the source of a statement such that it compiles on its own, without the function around it."""
    if any(isinstance(part, ast.comprehension) for part in ast.walk(node)):
        node = _ComprehensionScopes().visit(copy.deepcopy(node))
    text = ast.unparse(ast.fix_missing_locations(node))
    return re.sub(r"^(\s*)nonlocal .*", r"\1pass", text, flags=re.MULTILINE)


class _ComprehensionScopes(ast.NodeTransformer):
    """Replaces comprehensions by functions.

    Since Python 3.12, `symtable` reports the variables of a comprehension in the scope around it. As parameters of a
    lambda they are local again.
    """

    def _to_lambda(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> ast.AST:
        self.generic_visit(node)
        first, *others = node.generators
        bound = {
            name: None
            for loop in node.generators
            for name in _names_in_target(loop.target)
            if _binds_name(loop.target, name)
        }
        parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        tests = [test for loop in node.generators for test in loop.ifs]
        inner = ast.Tuple([*parts, *tests, *(loop.iter for loop in others)], ast.Load())
        arguments = ast.arguments([], [ast.arg(name) for name in bound], None, [], [], None, [])
        return ast.Tuple([first.iter, ast.Lambda(arguments, inner)], ast.Load())

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            return self._to_lambda(node)
        return super().visit(node)


def _binds_name(target: ast.AST, name: str) -> bool:
    """Return whether a target binds a name, rather than using it as in ``x[name]``."""
    return any(
        isinstance(part, ast.Name) and part.id == name and isinstance(part.ctx, ast.Store) for part in ast.walk(target)
    )


def _nested_globals(table: symtable.SymbolTable) -> Iterator[symtable.Symbol]:
    for child in table.get_children():
        yield from (symbol for symbol in child.get_symbols() if symbol.is_global())
        yield from _nested_globals(child)


def _always_bound_names(node: ast.stmt) -> Iterable[str]:
    """Return the names that a statement always binds, on every path through its branches."""
    if isinstance(node, ast.If):
        return _always_bound_in_body(node.body) & _always_bound_in_body(node.orelse)
    if isinstance(node, ast.With | ast.AsyncWith):
        return _always_bound_in_body(node.body) | {
            name for item in node.items for name in _names_in_target(item.optional_vars)
        }
    if isinstance(node, (*_COMPOUND, ast.Delete)):
        return set()
    return _names_of_statement(node)[1]


def _always_bound_in_body(body: list[ast.stmt]) -> set[str]:
    return {name for node in body for name in _always_bound_names(node)}


def _names_in_target(target: ast.AST | None) -> Iterator[str]:
    if target is not None:
        yield from (part.id for part in ast.walk(target) if isinstance(part, ast.Name))


def _walk_own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Walk through a statement without the bodies of the functions and classes that it defines."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield from _walk_own_nodes(child)


def _names_changed_by(node: ast.AST, changed: Mapping[str, frozenset[int]]) -> Iterator[str]:
    places: list[ast.AST | None] = []
    if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
        places = [node]
    elif isinstance(node, ast.AugAssign):
        places = [node.target] if isinstance(node.target, ast.Attribute | ast.Subscript) else []
    elif isinstance(node, ast.Call):
        places = _objects_changed_by_call(node, changed)
    yield from (name for place in places if place is not None and (name := root_name(place)))


def _names_changed_by_loop(node: ast.AST, changes: set[str]) -> Iterator[str]:
    """Yield `train` and `test` of ``for frame in (train, test): ...``, where the loop changes `frame` in place."""
    if isinstance(node, ast.For) and isinstance(node.target, ast.Name) and node.target.id in changes:
        yield from (part.id for part in getattr(node.iter, "elts", []) if isinstance(part, ast.Name))


def _objects_changed_by_call(call: ast.Call, changed: Mapping[str, frozenset[int]]) -> list[ast.AST | None]:
    name = callee_name(call.func)
    if isinstance(call.func, ast.Attribute):
        in_place = any(k.arg == "inplace" and getattr(k.value, "value", None) is True for k in call.keywords)
        if in_place or name in _MUTATING or re.fullmatch(r"set[A-Z]\w*", name):
            return [call.func.value]
        return list(call.args[:1]) if name in _SHUFFLING else []
    positions = changed.get(name, frozenset())
    return [argument for position, argument in enumerate(call.args) if position in positions]


def _names_fitted_by(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in FITTING:
        name = root_name(node.func.value)
        yield from [name] if name else []
