"""Streaming edits of lines: `skiprows`, `skipfooter`, `comment`, and separators of more than one character.

A line may contain line ends within quotes. The line ends of removed text are kept, so that the line numbers in messages
are those of the file; blank lines are no rows.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from diurnal.sources.decompression import file_error

if TYPE_CHECKING:
    import numpy.typing as npt

    from diurnal.sources.files import Files

    Places = npt.NDArray[np.intp]
    Mask = npt.NDArray[np.bool_]

BLANKS = r"\s+"
"""The one regular expression with which quotes are respected, as in pandas."""

LONGEST = 8 * 2**20  # bytes of a line
SEPARATOR = "\x1f"
"""Replaces separators of more than one character: the unit separator of ASCII."""

_LF, _CR = ord("\n"), ord("\r")


@dataclass
class LineBlock:
    """Complete lines: their bytes, and the position after each."""

    text: bytes
    ends: Places

    @property
    def starts(self) -> Places:
        """Position of the first byte of each line."""
        return np.concatenate([[0], self.ends[:-1]]).astype(np.intp)

    def remove_spans(self, begins: Places, stops: Places) -> LineBlock:
        """Remove spans, except for their line ends."""
        data = np.frombuffer(self.text, np.uint8)
        depth = np.zeros(len(data) + 1, np.int32)
        np.add.at(depth, begins, 1)
        np.add.at(depth, stops, -1)
        kept = (np.cumsum(depth)[:-1] == 0) | (data == _LF) | (data == _CR)
        return LineBlock(data[kept].tobytes(), np.cumsum(kept)[self.ends - 1])


@dataclass
class Quoting:
    """Rules of quotes.

    Attributes
    ----------
    delimiter, quote : bytes
        One character each; `quote` may be empty.
    escape : bytes
        Escape character, or empty.
    comment : bytes
        Character that starts a comment, in which quotes are ordinary characters; or empty.
    is_spaced : bool
        Whether spaces may precede the opening quote of a cell.
    """

    delimiter: bytes
    quote: bytes
    escape: bytes = b""
    comment: bytes = b""
    is_spaced: bool = False

    @cached_property
    def edges(self) -> bytes:
        """Characters that precede an opening quote, as the inner part of a regular expression's brackets."""
        return re.escape(self.delimiter) + rb"\r\n" + (b" " if self.is_spaced else b"")

    @cached_property
    def quoted(self) -> bytes:
        """Regular expression of a quoted cell, whose closing quote may be missing."""
        quote, escape = re.escape(self.quote), re.escape(self.escape)
        inner = rb"[^" + quote + escape + rb"]++|" + quote * 2 + (rb"|" + escape + rb"." if escape else b"")
        return quote + rb"(?s:" + inner + rb")*+" + quote + rb"?"

    @cached_property
    def _cell(self) -> re.Pattern[bytes]:
        cell = rb"(?:\A|(?<=[" + self.edges + rb"]))(" + self.quoted + rb")"
        return re.compile(cell + (rb"|" + re.escape(self.comment) + rb"[^\r\n]*+" if self.comment else b""))

    def quoted_mask(self, text: bytes) -> Mask | None:
        """Return a mask of the bytes within quotes, opening quotes included; None if there are none."""
        if not self.quote or self.quote not in text:
            return None
        data = np.frombuffer(text, np.uint8)
        counted = self._mask_by_counting(data, np.flatnonzero(data == self.quote[0]))
        if counted is not None:
            return counted
        depth = np.zeros(len(data) + 1, np.int8)
        for start, end in (found.span(1) for found in self._cell.finditer(text) if found[1]):
            depth[start] += 1
            depth[end - (end - start > 1 and text[end - 1 : end] == self.quote)] -= 1
        return np.cumsum(depth)[:-1] > 0

    def _mask_by_counting(self, data: npt.NDArray[np.uint8], at: Places) -> Mask | None:
        """Return the mask by counting quotes; None if that is not sufficient."""
        if self.escape or not self._in_pairs(data, at):
            return None
        within = np.zeros(len(data), np.uint8)
        within[at] = 1
        inside = (np.cumsum(within, dtype=np.uint8) & 1).astype(bool)
        if self.comment:
            marks = np.flatnonzero((data == self.comment[0]) & ~inside)
            ends = np.append(np.flatnonzero((data == _LF) | (data == _CR)), len(data))
            stops = ends[np.searchsorted(ends, marks)]
            if (np.searchsorted(at, stops) > np.searchsorted(at, marks)).any():  # a quote in a comment
                return None
        return inside

    def _in_pairs(self, data: npt.NDArray[np.uint8], at: Places) -> bool:
        """Return whether quotes open and close whole cells, so that counting them is sufficient."""
        edges = np.frombuffer(self.quote + b"\r\n" + self.delimiter, np.uint8)
        padded = np.concatenate([[_LF], data, [_LF]])
        opens = np.arange(len(at)) % 2 == 0
        neighbours = np.where(opens, padded[at], padded[at + 2])
        return bool(np.isin(neighbours, edges).all())


def split_into_lines(chunks: Iterator[bytes], quoting: Quoting) -> Iterator[LineBlock]:
    """Cut chunks into complete lines."""
    rest = b""
    for chunk in chunks:
        text = rest + chunk
        ends = line_ends(text, quoting)
        cut = int(ends[-1]) if len(ends) else 0
        if cut:
            yield LineBlock(text[:cut], ends)
        rest = text[cut:]
        if len(rest) > LONGEST:
            raise file_error("long-line", f"has a line longer than {LONGEST} bytes; is a quote not closed in it?")
    if rest:
        ends = line_ends(rest + b"\n", quoting)
        ends = ends[ends < len(rest)]
        yield LineBlock(rest, np.append(ends, len(rest)).astype(np.intp))


def line_ends(text: bytes, quoting: Quoting) -> Places:
    """Return the positions after line ends; a CR as the last byte may be half of a CRLF, and is ignored."""
    data = np.frombuffer(text, np.uint8)
    ends = data == _LF
    if b"\r" in text:
        ends[:-1] |= (data[:-1] == _CR) & (data[1:] != _LF)
    inside = quoting.quoted_mask(text)
    return np.flatnonzero(ends if inside is None else ends & ~inside) + 1


def edit_lines(chunks: Iterator[bytes], files: Files) -> Iterator[bytes]:
    """Apply the arguments of `files` that concern lines."""
    if not (files.skiprows or files.skipfooter or files.comment or files.skipinitialspace or files.is_split):
        return chunks
    quoting = get_quoting(files)
    stream = split_into_lines(chunks, quoting)
    if files.skiprows:
        stream = _skip_lines(stream, files.skiprows)
    if files.skipfooter:
        stream = _without_footer(stream, files.skipfooter)
    if files.comment:
        stream = map(partial(_remove_comments, mark=files.comment.encode(), quoting=quoting), stream)
    texts = (piece.text for piece in stream)
    if files.is_split:
        return map(_make_splitter(files.delimiter, quoting), texts)
    return map(partial(_strip_leading_spaces, quoting=quoting), texts) if files.skipinitialspace else texts


def get_quoting(files: Files) -> Quoting:
    """Return the rules of quotes; with a regular expression as separator there are none, as in pandas."""
    delimiter = b" \t" if files.is_split else files.delimiter.encode()
    if files.quoting == csv.QUOTE_NONE or not files.quotechar or (files.is_split and files.delimiter != BLANKS):
        return Quoting(delimiter, b"")
    escape = (files.escapechar or "").encode()
    comment = (files.comment or "").encode()
    return Quoting(delimiter, files.quotechar.encode(), escape, comment, is_spaced=files.skipinitialspace)


def _skip_lines(
    stream: Iterator[LineBlock], skip: int | tuple[int, ...] | Callable[[int], bool]
) -> Iterator[LineBlock]:
    number = 0
    last = skip if isinstance(skip, int) else skip[-1] + 1 if isinstance(skip, tuple) else None
    for piece in stream:
        n_lines = len(piece.ends)
        if last is None or number < last:
            numbers = np.arange(number, number + n_lines)
            chosen = _skip_mask(numbers, skip)
            yield piece.remove_spans(piece.starts[chosen], piece.ends[chosen])
        else:
            yield piece
        number += n_lines


def _skip_mask(numbers: Places, skip: int | tuple[int, ...] | Callable[[int], bool]) -> Mask:
    if isinstance(skip, int):
        return numbers < skip
    if isinstance(skip, tuple):
        return np.isin(numbers, skip)
    return np.array([bool(skip(int(number))) for number in numbers])


def _without_footer(stream: Iterator[LineBlock], n_lines: int) -> Iterator[LineBlock]:
    """Remove the last lines; as many are buffered until the end is known."""
    pending: deque[LineBlock] = deque()
    n_pending = 0
    for piece in stream:
        pending.append(piece)
        n_pending += len(piece.ends)
        while n_pending - len(pending[0].ends) >= n_lines:
            n_pending -= len(pending[0].ends)
            yield pending.popleft()
    n_kept = max(0, n_pending - n_lines)
    for piece in pending:
        gone = np.arange(len(piece.ends)) >= n_kept
        yield piece.remove_spans(piece.starts[gone], piece.ends[gone])
        n_kept = max(0, n_kept - len(piece.ends))


def _remove_comments(piece: LineBlock, mark: bytes, quoting: Quoting) -> LineBlock:
    """Remove comments."""
    if mark not in piece.text:
        return piece
    found = np.frombuffer(piece.text, np.uint8) == mark[0]
    inside = quoting.quoted_mask(piece.text)
    at = np.flatnonzero(found if inside is None else found & ~inside)
    line, first = np.unique(np.searchsorted(piece.ends, at, side="right"), return_index=True)
    return piece.remove_spans(at[first], piece.ends[line])


def _strip_leading_spaces(text: bytes, quoting: Quoting) -> bytes:
    """Remove leading spaces of cells."""
    edge = rb"(\A|[\r\n" + re.escape(quoting.delimiter) + rb"])"
    if not re.search(edge + rb" ", text):
        return text
    if not quoting.quote or quoting.quote not in text:
        return re.sub(edge + rb" +", rb"\1", text)
    return re.sub(edge + rb" *(" + quoting.quoted + rb")?", lambda found: found[1] + (found[2] or b""), text)


def _make_splitter(delimiter: str, quoting: Quoting) -> Callable[[bytes], bytes]:
    """Return the function that replaces separators in complete lines."""
    if delimiter == BLANKS:
        return partial(_split_at_blanks, quoting=quoting)
    return partial(_split_at, pattern=re.compile(delimiter))


def _split_at(text: bytes, pattern: re.Pattern[str]) -> bytes:
    """Split each line by a regular expression, as pandas does."""
    lines = re.split(r"(\r\n|\r|\n)", _reject_separator(text).decode())
    lines[::2] = [SEPARATOR.join(cell or "" for cell in pattern.split(line.strip())) for line in lines[::2]]
    return "".join(lines).encode()


def _split_at_blanks(text: bytes, quoting: Quoting) -> bytes:
    """Split at spaces and tabs outside of quotes."""
    separator = SEPARATOR.encode()
    text = re.sub(rb"(?:\A|(?<=[\r\n]))[ \t]+|[ \t]+(?=[\r\n]|\Z)", b"", _reject_separator(text))
    if not quoting.quote or quoting.quote not in text:
        return re.sub(rb"[ \t]+", separator, text)
    cell = rb"((?:\A|(?<=[" + quoting.edges + rb"]))" + quoting.quoted + rb")|[ \t]+"
    return re.sub(cell, lambda found: found[1] or separator, text)


def _reject_separator(text: bytes) -> bytes:
    if SEPARATOR.encode() in text:
        raise file_error("control-character", "holds the control character 0x1f", "use a separator of one character")
    return text
