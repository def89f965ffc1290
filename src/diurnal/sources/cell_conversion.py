"""Conversion of the cells of a file: missing values, types, dates and timezones."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from diurnal.data.casts import cast_column
from diurnal.data.problems import ProblemCollector
from diurnal.data.schema import Kind, arrow_type
from diurnal.data.text_notation import MISSING_MARKS, TYPED, Notation
from diurnal.errors import BatchRejectedError, Problem
from diurnal.sources.date_columns import DateConverter
from diurnal.sources.file_columns import find_positions
from diurnal.sources.record_batches import with_warnings
from diurnal.sources.timezone_columns import is_naive_type, localize_column

if TYPE_CHECKING:
    import numpy.typing as npt

    from diurnal.sources.files import Files

    Lost = list[tuple[str, str, npt.NDArray[np.intp]]]

_ANY_LENGTH = 2**31 - 1  # the contract limits the length of cells


class CellConverter:
    """Converts the cells of one file, batch by batch.

    Parameters
    ----------
    files : Files
        The declaration.
    names : sequence of str
        Names of the columns in the file.
    untyped : bool
        Whether the format has no types, so that all cells are text.
    warnings : sequence of str
        Warnings to attach to the first batch.

    Raises
    ------
    BatchRejectedError
        If a column of `parse_dates` is missing.
    """

    def __init__(self, files: Files, names: Sequence[str], *, untyped: bool, warnings: Sequence[str] = ()) -> None:
        self._untyped, self._warnings = untyped, list(warnings)
        self._notation = Notation(files.decimal, files.thousands, files.timezone)
        self._missing = {name: MissingValues(files, name) for name in names if untyped}
        places = sorted(find_positions("parse_dates", files.parse_dates, names))
        self._dates = {names[i]: DateConverter(names[i], files) for i in places}
        kinds = files.dtype if isinstance(files.dtype, dict) else dict.fromkeys(names, files.dtype)
        self._kinds = {name: kind for name, kind in kinds.items() if kind and name not in self._dates}
        self._is_open = untyped or bool(self._dates)
        self.n_rows = 0

    def read(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Convert the next batch.

        Raises
        ------
        BatchRejectedError
            If cells cannot be converted; with their rows, counted in the file.
        """
        collector = ProblemCollector()
        columns = [
            self._column(name, values, collector)
            for name, values in zip(batch.schema.names, batch.columns, strict=True)
        ]
        if collector:
            _raise_problems(collector)
        fields = [
            pa.field(name, values.type, metadata=None if is_open or not self._is_open else TYPED)
            for name, (values, is_open) in zip(batch.schema.names, columns, strict=True)
        ]
        marks = self._notation.metadata if self._is_open else None
        if self._warnings:
            marks, self._warnings = with_warnings(marks, self._warnings), []
        self.n_rows += batch.num_rows
        return pa.RecordBatch.from_arrays([values for values, _ in columns], schema=pa.schema(fields, metadata=marks))

    def _column(self, name: str, values: pa.Array, collector: ProblemCollector) -> tuple[pa.Array, bool]:
        """Convert a column; also return whether its kind is to be inferred from its text."""
        if name in self._missing:
            values = self._missing[name].as_null(values)
        lost: Lost = []
        if name in self._dates and (pt.is_string(values.type) or pt.is_large_string(values.type)):
            values, lost = self._dates[name].read(values.cast(pa.string()))
        elif name in self._kinds:
            values, lost = self._cast(values, self._kinds[name])
        elif self._notation.timezone and is_naive_type(values.type):
            values, lost = localize_column(values, self._notation.timezone)
        for code, message, rows in lost:
            collector.add_rows(code, f"{name}: {message}", name, rows, self.n_rows)
        return values, pt.is_string(values.type) and (
            name in self._dates or (self._untyped and name not in self._kinds)
        )

    def _cast(self, values: pa.Array, kind: Kind) -> tuple[pa.Array, Lost]:
        if kind == "text" and not self._untyped:
            return _to_text(values), []
        result = cast_column(values, kind, untyped=self._untyped, max_cell_bytes=_ANY_LENGTH, notation=self._notation)
        if result.values is None:
            message = f"is {values.type} in the file, and {kind} by dtype="
            return pa.nulls(len(values), arrow_type(kind)), [("other-type", message, np.arange(len(values)))]
        return result.values, result.lost


class MissingValues:
    """Missing values of a column: exact texts, and numbers in each of their spellings."""

    def __init__(self, files: Files, name: str) -> None:
        declared = files.na_values.get(name, ()) if isinstance(files.na_values, dict) else files.na_values or ()
        self._texts = {*map(str, declared), *(MISSING_MARKS if files.keep_default_na else ())}
        numbers = [form for text in self._texts if (form := _number_form(text, files.decimal))]
        self._numbers = f"^(?:{'|'.join(numbers)})$" if numbers else None

    def as_null(self, values: pa.Array) -> pa.Array:
        """Replace missing values by null."""
        if not self._texts:
            return values
        absent = pc.is_in(values, pa.array(sorted(self._texts), pa.string()))
        if self._numbers:
            absent = pc.or_(absent, pc.fill_null(pc.match_substring_regex(values, self._numbers), False))
        return pc.if_else(absent, None, values)


def _number_form(text: str, decimal: str) -> str | None:
    """Return the spellings of a number as a regular expression: ``-999`` and ``-999.0`` are equal."""
    if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text):
        return None
    whole, _, fraction = text.partition(".")
    point, fraction = re.escape(decimal), fraction.rstrip("0")
    return f"{whole}{point}{fraction}0*" if fraction else f"{whole}({point}0*)?"


def _to_text(values: pa.Array) -> pa.Array:
    """Convert values to text, as Python does."""
    if pt.is_boolean(values.type):
        return pc.if_else(values, "True", "False")
    if pt.is_floating(values.type):
        return pa.array([None if cell is None else str(cell) for cell in values.to_pylist()], pa.string())
    return values.cast(pa.string())


def _raise_problems(collector: ProblemCollector) -> None:
    try:
        collector.raise_if_any()
    except BatchRejectedError as refusal:
        problems: tuple[Problem, ...] = refusal.problems
        raise BatchRejectedError(problems, hint="correct the file, or the arguments of Files(...)") from None
