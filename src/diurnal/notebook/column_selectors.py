"""Column selectors in place of lists of columns that a notebook computes from its data."""

from __future__ import annotations

import ast
import re

from diurnal.notebook.constants import evaluate_strings
from diurnal.notebook.frame_columns import parse_excluded_columns
from diurnal.notebook.program import Program
from diurnal.notebook.provenance import Provenance, trace_provenance
from diurnal.notebook.syntax import callee_name

SELECTOR = "make_column_selector"
_NUMERIC_DTYPES = ("number", "bool")  # the dtypes for which pandas' is_numeric_dtype is True


class ColumnSelectors:
    """Finds the column selector that is equivalent to a list of columns.

    The function of an experiment has no data, so it cannot compute ``X.select_dtypes("number").columns``. The call
    ``make_column_selector(dtype_include="number")`` selects the same columns when the search is fitted.

    Parameters
    ----------
    program : Program
        The statements of the notebook.
    features : Provenance or None
        The provenance of the features that the notebook fits on.
    others : frozenset of str
        The columns of that frame that are not features, including the target.
    """

    def __init__(self, program: Program, features: Provenance | None, others: frozenset[str]) -> None:
        self.program = program
        self.features = features
        self.others = others

    def find_equivalent(self, node: ast.expr, at: int) -> ast.expr | None:
        """Return the names of a list of columns where they are known, else a selector, else None."""
        if self.features is None:
            return None
        node, at = self._strip_wrappers(node, at)
        for read in (self._from_all_columns, self._from_select_dtypes, self._from_comprehension, self._from_difference):
            found = read(node, at)
            if found is not None:
                return found
        return None

    def is_fitted_frame(self, node: ast.expr, at: int) -> bool:
        """Return whether an expression is the fitted frame, or the frame that its columns are selected from."""
        if self.features is None:
            return False
        found = trace_provenance(self.program, node, at, steps=True)
        return found.frame_state(self.program) == self.features.frame_state(self.program)

    def _strip_wrappers(self, node: ast.expr, at: int) -> tuple[ast.expr, int]:
        """Remove calls that only list columns, such as ``list()``, or only drop columns that are not features."""
        for _ in range(50):
            if isinstance(node, ast.Name):
                index = self.program.reaching_definition(node.id, at)
                value = None if index is None else self.program[index].value
                if index is None or value is None or not isinstance(self.program[index].target, ast.Name):
                    break
                if any(
                    not self.only_removes_non_features(change) for change in self.program.changes(node.id, index, at)
                ):
                    break
                node, at = value, index
            elif (
                isinstance(node, ast.Attribute) and node.attr in ("columns", "values") and _is_select_dtypes(node.value)
            ):
                node = node.value
            elif (
                isinstance(node, ast.Call)
                and callee_name(node.func) in ("tolist", "to_list", "list")
                and _listed_expression(node)
            ):
                node = _listed_expression(node)  # type: ignore[assignment]
            elif (
                self._drops_non_features(node, at)
                and isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
            ):
                node = node.func.value
            else:
                break
        return node, at

    def only_removes_non_features(self, change: int) -> bool:
        """Return whether a statement only removes columns that are not features from a list."""
        call = getattr(self.program[change].node, "value", None)
        is_own = isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "remove"
        names = evaluate_strings(self.program, call.args[0], change) if is_own and call.args else None  # type: ignore[union-attr]
        return names is not None and set(names) <= self.others

    def _drops_non_features(self, node: ast.expr, at: int) -> bool:
        is_one = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "drop"
        names = evaluate_strings(self.program, node.args[0], at) if is_one and node.args else None  # type: ignore[attr-defined]
        return names is not None and set(names) <= self.others

    def _missing_features(self, node: ast.expr, at: int) -> set[str] | None:
        """Return the features that a frame lacks; None if it is not the fitted frame."""
        if self.features is None or not isinstance(node, ast.Name | ast.Attribute | ast.Subscript | ast.Call):
            return None
        found = trace_provenance(self.program, node, at, steps=True)
        same = found.frame_state(self.program) == self.features.frame_state(self.program)
        if not same or found.keep != self.features.keep or found.column is not None or found.positions is not None:
            return None
        return set(found.drop) - self.others

    def _from_all_columns(self, node: ast.expr, at: int) -> ast.expr | None:
        """Translate ``X.columns``, and lists of all columns except some."""
        frame = _frame_of(node)
        lacks = None if frame is None else self._missing_features(frame, at)
        left_out = None if frame is None else parse_excluded_columns(self.program, node, frame, at)
        if lacks is None or left_out is None or self.features is None:
            return None
        others = lacks | (set(left_out) - self.others)
        if self.features.keep is not None:
            return ast.List([ast.Constant(name) for name in self.features.keep if name not in others], ast.Load())
        return _build_selector({}, others)

    def _from_select_dtypes(self, node: ast.expr, at: int) -> ast.expr | None:
        """Translate ``X.select_dtypes("number")``."""
        if not _is_select_dtypes(node) or not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            return None
        lacks = self._missing_features(node.func.value, at)
        arguments = dict(zip(("include", "exclude"), node.args, strict=False))
        arguments |= {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
        if (
            lacks is None
            or not arguments
            or any(self.program.depends_on_data(value, at) for value in arguments.values())
        ):
            return None
        return _build_selector({f"dtype_{name}": value for name, value in arguments.items()}, lacks)

    def _from_comprehension(self, node: ast.expr, at: int) -> ast.expr | None:
        """Translate ``[c for c in X.columns if X[c].dtype == "object"]``."""
        loop = node.generators[0] if isinstance(node, ast.ListComp) and len(node.generators) == 1 else None
        if loop is None or not isinstance(node, ast.ListComp) or len(loop.ifs) != 1:
            return None
        column, frame = loop.target, _frame_of(loop.iter)
        is_plain = isinstance(column, ast.Name) and isinstance(node.elt, ast.Name) and node.elt.id == column.id
        if not is_plain or frame is None or not self._has_all_features(loop.iter, at):
            return None
        test = loop.ifs[0]
        return self._from_exclusion(test, node.elt, at) or _selector_from_test(
            test, ast.unparse(frame), ast.unparse(column)
        )

    def _has_all_features(self, node: ast.expr, at: int) -> bool:
        """Return whether a list contains all features."""
        found = self._from_all_columns(node, at)
        return found is not None and (isinstance(found, ast.List) or not getattr(found, "keywords", []))

    def _from_exclusion(self, test: ast.expr, column: ast.expr, at: int) -> ast.expr | None:
        """Translate ``[c for c in X.columns if c not in numeric]``, where `numeric` is a selector by dtype."""
        is_one = isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.NotIn)
        if not is_one or not isinstance(test, ast.Compare) or ast.dump(test.left) != ast.dump(column):
            return None
        return _invert_selector(self.find_equivalent(test.comparators[0], at))

    def _from_difference(self, node: ast.expr, at: int) -> ast.expr | None:
        """Translate ``X.columns.drop(numeric)`` and ``set(X.columns) - set(numeric)``."""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and len(node.args) == 1:
            is_one = node.func.attr in ("drop", "difference") and self._has_all_features(node.func.value, at)
            return _invert_selector(self.find_equivalent(node.args[0], at)) if is_one else None
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub):
            left, right = _set_argument(node.left), _set_argument(node.right)
            if left is not None and right is not None and self._has_all_features(left, at):
                return _invert_selector(self.find_equivalent(right, at))
        return None


def _set_argument(node: ast.expr) -> ast.expr | None:
    is_set = isinstance(node, ast.Call) and callee_name(node.func) == "set" and len(node.args) == 1
    return node.args[0] if is_set and isinstance(node, ast.Call) else None


def _invert_selector(selector: ast.expr | None) -> ast.expr | None:
    """Return the selector of all other columns."""
    if not isinstance(selector, ast.Call) or len(selector.keywords) != 1:
        return None
    parameters = {"dtype_include": "dtype_exclude", "dtype_exclude": "dtype_include"}
    keyword = selector.keywords[0]
    return _build_selector({parameters[keyword.arg or ""]: keyword.value})


def _is_select_dtypes(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and callee_name(node.func) == "select_dtypes"


def _listed_expression(call: ast.Call) -> ast.expr | None:
    """Return X of ``list(X)`` and of ``X.tolist()``."""
    if isinstance(call.func, ast.Attribute) and not call.args:
        return call.func.value
    return call.args[0] if isinstance(call.func, ast.Name) and len(call.args) == 1 else None


def _frame_of(node: ast.expr) -> ast.expr | None:
    """Return the frame whose columns an expression lists, or None."""
    if isinstance(node, ast.Attribute) and node.attr == "columns":
        return node.value
    if isinstance(node, ast.ListComp):
        return _frame_of(node.generators[0].iter)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("drop", "difference"):
        return node if node.keywords else _frame_of(node.func.value)  # a frame, or a list of its columns
    return node if isinstance(node, ast.Name) else None


def _selector_from_test(test: ast.expr, frame: str, column: str) -> ast.expr | None:
    """Return the selector for a test of the dtype of a column, or None."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not) and _is_numeric_test(test.operand):
        return _build_selector({"dtype_exclude": _string_list(_NUMERIC_DTYPES)})
    if _is_numeric_test(test):
        return _build_selector({"dtype_include": _string_list(_NUMERIC_DTYPES)})
    if not isinstance(test, ast.Compare) or len(test.ops) != 1:
        return None
    dtype_expressions = (f"{frame}[{column}].dtype", f"{frame}[{column}].dtypes", f"{frame}.dtypes[{column}]",
             f"{frame}.{column}.dtype", f"{frame}[{column}].dtype.name")  # fmt: skip
    if ast.unparse(test.left) not in dtype_expressions:
        return None
    dtype = test.comparators[0]
    if getattr(dtype, "value", None) == "O":
        dtype = ast.Constant("object")
    parameters = {ast.Eq: "include", ast.In: "include", ast.NotEq: "exclude", ast.NotIn: "exclude"}
    parameter = parameters.get(type(test.ops[0]))
    return None if parameter is None else _build_selector({f"dtype_{parameter}": dtype})


def _is_numeric_test(test: ast.expr) -> bool:
    return isinstance(test, ast.Call) and callee_name(test.func) == "is_numeric_dtype"


def _string_list(names: tuple[str, ...]) -> ast.expr:
    return ast.List([ast.Constant(name) for name in names], ast.Load())


def _build_selector(arguments: dict[str, ast.expr], excluded: set[str] | None = None) -> ast.expr:
    """Return a call of `make_column_selector`; a pattern with a negative lookahead excludes columns by name."""
    keywords = [ast.keyword(name, value) for name, value in arguments.items()]
    if excluded:
        names = "|".join(map(re.escape, sorted(excluded)))
        keywords.insert(0, ast.keyword("pattern", ast.Constant(f"^(?!(?:{names})$)")))
    return ast.Call(ast.Name(SELECTOR, ast.Load()), [], keywords)
