"""Recognition of the data sets that scikit-learn loads."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from diurnal.notebook.program import Program
from diurnal.notebook.provenance import Provenance
from diurnal.notebook.syntax import callee_name
from diurnal.sources.sklearn_dataset import DATASETS

# Metrics and estimators that require numeric classes. SklearnDataset returns class names instead of numbers.
_NEEDS_NUMERIC_CLASSES = re.compile(
    r"XGB\w*|make_scorer|class_weight|pos_label|(f1|precision|recall|average_precision|jaccard|neg_brier_score|d2\w*)"
    r"|top_k_accuracy|positive_likelihood_ratio|neg_negative_likelihood_ratio|matthews_corrcoef"
)


@dataclass(frozen=True)
class DatasetPart:
    """A part of a data set that a function of scikit-learn loads.

    Attributes
    ----------
    function : str
        The name of the function, such as ``"load_iris"``.
    part : {"data", "target", "frame"}
        The part.
    call : ast.Call
        The call of the function.
    """

    function: str
    part: str
    call: ast.Call

    @property
    def name(self) -> str | None:
        """The name of the data set for `SklearnDataset`; None if it lacks it or the call has other options."""
        name = self.function.removeprefix("load_")
        keywords = {keyword.arg for keyword in self.call.keywords} - {"as_frame", "return_X_y"}
        return name if name in DATASETS and not keywords and not self.call.args else None


def find_dataset_part(program: Program, provenance: Provenance) -> DatasetPart | None:
    """Return the part of a bundled data set that a frame comes from, or None if it comes from none."""
    node, at = provenance.node, provenance.at
    for _ in range(10):
        if isinstance(node, ast.Attribute | ast.Subscript):
            name = node.attr if isinstance(node, ast.Attribute) else getattr(node.slice, "value", None)
            call = _find_loader_call(program, node.value, at)
            is_part = name in ("data", "target", "frame") and call is not None
            return DatasetPart(callee_name(call.func), str(name), call) if is_part and call is not None else None
        if not isinstance(node, ast.Name):
            return None
        index = program.reaching_definition(node.id, at)
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
    """Return the part that a name gets in ``X, y = load_iris(return_X_y=True)``."""
    call = None if value is None else _find_loader_call(program, value, at)
    names = [element.id for element in target.elts if isinstance(element, ast.Name)]
    if call is None or len(names) != 2 or call is not value:
        return None
    return DatasetPart(callee_name(call.func), "data" if names[0] == name else "target", call)


def _find_loader_call(program: Program, node: ast.expr, at: int) -> ast.Call | None:
    """Return the call that loads the data set of an expression, or None if it is another expression."""
    if isinstance(node, ast.Name):
        index = program.reaching_definition(node.id, at)
        value = None if index is None else program[index].value
        if index is None or value is None or program.changes(node.id, index, at):
            return None
        node, at = value, index
    if not isinstance(node, ast.Call) or not program.qualified_name(node.func, at).startswith("sklearn.datasets."):
        return None
    return node if callee_name(node.func).startswith(("load_", "fetch_")) else None


def list_dataset_columns(name: str) -> set[str]:
    """Return the column names of a data set."""
    from sklearn import datasets

    return set(getattr(datasets, f"load_{name}")(as_frame=True).data.columns)


def needs_numeric_classes(nodes: list[ast.AST]) -> bool:
    """Return whether a search requires classes that are numbers."""
    for node in nodes:
        for part in ast.walk(node):
            found = part.arg if isinstance(part, ast.keyword) else getattr(part, "value", None)
            found = part.id if isinstance(part, ast.Name) else part.attr if isinstance(part, ast.Attribute) else found
            if isinstance(found, str) and _NEEDS_NUMERIC_CLASSES.fullmatch(found):
                return True
    return False


def mentions_any_name(nodes: list[ast.AST], names: set[str]) -> bool:
    """Return whether a search contains at least one of the names as a string."""
    constants = (part.value for node in nodes for part in ast.walk(node) if isinstance(part, ast.Constant))
    return any(isinstance(value, str) and value in names for value in constants)
