"""CSV as text in columns: no type is guessed here, and no row is shifted, padded or dropped in silence.

Rows are parsed by Arrow, as they stream by. It counts rows, not lines, and lets a quote that is never closed run on
to the end of the file; so whatever it finds odd, and every file whose quotes are not plainly in pairs, is read a
second time by the strict reader of Python's ``csv``, which is slow and says where.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from diurnal.contract.names import duplicates
from diurnal.contract.schema import UNTYPED
from diurnal.errors import BatchRefused, Problem
from diurnal.sources.streams import CHUNK, opened, refused, text_of

BLOCK = 8 * 2**20  # no row is longer

_LINE_END = re.compile(rb"\r\n|\r|\n")


class _Quotes:
    """Tells whether the quotes of a text, as it streams by, open and close whole cells.

    The first quote opens, the second closes, and so on: a doubled one within a cell closes and opens at once. Where
    one opens, a cell begins before it; where one closes, a cell ends behind it. If not, or if the last one opened,
    a cell may have run over what was meant to be its end.
    """

    def __init__(self, delimiter: str) -> None:
        self._edges = np.frombuffer(b'"\r\n' + delimiter.encode(), np.uint8)
        self._tail = b"\n"  # the last byte of it is not judged before the next one is known
        self._n = 0
        self.is_odd = False

    def read(self, chunk: bytes) -> None:
        """Take a further chunk; none at all is the end."""
        text = self._tail + (chunk or b"\n")
        data = np.frombuffer(text, np.uint8)
        at = np.flatnonzero(data[1:-1] == ord('"')) + 1
        opens = (self._n + np.arange(len(at))) % 2 == 0
        neighbours = np.where(opens, data[at - 1], data[at + 1])
        self._n += len(at)
        self._tail = text[-2:]
        self.is_odd = self.is_odd or not np.isin(neighbours, self._edges).all() or (not chunk and self._n % 2 == 1)


class _Watched(io.RawIOBase):
    """Chunks of text as a file for the parser, which watches the quotes as they pass."""

    def __init__(self, chunks: Iterator[bytes], delimiter: str) -> None:
        self.quotes = _Quotes(delimiter)
        self._chunks, self._rest = chunks, b""

    def readable(self) -> bool:
        """Say that it can be read, for what wraps it."""
        return True

    def header(self) -> bytes:
        """Take the first line."""
        while not (end := _LINE_END.search(self._rest)) and self._fill():
            pass
        line, self._rest = (self._rest[: end.start()], self._rest[end.end() :]) if end else (self._rest, b"")
        return line

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer."""
        if not self._rest:
            self._fill()
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size

    def _fill(self) -> bool:
        chunk = next(self._chunks, b"")
        self.quotes.read(chunk)
        self._rest += chunk
        return bool(chunk)


def read_csv(fs: Any, path: str, delimiter: str, *, complete: bool, max_bytes: int) -> Iterator[pa.RecordBatch]:
    """Stream a CSV file, all cells as text; an empty cell is null."""
    n_bad = 0

    def skip(_: Any) -> str:
        nonlocal n_bad
        n_bad += 1
        return "skip"

    with opened(fs, path, max_bytes) as stream:
        watched = _Watched(text_of(stream, complete=complete), delimiter)
        names = _names(watched.header(), delimiter)
        fault = None
        try:
            yield from _parsed(watched, names, delimiter, skip)
        except pa.ArrowInvalid as error:
            fault = str(error)
    if fault or n_bad or watched.quotes.is_odd:
        problems = _scan(fs, path, delimiter, max_bytes)
        if fault and not problems:
            problems = [Problem("damaged-csv", f"cannot be read as CSV: {fault}")]
        if problems:
            raise BatchRefused(problems, advice="write it again; quote cells with delimiters, quotes or line ends")


def _names(line: bytes, delimiter: str) -> list[str]:
    try:
        names = next(csv.reader([line.decode()], delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        raise refused("unclosed-quote", f"has a quote in its header that is not closed ({error})") from None
    if not names:
        raise refused("no-header", "begins with an empty line; the first line is the header")
    other = next((mark for mark in ";\t|," if mark != delimiter and len(names) == 1 and mark in names[0]), None)
    if other:
        what = f"has a header without the delimiter {delimiter!r}: {names[0][:200]!a}"
        raise refused("delimiter", what, f"say Files(..., delimiter={other!r})")
    twice = duplicates(names)
    if twice:
        raise BatchRefused(twice, advice="rename the columns where the file is written")
    return names


def _parsed(stream: _Watched, names: list[str], delimiter: str, skip: Any) -> Iterator[pa.RecordBatch]:
    schema = pa.schema([(name, pa.string()) for name in names], metadata=UNTYPED)
    try:
        reader = pa.csv.open_csv(
            io.BufferedReader(stream, CHUNK),
            pa.csv.ReadOptions(use_threads=False, block_size=BLOCK, column_names=names),
            pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=skip),
            pa.csv.ConvertOptions(column_types=schema, null_values=[""], strings_can_be_null=True),
        )
    except pa.ArrowInvalid as error:
        if "Empty CSV" not in str(error):
            raise
        reader = ()
    empty = True
    for batch in reader:
        empty = False
        yield batch.replace_schema_metadata(UNTYPED)
    if empty:
        yield pa.RecordBatch.from_pylist([], schema=schema)


def _scan(fs: Any, path: str, delimiter: str, max_bytes: int) -> list[Problem]:
    """Say where rows are short or long, or where a quote is not closed."""
    with opened(fs, path, max_bytes) as stream:
        lines = io.TextIOWrapper(io.BufferedReader(stream, CHUNK), "utf-8-sig", newline="")
        rows = csv.reader(lines, delimiter=delimiter, strict=True)
        width = len(next(rows))
        odd: list[tuple[int, int]] = []
        n_odd = 0
        while True:
            line = rows.line_num + 1
            try:
                cells = next(rows)
            except StopIteration:
                return _odd_rows(odd, n_odd, width)
            except csv.Error as error:
                what = f"has a quote in line {line} that is not closed, or a stray one ({error})"
                return [*_odd_rows(odd, n_odd, width), Problem("unclosed-quote", what)]
            if cells and len(cells) != width:
                n_odd += 1
                odd += [(line, len(cells))] if len(odd) < 20 else []


def _odd_rows(odd: list[tuple[int, int]], n_odd: int, width: int) -> list[Problem]:
    if not odd:
        return []
    lines = ", ".join(f"line {line} has {n}" for line, n in odd)
    more = f" and {n_odd - len(odd)} more" if n_odd > len(odd) else ""
    return [
        Problem("row-length", f"has rows of other lengths than the header's {width} cells: {lines}{more}", count=n_odd)
    ]
