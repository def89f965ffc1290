"""JSON lines: one object a line, of plain values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from diurnal.sources.rows import Chunk, batches_of
from diurnal.sources.source import ROWS_A_BATCH
from diurnal.sources.streams import opened, refused, text_of

LONGEST_LINE = 64 * 2**20

Row = dict[str, int | float | str | bool | None]


def read_json_lines(fs: Any, path: str, *, complete: bool, max_bytes: int) -> Iterator[Any]:
    """Stream a file of JSON lines; a key that a line lacks is null there."""
    with opened(fs, path, max_bytes) as stream:
        yield from batches_of(_chunks(text_of(stream, complete=complete)))


def _chunks(pieces: Iterator[bytes]) -> Iterator[Chunk]:
    decoder = msgspec.json.Decoder(Row)
    rows: list[Row] = []
    for number, line in enumerate(_lines(pieces), 1):
        if not line.strip():
            continue
        try:
            rows.append(decoder.decode(line))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            what = f"has no JSON object of plain values in line {number}: {error}"
            advice = "write one flat object a line, its cells numbers, text, true, false or null"
            raise refused("bad-json", what, advice) from None
        if len(rows) == ROWS_A_BATCH:
            yield _columns(rows)
            rows = []
    if rows:
        yield _columns(rows)


def _columns(rows: list[Row]) -> Chunk:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
        if len(rest) > LONGEST_LINE:
            raise refused("long-line", f"has a line longer than {LONGEST_LINE} bytes; is it JSON lines?")
    if rest:
        yield rest
