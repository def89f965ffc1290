"""The fits of a notebook, and the selection of the search among them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from diurnal.errors import UsageError, did_you_mean
from diurnal.notebook.inlining import CROSS_VALIDATING, contains_fit
from diurnal.notebook.program import Program, strip_fit_call
from diurnal.notebook.syntax import callee_name

_SEARCH = re.compile(r"\w*SearchCV|CrossValidator|TrainValidationSplit|TuneSearch\w*")
_ESTIMATOR = re.compile(
    r"\w*(Classifier|Regressor|Regression|RegressionCV|SVC|SVR|NB|CV|Pipeline|Ridge|Lasso|ElasticNet|Perceptron|GLM\w*)"
    r"|make_pipeline|tabular_pipeline|LinearDiscriminantAnalysis|QuadraticDiscriminantAnalysis|XGB\w*|LGBM\w*|CatBoost\w*"
)
_NETWORK_PACKAGES = ("keras", "tensorflow", "torch", "fastai", "pytorch_lightning", "lightning")
_REQUIREMENT = "an experiment returns a search or an estimator with the API of scikit-learn"


@dataclass(frozen=True)
class Fit:
    """A search or an estimator, and the data that it is fitted on.

    Attributes
    ----------
    index : int
        The index of the statement that fits it, or of the next statement if none does.
    estimator : ast.expr
        The expression that is fitted.
    features, target : ast.expr or None
        The features and the target.
    keywords : dict of str to ast.expr
        The other arguments of the fit.
    estimator_type : {"search", "estimator", "network", "unknown"}
        The type, judged by the name of the constructor.
    fit_function : str
        The function that fits it: ``"fit"``, ``"cross_val_score"``, or empty if none does.
    """

    index: int
    estimator: ast.expr
    features: ast.expr | None
    target: ast.expr | None
    keywords: dict[str, ast.expr]
    estimator_type: str
    fit_function: str

    @property
    def name(self) -> str:
        """The variable of the estimator, or its expression."""
        return ast.unparse(self.estimator)[:60]


def choose_fit(program: Program, name: str | None) -> tuple[Fit, list[Fit]]:
    """Select the search of a notebook: the last one that is fitted, else the last estimator that is fitted.

    Parameters
    ----------
    program : Program
        The statements of the notebook.
    name : str, optional
        The variable of the search.

    Returns
    -------
    chosen : Fit
        The fit of the search that the experiment returns.
    others : list of Fit
        The fits of the same type that were not chosen.

    Raises
    ------
    UsageError
        If the notebook has no such fit.
    """
    candidates = [fit for fit in _iter_fits(program) if _is_candidate(program, fit)]
    searches = [
        *(fit for fit in candidates if fit.estimator_type == "search"),
        *_unfitted_searches(program, candidates),
    ]
    if name is not None:
        return _find_named_fit(program, [*candidates, *searches], name), []
    if searches:
        used = [fit for fit in searches if fit.fit_function] or searches
        return used[-1], [fit for fit in _latest_per_name(searches) if fit.name != used[-1].name]
    estimators = [fit for fit in candidates if fit.estimator_type == "estimator"] or candidates
    if not estimators:
        raise _no_search_error(program)
    return estimators[-1], [fit for fit in _latest_per_name(estimators) if fit.name != estimators[-1].name]


def find_constructor(program: Program, node: ast.expr, at: int, depth: int = 0) -> ast.Call | None:
    """Return the constructor call of an object, followed through assignments and functions, or None."""
    node = strip_fit_call(node)
    if isinstance(node, ast.Call):
        function = program.resolve_definition(node.func.id, at) if isinstance(node.func, ast.Name) else None
        if isinstance(function, ast.FunctionDef) and depth < 10:
            return _returned_call(function) or node
        return node
    if isinstance(node, ast.Name) and depth < 10:
        index = program.reaching_definition(node.id, at)
        value = None if index is None else program[index].value
        if index is not None and value is not None:
            return find_constructor(program, value, index, depth + 1)
    return None


def _returned_call(function: ast.FunctionDef) -> ast.Call | None:
    """Return the call whose result a function returns, or None."""
    returns = [part.value for part in ast.walk(function) if isinstance(part, ast.Return) and part.value is not None]
    if not returns:
        return None
    value = strip_fit_call(returns[-1])
    for node in reversed(function.body):
        targets = node.targets if isinstance(node, ast.Assign) and isinstance(value, ast.Name) else []
        if any(isinstance(target, ast.Name) and target.id == value.id for target in targets):  # type: ignore[attr-defined]
            value = strip_fit_call(node.value)  # type: ignore[attr-defined]
    return value if isinstance(value, ast.Call) else None


def classify_estimator(program: Program, node: ast.expr, at: int) -> str:
    """Return the type of an estimator, judged by the name of its constructor; see `Fit`."""
    call = find_constructor(program, node, at)
    if call is None:
        return "unknown"
    names = {callee_name(call.func), *_base_class_names(program, callee_name(call.func), at)}
    if any(_SEARCH.fullmatch(name) for name in names):
        return "search"
    if program.qualified_name(call.func, at).split(".")[0] in _NETWORK_PACKAGES:
        return "network"
    return "estimator" if any(_ESTIMATOR.fullmatch(name) for name in names) else "unknown"


def _base_class_names(program: Program, name: str, at: int) -> Iterator[str]:
    """Yield the names of the base classes of a class of the notebook."""
    definition = program.resolve_definition(name, at)
    if isinstance(definition, ast.ClassDef):
        for base in definition.bases:
            yield callee_name(base)


def _iter_fits(program: Program) -> Iterator[Fit]:
    for index, statement in enumerate(program.statements):
        if statement.definition is None and not isinstance(statement.node, ast.For | ast.While):
            for call in _iter_calls(statement.node):
                yield from _parse_fit(program, index, call)


def _iter_calls(node: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls of a statement, inner calls first."""
    for child in ast.iter_child_nodes(node):
        yield from _iter_calls(child)
    if isinstance(node, ast.Call):
        yield node


def _parse_fit(program: Program, index: int, call: ast.Call) -> Iterator[Fit]:
    keywords = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    arguments, by = list(call.args), callee_name(call.func)
    estimator: ast.expr | None = None
    if isinstance(call.func, ast.Attribute) and by == "fit" and (arguments or keywords):
        estimator = call.func.value
    elif by in CROSS_VALIDATING:
        estimator = arguments.pop(0) if arguments else keywords.pop("estimator", None)
    if estimator is not None:
        named = keywords.pop("X", None) or keywords.pop("dataset", None)
        features = arguments[0] if arguments else named
        target = arguments[1] if len(arguments) > 1 else keywords.pop("y", None)
        yield Fit(
            index,
            strip_fit_call(estimator),
            features,
            target,
            keywords,
            classify_estimator(program, estimator, index),
            by,
        )


def _is_candidate(program: Program, fit: Fit) -> bool:
    """Return whether a fit can be the search; transformers and estimators built from a fitted search cannot."""
    if fit.estimator_type == "network":
        return False
    constructor = find_constructor(program, fit.estimator, fit.index)
    if constructor is None or any(
        isinstance(part, ast.Attribute) and part.attr.endswith("_") for part in ast.walk(constructor)
    ):
        return constructor is None and fit.target is not None and isinstance(fit.estimator, ast.Name)
    return fit.estimator_type == "search" or (
        fit.target is not None and (fit.estimator_type == "estimator" or _is_used_as_estimator(program, fit))
    )


def _is_used_as_estimator(program: Program, fit: Fit) -> bool:
    """Return whether the notebook uses a fitted object to predict or score, unlike a transformer."""
    if fit.fit_function != "fit" or not isinstance(fit.estimator, ast.Name):
        return True
    name, later = fit.estimator.id, program.statements[fit.index :]
    parts = (part for statement in later for part in ast.walk(statement.node) if isinstance(part, ast.Attribute))
    attributes = {part.attr for part in parts if isinstance(part.value, ast.Name) and part.value.id == name}
    predicts = attributes & {
        "predict",
        "predict_proba",
        "decision_function",
        "score",
        "best_params_",
        "best_estimator_",
    }
    return bool(predicts) or not any(name.endswith("transform") for name in attributes)


def _unfitted_searches(program: Program, candidates: list[Fit]) -> Iterator[Fit]:
    """Yield the searches that the notebook constructs and never fits."""
    names = {fit.name for fit in candidates}
    for index, statement in enumerate(program.statements):
        target, value = statement.target, statement.value
        if not isinstance(target, ast.Name) or not isinstance(value, ast.Call) or target.id in names:
            continue
        if not contains_fit(statement.node) and classify_estimator(program, value, index) == "search":
            yield Fit(index + 1, target, None, None, {}, "search", "")


def _latest_per_name(found: list[Fit]) -> list[Fit]:
    return list({fit.name: fit for fit in found}.values())


def _find_named_fit(program: Program, found: list[Fit], name: str) -> Fit:
    matches = [fit for fit in found if fit.name == name]
    if matches:
        return matches[-1]
    index = program.reaching_definition(name, len(program))
    if index is None or program[index].value is None:
        names = dict.fromkeys(fit.name for fit in found)
        raise UsageError(
            f"{program.document.path} has no search named {name!r}; it has: {', '.join(names) or 'none'}"
            f"{did_you_mean(name, names)}",
            hint="pass the name of a variable that holds a search or an estimator",
        )
    node = ast.Name(name, ast.Load())
    return Fit(index + 1, node, None, None, {}, classify_estimator(program, node, index + 1), "")


def _no_search_error(program: Program) -> UsageError:
    """Return the error for a notebook without a usable search, with the reason of each fit."""
    path, reasons = program.document.path, []
    for index, statement in enumerate(program.statements):
        node = statement.node
        if not contains_fit(node):
            continue
        if isinstance(node, ast.For | ast.While):
            reasons.append(f"{program.location(index)}: the fit is in a loop over several estimators")
        elif isinstance(node, ast.ClassDef):
            reasons.append(f"{program.location(index)}: the fit is in a method of the class {node.name}")
        elif isinstance(node, ast.FunctionDef):
            reasons.append(
                f"{program.location(index)}: the fit is in the function {node.name}, which cannot be inlined"
            )
    networks = [fit for fit in _iter_fits(program) if fit.estimator_type == "network"]
    reasons += [f"{program.location(fit.index)}: {fit.name} is a neural network of another library" for fit in networks]
    clusters = [fit for fit in _iter_fits(program) if fit.estimator_type != "network" and fit.target is None]
    reasons += [f"{program.location(fit.index)}: {fit.name} is fitted without a target" for fit in clusters]
    listed = "".join(f"\n  {reason}" for reason in reasons[:10])
    return UsageError(
        f"{path} fits no search or estimator that can become an experiment{listed}\n{_REQUIREMENT}",
        hint="assign the search to a variable and fit it outside of loops and classes: search.fit(X, y)",
    )
