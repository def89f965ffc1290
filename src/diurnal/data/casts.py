"""Casts of columns to the seven kinds. A cast loses nothing; cells that cannot be cast are reported with their rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from diurnal.data.naive_timestamps import to_mask
from diurnal.data.schema import Kind, arrow_type
from diurnal.data.text_formats import describe_unparsable, format_cell, parse_texts
from diurnal.data.text_notation import Notation

if TYPE_CHECKING:
    import numpy.typing as npt

    Rows = npt.NDArray[np.intp]

EXACT = 2**53  # not every int beyond it has an exact float

_FIRST_YEAR, _LAST_YEAR = 1678, 2261  # the range of int64 nanoseconds since 1970, as in pandas and NumPy

TIMEZONE_HINT = (
    "give them one: Files(timezone='Europe/Berlin'), column.dt.tz_localize('Europe/Berlin'), AT TIME ZONE in SQL"
)


@dataclass
class CastResult:
    """A column in its kind, and the cells that cannot be cast: code, message, rows. These cells are null.

    `values` is None if the type of the whole column cannot be cast to the kind.
    """

    values: Any  # a pyarrow.Array, or None
    lost: list[tuple[str, str, Rows]] = field(default_factory=list)

    def reject_cells(self, code: str, message: str, mask: npt.NDArray[np.bool_]) -> None:
        """Set cells to null and record the reason; ``{}`` in `message` stands for the first of these cells."""
        if mask.any() and self.values is not None:
            rows = np.flatnonzero(mask)
            self.lost.append(
                (code, message.format(_format_first(self.values, rows)) if "{}" in message else message, rows)
            )
            self.values = pc.if_else(pa.array(mask), pa.scalar(None, self.values.type), self.values)


def kind_of_arrow_type(data_type: pa.DataType) -> Kind | None:
    """Return the kind of a column of an Arrow type; None if the type is not supported.

    Examples
    --------
    >>> import pyarrow as pa
    >>> [kind_of_arrow_type(type_) for type_ in (pa.int8(), pa.decimal128(9, 2), pa.list_(pa.int8()))]
    ['int', 'float', None]
    """
    if pt.is_dictionary(data_type):
        return kind_of_arrow_type(data_type.value_type)
    tests: tuple[tuple[Kind, Callable[[Any], bool]], ...] = (
        ("int", pt.is_integer),
        ("float", pt.is_floating),
        ("float", pt.is_decimal),
        ("bool", pt.is_boolean),
        ("text", lambda t: pt.is_string(t) or pt.is_large_string(t) or pt.is_string_view(t)),
        ("date", pt.is_date),
        ("instant", lambda t: pt.is_timestamp(t) and t.tz is not None),
        ("timestamp", pt.is_timestamp),
    )
    return next((kind for kind, test in tests if test(data_type)), None)


def unsupported_type_problem(data_type: pa.DataType) -> tuple[str, str]:
    """Return the code and the message of the problem that an Arrow type is not supported."""
    if pt.is_nested(data_type):
        hint = "spread it over columns in the source, or leave it out by drop= or usecols="
        return "nested-type", f"is nested ({data_type}); a cell is one value: {hint}"
    allowed = "numbers, booleans, text, dates and timestamps"
    hint = "cast it in the source, or leave it out by drop= or usecols="
    return "unsupported-type", f"is of the type {data_type}; allowed are {allowed}: {hint}"


def decode_dictionary(column: pa.Array) -> pa.Array:
    """Decode a dictionary column. Arrow cannot take from string views: these are cast first."""
    if not pt.is_dictionary(column.type):
        return column
    values = column.dictionary
    return (values.cast(pa.large_string()) if pt.is_string_view(values.type) else values).take(column.indices)


def cast_column(
    column: pa.Array, kind: Kind, *, untyped: bool, max_cell_bytes: int, notation: Notation | None = None
) -> CastResult:
    """Cast a column to a kind.

    Parameters
    ----------
    column : pyarrow.Array
        The column of the source.
    kind : str
        The kind in the schema.
    untyped : bool
        Whether the source has no types, so that text is parsed.
    max_cell_bytes : int
        Maximum length of a text, in bytes.
    notation : Notation, optional
        Notation of numbers and times in an untyped source.
    """
    column = decode_dictionary(column)
    source_kind = kind_of_arrow_type(column.type)
    if pt.is_null(column.type):
        return CastResult(column.cast(arrow_type(kind)))
    if source_kind == "text":
        sound = _valid_text(column, max_cell_bytes)
        return _parse_column(_apply_notation(sound, kind, notation), kind) if untyped else _keep_text(sound, kind)
    converter = _CONVERTERS.get((source_kind, kind))
    return _reject_out_of_range(converter(column)) if converter else CastResult(None)


def _valid_text(column: pa.Array, max_cell_bytes: int) -> CastResult:
    """Remove cells that cannot be stored: too long, not UTF-8, or with a NUL byte."""
    if pt.is_string_view(column.type):  # Arrow has no lengths of views
        column = column.cast(pa.large_string())
    text = CastResult(column)
    text.reject_cells(
        "long-cell",
        f"a cell is longer than max_cell_bytes={max_cell_bytes}",
        to_mask(pc.greater(pc.binary_length(column), max_cell_bytes)),
    )
    text.reject_cells("invalid-utf8", "a cell is not valid UTF-8", _invalid_utf8(text.values))
    text.values = text.values.cast(pa.string())
    nul = to_mask(pc.match_substring(text.values, "\0"))
    text.reject_cells("nul-byte", "{} holds a NUL byte, which no database keeps in text", nul)
    return text


def _invalid_utf8(texts: Any) -> npt.NDArray[np.bool_]:
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        cells = texts.cast(pa.large_binary()).to_pylist()
        return np.array([cell is not None and not _is_utf8(cell) for cell in cells])
    return np.zeros(len(texts), dtype=bool)


def _is_utf8(cell: bytes) -> bool:
    try:
        cell.decode()
    except UnicodeDecodeError:
        return False
    return True


def _apply_notation(text: CastResult, kind: Kind, notation: Notation | None) -> CastResult:
    """Convert the cells to the default notation."""
    if notation is None:
        return text
    values, lost = notation.convert(text.values, kind)
    for code, message, mask in lost:
        text.reject_cells(code, message, mask)
    text.values = pc.if_else(pc.is_valid(text.values), values, None) if lost else values
    return text


def _parse_column(text: CastResult, kind: Kind) -> CastResult:
    """Parse the text of an untyped source."""
    values, unfit = parse_texts(text.values, kind)
    result = CastResult(values, text.lost)
    if kind == "text":
        return result
    result.lost += describe_unparsable(text.values, kind, np.flatnonzero(unfit))
    if kind == "float":
        written = pc.match_substring_regex(text.values, r"^\s*-?[0-9]{16,}\s*$")
        suspects = to_mask(written) & to_mask(pc.greater(pc.abs(values), EXACT - 1))
        cells = text.values.filter(pa.array(suspects)).to_pylist()
        inexact = np.zeros(len(values), dtype=bool)
        inexact[np.flatnonzero(suspects)] = [abs(int(cell)) > EXACT for cell in cells]
        _reject_inexact(result, inexact)
    return _reject_out_of_range(result)


def _keep_text(text: CastResult, kind: Kind) -> CastResult:
    """Keep typed text if the kind is text; otherwise every cell is a problem."""
    if kind == "text":
        return text
    codes = {"int": "text-in-number", "float": "text-in-number", "bool": "not-a-bool", "date": "not-a-date"}
    code = codes.get(kind, f"not-a{'n' * (kind == 'instant')}-{kind}")
    values = text.values
    text.reject_cells(code, "{} came as text", to_mask(pc.is_valid(values)))
    return CastResult(pa.nulls(len(values), arrow_type(kind)), text.lost)


def _int_of_int(column: pa.Array) -> CastResult:
    result = CastResult(column)
    if pt.is_uint64(column.type):
        too_large = to_mask(pc.greater(column, pa.scalar(2**63 - 1, pa.uint64())))
        result.reject_cells("integer-too-large", "{} does not fit in 64 bits; an id is better kept as text", too_large)
    return _then_cast(result, pa.int64())


def _int_of_float(column: pa.Array) -> CastResult:
    result = _then_cast(CastResult(column), pa.float64())
    numbers = _to_floats(result.values)
    _reject_infinite(result, numbers)
    whole = np.isnan(numbers) | (numbers == np.floor(numbers))
    result.reject_cells("fraction-in-int", "{} is no whole number", ~whole)
    with np.errstate(invalid="ignore"):
        _reject_inexact(result, (np.abs(numbers) > EXACT) & np.isfinite(numbers))
    return _then_cast(_nan_as_null(result), pa.int64())


def _float_of_int(column: pa.Array) -> CastResult:
    result = _int_of_int(column)
    numbers = pc.fill_null(result.values, 0).to_numpy(zero_copy_only=False)
    _reject_inexact(result, (numbers > EXACT) | (numbers < -EXACT))
    return _then_cast(result, pa.float64())


def _cast_timestamp(column: pa.Array, kind: Kind) -> CastResult:
    """Cast to an instant in UTC, or to a timestamp without timezone, in microseconds."""
    result = CastResult(column.cast(pa.timestamp(column.type.unit, "UTC" if kind == "instant" else None)))
    if column.type.unit == "ns":
        fine = to_mask(pc.not_equal(pc.nanosecond(column), 0))
        result.reject_cells("too-fine-instant", "{} is finer than a microsecond; round it in the source", fine)
    elif column.type.unit != "us":  # seconds and milliseconds have a wider range than microseconds
        raw = pc.fill_null(column.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
        reach = 2**63 // (10**6 if column.type.unit == "s" else 10**3) - 1
        result.reject_cells("date-out-of-range", "an instant lies beyond any calendar", (raw > reach) | (raw < -reach))
    return _then_cast(result, arrow_type(kind))


_CONVERTERS: dict[tuple[Kind | None, Kind], Callable[[pa.Array], CastResult]] = {
    ("int", "int"): _int_of_int,
    ("float", "int"): _int_of_float,
    ("int", "float"): _float_of_int,
    ("float", "float"): lambda column: _then_cast(CastResult(column), pa.float64()),
    ("bool", "bool"): CastResult,
    ("date", "date"): lambda column: _then_cast(CastResult(column), pa.date32()),
    ("instant", "instant"): lambda column: _cast_timestamp(column, "instant"),
    ("timestamp", "timestamp"): lambda column: _cast_timestamp(column, "timestamp"),
    ("date", "timestamp"): lambda column: _then_cast(CastResult(column), arrow_type("timestamp")),
}


def _reject_out_of_range(result: CastResult) -> CastResult:
    """Reject infinite numbers and dates outside the years of all libraries; NaN becomes null."""
    values = result.values
    if values is None or not len(values):
        return result
    if pt.is_floating(values.type):
        _reject_infinite(result, _to_floats(values))
        return _nan_as_null(result)
    if pt.is_date(values.type) or pt.is_timestamp(values.type):
        first: Any = date(_FIRST_YEAR, 1, 1)
        last: Any = date(_LAST_YEAR + 1, 1, 1)
        if pt.is_timestamp(values.type):
            zone = UTC if values.type.tz else None
            first, last = (datetime(d.year, 1, 1, tzinfo=zone) for d in (first, last))
        early = pc.less(values, pa.scalar(first, values.type))
        late = pc.greater_equal(values, pa.scalar(last, values.type))
        allowed = f"outside of the years {_FIRST_YEAR} to {_LAST_YEAR}"
        result.reject_cells(
            "date-out-of-range", f"{{}} is {allowed}; an unknown date is an empty cell", to_mask(pc.or_(early, late))
        )
    return result


def _reject_infinite(result: CastResult, numbers: npt.NDArray[np.float64]) -> None:
    result.reject_cells("infinite", "{} is infinite; an unknown number is an empty cell", np.isinf(numbers))


def _reject_inexact(result: CastResult, mask: npt.NDArray[np.bool_]) -> None:
    message = "{} is beyond 2**53, where not every whole number is a float; keep an id as text"
    result.reject_cells("integer-not-exact", message, mask)


def _nan_as_null(result: CastResult) -> CastResult:
    nan = pc.fill_null(pc.is_nan(result.values), False)
    if pc.any(nan).as_py():
        result.values = pc.if_else(nan, pa.scalar(None, result.values.type), result.values)
    return result


def _then_cast(result: CastResult, target_type: pa.DataType) -> CastResult:
    result.values = result.values.cast(target_type)
    return result


def _to_floats(values: Any) -> npt.NDArray[np.float64]:
    return np.asarray(pc.fill_null(values, 0.0).to_numpy(zero_copy_only=False), dtype=np.float64)


def _format_first(values: pa.Array, rows: Rows) -> str:
    value = values[int(rows[0])]
    return str(value) if pt.is_temporal(value.type) else format_cell(value.as_py())
