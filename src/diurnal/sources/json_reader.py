"""Reader of JSON: one object a line, an array of objects, or an object of columns as of ``DataFrame.to_json``.

An array is read object by object, in bounded memory. An object of columns is read as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, cast

import msgspec

from diurnal.data.column_names import format_names
from diurnal.errors import did_you_mean
from diurnal.sources.byte_streams import decode_text, open_text_file
from diurnal.sources.cell_conversion import CellConverter
from diurnal.sources.decompression import file_error
from diurnal.sources.python_rows import Chunk, build_batches
from diurnal.sources.source import ROWS_PER_BATCH

if TYPE_CHECKING:
    import pyarrow as pa

    from diurnal.sources.files import Files

LONGEST = 64 * 2**20  # bytes of a line, or of an object

Row = dict[str, Any]

_Plain = dict[str, int | float | str | bool | None]
_PLAIN = msgspec.json.Decoder(_Plain)
_PLAINS = msgspec.json.Decoder(list[_Plain])
_ANY = msgspec.json.Decoder(dict[str, Any])

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_OBJECT = rb'\{[^"{}\[\]]*+(?:' + _STRING + rb'[^"{}\[\]]*+)*+\}'
_FLAT = re.compile(_OBJECT, re.DOTALL)
_RUN = re.compile(_OBJECT + rb"(?:[\s,]*+" + _OBJECT + rb")*", re.DOTALL)
_TOKEN = re.compile(_STRING + rb"|[{}\[\]]", re.DOTALL)
_BETWEEN = re.compile(rb"[\s,]*+")
_HINT = "write an array of objects, or one object a line: their cells numbers, text, true, false or null"


def read_json(fs: Any, path: str, files: Files) -> Iterator[pa.RecordBatch]:
    """Stream a file of JSON; a key that a row lacks is null."""
    cells: CellConverter | None = None
    with open_text_file(fs, path, files) as stream:
        pieces = decode_text(stream, files)
        rows = _rows_of_lines(pieces) if files.format == "jsonl" else _rows_of_objects(pieces)
        for batch in build_batches(_column_chunks(rows, files)):
            cells = cells or CellConverter(files, batch.schema.names, untyped=False)
            yield cells.read(batch)


def _column_chunks(rows: Iterator[Row], files: Files) -> Iterator[Chunk]:
    selected = files.usecols
    found_names: dict[str, None] = {}
    while chunk := list(islice(rows, ROWS_PER_BATCH)):
        names = dict.fromkeys(name for row in chunk for name in row)
        found_names |= names
        if selected is not None:
            names = {name: None for name in names if (selected(name) if callable(selected) else name in selected)}
        yield {name: [row.get(name) for row in chunk] for name in names}
    missing = [] if selected is None or callable(selected) else [name for name in selected if name not in found_names]
    for name in missing:
        near = did_you_mean(name, found_names)
        message = (
            f"usecols has {name!r}, which no object of the file has; they have {format_names(list(found_names))}{near}"
        )
        raise file_error("missing-column", message, "correct usecols=, or the file")


def _rows_of_lines(pieces: Iterator[bytes]) -> Iterator[Row]:
    for number, line in enumerate(_split_lines(pieces), 1):
        if line.strip():
            yield _decode_row(line, "line", number)


def _decode_row(text: bytes, unit: str, number: int) -> Row:
    """Decode an object of scalars; a nested one is decoded by a second, slower decoder."""
    try:
        return cast("Row", _PLAIN.decode(text))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return {name: _wrap_nested(value) for name, value in _decode_object(text, unit, number).items()}


def _decode_object(text: bytes, unit: str, number: int) -> Row:
    try:
        return _ANY.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise file_error("bad-json", f"has no JSON object in {unit} {number}: {error}", _HINT) from None


def _wrap_nested(value: Any) -> Any:
    """Convert a nested value to a list of one text: a nested type for the contract, and the same type in each row."""
    return [msgspec.json.encode(value).decode()] if isinstance(value, dict | list) else value


def _split_lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
        if len(rest) > LONGEST:
            raise file_error("long-line", f"has a line longer than {LONGEST} bytes; is it JSON lines?")
    if rest.strip() and not rest.rstrip().endswith(b"}"):
        raise file_error("cut-file", "ends in the middle of its last line", "send the file again")
    if rest:
        yield rest


def _rows_of_objects(pieces: Iterator[bytes]) -> Iterator[Row]:
    """Return the rows of an array or a sequence of objects, or of a single object of columns."""
    texts = _split_objects(pieces)
    first, second = next(texts, None), next(texts, None)
    if first is not None and second is None and _FLAT.fullmatch(first) is None:
        yield from (
            {n: _wrap_nested(value) for n, value in row.items()}
            for row in _rows_of_columns(_decode_object(first, "object", 1))
        )
        return
    number = 0
    for text in chain([one for one in (first, second) if one is not None], texts):
        rows = _decode_run(text, number)
        number += len(rows)
        yield from rows


def _decode_run(text: bytes, before: int) -> list[Row]:
    """Decode consecutive objects: at once if they are flat and separated by commas, else one by one."""
    try:
        return cast("list[Row]", _PLAINS.decode(b"[" + text + b"]"))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        pass
    rows: list[Row] = []
    position = 0
    while position < len(text):
        end = _object_end(text, position) or len(text)
        rows.append(_decode_row(text[position:end], "object", before + len(rows) + 1))
        position = _skip_separators(text, end)
    return rows


def _split_objects(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Split a text into runs of flat objects and single nested objects.

    For example, ``[{"a":1},{"a":2},{"a":{"b":3}}]`` is split into ``{"a":1}``, ``{"a":2}`` and ``{"a":{"b":3}}``. The
    first object is a run of its own, since it may be an object of columns. A long object that spans several
    pieces is scanned again only when the text has doubled, so that the time is linear.
    """
    text, position, selected, in_array, number = b"", 0, 1, False, 0
    for piece in chain(pieces, [b""]):
        text, position = text[position:] + piece, 0
        if piece and len(text) < selected:
            continue
        if not number and not in_array and text.lstrip()[:1] == b"[":
            text, in_array = text.lstrip()[1:], True
        position = _skip_separators(text, 0)
        while text[position : position + 1] == b"{":
            run = _RUN.match(text, position) if number else None  # the first object may be one of columns
            end = run.end() if run else _object_end(text, position)
            if end is None:
                break
            yield text[position:end]
            number += 1
            position = _skip_separators(text, end)
        if text[position : position + 1] not in (b"{", b"") or len(text) > LONGEST:
            break
        selected = 2 * (len(text) - position)  # see the docstring: linear time
    _check_rest(text[position:].strip(), in_array=in_array)


def _skip_separators(text: bytes, position: int) -> int:
    """Return the position after white space and commas."""
    return _BETWEEN.match(text, position).end()  # type: ignore[union-attr]  # it also matches the empty text


def _check_rest(rest: bytes, *, in_array: bool) -> None:
    if rest == (b"]" if in_array else b""):
        return
    if len(rest) > LONGEST:
        raise file_error("long-line", f"has an object longer than {LONGEST} bytes", _HINT)
    if not rest or (rest.startswith(b"{") and _object_end(rest, 0) is None):
        raise file_error("cut-file", "ends in the middle of its objects", "send the file again")
    raise file_error("bad-json", f"is no JSON of objects: {rest[:40].decode(errors='replace')!a}", _HINT)


def _object_end(text: bytes, start: int) -> int | None:
    """Return the position after an object; None if the text does not contain its end."""
    flat = _FLAT.match(text, start)
    if flat:
        return flat.end()
    depth = 0
    for token in _TOKEN.finditer(text, start):
        mark = token[0]
        depth += (mark in (b"{", b"[")) - (mark in (b"}", b"]"))
        if not depth:
            return token.end()
    return None


def _rows_of_columns(document: Row) -> Iterator[Row]:
    """Return the rows of an object of columns, in the layouts that pandas writes; any other object is a row."""
    values = list(document.values())
    if set(document) in ({"columns", "index", "data"}, {"columns", "data"}) and isinstance(document["data"], list):
        columns = [str(name) for name in document["columns"]]
        yield from (dict(zip(columns, row, strict=False)) for row in document["data"])
    elif set(document) == {"schema", "data"} and isinstance(document["data"], list):
        yield from document["data"]
    elif values and all(isinstance(value, dict) for value in values):
        index = dict.fromkeys(label for value in values for label in value)
        yield from ({name: value.get(label) for name, value in document.items()} for label in index)
    elif values and all(isinstance(value, list) for value in values):
        if len({len(value) for value in values}) > 1:
            raise file_error("row-length", "has columns of different lengths", _HINT)
        yield from (dict(zip(document, row, strict=True)) for row in zip(*values, strict=True))
    else:
        yield document
