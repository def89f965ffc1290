"""Bytes of a file as they stream by: decompressed, counted, and known to be text where text is promised."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from diurnal.errors import BatchRefused, Problem

CHUNK = 2**20

_FOREIGN = (  # what a file begins with that is no text
    (b"PK\x03\x04", "zip-file", "is a zip archive; unpack it, or compress with gzip"),
    (b"PAR1", "parquet-file", "is Parquet; say Files(..., format='parquet')"),
    (b"\x28\xb5\x2f\xfd", "unknown-codec", "is compressed with zstd; allowed is gzip"),
    (b"BZh", "unknown-codec", "is compressed with bzip2; allowed is gzip"),
    (b"\xfd7zXZ", "unknown-codec", "is compressed with xz; allowed is gzip"),
    (b"\xd0\xcf\x11\xe0", "spreadsheet", "is a spreadsheet; export it as CSV"),
    (b"%PDF", "pdf-file", "is a PDF document, not data"),
)
_UTF8_BOM = codecs.BOM_UTF8


def refused(code: str, what: str, advice: str | None = None) -> BatchRefused:
    """Make the refusal of a file; whoever knows its name adds it."""
    return BatchRefused([Problem(code, what)], advice=advice)


class Capped(io.RawIOBase):
    """Reads a stream up to a number of bytes; a file that holds more is refused, and not read on."""

    def __init__(self, stream: Any, max_bytes: int) -> None:
        self._stream, self._max_bytes = stream, max_bytes
        self.n_bytes = 0

    def readable(self) -> bool:
        """Say that it can be read, for what wraps it."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer, for what wraps it."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int = -1) -> bytes:
        """Read at most `size` bytes, or what a damaged file still gives."""
        try:
            data: bytes = self._stream.read(size)
        except EOFError:
            raise refused("cut-file", f"ends in the middle, after {self.n_bytes} decompressed bytes") from None
        except (zlib.error, gzip.BadGzipFile) as error:
            raise refused("damaged-file", f"cannot be decompressed beyond byte {self.n_bytes}: {error}") from None
        self.n_bytes += len(data)
        if self.n_bytes > self._max_bytes:
            raise refused("too-many-bytes", f"holds more than max_bytes={self._max_bytes} once decompressed")
        return data


@contextmanager
def opened(fs: Any, path: str, max_bytes: int) -> Iterator[Capped]:
    """Open a file of text, decompressed if it is gzip by its first bytes, whatever its name says."""
    with fs.open(path, "rb") as raw:
        magic = raw.read(2)
        raw.seek(0)
        if magic == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield Capped(unpacked, max_bytes)
        else:
            yield Capped(raw, max_bytes)


def text_of(stream: Capped, *, complete: bool) -> Iterator[bytes]:
    """Stream chunks of UTF-8, without a byte order mark; what is no text is refused, with the byte it begins at.

    Parameters
    ----------
    stream : Capped
        The bytes.
    complete : bool
        Whether the last line must have its end, as a file that was not cut has.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    last = b""
    for chunk in iter(partial(stream.read, CHUNK), b""):
        before = stream.n_bytes - len(chunk)
        if not before:
            _refuse_foreign(chunk)
        _refuse_other_encoding(chunk, before, decoder)
        last = chunk[-1:]
        yield chunk.removeprefix(_UTF8_BOM) if not before else chunk
    if not last:
        raise refused("no-bytes", "has no bytes")
    if decoder.getstate()[0]:
        raise refused("cut-file", f"ends in the middle of a character, at byte {stream.n_bytes}")
    if complete and last not in b"\r\n":
        raise refused(
            "cut-file",
            "has no line end after its last line, so it may have been cut",
            "send the file again; if its writer never ends the last line, say Files(..., complete=False)",
        )


def _refuse_foreign(first: bytes) -> None:
    for magic, code, what in _FOREIGN:
        if first.startswith(magic):
            raise refused(code, what)
    head = first[:512].removeprefix(_UTF8_BOM).lstrip().lower()
    if head.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")):
        raise refused("html-page", "got text/html or XML, not data: perhaps an error page or a login form")


def _refuse_other_encoding(chunk: bytes, before: int, decoder: codecs.IncrementalDecoder) -> None:
    pending = len(decoder.getstate()[0])
    try:
        decoder.decode(chunk)
    except UnicodeDecodeError as error:
        where = before - pending + error.start
        what = f"is not UTF-8 (byte {where} is 0x{error.object[error.start]:02x}); it looks like {_guess(chunk)}"
        raise refused("not-utf8", what, "write it as UTF-8") from None
    nul = chunk.find(b"\0")
    if nul >= 0:
        if not before and chunk[:400].count(b"\0") > len(chunk[:400]) // 4:
            raise refused("not-utf8", f"is not UTF-8; it looks like {_guess(chunk)}", "write it as UTF-8")
        raise refused("nul-byte", f"holds a NUL byte at byte {before + nul}")


def _guess(chunk: bytes) -> str:
    from charset_normalizer import from_bytes

    best = from_bytes(chunk[:65_536]).best()
    return best.encoding if best else "no known encoding"
