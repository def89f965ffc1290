"""JSON as a source: one object a line, an array of objects, or an object of columns as of ``DataFrame.to_json``.

An array is read object by object in bounded memory. An object of columns is read as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, cast

import msgspec

from diurnal.data.column_names import format_names
from diurnal.errors import did_you_mean
from diurnal.sources.byte_streams import opened, text_of
from diurnal.sources.cell_conversion import Cells
from diurnal.sources.decompression import refused
from diurnal.sources.python_rows import Chunk, batches_of
from diurnal.sources.source import ROWS_A_BATCH

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
_ADVICE = "write an array of objects, or one object a line: their cells numbers, text, true, false or null"


def read_json(fs: Any, path: str, files: Files) -> Iterator[pa.RecordBatch]:
    """Stream a file of JSON; a key that a row lacks is null there."""
    cells: Cells | None = None
    with opened(fs, path, files) as stream:
        pieces = text_of(stream, files)
        rows = _rows_of_lines(pieces) if files.format == "jsonl" else _rows_of_objects(pieces)
        for batch in batches_of(_chunks(rows, files)):
            cells = cells or Cells(files, batch.schema.names, untyped=False)
            yield cells.read(batch)


def _chunks(rows: Iterator[Row], files: Files) -> Iterator[Chunk]:
    wanted = files.usecols
    seen: dict[str, None] = {}
    while chunk := list(islice(rows, ROWS_A_BATCH)):
        names = dict.fromkeys(name for row in chunk for name in row)
        seen |= names
        if wanted is not None:
            names = {name: None for name in names if (wanted(name) if callable(wanted) else name in wanted)}
        yield {name: [row.get(name) for row in chunk] for name in names}
    missing = [] if wanted is None or callable(wanted) else [name for name in wanted if name not in seen]
    for name in missing:
        near = did_you_mean(name, seen)
        message = f"usecols has {name!r}, which no object of the file has; they have {format_names(list(seen))}{near}"
        raise refused("missing-column", message, "correct usecols=, or the file")


def _rows_of_lines(pieces: Iterator[bytes]) -> Iterator[Row]:
    for number, line in enumerate(_lines(pieces), 1):
        if line.strip():
            yield _row(line, "line", number)


def _row(text: bytes, unit: str, number: int) -> Row:
    """Decode an object of scalars; a nested one takes a second, slower attempt."""
    try:
        return cast("Row", _PLAIN.decode(text))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return {name: _cell(value) for name, value in _object(text, unit, number).items()}


def _object(text: bytes, unit: str, number: int) -> Row:
    try:
        return _ANY.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise refused("bad-json", f"has no JSON object in {unit} {number}: {error}", _ADVICE) from None


def _cell(value: Any) -> Any:
    """Convert a nested value to a list of one text: a nested type for the contract, and the same type in each row."""
    return [msgspec.json.encode(value).decode()] if isinstance(value, dict | list) else value


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
        if len(rest) > LONGEST:
            raise refused("long-line", f"has a line longer than {LONGEST} bytes; is it JSON lines?")
    if rest:
        yield rest


def _rows_of_objects(pieces: Iterator[bytes]) -> Iterator[Row]:
    """Return the rows of an array or a sequence of objects, or of a single object of columns."""
    texts = _objects(pieces)
    first, second = next(texts, None), next(texts, None)
    if first is not None and second is None and _FLAT.fullmatch(first) is None:
        yield from ({n: _cell(value) for n, value in row.items()} for row in _turned(_object(first, "object", 1)))
        return
    number = 0
    for text in chain([one for one in (first, second) if one is not None], texts):
        rows = _rows_of(text, number)
        number += len(rows)
        yield from rows


def _rows_of(text: bytes, before: int) -> list[Row]:
    """Decode consecutive objects: at once if they are flat and separated by commas, else one by one."""
    try:
        return cast("list[Row]", _PLAINS.decode(b"[" + text + b"]"))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        pass
    rows: list[Row] = []
    place = 0
    while place < len(text):
        end = _end(text, place) or len(text)
        rows.append(_row(text[place:end], "object", before + len(rows) + 1))
        place = _skip(text, end)
    return rows


def _objects(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Cut a text into runs of flat objects and single nested objects."""
    text, place, wanted, in_array, number = b"", 0, 1, False, 0
    for piece in chain(pieces, [b""]):
        text, place = text[place:] + piece, 0
        if piece and len(text) < wanted:
            continue
        if not number and not in_array and text.lstrip()[:1] == b"[":
            text, in_array = text.lstrip()[1:], True
        place = _skip(text, 0)
        while text[place : place + 1] == b"{":
            run = _RUN.match(text, place) if number else None  # the first one may be an object of columns
            end = run.end() if run else _end(text, place)
            if end is None:
                break
            yield text[place:end]
            number += 1
            place = _skip(text, end)
        if text[place : place + 1] not in (b"{", b"") or len(text) > LONGEST:
            break
        wanted = 2 * (len(text) - place)  # a long object is not scanned again for each piece
    _refuse_rest(text[place:].strip(), in_array=in_array)


def _skip(text: bytes, place: int) -> int:
    """Return the position behind white space and commas."""
    return _BETWEEN.match(text, place).end()  # type: ignore[union-attr]  # it matches nothing, too


def _refuse_rest(rest: bytes, *, in_array: bool) -> None:
    if rest == (b"]" if in_array else b""):
        return
    if len(rest) > LONGEST:
        raise refused("long-line", f"has an object longer than {LONGEST} bytes", _ADVICE)
    if not rest or (rest.startswith(b"{") and _end(rest, 0) is None):
        raise refused("cut-file", "ends in the middle of its objects", "send the file again")
    raise refused("bad-json", f"is no JSON of objects: {rest[:40].decode(errors='replace')!a}", _ADVICE)


def _end(text: bytes, start: int) -> int | None:
    """Return the position behind an object; None if the text does not contain its end."""
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


def _turned(given: Row) -> Iterator[Row]:
    """Return the rows of an object of columns, in the forms that pandas writes; any other object is a row."""
    values = list(given.values())
    if set(given) in ({"columns", "index", "data"}, {"columns", "data"}) and isinstance(given["data"], list):
        columns = [str(name) for name in given["columns"]]
        yield from (dict(zip(columns, row, strict=False)) for row in given["data"])
    elif set(given) == {"schema", "data"} and isinstance(given["data"], list):
        yield from given["data"]
    elif values and all(isinstance(value, dict) for value in values):
        index = dict.fromkeys(label for value in values for label in value)
        yield from ({name: value.get(label) for name, value in given.items()} for label in index)
    elif values and all(isinstance(value, list) for value in values):
        if len({len(value) for value in values}) > 1:
            raise refused("row-length", "has columns of different lengths", _ADVICE)
        yield from (dict(zip(given, row, strict=True)) for row in zip(*values, strict=True))
    else:
        yield given
