"""Linear sequence of statements: functions, guards and contexts around a fit are replaced by their bodies."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping

from diurnal.notebook.effects import FITTING, Function, find_free_names, reads_data
from diurnal.notebook.function_bodies import find_bound_names, inline_body, substitute_result
from diurnal.notebook.magics import parse_python
from diurnal.notebook.syntax import callee_name, is_definition

CROSS_VALIDATING = frozenset({"cross_val_score", "cross_validate", "cross_val_predict"})
_ESTIMATOR_SUFFIXES = ("Transformer", "Pipeline", "SearchCV", "make_pipeline", "make_column_transformer", "Union")
_MAX_DEPTH = 6
_MAX_STATEMENTS = 20_000  # functions that call each other twice would grow exponentially


def contains_fit(node: ast.AST) -> bool:
    """Return whether a statement contains a fit or a cross-validation."""
    return any(
        isinstance(part, ast.Call)
        and (
            (isinstance(part.func, ast.Attribute) and part.func.attr in FITTING)
            or callee_name(part.func) in CROSS_VALIDATING
        )
        for part in ast.walk(node)
    )


def linearize_statements(nodes: list[ast.stmt]) -> list[ast.stmt]:
    r"""Return the statements in the order in which they run.

    The main guard, and contexts, branches and functions that contain a fit, are replaced by their bodies. A loop over
    the folds of a splitter is replaced by one iteration.

    Examples
    --------
    >>> nodes = ast.parse('''
    ... def train(model, X):
    ...     model.fit(X, y)
    ...     return model
    ... if __name__ == "__main__":
    ...     best = train(SVC(), table)
    ... ''').body
    >>> print(*map(ast.unparse, linearize_statements(nodes)[1:]), sep="\n")
    model = SVC()
    model.fit(table, y)
    best = model
    """
    flat = list(_flatten(nodes, _literal_assignments(nodes)))
    inliner = _Inliner(flat)
    inlined = list(inliner.inline_calls(flat, frozenset(inliner.names), 0))
    if not any(contains_fit(node) for node in inlined if not is_definition(node)):
        inlined += inliner.last_uncalled_function()  # of a module whose functions another program calls
    return inlined


def _flatten(nodes: Iterable[ast.stmt], constants: Mapping[str, object]) -> Iterator[ast.stmt]:
    for node in nodes:
        body = _replacement_body(node, constants)
        if body is None:
            yield node
        else:
            yield from _flatten(body, constants)


def _replacement_body(node: ast.stmt, constants: Mapping[str, object]) -> list[ast.stmt] | None:
    """Return the statements that replace a statement, or None if it stays."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return _cell_magic_body(node.value)
    if isinstance(node, ast.If) and _is_main_guard(node.test):
        return node.body
    if isinstance(node, ast.For) and loops_over_folds(node):
        folds = ast.fix_missing_locations(ast.copy_location(ast.Assign([node.target], node.iter), node))
        return [folds, *node.body]
    return _body_with_fit(node, constants) if contains_fit(node) else None


def _body_with_fit(node: ast.stmt, constants: Mapping[str, object]) -> list[ast.stmt] | None:
    if isinstance(node, ast.If):
        chosen = [node.body, node.orelse] if _branch_is_taken(node.test, constants) else [node.orelse]
        return next((body for body in chosen if any(map(contains_fit, body))), [])
    if isinstance(node, ast.Try):
        return [*node.body, *node.orelse, *node.finalbody]
    return node.body if isinstance(node, ast.With) else None


def loops_over_folds(node: ast.For) -> bool:
    """Return whether a loop iterates over the folds of a splitter: ``for train, test in folds.split(X)``."""
    calls = (part for part in ast.walk(node.iter) if isinstance(part, ast.Call) and callee_name(part.func) == "split")
    return isinstance(node.target, ast.Tuple) and any(
        call.args and not isinstance(call.args[0], ast.Constant) for call in calls
    )


def _is_main_guard(test: ast.expr) -> bool:
    return isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__"


def _cell_magic_body(call: ast.Call) -> list[ast.stmt] | None:
    """Return the code of ``get_ipython().run_cell_magic("time", "", code)``, which nbconvert writes."""
    if callee_name(call.func) not in ("run_cell_magic", "run_line_magic") or len(call.args) < 2:
        return None
    magic, code = (getattr(argument, "value", None) for argument in (call.args[0], call.args[-1]))
    if magic not in ("time", "timeit", "capture", "prun") or not isinstance(code, str):
        return None
    try:
        return [ast.increment_lineno(node, call.lineno - 1) for node in parse_python(code).body]
    except SyntaxError:
        return None


def _literal_assignments(nodes: list[ast.stmt]) -> dict[str, object]:
    """Return the values of names that are assigned a literal, such as ``TUNE = False``."""
    found: dict[str, object] = {}
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            found |= {target.id: node.value.value for target in node.targets if isinstance(target, ast.Name)}
    return found


def _branch_is_taken(test: ast.expr, constants: Mapping[str, object]) -> bool:
    """Return whether a branch runs; True if the value of the test is not known."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return not _branch_is_taken(test.operand, constants) if isinstance(test.operand, ast.Name) else True
    if isinstance(test, ast.Name):
        return bool(constants.get(test.id, True))
    return bool(test.value) if isinstance(test, ast.Constant) else True


class _Inliner:
    """Inlines the functions of a notebook, with new names for locals that are in use outside."""

    def __init__(self, nodes: list[ast.stmt]) -> None:
        self.functions = {node.name: node for node in nodes if isinstance(node, ast.FunctionDef)}
        self.names = {name for node in nodes for name in find_bound_names(node)}
        self.used: set[str] = set()
        self.count = 0

    def inline_calls(self, nodes: Iterable[ast.stmt], used_names: frozenset[str], depth: int) -> Iterator[ast.stmt]:
        for node in nodes:
            call = self._find_call(node) if depth < _MAX_DEPTH and self.count < _MAX_STATEMENTS else None
            if call is None:
                self.count += 1
                yield node
                continue
            function = self.functions[callee_name(call.func)]
            self.used.add(function.name)
            body, result = inline_body(function, call, used_names)
            local_names = frozenset(name for part in body for name in find_bound_names(part))
            yield from self.inline_calls(body, used_names | local_names, depth + 1)
            rest = substitute_result(node, call, result)
            if rest is not None:
                yield from self.inline_calls([rest], used_names, depth + 1)

    def last_uncalled_function(self) -> list[ast.stmt]:
        """Return the body of the last function that contains a fit and is not called."""
        for function in reversed(self.functions.values()):
            if contains_fit(function) and function.name not in self.used and _can_be_inlined(function):
                call = ast.Call(ast.Name(function.name, ast.Load()), [], [])
                body, _ = inline_body(function, call, frozenset())
                flat = list(_flatten(body, {}))
                return list(
                    self.inline_calls(flat, frozenset(name for part in flat for name in find_bound_names(part)), 1)
                )
        return []

    def _find_call(self, node: ast.stmt) -> ast.Call | None:
        """Return the first call of a statement that should be inlined, or None."""
        if not isinstance(node, ast.Expr | ast.Assign | ast.AnnAssign | ast.Return):
            return None
        return next((call for call in _calls_inner_first(node) if self._should_inline(call)), None)

    def _should_inline(self, call: ast.Call) -> bool:
        function = self.functions.get(call.func.id) if isinstance(call.func, ast.Name) else None
        return (
            function is not None
            and (self._contains_fit(function, 0) or reads_data(function) or _builds_estimator_from_columns(function))
            and _can_be_inlined(function)
            and not any(isinstance(argument, ast.Starred) for argument in call.args)
            and all(keyword.arg for keyword in call.keywords)
            and len(call.args) <= len(function.args.posonlyargs) + len(function.args.args)
        )

    def _contains_fit(self, function: ast.FunctionDef, depth: int) -> bool:
        """Return whether a function contains a fit, directly or in a function that it calls."""
        if contains_fit(function):
            return True
        called = [self.functions[name] for name in find_free_names(function) if name in self.functions]
        return depth < _MAX_DEPTH and any(
            self._contains_fit(other, depth + 1) for other in called if other is not function
        )


def _builds_estimator_from_columns(function: ast.FunctionDef) -> bool:
    """Return whether a function builds an estimator from the columns of a frame that is an argument."""
    parameters = {argument.arg for argument in function.args.args}
    column_attributes = {"columns", "select_dtypes", "dtypes", "shape"}
    parts = [part for node in function.body for part in ast.walk(node)]
    column_reads = (part for part in parts if isinstance(part, ast.Attribute) and part.attr in column_attributes)
    estimator_calls = (
        part for part in parts if isinstance(part, ast.Call) and callee_name(part.func).endswith(_ESTIMATOR_SUFFIXES)
    )
    return any(isinstance(part.value, ast.Name) and part.value.id in parameters for part in column_reads) and any(
        estimator_calls
    )


def _returns_only_at_end(function: Function) -> bool:
    """Return whether a function has no return except at its end."""
    returns = [part for part in ast.walk(function) if isinstance(part, ast.Return)]
    nested = [part for node in function.body for part in ast.walk(node) if _is_definition_or_lambda(part)]
    inner = {id(part) for node in nested for part in ast.walk(node) if isinstance(part, ast.Return)}
    return all(part is function.body[-1] or id(part) in inner for part in returns)


def _can_be_inlined(function: ast.FunctionDef) -> bool:
    unsupported = (ast.Yield, ast.YieldFrom, ast.Global, ast.Nonlocal, ast.Await)
    arguments = function.args
    return (
        _returns_only_at_end(function)
        and not any(isinstance(part, unsupported) for part in ast.walk(function))
        and not (arguments.vararg or arguments.kwarg)
        and function.name not in find_free_names(function)
    )


def _is_definition_or_lambda(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda)


def _calls_inner_first(node: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls of a statement, inner calls first, except those in comprehensions and lambdas."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            yield from _calls_inner_first(child)
    if isinstance(node, ast.Call):
        yield node
