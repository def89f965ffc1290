"""The rows that a notebook fits on, as the source and the target of an experiment."""

from __future__ import annotations

import ast
import inspect

from diurnal.experiment import experiment
from diurnal.notebook import bundled_datasets, readers
from diurnal.notebook.constants import evaluate_strings
from diurnal.notebook.effects import callee_name, find_free_names, reads_data
from diurnal.notebook.fit_frame import framed
from diurnal.notebook.fits import Fit, constructor
from diurnal.notebook.frame_columns import OF_FRAMES, at_positions, counts_columns, taken
from diurnal.notebook.frame_trail import Trail, follow
from diurnal.notebook.learned_values import learnt
from diurnal.notebook.preparation import Preparation, prepared, rewritten, same_file
from diurnal.notebook.program import Program
from diurnal.notebook.readers import Places
from diurnal.notebook.row_declaration import Data
from diurnal.notebook.row_order import goes_by_order, sorted_by
from diurnal.notebook.script_options import PLACEHOLDER
from diurnal.notebook.spark_rows import of_spark

_FURTHER = ("groups", "sample_weight")


def data_of(program: Program, fit: Fit, search: list[ast.AST], places: Places) -> Data:
    """Find the source and the target of what is fitted.

    Parameters
    ----------
    program : Program
        All statements.
    fit : Fit
        What is fitted.
    search : list of ast.AST
        What the search is made of: it may name columns or classes.
    places : Places
        Where the notebook and the project lie.
    """
    if fit.features is None:
        hint = "the notebook does not fit this: write where its rows come from, and the column to predict"
        return Data(source=PLACEHOLDER, to_fill_in=[hint])
    made = constructor(program, fit.estimator, fit.index)
    if made is not None and program.qualified(made.func, fit.index).startswith("pyspark."):
        return of_spark(program, fit, fit.features, search, places)
    return _Finder(program, fit, search, places).found()


class _Finder:
    def __init__(self, program: Program, fit: Fit, search: list[ast.AST], places: Places) -> None:
        self.program = program
        self.fit = fit
        self.search = search
        self.places = places
        self.known = inspect.signature(experiment).parameters  # of @experiment
        self.by_order = "order_by" in self.known and goes_by_order(search)
        self.order = sorted_by(program, fit.index) if self.by_order else None
        self.features, self.target = self._followed(rows=True)
        if self.features.by_rows != self.target.by_rows:  # not a split: all_data[:n_train], beside a target of n_train
            self.features, self.target = self._followed(rows=False)
        if self.target.keep is not None and len(self.target.keep) == 1:  # y = df[["label"]]
            self.target.column = self.target.keep[0]
        if self.features.column is not None and self.features.flat:  # X = df["area"].values.reshape(-1, 1)
            self.features.keep, self.features.column = (self.features.column,), None

    def _followed(self, *, rows: bool) -> tuple[Trail, Trail]:
        fit, nothing = self.fit, ast.Constant(None)
        features = follow(self.program, fit.features or nothing, fit.index, steps=True, rows=rows)
        return features, follow(self.program, fit.target or nothing, fit.index, steps=False, rows=rows)

    def found(self) -> Data:
        if self.fit.target is None:
            data = self._without_target()
        else:
            self._name_positions()
            data = self._dataset() or self._columns() or self._computed()
        self._order_rows(data)
        data.steps = self.features.steps
        data.split = self.features.split or self.target.split or data.split
        if self.features.by_rows and data.split is None:
            data.notes.append("the notebook takes rows for training by their places; here a hash of each row decides")
            data.share = self.features.share
        data.notes += learnt(self.program, data.preparation)
        after = [i for i in data.preparation.nodes if 0 <= data.preparation.split_at < i]
        if after:
            data.notes.append(
                f"{self.program.location(after[0])}: rows are changed after the split; the source changes all rows of a "
                "batch, so nothing must be learnt from them there, such as a mean"
            )
        return data

    def _order_rows(self, data: Data) -> None:
        """Describe what is needed where the search splits by the order of rows."""
        if not self.by_order:
            return
        if "order_by" not in data.named:
            data.named["order_by"] = PLACEHOLDER
            data.to_fill_in.append("the search splits by the order of rows: name the column that orders them in time")
        written = " ".join(ast.unparse(node) for node in data.preparation.nodes.values())
        if data.preparation.nodes and not any(word in written for word in ("to_datetime", "parse_dates", "date_range")):
            data.to_fill_in.append("what orders rows is a number, a date or a time; pd.to_datetime makes one of text")

    def _without_target(self) -> Data:
        data = self._read(None) or self._prepared(None)
        data.to_fill_in.append("the notebook fits without a target: name the column to predict")
        return data

    def _name_positions(self) -> None:
        """Take the names of ``df.iloc[:, :-1]`` from the file, where it lies beside the notebook."""
        asked = self.features.positions, self.target.positions
        call, index = self._reader()
        if call is None or asked == (None, None) or self._versions_differ():
            return
        header = readers.header_of(self.program, call, index, self.places)
        if header is None:
            return
        features, target = (at_positions(self.program, header, node, index) for node in asked)
        if isinstance(features, list):
            chosen = features
            self.features.drop, self.features.positions = tuple(n for n in header if n not in chosen), None
        if isinstance(target, str):
            self.target.column, self.target.positions = target, None

    def _versions_differ(self) -> bool:
        return self.features.version(self.program) != self.target.version(self.program)

    # -- one of scikit-learn's data sets

    def _dataset(self) -> Data | None:
        features = bundled_datasets.find_dataset_part(self.program, self.features)
        target = bundled_datasets.find_dataset_part(self.program, self.target)
        is_whole = not (self.features.keep or self.features.drop or self.features.column or self.features.positions)
        if features is None or target is None or features.call is not target.call or not is_whole:
            return None
        if (features.part, target.part) != ("data", "target") or features.name is None:
            return None
        place = self._index_of(features.call)
        by_name = bundled_datasets.mentions_any_name(self.search, bundled_datasets.list_dataset_columns(features.name))
        if by_name or bundled_datasets.needs_numeric_classes(
            self.search
        ):  # SklearnDataset names columns and classes in its own way
            module = f"sklearn.datasets.{features.function}"
            result = f"{features.function}(as_frame=True).frame"
            return Data(result=result, modules=(module,), target="target", place=place)
        return Data(f'SklearnDataset("{features.name}")', ("SklearnDataset",), target="label", place=place)

    def _index_of(self, part: ast.AST) -> int:
        """Return the index of the statement that a node is a part of."""
        for index, statement in enumerate(self.program.statements):
            if any(other is part for other in ast.walk(statement.node)):
                return index
        return self.fit.index

    # -- columns of one frame

    def _columns(self) -> Data | None:
        features, target = self.features, self.target
        if target.column is None or features.positions is not None or self._versions_differ():
            return None
        named = self._further_columns()
        if named is None:
            return None
        kept = (features.column,) if features.column is not None else features.keep
        wanted = None if kept is None else tuple(dict.fromkeys((*kept, *named.values(), target.column)))
        data = self._read(wanted) or self._prepared(wanted)
        data.target, data.named, data.column = target.column, named, features.column
        others = {target.column, *named.values()}  # which are no features anyway
        data.drop = () if wanted else tuple(dict.fromkeys(name for name in features.drop if name not in others))
        if (kept is None and target.column not in features.drop) or target.column in (kept or ()):
            data.notes.append(f"the notebook's features hold the target {target.column!r}; the experiment's do not")
        return data

    def _further_columns(self) -> dict[str, str] | None:
        """Return the columns of groups and weights; None if one of them is no column of the frame."""
        found: dict[str, str] = {}
        for name in _FURTHER:
            node = self.fit.keywords.get(name)
            if node is not None and name in self.known:
                trail = follow(self.program, node, self.fit.index, steps=False)
                if trail.column is None or trail.version(self.program) != self.features.version(self.program):
                    return None
                found[name] = trail.column
        if self.order is not None:
            found["order_by"] = self.order
        return found

    def _read(self, wanted: tuple[str, ...] | None) -> Data | None:
        """Return a source that reads just what the notebook reads."""
        call, index = self._reader()
        reading = None if call is None else readers.source_of(self.program, call, index, wanted, self.places)
        if reading is None or (reading.notes and counts_columns(self.search)):
            return None
        left_out = [(index, argument) for argument in reading.left_out]
        to_fill_in = [*reading.to_fill_in, *same_file(reading.path, "{start:%Y-%m-%d}")]
        data = Data(reading.source, reading.imports, place=index, to_fill_in=to_fill_in, left_out=left_out)
        data.notes += reading.notes
        return data

    def _reader(self) -> tuple[ast.Call | None, int]:
        """Return the call that makes the frame, where nothing is done to it afterwards."""
        node, at = self.features.node, self.features.at
        if isinstance(node, ast.Name):
            index = self.program.definition(node.id, at)
            value = None if index is None else self.program[index].value
            if index is None or value is None or self.program.changes(node.id, index, at):
                return None, -1
            node, at = value, index
        return (node, at) if isinstance(node, ast.Call) else (None, -1)

    def _prepared(self, wanted: tuple[str, ...] | None) -> Data:
        """Return a function that reads the frame, and does to it what the notebook does."""
        trail = self.features
        node, found = rewritten(self.program, trail.node, trail.at, self.places)
        result = ast.unparse(node) + ("" if wanted is None else f"[{list(wanted)!r}]")
        return Data.of_function(prepared(self.program, find_free_names(node), trail.at, self.places) | found, result)

    # -- anything else

    def _computed(self) -> Data:
        """Return a function that computes features and target as the notebook does."""
        features, target = self.features.raw[-1], self.target.raw[-1]
        preparation = self._together(features, target)
        if self._is_changed_later(preparation, features, target):
            features, target = self.features.raw[0], self.target.raw[0]
            preparation = self._together(features, target)
        name = self.target.column or self._column_of(target, preparation) or "target"
        columns = {name: target[0]}
        for argument in _FURTHER:
            node = self.fit.keywords.get(argument)
            if node is not None and argument in self.known:
                preparation |= prepared(self.program, find_free_names(node), self.fit.index, self.places)
                columns[argument] = node
        result, modules = framed(self.program, *features, self.features.column, columns)
        data = Data.of_function(preparation, result)
        data.target, data.modules, data.column = name, modules, self.features.column
        data.named = {argument: argument for argument in columns if argument in _FURTHER}
        if name == "target":
            data.notes.append("the notebook gives the column to predict no name; it is called `target` here")
        return data

    def _together(self, *parts: tuple[ast.expr, int]) -> Preparation:
        """Slice features and target at once."""
        found = Preparation()
        for node, at in parts:
            found |= prepared(self.program, find_free_names(node), at, self.places)
        return found

    def _is_changed_later(self, preparation: Preparation, *parts: tuple[ast.expr, int]) -> bool:
        """Return whether what an expression is made of is changed by what another one needs."""
        for node, at in parts:
            for index in preparation.nodes:
                statement = self.program[index]
                if index >= at and find_free_names(node) & (statement.binds | statement.may_bind | statement.changes):
                    return True
        return False

    def _column_of(self, target: tuple[ast.expr, int], preparation: Preparation) -> str | None:
        """Return the one column that a target is computed from and that is no feature."""
        features = self.features
        kept = (features.column,) if features.column is not None else features.keep
        named, waiting, seen = set[str](), [target], set[int]()
        while waiting:
            node, at = waiting.pop()
            named |= {name for part in ast.walk(node) for name in self._named_in(part, at)}
            for name in find_free_names(node):
                index = self.program.definition(name, at)
                value = None if index is None else self.program[index].value
                if index is not None and value is not None and index not in seen and not reads_data(value):
                    seen.add(index)
                    waiting.append((value, index))
        named = named & self._taken_out(preparation) if kept is None else named - set(kept)
        return named.pop() if len(named) == 1 else None

    def _taken_out(self, preparation: Preparation) -> set[str]:
        """Return the columns that are dropped on the way to the features."""
        found = set(self.features.drop)
        for index, node in preparation.nodes.items():
            for part in ast.walk(node):
                chosen = taken(self.program, part, index) if isinstance(part, ast.Call) else None
                found |= set(chosen.drop) if chosen is not None else set()
        return found

    def _named_in(self, part: ast.AST, at: int) -> tuple[str, ...]:
        """Return the columns that a part of an expression takes from a frame."""
        if isinstance(part, ast.Subscript):
            return evaluate_strings(self.program, part.slice, at) or ()
        if isinstance(part, ast.Call) and callee_name(part.func) in ("pop", "get") and part.args:
            return evaluate_strings(self.program, part.args[0], at) or ()
        is_own = isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name)
        if not is_own or not isinstance(part, ast.Attribute) or part.value.id not in self._frames():  # type: ignore[attr-defined]
            return ()
        return () if part.attr in OF_FRAMES else (part.attr,)

    def _frames(self) -> set[str]:
        """Return the names of the frame that the features come from."""
        return {self.features.node.id} if isinstance(self.features.node, ast.Name) else set()
