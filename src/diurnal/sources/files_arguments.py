"""Validation of the arguments of :class:`~diurnal.sources.Files`, and their normal forms. Imports no heavy library."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from diurnal.data.schema import Kind
from diurnal.errors import ExperimentError, did_you_mean

if TYPE_CHECKING:
    from diurnal.sources.files import Files

CODECS = ("gzip", "bz2", "xz", "zstd", "zip")

_KINDS: tuple[tuple[str, Kind], ...] = (
    (r"(str|string|text|object|category|large_string)_?(\[.*\])?|[OSU]", "text"),
    (r"u?int(8|16|32|64|_|p|c)?(\[pyarrow\])?|[iu][1248]", "int"),
    (r"(float(16|32|64|128|_)?|double|half)(\[pyarrow\])?|f[248]", "float"),
    (r"bool(ean|_)?(\[pyarrow\])?|\?", "bool"),
)


def argument_error(name: str, value: object, allowed: str, hint: str) -> ExperimentError:
    """Return the error of an argument that is not allowed."""
    return ExperimentError(f"Files(..., {name}={value!r}) is not allowed; {name} is {allowed}", hint=hint)


def kind_of_dtype(value: Any) -> Kind:
    """Return the kind of a dtype of pandas or NumPy.

    Examples
    --------
    >>> import numpy as np
    >>> [kind_of_dtype(dtype) for dtype in (str, "Int64", np.float32, "category", bool, np.dtype("i8"))]
    ['text', 'int', 'float', 'text', 'bool', 'int']
    """
    name = value if isinstance(value, str) else getattr(value, "name", None) or getattr(value, "__name__", str(value))
    for form, kind in _KINDS:
        if re.fullmatch(form, str(name), re.IGNORECASE):
            return kind
    if str(name).startswith(("datetime", "date", "timestamp", "period")):
        raise argument_error("dtype", value, "no type of dates", "name the columns of dates in parse_dates=[...]")
    raise argument_error(
        "dtype", value, "int, float, bool, str, or a name of these in pandas or NumPy", "use one of these"
    )


def _check_delimiter(name: str, value: Any) -> Any:
    if value is None:
        return None
    allowed = "one character, or a regular expression for more than one"
    if not isinstance(value, str) or not value or value in ('"', "\r", "\n", "\r\n"):
        raise argument_error(name, value, allowed, r'use ",", ";", "\t" or r"\s+"')
    if value == r"\t":
        return "\t"
    if len(value) == 1:
        return value if value.isascii() else re.escape(value)
    try:
        re.compile(value)
    except re.error as error:
        raise argument_error(
            name, value, f"{allowed}, and this is not one: {error}", r'use ",", ";", "\t" or r"\s+"'
        ) from None
    return value


def _check_header(name: str, value: Any) -> Any:
    if value in ("infer", None) or (type(value) is int and value >= 0):
        return value
    raise argument_error(
        name, value, "the number of a row from 0, or None where there is no header", "a header is one row"
    )


def _check_names(name: str, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise argument_error(name, value, "a list of the columns' names", 'write names=["age", "class"]')
    names = tuple(map(str, value))
    twice = sorted({one for one in names if names.count(one) > 1})
    if twice or not names:
        raise argument_error(
            name, value, "a list of different names", f"rename {', '.join(twice)}" if twice else "name all"
        )
    return names


def _check_columns(name: str, value: Any) -> tuple[str | int, ...]:
    """Names or positions; a single one is a list of one."""
    one = isinstance(value, str) or type(value) is int
    listed = (value,) if one else tuple(value) if isinstance(value, Iterable) else (None,)
    listed = tuple(column.item() if hasattr(column, "item") else column for column in listed)  # integers of NumPy
    if isinstance(value, Mapping) or not all(isinstance(c, str) or (type(c) is int and c >= 0) for c in listed):
        raise argument_error(
            name, value, "a list of columns, by their names or by their positions from 0", f'{name}=["a", "b"]'
        )
    return tuple(sorted(listed, key=str)) if isinstance(value, set | frozenset) else listed


def _check_index_col(name: str, value: Any) -> Any:
    return None if value is None or value is False else _check_columns(name, value)


def _check_usecols(name: str, value: Any) -> Any:
    if value is None or callable(value):
        return value
    if isinstance(value, str):
        return (
            value
            if re.fullmatch(r"[A-Za-z]{1,3}(:[A-Za-z]{1,3})?(,\s*[A-Za-z]{1,3}(:[A-Za-z]{1,3})?)*", value)
            else (value,)
        )
    columns = _check_columns(name, value)
    if len({type(column) for column in columns}) > 1 or not columns:
        raise argument_error(
            name, value, "a list of names, a list of positions, or a function of a name", "use one kind"
        )
    return columns


def _check_dtype(name: str, value: Any) -> Any:  # noqa: ARG001 - all rules have one signature
    if isinstance(value, Mapping):
        return {column: kind_of_dtype(dtype) for column, dtype in value.items()}
    return None if value is None else kind_of_dtype(value)


def _check_na_values(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {column: _check_cells(name, cells) for column, cells in value.items()}
    return None if value is None else _check_cells(name, value)


def _check_cells(name: str, value: Any) -> tuple[str | int | float, ...]:
    listed = [value] if isinstance(value, str) or not isinstance(value, Iterable) else list(value)
    listed = [cell.item() if hasattr(cell, "item") else cell for cell in listed]
    if not all(isinstance(cell, str | int | float) for cell in listed):
        raise argument_error(
            name, value, "a text or a number, a list of these, or a mapping from columns to them", "use these"
        )
    return tuple(sorted(listed, key=str)) if isinstance(value, set | frozenset) else tuple(listed)


def _check_skiprows(name: str, value: Any) -> Any:
    if value is None or callable(value) or (type(value) is int and value >= 0):
        return value or None
    if isinstance(value, Iterable) and not isinstance(value, str):
        lines = [line.item() if hasattr(line, "item") else line for line in value]
        if all(type(line) is int and line >= 0 for line in lines):
            return tuple(sorted(set(lines))) or None
    raise argument_error(
        name, value, "a number of lines, a list of lines from 0, or a function of a line's number", "use these"
    )


def _check_skipfooter(name: str, value: Any) -> Any:
    if type(value) is int and value >= 0:
        return value
    raise argument_error(name, value, "a number of lines", "write skipfooter=1")


def _check_character(name: str, value: Any) -> Any:
    if value is None or (isinstance(value, str) and len(value) == 1 and value.isascii() and value not in "\r\n"):
        return value
    raise argument_error(name, value, "one ASCII character", f'write {name}="#"' if name == "comment" else "use one")


def _check_mark(name: str, value: Any) -> Any:
    if (value is None and name == "thousands") or (isinstance(value, str) and len(value) == 1 and not value.isdigit()):
        return value
    raise argument_error(name, value, "one character", f'write {name}=","')


def _check_quoting(name: str, value: Any) -> Any:
    if value in (0, 1, 3):
        return 3 if value == 3 else 0
    raise argument_error(name, value, "csv.QUOTE_MINIMAL (0), QUOTE_ALL (1) or QUOTE_NONE (3)", "leave it out")


def _check_parse_dates(name: str, value: Any) -> Any:
    return () if value is None or isinstance(value, bool) else _check_columns(name, value)


def _check_date_format(name: str, value: Any) -> Any:
    formats = list(value.values()) if isinstance(value, Mapping) else [value]
    if value is None or all(isinstance(form, str) and form != "mixed" for form in formats):
        return dict(value) if isinstance(value, Mapping) else value
    raise argument_error(
        name, value, 'a format such as "%d.%m.%Y", or a mapping from columns to formats', "use one format"
    )


def check_timezone(name: str, value: Any, of: str = "Files") -> str | None:
    """Return the name of a timezone."""
    if value is None:
        return None
    import zoneinfo

    key = getattr(value, "key", None) or str(value)
    try:
        zoneinfo.ZoneInfo(key)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        near = did_you_mean(key, zoneinfo.available_timezones())
        raise ExperimentError(
            f"{of}(..., {name}={value!r}): there is no such timezone{near}",
            hint='use one of the tz database, as in "Europe/Berlin"',
        ) from None
    return key


def _check_encoding(name: str, value: Any) -> Any:
    if value is None:
        return None
    try:
        found = codecs.lookup(value)
    except (LookupError, TypeError):
        known = ("utf-8", "utf-16", "latin-1", "cp1252", "cp1250", "cp1251", "shift_jis", "gb18030", "mac_roman")
        near = did_you_mean(str(value), known)
        raise argument_error(name, value, f"the name of an encoding{near}", f"use {', '.join(known)}, ...") from None
    if not getattr(found, "_is_text_encoding", True):
        raise argument_error(name, value, "an encoding of text", 'for compressed files use compression="gzip"')
    return None if found.name in ("utf-8", "utf-8-sig", "ascii") else found.name


def _check_encoding_errors(name: str, value: Any) -> Any:
    try:
        codecs.lookup_error(value)
    except (LookupError, TypeError):
        raise argument_error(
            name, value, '"strict", "replace", "ignore" or "backslashreplace"', "use one of these"
        ) from None
    return value


def _check_compression(name: str, value: Any) -> Any:
    method = value.get("method") if isinstance(value, Mapping) else value
    if method in (None, "infer", *CODECS):
        return method
    near = did_you_mean(str(method), CODECS)
    raise argument_error(name, value, f'"infer", None, or one of {", ".join(CODECS)}{near}', "use one of these")


def _check_sheet_name(name: str, value: Any) -> Any:
    if isinstance(value, str) or (type(value) is int and value >= 0):
        return value
    raise argument_error(name, value, "the name of one sheet, or its position from 0", 'write sheet_name="Data"')


def _check_flag(name: str, value: Any) -> Any:
    if isinstance(value, bool):
        return value
    raise argument_error(name, value, "True or False", "use one of these")


RULES: dict[str, Callable[[str, Any], Any]] = {
    "delimiter": _check_delimiter,
    "sep": _check_delimiter,
    "header": _check_header,
    "names": _check_names,
    "index_col": _check_index_col,
    "usecols": _check_usecols,
    "dtype": _check_dtype,
    "na_values": _check_na_values,
    "keep_default_na": _check_flag,
    "skiprows": _check_skiprows,
    "skipfooter": _check_skipfooter,
    "comment": _check_character,
    "decimal": _check_mark,
    "thousands": _check_mark,
    "quotechar": _check_character,
    "quoting": _check_quoting,
    "doublequote": _check_flag,
    "escapechar": _check_character,
    "skipinitialspace": _check_flag,
    "parse_dates": _check_parse_dates,
    "dayfirst": _check_flag,
    "date_format": _check_date_format,
    "timezone": check_timezone,
    "encoding": _check_encoding,
    "encoding_errors": _check_encoding_errors,
    "compression": _check_compression,
    "sheet_name": _check_sheet_name,
}


def check_clashes(files: Files) -> None:
    """Reject arguments that contradict each other."""
    clashes = (
        ("decimal", "delimiter", files.format == "csv"),
        ("decimal", "thousands", True),
        ("comment", "delimiter", files.format == "csv"),
        ("comment", "quotechar", files.comment is not None),
        ("quotechar", "delimiter", files.format == "csv"),
    )
    for one, other, holds in clashes:
        if holds and getattr(files, one) == getattr(files, other):
            value = getattr(files, one)
            raise ExperimentError(
                f"Files(...): {one} and {other} are both {value!r}", hint=f"declare another {one}= or {other}="
            )
