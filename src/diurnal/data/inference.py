"""Find the schema of an experiment in its first batch."""

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

DISTINCT = 0.99
"""From this share of distinct rows on, content identifies a row: that one repeats is then a rare accident."""

MOST_CATEGORIES = 1000
LONGEST_CATEGORY = 1000  # bytes; a column with longer cells holds free text


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
    """Find the schema in one pass over the first batch.

    Only what keeps it from being a schema is refused here; the batch itself is then inspected like any other.

    Parameters
    ----------
    batches : callable
        Gives the batch as record batches of one Arrow schema.
    target : str
        The column to predict.
    key, drop : sequence of str
        The columns that identify a sample, and those that are no features.
    duplicates : {"drop", "keep"}, optional
        Without a key, what rows that agree on everything are. None: one sample where at least 99 % of the rows are
        distinct in their features, else samples of their own.
    metadata : Metadata
        The columns with groups, weights, and what orders rows.
    task : str
        ``"classification"`` or ``"regression"``.
    limits : Limits
        What a batch may be like.

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
    sketch = SchemaInference(target, tuple(key), tuple(drop), limits, duplicates, metadata)
    for batch in batches():
        sketch.update(batch)
    return sketch.build_schema(task)


@dataclass
class SchemaInference:
    """What is known of a first batch, or of a piece of it: pieces that were read elsewhere add up.

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
    _drafts: dict[str, _Draft] = field(default_factory=dict)
    _distinct: DistinctRows = field(default_factory=DistinctRows)

    def update(self, batch: pa.RecordBatch) -> None:
        """Take a further piece; its columns are those of the first."""
        if not self._drafts:
            needed = (self.target, *self.key, *self.drop, *self.metadata.columns)
            self._drafts = _drafts(batch.schema, self.target, needed, self.drop, ProblemCollector(), self.limits)
        for name, draft in self._drafts.items():
            draft.update(batch.column(name))
        if not self.key and self.duplicates is None:
            self._distinct.update([batch.column(name) for name in self._features()])
        self.n_rows += batch.num_rows

    def _features(self) -> list[str]:
        others = {self.target, *self.key, *self.drop, *self.metadata.columns}
        return [name for name in self._drafts if name not in others]

    def merge(self, other: SchemaInference) -> None:
        """Add what is known of another piece, of the same columns."""
        if not self._drafts:
            self._drafts = other._drafts
        else:
            for name, draft in other._drafts.items():
                self._drafts[name].merge(draft)
        self._distinct.merge(other._distinct)
        self.n_rows += other.n_rows

    def build_schema(self, task: Task) -> Schema:
        """Make the schema of it.

        Raises
        ------
        BatchRejectedError
            If there are no rows, a column is of no known kind, or the target does not fit the task.
        """
        findings = ProblemCollector()
        if not self.n_rows:
            what = "the first batch of an experiment has no rows, and there is nothing to learn its columns from"
            findings.add([Problem("no-rows", what)])
        findings.raise_if_any()
        features = set(self._features())
        columns = [draft.column(findings, is_feature=name in features) for name, draft in self._drafts.items()]
        classes = self._drafts[self.target].labels(task, findings)
        duplicates = self.duplicates or ("drop" if self.key or self._distinct.fraction >= DISTINCT else "keep")
        findings.add(self.metadata.find_problems(columns))
        schema = Schema(tuple(columns), self.target, self.key, self.drop, task, classes, duplicates, self.metadata)
        if not schema.features:
            what = (
                f"no feature is left beside the target {self.target!r}, key, drop, groups, sample_weight and order_by"
            )
            findings.add([Problem("no-features", what)])
        findings.raise_if_any()
        return schema


def _drafts(
    header: pa.Schema,
    target: str,
    needed: Sequence[str],
    drop: Sequence[str],
    findings: ProblemCollector,
    limits: Limits,
) -> dict[str, _Draft]:
    """Begin a draft for each column; without sound names there is no going on."""
    came = list(header.names)
    findings.add(
        column_names.duplicate_name_problems(came)
        + column_names.illegal_name_problems(came)
        + column_names.missing_column_problems(needed, came)
    )
    findings.raise_if_any()
    notation, texts = Notation.from_schema(header), untyped_columns(header)
    return {
        field.name: _Draft(
            field.name,
            field.type,
            TextTypeInference() if field.name in texts else None,
            counted=("int", "float", "bool", "text") if field.name == target else ("text",),
            most=limits.max_cardinality if field.name == target else MOST_CATEGORIES,
            is_dropped=field.name in drop,
            notation=notation,
        )
        for field in header
        # what no contract has a kind for can be dropped, and then is not kept either
        if not (field.name in drop and kind_of_arrow_type(field.type) is None and not pt.is_null(field.type))
    }


@dataclass
class _Draft:
    """What is known of a column so far; `distinct` are the values of the `counted` kinds, None beyond `most`."""

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

    def update(self, values: pa.Array) -> None:
        """Take a further piece."""
        if self.narrowing:
            self.narrowing.update(self.notation.normalize(values))
        values = decode_dictionary(values)
        self.n_rows += len(values)
        self.n_null += values.null_count
        if pt.is_floating(values.type):
            self.n_null += pc.sum(pc.is_nan(values)).as_py() or 0
        if self.distinct is not None and kind_of_arrow_type(values.type) in self.counted:
            self._collect(values)

    def merge(self, other: _Draft) -> None:
        """Add what another piece of the column held."""
        self.n_null, self.n_rows = self.n_null + other.n_null, self.n_rows + other.n_rows
        together = None if self.distinct is None or other.distinct is None else self.distinct | other.distinct
        self.distinct = together if together is not None and len(together) <= self.most else None

    def _collect(self, values: pa.Array) -> None:
        if kind_of_arrow_type(values.type) == "text":
            # a cell that is no UTF-8 is the inspection's to find
            sound = cast_column(values, "text", untyped=False, max_cell_bytes=LONGEST_CATEGORY)
            if any(code == "long-cell" for code, _, _ in sound.lost):
                self.distinct = None
                return
            values = sound.values
        elif pt.is_floating(values.type):
            values = values.filter(pc.invert(pc.is_nan(values)))
        distinct = (self.distinct or set()) | set(pc.unique(values.drop_null()).to_pylist())
        self.distinct = distinct if len(distinct) <= self.most else None

    def kind(self, findings: ProblemCollector) -> Kind:
        """Give the kind, or say why there is none."""
        refusal = None
        if self.narrowing and not self.narrowing.empty:
            kind: Kind | None = self.narrowing.infer_kind()
            refusal = None if self.is_dropped else self.narrowing.find_problem()  # dropped, it may be odd, and is text
        elif self.narrowing or pt.is_null(self.type):
            kind = "text" if self.is_dropped else "float"  # without any value it is what pandas takes it for
        else:
            kind = kind_of_arrow_type(self.type)
            refusal = None if kind else unsupported_type_problem(self.type)
        if refusal:
            findings.add([Problem(refusal[0], f"{self.name} {refusal[1]}", self.name)])
        return kind or "text"

    def column(self, findings: ProblemCollector, *, is_feature: bool) -> Column:
        """Finish the draft."""
        kind = self.kind(findings)
        categories = None
        if is_feature and kind == "text" and self.distinct is not None:
            categories = tuple(sorted(self.distinct))
        return Column(self.name, kind, self.n_null > 0, categories, self.n_null / self.n_rows)

    def labels(self, task: Task, findings: ProblemCollector) -> tuple[Any, ...] | None:
        """Give the classes of the target, sorted, if it has classes; refuse a target that does not fit the task."""
        kind = self.kind(findings)
        if self.n_null == self.n_rows:
            findings.add([Problem("null-target", f"the target {self.name} is null in every row", self.name)])
            return None
        fitting = ("int", "float") if task == "regression" else ("int", "float", "bool", "text")
        if kind not in fitting:
            what = f"the target {self.name} is {kind}; a {task} predicts {' or '.join(fitting)}"
            findings.add([Problem("target-kind", what, self.name)])
            return None
        if task == "regression":
            return None
        if self.distinct is None:
            what = f"the target {self.name} has more than {self.most} labels; is it a regression?"
            findings.add([Problem("too-many-classes", what, self.name)])
            return None
        labels = sorted(self._typed(kind))
        if kind == "float" and not all(float(label).is_integer() for label in labels):
            what = f"the target {self.name} has fractions, and the experiment returns a classifier; is it a regression?"
            findings.add([Problem("target-kind", what, self.name)])
        return tuple(labels)

    def _typed(self, kind: Kind) -> list[Any]:
        distinct = list(self.distinct or ())
        if self.narrowing and distinct:
            texts = pa.array(distinct, pa.string())
            values = cast_column(
                texts, kind, untyped=True, max_cell_bytes=LONGEST_CATEGORY, notation=self.notation
            ).values
            distinct = pc.unique(values.drop_null()).to_pylist()
        return distinct
