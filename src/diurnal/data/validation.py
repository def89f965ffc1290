"""Validation of one batch against its schema, with the cast to the types of the schema."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from diurnal.data import column_names
from diurnal.data.casts import TIMEZONE_HINT, cast_column, kind_of_arrow_type, unsupported_type_problem
from diurnal.data.column_stats import ColumnStats, is_same
from diurnal.data.problems import ProblemCollector
from diurnal.data.schema import Column, Schema, arrow_type
from diurnal.data.text_formats import format_cell
from diurnal.data.text_notation import Notation, untyped_columns
from diurnal.data.whole_batch_checks import BatchStats, find_batch_problems, find_batch_warnings
from diurnal.errors import BatchRejectedError, ExperimentError, Problem, did_you_mean
from diurnal.types import Limits

if TYPE_CHECKING:
    import numpy.typing as npt


class BatchValidator:
    """Validates one batch, in one pass.

    Parameters
    ----------
    schema : Schema
        The schema of the contract.
    limits : Limits
        The limits of a batch.
    is_only_batch : bool
        Whether the model is trained on this batch only; its target must then have at least two values.
    training : bool
        False for rows to predict: only features are required (the target is left out, a key or dropped column is
        optional), and the checks of the batch as a whole (size, nulls, constants) are skipped.

    Attributes
    ----------
    warnings : list of str
        After the validation: what is unusual and allowed.
    n_rows : int
        After the validation: number of rows.

    Raises
    ------
    ExperimentError
        If `limits` have a range for a column that is not numeric.

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
        self._collector = ProblemCollector()
        self._features = frozenset(schema.features)
        self._stats = {column.name: self._new_stats(column) for column in schema.columns}
        self._leaks = set(self._features) if training else set()
        self._lost: dict[str, npt.NDArray[np.intp]] = {}  # of the current record batch: rows that are rejected already
        self._header: list[str] | None = None
        numeric = [column.name for column in schema.columns if column.kind in ("int", "float")]
        for name in limits.ranges:
            if name not in numeric:
                near = did_you_mean(name, numeric)
                raise ExperimentError(
                    f"limits have a range for {name!r}; numeric columns are {column_names.format_names(numeric)}{near}",
                    hint="name a numeric column in Limits(ranges=...)",
                )

    def validate(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Stream the batch in the types of the schema.

        Parameters
        ----------
        batches : iterable of pyarrow.RecordBatch
            The batch of the source.

        Yields
        ------
        pyarrow.RecordBatch
            In the types and the order of the schema; nothing after the first problem.

        Raises
        ------
        BatchRejectedError
            After the last record batch, with all problems.
        """
        yield from self.validate_part(batches)
        self.finish()

    def validate_part(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Stream a part of a batch; :meth:`finish` is called after all parts are merged."""
        for batch in batches:
            checked = self._validate_batch(batch)
            if checked.num_rows and not self._collector:
                yield checked

    def merge(self, other: BatchValidator) -> None:
        """Add the problems and statistics of another part; row numbers, which count within that part, are dropped."""
        self._collector.merge(other._collector)
        for name, tally in other._stats.items():
            self._stats[name].merge(tally)
        if other.n_rows:
            self._leaks &= other._leaks
        self.n_rows += other.n_rows
        self._n_bytes += other._n_bytes
        self.warnings += [warning for warning in other.warnings if warning not in self.warnings]

    def add_problems(self, refusal: BatchRejectedError) -> None:
        """Add the problems of another check."""
        self._collector.add(refusal.problems)

    def finish(self) -> None:
        """Check the batch as a whole.

        Raises
        ------
        BatchRejectedError
            With all problems.
        """
        counts = BatchStats(
            self.n_rows, self._n_bytes, self._stats, frozenset(self._leaks) if self.n_rows else frozenset()
        )
        if self.training:
            self._collector.add(find_batch_problems(self.schema, self.limits, counts, is_only_batch=self.is_only_batch))
        self.warnings += find_batch_warnings(self.schema, counts, training=self.training)
        self._collector.raise_if_any()

    def _validate_batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        self._check_header(batch.schema)
        notation, texts = Notation.from_schema(batch.schema), untyped_columns(batch.schema)
        columns = {
            column.name: self._cast_column(
                column, batch.column(column.name), notation if column.name in texts else None
            )
            for column in self.schema.columns
            if column.name in batch.schema.names and (self.training or column.name != self.schema.target)
        }
        if self.training:
            self._check_target(columns)
            for name in self.schema.key:
                nulls = np.flatnonzero(columns[name].is_null())
                self._collector.add_rows("null-key", f"the key {name} is null", name, nulls, self.n_rows)
            self.schema.metadata.check_rows(columns, self._collector, self.n_rows)
        self.n_rows += batch.num_rows
        self._n_bytes += batch.nbytes
        return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))

    def _check_header(self, header: pa.Schema) -> None:
        """Check the names of columns, once for each header; raise at once if columns are missing or duplicate."""
        received = list(header.names)
        if received == self._header:
            return
        self._header = received
        expected = self.schema.names if self.training else self.schema.features
        fatal = column_names.duplicate_name_problems(received) + column_names.missing_column_problems(
            expected, received
        )
        extra = column_names.extra_column_problems(
            self.schema.names, [name for name in received if name not in self.schema.drop]
        )
        if self.limits.extra == "ignore":
            self.warnings += [f"{problem.message}; it is ignored" for problem in extra]
        else:
            self._collector.add(extra)
        self._collector.add(fatal)
        if fatal:
            self._collector.raise_if_any()

    def _cast_column(self, column: Column, received: pa.Array, notation: Notation | None) -> pa.Array:
        name, longest = column.name, self.limits.max_cell_bytes
        result = cast_column(
            received, column.kind, untyped=notation is not None, max_cell_bytes=longest, notation=notation
        )
        self._lost[name] = np.concatenate([np.zeros(0, dtype=np.intp), *(rows for _, _, rows in result.lost)])
        for code, message, rows in result.lost:
            self._collector.add_rows(code, f"{name} ({column.kind}): {message}", name, rows, self.n_rows)
        if result.values is None:
            self._collector.add([_type_problem(column, received.type)])
            result.values = pa.nulls(len(received), arrow_type(column.kind))
            return result.values
        if name in self.limits.ranges:
            self._check_range(name, result.values)
        self._stats[name].update(result.values, len(self._lost[name]))
        return result.values

    def _check_range(self, name: str, values: pa.Array) -> None:
        for bound, beyond, word in zip(
            self.limits.ranges[name], (pc.less, pc.greater), ("below", "above"), strict=True
        ):
            if bound is not None:
                rows = np.flatnonzero(pc.fill_null(beyond(values, bound), False))
                first = values[int(rows[0])] if len(rows) else None
                message = f"{name}: {first} is {word} {bound}, the limit of its range"
                self._collector.add_rows(f"{word}-range", message, name, rows, self.n_rows)

    def _check_target(self, columns: dict[str, pa.Array]) -> None:
        name, values = self.schema.target, columns[self.schema.target]
        if self.schema.classes is not None:
            known = pc.is_in(values, pa.array(self.schema.classes, values.type))
            rows = np.flatnonzero(pc.and_(pc.is_valid(values), pc.invert(known)))
            label = format_cell(values[int(rows[0])].as_py()) if len(rows) else ""
            message = (
                f"the label {label} of {name} is new; the first batch fixed {_format_classes(self.schema.classes)}"
            )
            self._collector.add_rows("unseen-label", message, name, rows, self.n_rows)
        labelled = values.is_valid() if values.null_count else None
        self._leaks = {feature for feature in self._leaks if is_same(columns[feature], values, labelled)}

    def _new_stats(self, column: Column) -> ColumnStats:
        known = None if column.categories is None else pa.array(column.categories, pa.string())
        return ColumnStats(self.limits.max_cardinality, known if column.name in self._features else None)


def _type_problem(column: Column, received: pa.DataType) -> Problem:
    """Return the problem that the type of a whole column cannot be cast to its kind."""
    name = column.name
    if kind_of_arrow_type(received) is None:
        code, message = unsupported_type_problem(received)
        return Problem(code, f"{name} {message}", name)
    if column.kind == "instant" and kind_of_arrow_type(received) == "timestamp":
        return Problem(
            "naive-timestamp", f"{name} has times without a timezone, and had one before; {TIMEZONE_HINT}", name
        )
    if column.kind == "timestamp" and kind_of_arrow_type(received) == "instant":
        message = f"{name} has times with a timezone ({received}), and had none before; remove it in the source"
        return Problem("zoned-timestamp", message, name)
    return Problem("other-type", f"{name} is {column.kind} in the schema, and {received} in the batch", name)


def _format_classes(classes: tuple[Any, ...]) -> str:
    more = f" and {len(classes) - 20} more" if len(classes) > 20 else ""
    return ", ".join(map(format_cell, classes[:20])) + more
