"""Inference of the schema of an experiment from its first batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from diurnal.data import column_names
from diurnal.data.casts import cast_column, decode_dictionary, kind_of_arrow_type, unsupported_type_problem
from diurnal.data.distinct_rows import DistinctRows
from diurnal.data.fit_columns import NO_METADATA, Metadata
from diurnal.data.problems import ProblemCollector
from diurnal.data.schema import Column, Duplicates, Kind, Schema, Task
from diurnal.data.text_formats import TextTypeInference
from diurnal.data.text_notation import Notation, untyped_columns
from diurnal.errors import Problem
from diurnal.types import Limits

MIN_DISTINCT_FRACTION = 0.99
"""From this fraction of distinct rows on, content identifies a row: equal rows are then duplicates."""

MAX_CATEGORIES = 1000
MAX_CATEGORY_BYTES = 1000  # a column with longer cells holds free text


def infer_schema(
    batches: Callable[[], Iterable[pa.RecordBatch]],
    *,
    target: str,
    key: Sequence[str] = (),
    drop: Sequence[str] = (),
    duplicates: Duplicates | None = None,
    metadata: Metadata = NO_METADATA,
    task: Task,
    limits: Limits,
) -> Schema:
    """Infer the schema in one pass over the first batch.

    Only problems that prevent a schema are reported here. The batch itself is validated afterwards, like any other.

    Parameters
    ----------
    batches : callable
        Returns the batch as record batches of one Arrow schema.
    target : str
        The column to predict.
    key, drop : sequence of str
        The columns that identify a sample, and those that are no features.
    duplicates : {"drop", "keep"}, optional
        Without a key: whether equal rows are one sample (``"drop"``) or different samples (``"keep"``). By default
        ``"drop"`` if at least 99 % of the rows are distinct in their features, else ``"keep"``.
    metadata : Metadata
        The columns with groups, weights, and what orders rows.
    task : str
        ``"classification"`` or ``"regression"``.
    limits : Limits
        The limits of a batch.

    Returns
    -------
    Schema

    Raises
    ------
    BatchRejectedError
        If a column is missing, misnamed or of no known kind; if there are no rows; if the target does not fit the task.

    Examples
    --------
    >>> import pyarrow as pa
    >>> rows = pa.RecordBatch.from_pydict({"size": [1.5, 2.5], "kind": ["a", "b"]})
    >>> schema = infer_schema(lambda: [rows], target="kind", task="classification", limits=Limits())
    >>> schema.features, schema.classes
    (('size',), ('a', 'b'))
    """
    inference = SchemaInference(target, tuple(key), tuple(drop), limits, duplicates, metadata)
    for batch in batches():
        inference.update(batch)
    return inference.build_schema(task)


@dataclass
class SchemaInference:
    """Statistics of a first batch, or of a part of it, from which the schema is inferred.

    Parts that other processes read are combined by :meth:`merge`.

    Attributes
    ----------
    target, key, drop, limits, duplicates, metadata
        As for :func:`infer_schema`.
    n_rows : int
        How many rows were read.
    """

    target: str
    key: tuple[str, ...]
    drop: tuple[str, ...]
    limits: Limits
    duplicates: Duplicates | None = None
    metadata: Metadata = NO_METADATA
    n_rows: int = 0
    _columns: dict[str, _ColumnInference] = field(default_factory=dict)
    _distinct: DistinctRows = field(default_factory=DistinctRows)

    def update(self, batch: pa.RecordBatch) -> None:
        """Read the next record batch; its columns are those of the first one."""
        if not self._columns:
            needed = (self.target, *self.key, *self.drop, *self.metadata.columns)
            self._columns = _start_columns(
                batch.schema, self.target, needed, self.drop, ProblemCollector(), self.limits
            )
        for name, column in self._columns.items():
            column.update(batch.column(name))
        if not self.key and self.duplicates is None:
            self._distinct.update([batch.column(name) for name in self._features()])
        self.n_rows += batch.num_rows

    def _features(self) -> list[str]:
        others = {self.target, *self.key, *self.drop, *self.metadata.columns}
        return [name for name in self._columns if name not in others]

    def merge(self, other: SchemaInference) -> None:
        """Add the statistics of another part, with the same columns."""
        if not self._columns:
            self._columns = other._columns
        else:
            for name, column in other._columns.items():
                self._columns[name].merge(column)
        self._distinct.merge(other._distinct)
        self.n_rows += other.n_rows

    def build_schema(self, task: Task) -> Schema:
        """Return the schema.

        Raises
        ------
        BatchRejectedError
            If there are no rows, a column is of no known kind, or the target does not fit the task.
        """
        collector = ProblemCollector()
        if not self.n_rows:
            message = "the first batch of an experiment has no rows, and its columns cannot be inferred"
            collector.add([Problem("no-rows", message)])
        collector.raise_if_any()
        features = set(self._features())
        columns = [column.column(collector, is_feature=name in features) for name, column in self._columns.items()]
        classes = self._columns[self.target].labels(task, collector)
        duplicates = self.duplicates or (
            "drop" if self.key or self._distinct.fraction >= MIN_DISTINCT_FRACTION else "keep"
        )
        collector.add(self.metadata.find_problems(columns))
        schema = Schema(tuple(columns), self.target, self.key, self.drop, task, classes, duplicates, self.metadata)
        if not schema.features:
            message = (
                f"no feature is left beside the target {self.target!r}, key, drop, groups, sample_weight and order_by"
            )
            collector.add([Problem("no-features", message)])
        collector.raise_if_any()
        return schema


def _start_columns(
    header: pa.Schema,
    target: str,
    needed: Sequence[str],
    drop: Sequence[str],
    collector: ProblemCollector,
    limits: Limits,
) -> dict[str, _ColumnInference]:
    """Start the inference of each column; raise if names are duplicate, illegal or missing."""
    names = list(header.names)
    collector.add(
        column_names.duplicate_name_problems(names)
        + column_names.illegal_name_problems(names)
        + column_names.missing_column_problems(needed, names)
    )
    collector.raise_if_any()
    notation, texts = Notation.from_schema(header), untyped_columns(header)
    return {
        field.name: _ColumnInference(
            field.name,
            field.type,
            TextTypeInference() if field.name in texts else None,
            counted=("int", "float", "bool", "text") if field.name == target else ("text",),
            most=limits.max_cardinality if field.name == target else MAX_CATEGORIES,
            is_dropped=field.name in drop,
            notation=notation,
        )
        for field in header
        # a dropped column of an unsupported type is allowed, and is not stored
        if not (field.name in drop and kind_of_arrow_type(field.type) is None and not pt.is_null(field.type))
    }


@dataclass
class _ColumnInference:
    """Statistics of one column so far.

    `distinct` holds the distinct values of the `counted` kinds; it is None if there are more than `most`.
    """

    name: str
    type: pa.DataType
    narrowing: TextTypeInference | None
    counted: tuple[Kind, ...]
    most: int
    is_dropped: bool
    notation: Notation
    distinct: set[Any] | None = field(default_factory=set)
    n_null: int = 0
    n_rows: int = 0
    has_long_cells: bool = False

    def update(self, values: pa.Array) -> None:
        """Read the next cells."""
        if self.narrowing:
            self.narrowing.update(self.notation.normalize(values))
        values = decode_dictionary(values)
        self.n_rows += len(values)
        self.n_null += values.null_count
        if pt.is_floating(values.type):
            self.n_null += pc.sum(pc.is_nan(values)).as_py() or 0
        if self.distinct is not None and kind_of_arrow_type(values.type) in self.counted:
            self._collect(values)

    def merge(self, other: _ColumnInference) -> None:
        """Add the statistics of another part of the column."""
        self.n_null, self.n_rows = self.n_null + other.n_null, self.n_rows + other.n_rows
        self.has_long_cells = self.has_long_cells or other.has_long_cells
        together = None if self.distinct is None or other.distinct is None else self.distinct | other.distinct
        self.distinct = together if together is not None and len(together) <= self.most else None

    def _collect(self, values: pa.Array) -> None:
        if kind_of_arrow_type(values.type) == "text":
            # a cell that is not UTF-8 is reported by the validation
            sound = cast_column(values, "text", untyped=False, max_cell_bytes=MAX_CATEGORY_BYTES)
            if any(code == "long-cell" for code, _, _ in sound.lost):
                self.distinct, self.has_long_cells = None, True
                return
            values = sound.values
        elif pt.is_floating(values.type):
            values = values.filter(pc.invert(pc.is_nan(values)))
        distinct = (self.distinct or set()) | set(pc.unique(values.drop_null()).to_pylist())
        self.distinct = distinct if len(distinct) <= self.most else None

    def kind(self, collector: ProblemCollector) -> Kind:
        """Return the kind of the column; add a problem if it has none."""
        refusal = None
        if self.narrowing and not self.narrowing.empty:
            kind: Kind | None = self.narrowing.infer_kind()
            # a dropped column may have any format, and is text
            refusal = None if self.is_dropped else self.narrowing.find_problem(self.name)
        elif self.narrowing or pt.is_null(self.type):
            kind = "text" if self.is_dropped else "float"  # without any value it is a float, as in pandas
        else:
            kind = kind_of_arrow_type(self.type)
            refusal = None if kind else unsupported_type_problem(self.type)
        if refusal:
            collector.add([Problem(refusal[0], f"{self.name} {refusal[1]}", self.name)])
        return kind or "text"

    def column(self, collector: ProblemCollector, *, is_feature: bool) -> Column:
        """Return the column of the schema."""
        kind = self.kind(collector)
        categories = None
        if is_feature and kind == "text" and self.distinct is not None:
            categories = tuple(sorted(self.distinct))
        n_null = self._count_nulls(kind)
        return Column(self.name, kind, n_null > 0, categories, n_null / self.n_rows)

    def _count_nulls(self, kind: Kind) -> int:
        """Return the number of nulls in the column as it will be stored."""
        if self.narrowing is None or kind == "text":
            return self.n_null
        return self.n_rows if self.narrowing.empty else self.n_null + self.narrowing.n_missing

    def labels(self, task: Task, collector: ProblemCollector) -> tuple[Any, ...] | None:
        """Return the sorted classes of the target, None for a regression; add a problem if it does not fit the task."""
        kind = self.kind(collector)
        if self._count_nulls(kind) == self.n_rows:
            collector.add([Problem("null-target", f"the target {self.name} is null in every row", self.name)])
            return None
        fitting = ("int", "float") if task == "regression" else ("int", "float", "bool", "text")
        if kind not in fitting:
            message = f"the target {self.name} is {kind}; a {task} predicts {' or '.join(fitting)}"
            collector.add([Problem("target-kind", message, self.name)])
            return None
        if task == "regression":
            return None
        if self.distinct is None:
            many = f"more than {self.most} labels; is it a regression?"
            found = f"labels longer than {MAX_CATEGORY_BYTES} bytes; it is free text" if self.has_long_cells else many
            collector.add([Problem("too-many-classes", f"the target {self.name} has {found}", self.name)])
            return None
        labels = sorted(self._distinct_of_kind(kind))
        if kind == "float" and not all(float(label).is_integer() for label in labels):
            message = (
                f"the target {self.name} has fractions, and the experiment returns a classifier; is it a regression?"
            )
            collector.add([Problem("target-kind", message, self.name)])
        return tuple(labels)

    def _distinct_of_kind(self, kind: Kind) -> list[Any]:
        distinct = list(self.distinct or ())
        if self.narrowing and distinct:
            texts = pa.array(distinct, pa.string())
            values = cast_column(
                texts, kind, untyped=True, max_cell_bytes=MAX_CATEGORY_BYTES, notation=self.notation
            ).values
            distinct = pc.unique(values.drop_null()).to_pylist()
        return distinct
