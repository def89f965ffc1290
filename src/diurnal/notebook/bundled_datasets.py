"""The data sets that come with scikit-learn, as notebooks load them."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from diurnal.notebook.program import Program
from diurnal.notebook.provenance import Provenance
from diurnal.notebook.syntax import callee_name
from diurnal.sources.sklearn_dataset import DATASETS

# Scores and estimators for which the classes must be numbers, as in the notebook, and not names as in SklearnDataset.
_NEEDS_NUMERIC_CLASSES = re.compile(
    r"XGB\w*|make_scorer|class_weight|pos_label|(f1|precision|recall|average_precision|jaccard|neg_brier_score|d2\w*)"
    r"|top_k_accuracy|positive_likelihood_ratio|neg_negative_likelihood_ratio|matthews_corrcoef"
)


@dataclass(frozen=True)
class DatasetPart:
    """A part of what one of scikit-learn's functions loads.

    Attributes
    ----------
    function : str
        ``"load_iris"``.
    part : {"data", "target", "frame"}
        Which part it is.
    call : ast.Call
        The call of the function.
    """

    function: str
    part: str
    call: ast.Call

    @property
    def name(self) -> str | None:
        """The name for `SklearnDataset`, where it has it and the call asks for nothing special."""
        name = self.function.removeprefix("load_")
        keywords = {keyword.arg for keyword in self.call.keywords} - {"as_frame", "return_X_y"}
        return name if name in DATASETS and not keywords and not self.call.args else None


def find_dataset_part(program: Program, provenance: Provenance) -> DatasetPart | None:
    """Return which part of which data set a trail leads to, if to one."""
    node, at = provenance.node, provenance.at
    for _ in range(10):
        if isinstance(node, ast.Attribute | ast.Subscript):
            name = node.attr if isinstance(node, ast.Attribute) else getattr(node.slice, "value", None)
            call = _find_loader_call(program, node.value, at)
            is_part = name in ("data", "target", "frame") and call is not None
            return DatasetPart(callee_name(call.func), str(name), call) if is_part and call is not None else None
        if not isinstance(node, ast.Name):
            return None
        index = program.definition(node.id, at)
        if index is None or program.changes(node.id, index, at) or program[index].value is None:
            return None
        statement = program[index]
        if isinstance(statement.target, ast.Tuple):
            return _part_of_unpacked_call(program, node.id, statement.target, statement.value, index)
        node, at = statement.value, index  # type: ignore[assignment]
    return None


def _part_of_unpacked_call(
    program: Program, name: str, target: ast.Tuple, value: ast.expr | None, at: int
) -> DatasetPart | None:
    """Read ``X, y = load_iris(return_X_y=True)``."""
    call = None if value is None else _find_loader_call(program, value, at)
    names = [element.id for element in target.elts if isinstance(element, ast.Name)]
    if call is None or len(names) != 2 or call is not value:
        return None
    return DatasetPart(callee_name(call.func), "data" if names[0] == name else "target", call)


def _find_loader_call(program: Program, node: ast.expr, at: int) -> ast.Call | None:
    """Return the call that loads what an expression stands for."""
    if isinstance(node, ast.Name):
        index = program.definition(node.id, at)
        value = None if index is None else program[index].value
        if index is None or value is None or program.changes(node.id, index, at):
            return None
        node, at = value, index
    if not isinstance(node, ast.Call) or not program.qualified_name(node.func, at).startswith("sklearn.datasets."):
        return None
    return node if callee_name(node.func).startswith(("load_", "fetch_")) else None


def list_dataset_columns(name: str) -> set[str]:
    """Return the names of a data set's columns."""
    from sklearn import datasets

    return set(getattr(datasets, f"load_{name}")(as_frame=True).data.columns)


def needs_numeric_classes(nodes: list[ast.AST]) -> bool:
    """Return whether a search can only work on classes that are numbers."""
    for node in nodes:
        for part in ast.walk(node):
            found = part.arg if isinstance(part, ast.keyword) else getattr(part, "value", None)
            found = part.id if isinstance(part, ast.Name) else part.attr if isinstance(part, ast.Attribute) else found
            if isinstance(found, str) and _NEEDS_NUMERIC_CLASSES.fullmatch(found):
                return True
    return False


def mentions_any_name(nodes: list[ast.AST], names: set[str]) -> bool:
    """Return whether a search names one of some columns."""
    constants = (part.value for node in nodes for part in ast.walk(node) if isinstance(part, ast.Constant))
    return any(isinstance(value, str) and value in names for value in constants)
