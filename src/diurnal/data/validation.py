"""Hold one batch against the schema, and cast it on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from diurnal.data import column_names
from diurnal.data.batch_checks import BatchStats, problems, warnings
from diurnal.data.casts import TIMEZONE_HINT, cast_column, kind_of_arrow_type, unsupported_type_problem
from diurnal.data.column_stats import ColumnStats, is_same
from diurnal.data.problems import ProblemCollector
from diurnal.data.schema import Column, Schema, arrow_type
from diurnal.data.text_formats import format_cell
from diurnal.data.text_notation import Notation, untyped_columns
from diurnal.errors import BatchRejectedError, ExperimentError, Problem, did_you_mean
from diurnal.types import Limits

if TYPE_CHECKING:
    import numpy.typing as npt


class BatchValidator:
    """One reading of one batch.

    Parameters
    ----------
    schema : Schema
        What the first batch fixed.
    limits : Limits
        What else a batch may be like.
    is_only_batch : bool
        Whether a model learns from this batch only, so that its target must be fit to be learnt.
    training : bool
        False for rows to predict: only features are needed (the target is left out, a key or dropped column passes
        if it came), and what is true of a batch as a whole (its size, its nulls, its constants) is not asked.

    Attributes
    ----------
    warnings : list of str
        After the reading: what was odd but allowed.
    n_rows : int
        After the reading: how many rows came.

    Raises
    ------
    ExperimentError
        If `limits` give a range to what is no numeric column.

    Examples
    --------
    >>> import pyarrow as pa
    >>> schema = Schema((Column("age", "int"), Column("ill", "bool")), target="ill", classes=(False, True))
    >>> came = pa.RecordBatch.from_pydict({"ill": [True, False], "age": [41.0, 7.0]})
    >>> inspection = BatchValidator(schema, Limits())
    >>> [batch.to_pylist() for batch in inspection.validate([came])]
    [[{'age': 41, 'ill': True}, {'age': 7, 'ill': False}]]
    """

    def __init__(self, schema: Schema, limits: Limits, *, training: bool = True, is_only_batch: bool = True) -> None:
        self.schema, self.limits, self.training, self.is_only_batch = schema, limits, training, is_only_batch
        self.warnings: list[str] = []
        self.n_rows = 0
        self._n_bytes = 0
        self._findings = ProblemCollector()
        self._features = frozenset(schema.features)
        self._tallies = {column.name: self._tally(column) for column in schema.columns}
        self._leaks = set(self._features) if training else set()
        self._lost: dict[str, npt.NDArray[np.intp]] = {}  # of the current piece: cells that are already refused
        self._header: list[str] | None = None
        numeric = [column.name for column in schema.columns if column.kind in ("int", "float")]
        for name in limits.ranges:
            if name not in numeric:
                near = did_you_mean(name, numeric)
                raise ExperimentError(
                    f"limits give a range to {name!r}; numeric columns are {column_names.format_names(numeric)}{near}",
                    hint="name a numeric column in Limits(ranges=...)",
                )

    def validate(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Stream a batch in the schema's types.

        Parameters
        ----------
        batches : iterable of pyarrow.RecordBatch
            As they came.

        Yields
        ------
        pyarrow.RecordBatch
            In the types and the order of the schema; none any more once something is wrong.

        Raises
        ------
        BatchRejectedError
            After the last one, with all that was found.
        """
        yield from self.validate_part(batches)
        self.finish()

    def validate_part(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Stream a piece of a batch, and leave the judgement to whoever has all pieces."""
        for batch in batches:
            checked = self._checked(batch)
            if checked.num_rows and not self._findings:
                yield checked

    def merge(self, other: BatchValidator) -> None:
        """Add what the inspection of another piece found; which rows it found it in is known within that piece only."""
        self._findings.merge(other._findings)
        for name, tally in other._tallies.items():
            self._tallies[name].merge(tally)
        if other.n_rows:
            self._leaks &= other._leaks
        self.n_rows += other.n_rows
        self._n_bytes += other._n_bytes
        self.warnings += [warning for warning in other.warnings if warning not in self.warnings]

    def add_problems(self, refusal: BatchRejectedError) -> None:
        """Add what something else refuses the piece for."""
        self._findings.add(refusal.problems)

    def finish(self) -> None:
        """Judge the batch as a whole.

        Raises
        ------
        BatchRejectedError
            With all that was found.
        """
        counts = BatchStats(
            self.n_rows, self._n_bytes, self._tallies, frozenset(self._leaks) if self.n_rows else frozenset()
        )
        if self.training:
            self._findings.add(problems(self.schema, self.limits, counts, is_only_batch=self.is_only_batch))
        self.warnings += warnings(self.schema, counts, training=self.training)
        self._findings.raise_if_any()

    def _checked(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        self._check_header(batch.schema)
        notation, texts = Notation.from_schema(batch.schema), untyped_columns(batch.schema)
        columns = {
            column.name: self._cast(column, batch.column(column.name), notation if column.name in texts else None)
            for column in self.schema.columns
            if column.name in batch.schema.names and (self.training or column.name != self.schema.target)
        }
        if self.training:
            self._check_target(columns)
            for name in self.schema.key:
                nulls = np.flatnonzero(columns[name].is_null())
                self._findings.add_rows("null-key", f"the key {name} is null", name, nulls, self.n_rows)
            self.schema.metadata.check_rows(columns, self._findings, self.n_rows)
        self.n_rows += batch.num_rows
        self._n_bytes += batch.nbytes
        return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))

    def _check_header(self, header: pa.Schema) -> None:
        """Check the names once a header; without all columns there is nothing more to see."""
        came = list(header.names)
        if came == self._header:
            return
        self._header = came
        wanted = self.schema.names if self.training else self.schema.features
        fatal = column_names.duplicate_name_problems(came) + column_names.missing_column_problems(wanted, came)
        strangers = column_names.extra_column_problems(
            self.schema.names, [name for name in came if name not in self.schema.drop]
        )
        if self.limits.extra == "ignore":
            self.warnings += [f"{problem.message}; it is ignored" for problem in strangers]
        else:
            self._findings.add(strangers)
        self._findings.add(fatal)
        if fatal:
            self._findings.raise_if_any()

    def _cast(self, column: Column, came: pa.Array, notation: Notation | None) -> pa.Array:
        name, longest = column.name, self.limits.max_cell_bytes
        result = cast_column(came, column.kind, untyped=notation is not None, max_cell_bytes=longest, notation=notation)
        self._lost[name] = np.concatenate([np.zeros(0, dtype=np.intp), *(rows for _, _, rows in result.lost)])
        for code, what, rows in result.lost:
            self._findings.add_rows(code, f"{name} ({column.kind}): {what}", name, rows, self.n_rows)
        if result.values is None:
            self._findings.add([_other_type(column, came.type)])
            result.values = pa.nulls(len(came), arrow_type(column.kind))
            return result.values
        if name in self.limits.ranges:
            self._check_range(name, result.values)
        self._tallies[name].update(result.values, len(self._lost[name]))
        return result.values

    def _check_range(self, name: str, values: pa.Array) -> None:
        for bound, beyond, word in zip(
            self.limits.ranges[name], (pc.less, pc.greater), ("below", "above"), strict=True
        ):
            if bound is not None:
                rows = np.flatnonzero(pc.fill_null(beyond(values, bound), False))
                first = values[int(rows[0])] if len(rows) else None
                what = f"{name}: {first} is {word} {bound}, the end of its range"
                self._findings.add_rows(f"{word}-range", what, name, rows, self.n_rows)

    def _check_target(self, columns: dict[str, pa.Array]) -> None:
        name, values = self.schema.target, columns[self.schema.target]
        if self.schema.classes is not None:
            known = pc.is_in(values, pa.array(self.schema.classes, values.type))
            rows = np.flatnonzero(pc.and_(pc.is_valid(values), pc.invert(known)))
            label = format_cell(values[int(rows[0])].as_py()) if len(rows) else ""
            what = f"the label {label} of {name} is new; the first batch fixed {_listed(self.schema.classes)}"
            self._findings.add_rows("unseen-label", what, name, rows, self.n_rows)
        labelled = values.is_valid() if values.null_count else None
        self._leaks = {feature for feature in self._leaks if is_same(columns[feature], values, labelled)}

    def _tally(self, column: Column) -> ColumnStats:
        known = None if column.categories is None else pa.array(column.categories, pa.string())
        return ColumnStats(self.limits.max_cardinality, known if column.name in self._features else None)


def _other_type(column: Column, came: pa.DataType) -> Problem:
    """Say that a whole column came in a type that cannot be its kind."""
    name = column.name
    if kind_of_arrow_type(came) is None:
        code, what = unsupported_type_problem(came)
        return Problem(code, f"{name} {what}", name)
    if column.kind == "instant" and kind_of_arrow_type(came) == "timestamp":
        return Problem(
            "naive-timestamp", f"{name} has times without a timezone, and had one before; {TIMEZONE_HINT}", name
        )
    if column.kind == "timestamp" and kind_of_arrow_type(came) == "instant":
        what = f"{name} has times with a timezone ({came}), and had none before; take it away in the source"
        return Problem("zoned-timestamp", what, name)
    return Problem("other-type", f"{name} is {column.kind} by the schema, and came as {came}", name)


def _listed(classes: tuple[Any, ...]) -> str:
    more = f" and {len(classes) - 20} more" if len(classes) > 20 else ""
    return ", ".join(map(format_cell, classes[:20])) + more
