"""The way back from what is fitted to the frame that it was taken from."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from diurnal.notebook.effects import callee_name
from diurnal.notebook.fits import constructor
from diurnal.notebook.frame_columns import OF_FRAMES, Columns, dropped_in_place, taken
from diurnal.notebook.program import Program, without_fit
from diurnal.notebook.row_slices import is_place, share_after, share_of_folds

_LONGEST = 500
_SAME_ROWS = frozenset(
    ["copy", "to_numpy", "squeeze", "ravel", "flatten", "reset_index", "to_list", "tolist", "to_frame", "toarray"]
)
_SAME_DATA = frozenset(["array", "asarray", "ascontiguousarray", "ravel", "squeeze", "column_or_1d", "Series", "list"])


@dataclass(frozen=True)
class Step:
    """A transformer or a sampler that the notebook fits outside of its search.

    Attributes
    ----------
    estimator : ast.expr
        It, before the statement `index`.
    index : int
        Where it is applied.
    samples : bool
        Whether it makes other rows, as those of imbalanced-learn do.
    frame : bool
        Whether the notebook puts its result back into a frame.
    """

    estimator: ast.expr
    index: int
    samples: bool = False
    frame: bool = False


@dataclass
class Trail:
    """Where an expression leads back to.

    Attributes
    ----------
    node : ast.expr
        The frame, or whatever could not be followed further, before the statement `at`.
    at : int
        The index of that statement.
    keep, drop, column, positions
        What is taken of it: see :class:`diurnal.notebook.frame_columns.Columns`.
    steps : list of Step
        In the order in which they are applied.
    split : ast.Call or None
        The call of `train_test_split` that it went through, the first that runs.
    by_rows : bool
        Whether rows were taken by their places, as by the folds of a loop or ``df[:800]``.
    share : float or None
        The share of rows that ``df[: int(0.8 * len(df))]`` leaves for testing.
    flat : bool
        Whether a column was made a table of one column, by ``reshape(-1, 1)``.
    raw : list of (ast.expr, int)
        The expressions that it went through, none with fewer columns than what is fitted has, from the last one that
        runs to the first.
    """

    node: ast.expr
    at: int
    keep: tuple[str, ...] | None = None
    drop: tuple[str, ...] = ()
    column: str | None = None
    positions: ast.expr | None = None
    steps: list[Step] = field(default_factory=list)
    split: ast.Call | None = None
    by_rows: bool = False
    share: float | None = None
    flat: bool = False
    raw: list[tuple[ast.expr, int]] = field(default_factory=list)

    def version(self, program: Program) -> object:
        """Identify the state of the frame: its name, where it was bound, and which changes came since."""
        if not isinstance(self.node, ast.Name):
            return ast.dump(self.node), self.at
        index = program.definition(self.node.id, self.at)
        return self.node.id, index, tuple(program.changes(self.node.id, -1 if index is None else index, self.at))


def follow(program: Program, node: ast.expr, at: int, *, steps: bool, rows: bool = True) -> Trail:
    """Follow an expression back through assignments, splits, choices of columns and, on request, transformers.

    Parameters
    ----------
    program : Program
        All statements.
    node : ast.expr
        What is fitted.
    at : int
        The index of the statement that fits it.
    steps : bool
        Whether transformers are followed, as for features; a target that is transformed is not followed further.
    rows : bool
        Whether a choice of rows by their places is followed.
    """
    walk = _Walk(program, Trail(node, at, raw=[(node, at)]), steps=steps, rows=rows)
    for _ in range(_LONGEST):
        if not walk.step():
            break
    walk.trail.steps.reverse()
    return walk.trail


class _Walk:
    def __init__(self, program: Program, trail: Trail, *, steps: bool, rows: bool) -> None:
        self.program = program
        self.trail = trail
        self.steps = steps
        self.rows = rows

    def step(self) -> bool:
        """Go back by one assignment or expression; say whether that was possible."""
        node, at = self.trail.node, self.trail.at
        return self._named(node, at) if isinstance(node, ast.Name) else self._peeled(node, at)

    def _to(self, node: ast.expr, at: int) -> bool:
        self.trail.node, self.trail.at = node, at
        if not self._has_chosen():
            self.trail.raw.append((node, at))
        return True

    def _named(self, node: ast.Name, at: int) -> bool:
        index = self.program.definition(node.id, at)
        if index is None or node.id not in self.program[index].binds:
            return False
        changes = self.program.changes(node.id, index, at)
        if changes:
            return self._taken_away(node, changes[-1])
        statement = self.program[index]
        if isinstance(statement.target, ast.Tuple | ast.List) and statement.value is not None:
            return self._unpacked(node.id, statement.target.elts, statement.value, index)
        if not isinstance(statement.target, ast.Name) or statement.value is None:
            return False
        count = len(self.trail.raw)
        self._to(statement.value, index)
        if isinstance(statement.value, ast.Name) or self._peeled(statement.value, index):
            return True
        self.trail.node, self.trail.at = node, at
        del self.trail.raw[count:]
        return False

    def _taken_away(self, node: ast.Name, change: int) -> bool:
        """Go back before a statement that only takes columns out of the frame."""
        names = dropped_in_place(self.program, self.program[change].node, node.id, change)
        if names is None or self.trail.steps:
            return False
        if self.trail.keep is None:
            self.trail.drop = (*self.trail.drop, *names)
        return self._to(node, change)

    def _unpacked(self, name: str, targets: list[ast.expr], value: ast.expr, index: int) -> bool:
        names = [target.id if isinstance(target, ast.Name) else None for target in targets]
        place = names.index(name) if name in names else -1
        if place < 0:
            return False
        if isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(names):
            return self._to(value.elts[place], index)
        source = self._source_of(value, place, index) if isinstance(value, ast.Call) else None
        return source is not None and self._to(source, index)

    def _source_of(self, call: ast.Call, place: int, index: int) -> ast.expr | None:
        """Return what the part of a result comes from: of a split, of a shuffle, of a sampler."""
        name = callee_name(call.func)
        receiver = call.func.value if isinstance(call.func, ast.Attribute) else None
        if name == "randomSplit":  # Spark's
            self.trail.split = call
            return receiver
        number = place // 2 if name == "train_test_split" else place
        if name not in ("train_test_split", "shuffle", "fit_resample") or number >= len(call.args):
            return None
        if name == "train_test_split":
            self.trail.split = call
        if name == "fit_resample" and receiver is not None:
            if place == 0 and self.steps:
                self.trail.steps.append(Step(without_fit(receiver), index, samples=True))
            self.trail.raw.clear()
        return call.args[number]

    def _peeled(self, node: ast.expr, at: int) -> bool:
        """Go from an expression to the one that it is made of."""
        if isinstance(node, ast.Attribute):
            return self._attribute(node, at)
        if isinstance(node, ast.Call) and (self._wrapped(node, at) or self._transformed(node, at)):
            return True
        if isinstance(node, ast.Subscript) and self.rows and self._rows(node, at):
            return True
        if isinstance(node, ast.Subscript) and self._is_bunch(node.value, at):
            return False
        chosen = taken(self.program, node, at)
        return chosen is not None and self._chosen(chosen, at)

    def _attribute(self, node: ast.Attribute, at: int) -> bool:
        if node.attr in ("values", "array", "T"):
            return node.attr != "T" and self._to(node.value, at)
        is_column = isinstance(node.value, ast.Name) and node.attr not in OF_FRAMES
        is_column = is_column and not self._is_bunch(node.value, at)
        return is_column and self._chosen(Columns(node.value, column=node.attr), at)

    def _is_bunch(self, node: ast.expr, at: int) -> bool:
        """Return whether an expression is what `load_iris` and its like give, and not a frame."""
        made = constructor(self.program, node, at)
        name = callee_name(made.func) if made is not None else ""
        return name.startswith(("load_", "fetch_")) and name != "load_dataset"

    def _wrapped(self, call: ast.Call, at: int) -> bool:
        """Go through what keeps the rows and their values."""
        name = callee_name(call.func)
        if isinstance(call.func, ast.Attribute) and self._keeps_rows(call, name):
            self.trail.flat = self.trail.flat or name == "reshape"
            return self._to(call.func.value, at)
        if name == "list" and len(call.args) == 1:  # of a column; that of a frame gives its names
            chosen = taken(self.program, call.args[0], at)
            return chosen is not None and chosen.column is not None and self._to(call.args[0], at)
        if name in _SAME_DATA and call.args:
            return self._to(call.args[0], at)
        return name == "DataFrame" and bool(call.args) and self._framed(call, at)

    def _keeps_rows(self, call: ast.Call, name: str) -> bool:
        if name == "reset_index":
            return _is_true(call, "drop")
        if name == "sample":
            return _is_one(call, "frac")
        if name == "reshape":
            return [ast.unparse(argument) for argument in call.args] in (["-1", "1"], ["(-1, 1)"])
        return name in _SAME_ROWS

    def _framed(self, call: ast.Call, at: int) -> bool:
        """Go through ``pd.DataFrame(scaler.fit_transform(X), columns=...)`` and ``pd.DataFrame(iris.data, ...)``."""
        inner = call.args[0]
        if isinstance(inner, ast.Call) and self._transformed(inner, at):
            self.trail.steps[-1] = Step(self.trail.steps[-1].estimator, at, frame=True)
            return True
        if isinstance(inner, ast.Attribute) and inner.attr == "data" and self._is_bunch(inner.value, at):
            return any(keyword.arg == "columns" for keyword in call.keywords) and self._to(inner, at)
        if isinstance(inner, ast.Name):
            index = self.program.definition(inner.id, at)
            value = None if index is None else self.program[index].value
            if isinstance(value, ast.Call) and self._transformed(value, index or 0):
                self.trail.steps[-1] = Step(self.trail.steps[-1].estimator, index or 0, frame=True)
                return True
        return False

    def _transformed(self, call: ast.Call, at: int) -> bool:
        """Go through a transformer that is fitted outside of the search."""
        is_one = isinstance(call.func, ast.Attribute) and call.func.attr in ("transform", "fit_transform")
        if (
            not is_one
            or not self.steps
            or not call.args
            or self._has_chosen()
            or not isinstance(call.func, ast.Attribute)
        ):
            return False
        estimator = without_fit(call.func.value)
        made = constructor(self.program, estimator, at)
        if made is None or not (callee_name(made.func)[:1].isupper() or callee_name(made.func).startswith("make_")):
            return False  # df.transform(function) is none of scikit-learn's
        self.trail.steps.append(Step(estimator, at))
        self.trail.raw.clear()
        return self._to(call.args[0], at)

    def _has_chosen(self) -> bool:
        trail = self.trail
        return bool(trail.keep is not None or trail.drop or trail.column or trail.positions or trail.flat)

    def _rows(self, node: ast.Subscript, at: int) -> bool:
        """Go through a choice of rows by their places: those of a fold, or the first 800."""
        frame = node.value
        if isinstance(frame, ast.Attribute) and frame.attr in ("iloc", "loc"):
            frame = frame.value
        if isinstance(node.slice, ast.Slice):
            ends = [end for end in (node.slice.lower, node.slice.upper, node.slice.step) if end is not None]
            if not all(is_place(self.program, end, at) for end in ends):
                return False
            if node.slice.lower is None and node.slice.upper is not None:
                self.trail.share = share_after(self.program, node.slice.upper, at)
        else:
            folds = self.program.folds(node.slice.id, at) if isinstance(node.slice, ast.Name) else None
            if folds is None:
                return False
            self.trail.share = share_of_folds(self.program, folds, at)
        self.trail.by_rows = True
        return self._to(frame, at)

    def _chosen(self, chosen: Columns, at: int) -> bool:
        trail = self.trail
        if trail.column is not None and chosen.column is None and chosen.positions is None:
            is_left = trail.column not in chosen.drop and (chosen.keep is None or trail.column in chosen.keep)
            return is_left and self._to(chosen.frame, at)
        if trail.column is not None or trail.positions is not None:
            return False
        trail.column, trail.positions = chosen.column, chosen.positions
        if trail.keep is None:
            trail.keep = None if chosen.keep is None else tuple(n for n in chosen.keep if n not in trail.drop)
            trail.drop = (*trail.drop, *chosen.drop)
        elif chosen.keep is None and chosen.column is not None:
            return False
        return self._to(chosen.frame, at)


def _is_true(call: ast.Call, name: str) -> bool:
    return any(keyword.arg == name and getattr(keyword.value, "value", None) is True for keyword in call.keywords)


def _is_one(call: ast.Call, name: str) -> bool:
    return any(keyword.arg == name and getattr(keyword.value, "value", None) == 1 for keyword in call.keywords)
