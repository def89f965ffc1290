"""Reader of CSV as columns of text: no type is inferred here, and no row is shifted, padded or dropped silently.

Arrow parses the rows as a stream. Its parser counts rows instead of lines, and reads a quote that is not closed up to
the end of the file. Therefore a file in which Arrow finds a fault, or whose quotes are not clearly in pairs, is read a
second time by the strict reader of Python's ``csv``. That reader is slow and locates the fault by its line.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from diurnal.errors import BatchRejectedError, Problem
from diurnal.sources.byte_streams import decode_text
from diurnal.sources.cell_conversion import CellConverter
from diurnal.sources.decompression import CHUNK, SizeLimitedReader, file_error
from diurnal.sources.file_columns import FileColumns, name_columns, select_columns
from diurnal.sources.line_filters import LONGEST, SEPARATOR, Quoting, edit_lines, get_quoting, line_ends

if TYPE_CHECKING:
    from diurnal.sources.files import Files


class _QuoteChecker:
    """Checks, in a stream of text, that quotes open and close whole cells.

    The first quote opens, the second closes, and so on; a doubled quote within a cell closes and opens again. Before an
    opening quote and after a closing quote there is a delimiter, a line end or another quote. If there is not, or if
    the last quote is not closed, a cell may extend beyond its intended end: :attr:`is_odd` is then true.
    """

    def __init__(self, delimiter: str, quote: str) -> None:
        self._quote = quote.encode()
        self._edges = np.frombuffer(self._quote + b"\r\n" + delimiter.encode(), np.uint8)
        self._tail = b"\n"  # the last byte is checked with the next chunk
        self._n = 0
        self.is_odd = False

    def read(self, chunk: bytes) -> None:
        """Check the next chunk; an empty one is the end."""
        if not self._quote:
            return
        text = self._tail + (chunk or b"\n")
        data = np.frombuffer(text, np.uint8)
        at = np.flatnonzero(data[1:-1] == self._quote[0]) + 1
        opens = (self._n + np.arange(len(at))) % 2 == 0
        neighbours = np.where(opens, data[at - 1], data[at + 1])
        self._n += len(at)
        self._tail = text[-2:]
        self.is_odd = self.is_odd or not np.isin(neighbours, self._edges).all() or (not chunk and self._n % 2 == 1)


class _CheckedStream(io.RawIOBase):
    """Chunks of text as a file for the parser; quotes are checked on the way."""

    def __init__(self, chunks: Iterator[bytes], dialect: Dialect) -> None:
        self.quotes = _QuoteChecker(dialect.delimiter, dialect.quote)
        self._chunks, self._rest, self._quoting = chunks, b"", dialect.quoting

    def readable(self) -> bool:
        """Return True, for wrappers of :mod:`io`."""
        return True

    def read_line(self) -> bytes:
        """Read the first line that is not blank; empty at the end."""
        while True:
            self._rest = self._rest.lstrip(b"\r\n")
            ends = line_ends(self._rest, self._quoting)
            if len(ends):
                line, self._rest = self._rest[: ends[0]], self._rest[ends[0] :]
                return line
            if len(self._rest) > LONGEST:
                raise file_error("long-line", f"begins with a line longer than {LONGEST} bytes; is it CSV?")
            if not self._fill():
                line, self._rest = self._rest, b""
                return line

    def put_back(self, line: bytes) -> None:
        """Put a line back, so that it is read next."""
        self._rest = line + self._rest

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer."""
        if not self._rest:
            self._fill()
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size

    def _fill(self) -> bool:
        chunk = next((chunk for chunk in self._chunks if chunk), b"")
        self.quotes.read(chunk)
        self._rest += chunk
        return bool(chunk)


class Dialect:
    """Rules for splitting rows into cells, for Arrow and for Python's ``csv``."""

    def __init__(self, files: Files) -> None:
        self.delimiter: str = SEPARATOR if files.is_split else files.delimiter
        self.quoting: Quoting = get_quoting(files)
        self.quote = self.quoting.quote.decode()
        self._doubled, self._escape = files.doublequote, self.quoting.escape.decode()

    def rows(self, lines: Any) -> Any:
        """Return Python's reader, in strict mode."""
        options: dict[str, Any] = {"quotechar": self.quote} if self.quote else {"quoting": csv.QUOTE_NONE}
        options |= {"escapechar": self._escape or None, "doublequote": self._doubled}
        return csv.reader(lines, delimiter=self.delimiter, strict=True, **options)

    def options(self, skip: Any) -> Any:
        """Return the options of Arrow's parser."""
        return pa.csv.ParseOptions(
            delimiter=self.delimiter,
            quote_char=self.quote or False,
            double_quote=self._doubled,
            escape_char=self._escape or False,
            newlines_in_values=True,
            invalid_row_handler=skip,
        )


class _ParserFaults:
    """Faults found by Arrow's parser, for which the file is read again."""

    def __init__(self) -> None:
        self.n_bad, self.fault = 0, ""

    def skip(self, _: Any) -> str:
        """Count a row of another length."""
        self.n_bad += 1
        return "skip"


def read_csv(
    opening: Callable[[], AbstractContextManager[SizeLimitedReader]], files: Files
) -> Iterator[pa.RecordBatch]:
    """Stream CSV, all cells as text; an empty cell is null.

    Parameters
    ----------
    opening : callable
        Opens the bytes; it may be called twice.
    files : Files
        The declaration.
    """
    dialect, faults = Dialect(files), _ParserFaults()
    with opening() as stream:
        watched = _CheckedStream(edit_lines(decode_text(stream, files), files), dialect)
        columns = _read_header(watched, dialect, files)
        cells = CellConverter(files, columns.names, untyped=True, warnings=columns.warnings)
        for batch in _parse_rows(watched, columns, dialect, faults):
            yield cells.read(batch)
    if faults.fault or faults.n_bad or watched.quotes.is_odd:
        with opening() as stream:
            problems = _locate_faults(
                _CheckedStream(edit_lines(decode_text(stream, files), files), dialect), columns.width, dialect, files
            )
        if faults.fault and not problems:
            problems = [Problem("damaged-csv", f"cannot be read as CSV: {faults.fault}")]
        if problems:
            raise BatchRejectedError(problems, hint="write it again; quote cells with delimiters, quotes or line ends")


def _read_header(stream: _CheckedStream, dialect: Dialect, files: Files) -> FileColumns:
    """Read the header; without a header, count the cells of the first row."""
    for _ in range(files.header_row or 0):
        stream.read_line()
    line = stream.read_line()
    if not line:
        raise file_error(
            "no-header", f"has no line for {'a row' if files.header_row is None else 'a header'}: all are blank"
        )
    try:
        cells: list[str] = next(dialect.rows(io.StringIO(line.decode(), newline="")), [])
    except csv.Error as error:
        raise file_error("unclosed-quote", f"has a quote in its header that is not closed ({error})") from None
    if files.header_row is None:
        stream.put_back(line)
        return select_columns(_declared_names(files, len(cells)) or list(map(str, range(len(cells)))), files)
    _check_delimiter_in_header(cells, files)
    names, warnings = name_columns(cells)
    declared = _declared_names(files, len(cells))
    if declared and len(declared) != len(cells):
        message = f"has a header of {len(cells)} cells, and names= has {len(declared)}"
        raise file_error("row-length", message, "name all columns; select columns by usecols=")
    return select_columns(declared or names, files, () if declared else warnings)


def _declared_names(files: Files, width: int) -> list[str]:
    """Return the declared names; they may be those of the positions of `usecols` only."""
    names = list(files.names or ())
    counted = (
        sorted(column for column in files.usecols or () if isinstance(column, int))
        if files.names and not callable(files.usecols)
        else []
    )
    if not counted or len(names) != len(counted) or counted[-1] >= width:
        return names
    named = dict(zip(counted, names, strict=True))
    return [named.get(i, f"Unnamed: {i}") for i in range(width)]


def _check_delimiter_in_header(cells: list[str], files: Files) -> None:
    if len(cells) != 1 or files.is_split:
        return
    other = next((mark for mark in ";\t|," if mark != files.delimiter and mark in cells[0]), None)
    if other:
        message = f"has a header without the delimiter {files.delimiter!r}: {cells[0][:200]!a}"
        raise file_error("delimiter", message, f"use Files(..., delimiter={other!r})")


def _parse_rows(
    stream: _CheckedStream, columns: FileColumns, dialect: Dialect, faults: _ParserFaults
) -> Iterator[pa.RecordBatch]:
    """Parse rows; an error of the parser is recorded and ends them."""
    wanted = [str(position) for position in columns.positions]
    types = pa.schema([(position, pa.string()) for position in wanted])
    empty = True
    try:
        reader = pa.csv.open_csv(
            io.BufferedReader(stream, CHUNK),
            pa.csv.ReadOptions(
                use_threads=False, block_size=LONGEST, column_names=list(map(str, range(columns.width)))
            ),
            dialect.options(faults.skip),
            pa.csv.ConvertOptions(
                column_types=types, include_columns=wanted, null_values=[""], strings_can_be_null=True
            ),
        )
        for batch in reader:
            empty = False
            yield batch.rename_columns(columns.names)
    except pa.ArrowInvalid as error:
        faults.fault = "" if "Empty CSV" in str(error) else str(error)
    if empty:
        yield pa.RecordBatch.from_pylist([], schema=types).rename_columns(columns.names)


def _locate_faults(stream: _CheckedStream, width: int, dialect: Dialect, files: Files) -> list[Problem]:
    """Return the problems of short and long rows, and of a quote that is not closed, with their lines."""
    lines = io.TextIOWrapper(io.BufferedReader(stream, CHUNK), "utf-8", newline="")
    rows = dialect.rows(lines)
    n_header = 0 if files.header_row is None else files.header_row + 1
    faults: list[tuple[int, int]] = []
    n_rows = n_odd = 0
    while True:
        line = rows.line_num + 1
        try:
            cells = next(rows)
        except StopIteration:
            may_have_labels = n_odd == n_rows and files.header_row is not None
            return _row_length_problems(faults, n_odd, width, may_have_labels=may_have_labels)
        except csv.Error as error:
            message = f"has a quote in line {line} that is not closed, or a misplaced one ({error})"
            return [*_row_length_problems(faults, n_odd, width), Problem("unclosed-quote", message)]
        if cells and n_header:
            n_header -= 1
        elif cells:
            n_rows += 1
            if len(cells) == width:
                continue
            n_odd += 1
            faults += [(line, len(cells))] if len(faults) < 20 else []


def _row_length_problems(
    faults: list[tuple[int, int]], n_odd: int, width: int, *, may_have_labels: bool = False
) -> list[Problem]:
    if not faults:
        return []
    lines = ", ".join(f"line {line} has {n}" for line, n in faults)
    more = f" and {n_odd - len(faults)} more" if n_odd > len(faults) else ""
    message = f"has rows of other lengths than the header's {width} cells: {lines}{more}"
    if may_have_labels and all(n == width + 1 for _, n in faults):
        message += "; if rows begin with a label that the header does not name, as R writes them, declare all names"
        message += ": Files(..., skiprows=1, names=['label', ...])"
    return [Problem("row-length", message, count=n_odd)]
