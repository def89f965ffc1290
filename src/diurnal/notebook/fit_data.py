"""The source and the target of an experiment, from the data that a notebook fits on."""

from __future__ import annotations

import ast
import inspect

from diurnal.experiment import experiment
from diurnal.notebook import bundled_datasets, readers
from diurnal.notebook.chained_changes import find_assigned_changes
from diurnal.notebook.constants import evaluate_strings
from diurnal.notebook.data_declaration import DataDeclaration
from diurnal.notebook.effects import find_free_names, reads_data
from diurnal.notebook.feature_frame import format_frame
from diurnal.notebook.fits import Fit, find_constructor
from diurnal.notebook.frame_columns import FRAME_ATTRIBUTES, parse_selection, resolve_positions, uses_column_positions
from diurnal.notebook.learned_values import describe_learned_values
from diurnal.notebook.preparation import Preparation, collect_preparation, describe_undated_file, rewrite_paths
from diurnal.notebook.program import Program
from diurnal.notebook.provenance import Provenance, trace_provenance
from diurnal.notebook.readers import ProjectPaths
from diurnal.notebook.row_order import depends_on_row_order, find_sort_column
from diurnal.notebook.script_options import PLACEHOLDER
from diurnal.notebook.spark_rows import find_spark_data
from diurnal.notebook.syntax import callee_name

_COLUMN_ARGUMENTS = ("groups", "sample_weight")


def find_data(program: Program, fit: Fit, search: list[ast.AST], paths: ProjectPaths) -> DataDeclaration:
    """Return the source and the target of a fit.

    Parameters
    ----------
    program : Program
        The statements of the notebook.
    fit : Fit
        The search or estimator, with the data that it is fitted on.
    search : list of ast.AST
        The statements of the search, which may contain names of columns or classes.
    paths : ProjectPaths
        The folders of the notebook and of the project.
    """
    if fit.features is None:
        hint = "the notebook does not fit this search: write its source and the column to predict"
        return DataDeclaration(source=PLACEHOLDER, to_fill_in=[hint])
    constructor = find_constructor(program, fit.estimator, fit.index)
    if constructor is not None and program.qualified_name(constructor.func, fit.index).startswith("pyspark."):
        return find_spark_data(program, fit, fit.features, search, paths)
    return _DataFinder(program, fit, search, paths).find()


class _DataFinder:
    def __init__(self, program: Program, fit: Fit, search: list[ast.AST], paths: ProjectPaths) -> None:
        self.program = program
        self.fit = fit
        self.search = search
        self.paths = paths
        self.supported_arguments = inspect.signature(experiment).parameters
        self.splits_by_order = "order_by" in self.supported_arguments and depends_on_row_order(search)
        self.sort_column = find_sort_column(program, fit.index) if self.splits_by_order else None
        self.features, self.target = self._trace_both(rows=True)
        if (
            self.features.by_position != self.target.by_position
        ):  # all_data[:n_train] with a target of n_train rows is not a split
            self.features, self.target = self._trace_both(rows=False)
        if self.target.keep is not None and len(self.target.keep) == 1:  # y = df[["label"]]
            self.target.column = self.target.keep[0]
        if self.features.column is not None and self.features.is_reshaped:  # X = df["area"].values.reshape(-1, 1)
            self.features.keep, self.features.column = (self.features.column,), None

    def _trace_both(self, *, rows: bool) -> tuple[Provenance, Provenance]:
        fit, nothing = self.fit, ast.Constant(None)
        features = trace_provenance(self.program, fit.features or nothing, fit.index, steps=True, rows=rows)
        return features, trace_provenance(self.program, fit.target or nothing, fit.index, steps=False, rows=rows)

    def find(self) -> DataDeclaration:
        if self.fit.target is None:
            data = self._without_target()
        else:
            self._resolve_positions()
            data = self._bundled_dataset() or self._columns_of_frame() or self._computed_columns()
        self._declare_row_order(data)
        data.steps = self.features.steps
        data.split = self.features.split or self.target.split or data.split
        if self.features.by_position and data.split is None:
            data.notes.append(
                "the notebook selects rows for training by position; diurnal splits them by a hash of each row"
            )
            data.test_fraction = self.features.test_fraction
        data.notes += [
            f"`{change[:80]}` changes a copy since pandas 3; the experiment changes the frame"
            for change in find_assigned_changes(data.preparation.nodes.values())
        ]
        data.notes += describe_learned_values(self.program, data.preparation)
        after = [i for i in data.preparation.nodes if 0 <= data.preparation.split_index < i]
        if after:
            data.notes.append(
                f"{self.program.location(after[0])}: the notebook changes rows after the split; the source does "
                "this to all rows of a batch, so the change of a row must not depend on other rows, as on their mean"
            )
        return data

    def _declare_row_order(self, data: DataDeclaration) -> None:
        """Add the column that orders the rows, if the search splits by their order."""
        if not self.splits_by_order:
            return
        if "order_by" not in data.column_arguments:
            data.column_arguments["order_by"] = PLACEHOLDER
            data.to_fill_in.append("the search splits by the order of rows: write the column that orders them in time")
        source_text = " ".join(ast.unparse(node) for node in data.preparation.nodes.values())
        if data.preparation.nodes and not any(
            function in source_text for function in ("to_datetime", "parse_dates", "date_range")
        ):
            data.to_fill_in.append(
                "the column that orders rows must be a number, a date or a timestamp; convert text with pd.to_datetime"
            )

    def _without_target(self) -> DataDeclaration:
        data = self._read_by_source(None) or self._read_by_function(None)
        data.to_fill_in.append("the notebook fits without a target: write the column to predict")
        return data

    def _resolve_positions(self) -> None:
        """Read the names of ``df.iloc[:, :-1]`` from the header of the file, if it exists in the notebook's folder."""
        positions = self.features.positions, self.target.positions
        call, index = self._reader_call()
        if call is None or positions == (None, None) or self._frames_differ():
            return
        header = readers.read_header(self.program, call, index, self.paths)
        if header is None:
            return
        features, target = (resolve_positions(self.program, header, node, index) for node in positions)
        if isinstance(features, list):
            chosen = features
            self.features.drop, self.features.positions = tuple(n for n in header if n not in chosen), None
        if isinstance(target, str):
            self.target.column, self.target.positions = target, None

    def _frames_differ(self) -> bool:
        return self.features.frame_state(self.program) != self.target.frame_state(self.program)

    # -- data sets of scikit-learn

    def _bundled_dataset(self) -> DataDeclaration | None:
        features = bundled_datasets.find_dataset_part(self.program, self.features)
        target = bundled_datasets.find_dataset_part(self.program, self.target)
        is_whole = not (self.features.keep or self.features.drop or self.features.column or self.features.positions)
        if features is None or target is None or features.call is not target.call or not is_whole:
            return None
        if (features.part, target.part) != ("data", "target") or features.name is None:
            return None
        read_index = self._statement_index(features.call)
        by_name = bundled_datasets.mentions_any_name(self.search, bundled_datasets.list_dataset_columns(features.name))
        if by_name or bundled_datasets.needs_numeric_classes(
            self.search
        ):  # SklearnDataset names columns and classes in its own way
            module = f"sklearn.datasets.{features.function}"
            result = f"{features.function}(as_frame=True).frame"
            return DataDeclaration(result=result, modules=(module,), target="target", read_index=read_index)
        return DataDeclaration(
            f'SklearnDataset("{features.name}")', ("SklearnDataset",), target="label", read_index=read_index
        )

    def _statement_index(self, part: ast.AST) -> int:
        """Return the index of the statement that contains a node."""
        for index, statement in enumerate(self.program.statements):
            if any(other is part for other in ast.walk(statement.node)):
                return index
        return self.fit.index

    # -- features and target that are columns of one frame

    def _columns_of_frame(self) -> DataDeclaration | None:
        features, target = self.features, self.target
        if target.column is None or features.positions is not None or self._frames_differ():
            return None
        named = self._columns_for_arguments()
        if named is None:
            return None
        feature_columns = (features.column,) if features.column is not None else features.keep
        columns_needed = (
            None
            if feature_columns is None
            else tuple(dict.fromkeys((*feature_columns, *named.values(), target.column)))
        )
        data = self._read_by_source(columns_needed) or self._read_by_function(columns_needed)
        data.target, data.column_arguments, data.column = target.column, named, features.column
        others = {target.column, *named.values()}  # are excluded from the features in any case
        data.drop = () if columns_needed else tuple(dict.fromkeys(name for name in features.drop if name not in others))
        if (feature_columns is None and target.column not in features.drop) or target.column in (feature_columns or ()):
            data.notes.append(
                f"the features of the notebook contain the target {target.column!r}; those of the experiment do not"
            )
        return data

    def _columns_for_arguments(self) -> dict[str, str] | None:
        """Return the columns of groups and weights; None if one of them is not a column of the frame."""
        found: dict[str, str] = {}
        for name in _COLUMN_ARGUMENTS:
            node = self.fit.keywords.get(name)
            if node is not None and name in self.supported_arguments:
                provenance = trace_provenance(self.program, node, self.fit.index, steps=False)
                if provenance.column is None or provenance.frame_state(self.program) != self.features.frame_state(
                    self.program
                ):
                    return None
                found[name] = provenance.column
        if self.sort_column is not None:
            found["order_by"] = self.sort_column
        return found

    def _read_by_source(self, columns_needed: tuple[str, ...] | None) -> DataDeclaration | None:
        """Return a source of diurnal that reads the same rows as the notebook, or None."""
        call, index = self._reader_call()
        detected = None if call is None else readers.find_source(self.program, call, index, columns_needed, self.paths)
        if detected is None or (detected.notes and uses_column_positions(self.search)):
            return None
        left_out = [(index, argument) for argument in detected.left_out]
        to_fill_in = [*detected.to_fill_in, *describe_undated_file(detected.path, "{start:%Y-%m-%d}")]
        data = DataDeclaration(
            detected.source, detected.imports, read_index=index, to_fill_in=to_fill_in, left_out=left_out
        )
        data.notes += detected.notes
        return data

    def _reader_call(self) -> tuple[ast.Call | None, int]:
        """Return the call that reads the frame and its index, if no later statement changes the frame."""
        node, at = self.features.node, self.features.at
        if isinstance(node, ast.Name):
            index = self.program.reaching_definition(node.id, at)
            value = None if index is None else self.program[index].value
            if index is None or value is None or self.program.changes(node.id, index, at):
                return None, -1
            node, at = value, index
        return (node, at) if isinstance(node, ast.Call) else (None, -1)

    def _read_by_function(self, columns_needed: tuple[str, ...] | None) -> DataDeclaration:
        """Return a source function that reads and prepares the frame as the notebook does."""
        provenance = self.features
        node, found = rewrite_paths(self.program, provenance.node, provenance.at, self.paths)
        result = ast.unparse(node) + ("" if columns_needed is None else f"[{list(columns_needed)!r}]")
        return DataDeclaration.from_function(
            collect_preparation(self.program, find_free_names(node), provenance.at, self.paths) | found, result
        )

    # -- features and target that are computed

    def _computed_columns(self) -> DataDeclaration:
        """Return a source function that computes features and target as the notebook does."""
        features, target = self.features.expressions[-1], self.target.expressions[-1]
        preparation = self._collect_both(features, target)
        if self._is_overwritten(preparation, features, target):
            features, target = self.features.expressions[0], self.target.expressions[0]
            preparation = self._collect_both(features, target)
        name = self.target.column or self._only_target_column(target, preparation) or "target"
        columns = {name: target[0]}
        for argument in _COLUMN_ARGUMENTS:
            node = self.fit.keywords.get(argument)
            if node is not None and argument in self.supported_arguments:
                preparation |= collect_preparation(self.program, find_free_names(node), self.fit.index, self.paths)
                columns[argument] = node
        result, modules = format_frame(self.program, *features, self.features.column, columns)
        data = DataDeclaration.from_function(preparation, result)
        data.target, data.modules, data.column = name, modules, self.features.column
        data.column_arguments = {argument: argument for argument in columns if argument in _COLUMN_ARGUMENTS}
        if name == "target":
            data.notes.append("the column to predict has no name in the notebook; it is called `target` here")
        return data

    def _collect_both(self, *parts: tuple[ast.expr, int]) -> Preparation:
        """Return one preparation for features and target together."""
        found = Preparation()
        for node, at in parts:
            found |= collect_preparation(self.program, find_free_names(node), at, self.paths)
        return found

    def _is_overwritten(self, preparation: Preparation, *parts: tuple[ast.expr, int]) -> bool:
        """Return whether the preparation binds or changes names of an expression after its statement."""
        for node, at in parts:
            for index in preparation.nodes:
                statement = self.program[index]
                if index >= at and find_free_names(node) & (statement.binds | statement.may_bind | statement.changes):
                    return True
        return False

    def _only_target_column(self, target: tuple[ast.expr, int], preparation: Preparation) -> str | None:
        """Return the column that the target is computed from, if exactly one of its columns is not a feature."""
        features = self.features
        feature_columns = (features.column,) if features.column is not None else features.keep
        named, pending, visited = set[str](), [target], set[int]()
        while pending:
            node, at = pending.pop()
            named |= {name for part in ast.walk(node) for name in self._columns_in(part, at)}
            for name in find_free_names(node):
                index = self.program.reaching_definition(name, at)
                value = None if index is None else self.program[index].value
                if index is not None and value is not None and index not in visited and not reads_data(value):
                    visited.add(index)
                    pending.append((value, index))
        named = named & self._dropped_columns(preparation) if feature_columns is None else named - set(feature_columns)
        return named.pop() if len(named) == 1 else None

    def _dropped_columns(self, preparation: Preparation) -> set[str]:
        """Return the columns that the notebook drops before the features are complete."""
        found = set(self.features.drop)
        for index, node in preparation.nodes.items():
            for part in ast.walk(node):
                chosen = parse_selection(self.program, part, index) if isinstance(part, ast.Call) else None
                found |= set(chosen.drop) if chosen is not None else set()
        return found

    def _columns_in(self, part: ast.AST, at: int) -> tuple[str, ...]:
        """Return the columns that a part of an expression selects from the frame of the features."""
        if isinstance(part, ast.Subscript):
            return evaluate_strings(self.program, part.slice, at) or ()
        if isinstance(part, ast.Call) and callee_name(part.func) in ("pop", "get") and part.args:
            return evaluate_strings(self.program, part.args[0], at) or ()
        is_own = isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name)
        if not is_own or not isinstance(part, ast.Attribute) or part.value.id not in self._frame_names():  # type: ignore[attr-defined]
            return ()
        return () if part.attr in FRAME_ATTRIBUTES else (part.attr,)

    def _frame_names(self) -> set[str]:
        """Return the name of the frame that the features come from, as a set."""
        return {self.features.node.id} if isinstance(self.features.node, ast.Name) else set()
