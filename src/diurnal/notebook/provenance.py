"""Provenance of the fitted features and target: the frame that they come from, and the steps in between.

The tracer starts at the argument of ``fit`` and goes back one assignment, selection or transformer at a time, until an
expression that it cannot go through: usually the frame that the notebook reads. In ::

    df = pd.read_csv("clients.csv")
    X_train, X_test = train_test_split(df.drop(columns="label"))
    search.fit(X_train)

it goes from ``X_train`` through the split and ``drop`` to ``df``, with ``drop=("label",)``.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from diurnal.notebook.fits import find_constructor
from diurnal.notebook.frame_columns import FRAME_ATTRIBUTES, ColumnSelection, parse_in_place_drop, parse_selection
from diurnal.notebook.preprocessing_step import PreprocessingStep
from diurnal.notebook.program import Program, strip_fit_call
from diurnal.notebook.row_slices import fraction_after_position, is_row_position, read_splitter_fraction
from diurnal.notebook.syntax import callee_name

_MAX_STEPS = 500
_SAME_ROWS = frozenset(
    ["copy", "to_numpy", "squeeze", "ravel", "flatten", "reset_index", "to_list", "tolist", "to_frame", "toarray"]
)
_SAME_DATA = frozenset(["array", "asarray", "ascontiguousarray", "ravel", "squeeze", "column_or_1d", "Series", "list"])


@dataclass
class Provenance:
    """The origin of an expression.

    Attributes
    ----------
    node : ast.expr
        The frame, or the expression that cannot be traced further, as it is before the statement `at`.
    at : int
        The index of that statement.
    keep, drop, column, positions
        The columns that are selected from it: see :class:`diurnal.notebook.frame_columns.Columns`.
    steps : list of Step
        The transformers, in the order in which they are applied.
    split : ast.Call or None
        The first call of `train_test_split` that the values go through.
    by_position : bool
        Whether rows are selected by position, as by the folds of a loop or ``df[:800]``.
    test_fraction : float or None
        The fraction of rows that a selection by position such as ``df[: int(0.8 * len(df))]`` leaves for testing.
    is_reshaped : bool
        Whether ``reshape(-1, 1)`` makes a column a table of one column.
    expressions : list of (ast.expr, int)
        The expressions that the values go through, from the last one that runs to the first. Each of them has at least
        the columns that are fitted.
    """

    node: ast.expr
    at: int
    keep: tuple[str, ...] | None = None
    drop: tuple[str, ...] = ()
    column: str | None = None
    positions: ast.expr | None = None
    steps: list[PreprocessingStep] = field(default_factory=list)
    split: ast.Call | None = None
    by_position: bool = False
    test_fraction: float | None = None
    is_reshaped: bool = False
    expressions: list[tuple[ast.expr, int]] = field(default_factory=list)

    def frame_state(self, program: Program) -> object:
        """Identify the state of the frame: its name, the statement that binds it, and the changes since then.

        Two expressions select from the same frame only if these three are equal.
        """
        if not isinstance(self.node, ast.Name):
            return ast.dump(self.node), self.at
        index = program.reaching_definition(self.node.id, self.at)
        return self.node.id, index, tuple(program.changes(self.node.id, -1 if index is None else index, self.at))


def trace_provenance(program: Program, node: ast.expr, at: int, *, steps: bool, rows: bool = True) -> Provenance:
    """Trace an expression back through assignments, splits, column selections and, on request, transformers.

    Parameters
    ----------
    program : Program
        The statements of the notebook.
    node : ast.expr
        The expression that is fitted.
    at : int
        The index of the statement that fits it.
    steps : bool
        Whether to trace through transformers: True for features, False for a target.
    rows : bool
        Whether to trace through selections of rows by position.
    """
    tracer = _ProvenanceTracer(program, Provenance(node, at, expressions=[(node, at)]), steps=steps, rows=rows)
    for _ in range(_MAX_STEPS):
        if not tracer.step():
            break
    tracer.provenance.steps.reverse()
    return tracer.provenance


class _ProvenanceTracer:
    def __init__(self, program: Program, provenance: Provenance, *, steps: bool, rows: bool) -> None:
        self.program = program
        self.provenance = provenance
        self.steps = steps
        self.rows = rows

    def step(self) -> bool:
        """Go back by one assignment or expression, and return whether that was possible."""
        node, at = self.provenance.node, self.provenance.at
        return (
            self._step_through_name(node, at) if isinstance(node, ast.Name) else self._step_through_expression(node, at)
        )

    def _move_to(self, node: ast.expr, at: int) -> bool:
        self.provenance.node, self.provenance.at = node, at
        if not self._has_selection():
            self.provenance.expressions.append((node, at))
        return True

    def _step_through_name(self, node: ast.Name, at: int) -> bool:
        index = self.program.reaching_definition(node.id, at)
        if index is None or node.id not in self.program[index].binds:
            return False
        changes = self.program.changes(node.id, index, at)
        if changes:
            return self._step_through_drop(node, changes[-1])
        statement = self.program[index]
        if isinstance(statement.target, ast.Tuple | ast.List) and statement.value is not None:
            return self._step_through_unpacking(node.id, statement.target.elts, statement.value, index)
        if not isinstance(statement.target, ast.Name) or statement.value is None:
            return False
        count = len(self.provenance.expressions)
        self._move_to(statement.value, index)
        if isinstance(statement.value, ast.Name) or self._step_through_expression(statement.value, index):
            return True
        self.provenance.node, self.provenance.at = node, at
        del self.provenance.expressions[count:]
        return False

    def _step_through_drop(self, node: ast.Name, change: int) -> bool:
        """Go back before a statement that only drops columns from the frame."""
        names = parse_in_place_drop(self.program, self.program[change].node, node.id, change)
        if names is None or self.provenance.steps:
            return False
        if self.provenance.keep is None:
            self.provenance.drop = (*self.provenance.drop, *names)
        return self._move_to(node, change)

    def _step_through_unpacking(self, name: str, targets: list[ast.expr], value: ast.expr, index: int) -> bool:
        names = [target.id if isinstance(target, ast.Name) else None for target in targets]
        position = names.index(name) if name in names else -1
        if position < 0:
            return False
        if isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(names):
            return self._move_to(value.elts[position], index)
        source = self._unpacked_source(value, position, index) if isinstance(value, ast.Call) else None
        return source is not None and self._move_to(source, index)

    def _unpacked_source(self, call: ast.Call, position: int, index: int) -> ast.expr | None:
        """Return the argument that one part of the result of a split, shuffle or sampler comes from."""
        name = callee_name(call.func)
        receiver = call.func.value if isinstance(call.func, ast.Attribute) else None
        if name == "randomSplit":  # Spark's
            self.provenance.split = call
            return receiver
        number = position // 2 if name == "train_test_split" else position
        if name not in ("train_test_split", "shuffle", "fit_resample") or number >= len(call.args):
            return None
        if name == "train_test_split":
            self.provenance.split = call
        if name == "fit_resample" and receiver is not None:
            if position == 0 and self.steps:
                self.provenance.steps.append(PreprocessingStep(strip_fit_call(receiver), index, samples=True))
            self.provenance.expressions.clear()
        return call.args[number]

    def _step_through_expression(self, node: ast.expr, at: int) -> bool:
        """Go from an expression to the expression that it is computed from."""
        if isinstance(node, ast.Attribute):
            return self._step_through_attribute(node, at)
        if isinstance(node, ast.Call) and (
            self._step_through_wrapper(node, at) or self._step_through_transformer(node, at)
        ):
            return True
        if isinstance(node, ast.Subscript) and self.rows and self._step_through_rows(node, at):
            return True
        if isinstance(node, ast.Subscript) and self._is_dataset_bunch(node.value, at):
            return False
        selection = parse_selection(self.program, node, at)
        return selection is not None and self._apply_selection(selection, at)

    def _step_through_attribute(self, node: ast.Attribute, at: int) -> bool:
        if node.attr in ("values", "array", "T"):
            return node.attr != "T" and self._move_to(node.value, at)
        is_column = isinstance(node.value, ast.Name) and node.attr not in FRAME_ATTRIBUTES
        is_column = is_column and not self._is_dataset_bunch(node.value, at)
        return is_column and self._apply_selection(ColumnSelection(node.value, column=node.attr), at)

    def _is_dataset_bunch(self, node: ast.expr, at: int) -> bool:
        """Return whether the value of an expression is a `Bunch`, as `load_iris` returns, and not a frame."""
        constructor = find_constructor(self.program, node, at)
        name = callee_name(constructor.func) if constructor is not None else ""
        return name.startswith(("load_", "fetch_")) and name != "load_dataset"

    def _step_through_wrapper(self, call: ast.Call, at: int) -> bool:
        """Go through a call that keeps the rows and their values, such as ``copy()`` or ``np.array(...)``."""
        name = callee_name(call.func)
        if isinstance(call.func, ast.Attribute) and self._keeps_rows(call, name):
            self.provenance.is_reshaped = self.provenance.is_reshaped or name == "reshape"
            return self._move_to(call.func.value, at)
        if name == "list" and len(call.args) == 1:  # list(frame) would be the names of its columns
            selection = parse_selection(self.program, call.args[0], at)
            return selection is not None and selection.column is not None and self._move_to(call.args[0], at)
        if name in _SAME_DATA and call.args:
            return self._move_to(call.args[0], at)
        return name == "DataFrame" and bool(call.args) and self._step_through_frame(call, at)

    def _keeps_rows(self, call: ast.Call, name: str) -> bool:
        if name == "reset_index":
            return _has_argument(call, "drop", value=True)
        if name == "sample":
            return _has_argument(call, "frac", 1)
        if name == "reshape":
            return [ast.unparse(argument) for argument in call.args] in (["-1", "1"], ["(-1, 1)"])
        return name in _SAME_ROWS

    def _step_through_frame(self, call: ast.Call, at: int) -> bool:
        """Go through ``pd.DataFrame(scaler.fit_transform(X), columns=...)`` and ``pd.DataFrame(iris.data, ...)``."""
        inner = call.args[0]
        if isinstance(inner, ast.Call) and self._step_through_transformer(inner, at):
            self.provenance.steps[-1] = PreprocessingStep(self.provenance.steps[-1].estimator, at, frame=True)
            return True
        if isinstance(inner, ast.Attribute) and inner.attr == "data" and self._is_dataset_bunch(inner.value, at):
            return any(keyword.arg == "columns" for keyword in call.keywords) and self._move_to(inner, at)
        if isinstance(inner, ast.Name):
            index = self.program.reaching_definition(inner.id, at)
            value = None if index is None else self.program[index].value
            if isinstance(value, ast.Call) and self._step_through_transformer(value, index or 0):
                self.provenance.steps[-1] = PreprocessingStep(
                    self.provenance.steps[-1].estimator, index or 0, frame=True
                )
                return True
        return False

    def _step_through_transformer(self, call: ast.Call, at: int) -> bool:
        """Go through a transformer that is fitted before the search."""
        is_one = isinstance(call.func, ast.Attribute) and call.func.attr in ("transform", "fit_transform")
        if (
            not is_one
            or not self.steps
            or not call.args
            or self._has_selection()
            or not isinstance(call.func, ast.Attribute)
        ):
            return False
        estimator = strip_fit_call(call.func.value)
        constructor = find_constructor(self.program, estimator, at)
        if constructor is None or not (
            callee_name(constructor.func)[:1].isupper() or callee_name(constructor.func).startswith("make_")
        ):
            return False  # such as df.transform(function) of pandas
        self.provenance.steps.append(PreprocessingStep(estimator, at))
        self.provenance.expressions.clear()
        return self._move_to(call.args[0], at)

    def _has_selection(self) -> bool:
        provenance = self.provenance
        return bool(
            provenance.keep is not None
            or provenance.drop
            or provenance.column
            or provenance.positions
            or provenance.is_reshaped
        )

    def _step_through_rows(self, node: ast.Subscript, at: int) -> bool:
        """Go through a selection of rows by position: those of a fold, or the first 800."""
        frame = node.value
        if isinstance(frame, ast.Attribute) and frame.attr in ("iloc", "loc"):
            frame = frame.value
        if isinstance(node.slice, ast.Slice):
            ends = [end for end in (node.slice.lower, node.slice.upper, node.slice.step) if end is not None]
            if not all(is_row_position(self.program, end, at) for end in ends):
                return False
            if node.slice.lower is None and node.slice.upper is not None:
                self.provenance.test_fraction = fraction_after_position(self.program, node.slice.upper, at)
        else:
            folds = self.program.splitter_call(node.slice.id, at) if isinstance(node.slice, ast.Name) else None
            if folds is None:
                return False
            self.provenance.test_fraction = read_splitter_fraction(self.program, folds, at)
        self.provenance.by_position = True
        return self._move_to(frame, at)

    def _apply_selection(self, selection: ColumnSelection, at: int) -> bool:
        provenance = self.provenance
        if provenance.column is not None and selection.column is None and selection.positions is None:
            is_retained = provenance.column not in selection.drop and (
                selection.keep is None or provenance.column in selection.keep
            )
            return is_retained and self._move_to(selection.frame, at)
        if provenance.column is not None or provenance.positions is not None:
            return False
        provenance.column, provenance.positions = selection.column, selection.positions
        if provenance.keep is None:
            provenance.keep = (
                None if selection.keep is None else tuple(n for n in selection.keep if n not in provenance.drop)
            )
            provenance.drop = (*provenance.drop, *selection.drop)
        elif selection.keep is None and selection.column is not None:
            return False
        return self._move_to(selection.frame, at)


def _has_argument(call: ast.Call, name: str, value: object) -> bool:
    return any(keyword.arg == name and getattr(keyword.value, "value", None) == value for keyword in call.keywords)
