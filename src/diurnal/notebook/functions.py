"""Module-level functions of an experiment's file, and the statements that they depend on."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterable

from diurnal.notebook.effects import find_free_names
from diurnal.notebook.program import Program
from diurnal.notebook.syntax import callee_name, choose_unused_name, is_definition, is_import

_STORES_FUNCTIONS = ("make_scorer", "make_column_transformer", "make_pipeline", "make_union", "dict")


def name_lambdas(
    nodes: dict[int, ast.stmt], used_names: set[str]
) -> tuple[dict[int, ast.stmt], dict[int, list[ast.FunctionDef]]]:
    """Replace lambdas that become part of a model by module-level functions, because a lambda cannot be saved.

    Parameters
    ----------
    nodes : dict of int to ast.stmt
        The statements of the search.
    used_names : set of str
        Names in use; the names of the new functions are added.

    Returns
    -------
    nodes : dict of int to ast.stmt
        The statements, with the names of functions in place of lambdas.
    functions : dict of int to list of ast.FunctionDef
        The new functions, by the index of the statement that contained the lambda.
    """
    changed, functions = dict[int, ast.stmt](), dict[int, list[ast.FunctionDef]]()
    for index, node in nodes.items():
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda):
            target = node.targets[0]
            if len(node.targets) == 1 and isinstance(target, ast.Name):
                changed[index] = _function_from_lambda(target.id, node.value)
                continue
        lambdas = [] if isinstance(node, ast.FunctionDef | ast.ClassDef) else list(_stored_lambdas(node))
        if not lambdas:
            changed[index] = node
            continue
        copied = copy.deepcopy(node, {id(part): part for part in lambdas})
        names = dict[int, str]()
        for part in lambdas:
            names[id(part)] = choose_unused_name(_function_name(node, part), used_names)
            used_names.add(names[id(part)])
        changed[index] = ast.fix_missing_locations(_LambdaReplacer(names).visit(copied))
        functions[index] = [_function_from_lambda(names[id(part)], part) for part in lambdas]
    return changed, functions


def _stored_lambdas(node: ast.AST, *, is_stored: bool = True) -> Iterable[ast.Lambda]:
    """Yield the lambdas of a statement that an object stores, unlike a sort key, which only the call uses."""
    if isinstance(node, ast.Lambda):
        yield from [node] if is_stored else []
        return
    if isinstance(node, ast.ListComp | ast.DictComp | ast.SetComp | ast.GeneratorExp):
        return
    if isinstance(node, ast.Call):
        name = callee_name(node.func)
        is_stored = name[:1].isupper() or name in _STORES_FUNCTIONS or name.startswith("set_")
    for child in ast.iter_child_nodes(node):
        yield from _stored_lambdas(child, is_stored=is_stored)


def _function_name(node: ast.stmt, function: ast.Lambda) -> str:
    """Return a name for a function: that of its pipeline step, or else one made from its variable."""
    for part in ast.walk(node):
        named, function_nodes = part.elts[:2] if isinstance(part, ast.Tuple) and len(part.elts) > 1 else (None, None)
        name = named.value if isinstance(named, ast.Constant) and function_nodes is not None else None
        if (
            isinstance(name, str)
            and name.isidentifier()
            and any(inner is function for inner in _walk_outside_tuples(function_nodes))
        ):
            return name
    target = node.targets[0] if isinstance(node, ast.Assign) else None
    return f"{target.id}_function" if isinstance(target, ast.Name) else "function"


def _walk_outside_tuples(node: ast.AST | None) -> Iterable[ast.AST]:
    """Walk through an expression without its inner tuples, which are steps with names of their own."""
    if node is None:
        return
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.Tuple):
            yield from _walk_outside_tuples(child)


def _function_from_lambda(name: str, node: ast.Lambda) -> ast.FunctionDef:
    function = ast.FunctionDef(name, node.args, [ast.Return(node.body)], [], None)
    return ast.fix_missing_locations(ast.copy_location(function, node))


class _LambdaReplacer(ast.NodeTransformer):
    def __init__(self, names: dict[int, str]) -> None:
        self.names = names

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        return ast.Name(self.names[id(node)], ast.Load()) if id(node) in self.names else node


def select_module_statements(
    program: Program, nodes: dict[int, ast.stmt], functions: dict[int, list[ast.FunctionDef]]
) -> dict[int, ast.stmt]:
    """Return the statements of the module level: functions, classes, and the constants that they use.

    Parameters
    ----------
    program : Program
        The statements of the notebook.
    nodes : dict of int to ast.stmt
        The statements of the search and of the source.
    functions : dict of int to list of ast.FunctionDef
        The functions that replace lambdas.
    """
    defined = {index: node for index, node in nodes.items() if is_definition(node)}
    needed = {name for node in defined.values() for name in find_free_names(node)}
    needed |= {
        name for function_nodes in functions.values() for node in function_nodes for name in find_free_names(node)
    }
    moved = dict(defined)
    while True:
        more = {
            index: node
            for index, node in nodes.items()
            if index not in moved
            and not is_import(node)
            and not program.depends_on_data(node, index)
            and _defined_names(program, index) & needed
        }
        if not more:
            return dict(sorted(moved.items()))
        moved |= more
        needed |= {name for node in more.values() for name in find_free_names(node)}


def _defined_names(program: Program, index: int) -> frozenset[str]:
    statement = program[index]
    return statement.binds | statement.may_bind | statement.changes


def find_definition_names(node: ast.stmt) -> frozenset[str]:
    """Return the names that a definition evaluates: those of decorators, defaults and annotations."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return find_free_names(node)
    empty = copy.copy(node)
    empty.body = [ast.Pass()]
    return find_free_names(empty)
