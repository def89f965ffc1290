"""Streaming of text files: decompression, limits, decoding."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from diurnal.sources.decompression import (
    CHUNK,
    SizeLimitedReader,
    detect_codec,
    file_error,
    open_decompressed,
    open_raw_file,
)
from diurnal.sources.encoding_guess import guess_encoding

if TYPE_CHECKING:
    from diurnal.sources.files import Files

_FOREIGN = (  # first bytes of files that are not text
    (b"PAR1", "parquet-file", "is Parquet; use Files(..., format='parquet')"),
    (b"ARROW1", "feather-file", "is Arrow; use Files(..., format='feather')"),
    (b"\xd0\xcf\x11\xe0", "spreadsheet", "is a spreadsheet; use Files(..., format='excel'), or export it as CSV"),
    (b"%PDF", "pdf-file", "is a PDF document, not data"),
)
_UTF8_BOM = codecs.BOM_UTF8


@contextmanager
def open_text_file(fs: Any, path: str, files: Files) -> Iterator[SizeLimitedReader]:
    """Open a file of text; it is decompressed if its first bytes are those of an expected codec."""
    with open_raw_file(fs, path) as raw:
        found = detect_codec(raw.read(6))
        raw.seek(0)
        _check_codec(found, files)
        if found is None:
            yield SizeLimitedReader(raw, files.max_bytes)
        else:
            with open_decompressed(raw, found) as stream:
                yield SizeLimitedReader(stream, files.max_bytes)


def _check_codec(found: str | None, files: Files) -> None:
    """Reject an unexpected codec, and an uncompressed file where `compression` declares a codec."""
    wanted = files.codec
    if found not in (None, "gzip", wanted) or (found == "gzip" and files.compression not in ("infer", "gzip")):
        code, message = (
            ("zip-file", "a zip archive") if found == "zip" else ("unknown-codec", f"compressed with {found}")
        )
        reason = (
            "its name does not declare"
            if files.compression == "infer"
            else f"compression={files.compression!r} excludes"
        )
        raise file_error(code, f"is {message}, which {reason}", f"use Files(..., compression={found!r})")
    if found is None and files.compression not in ("infer", None):
        raise file_error("damaged-file", f"is not compressed with {files.compression}", "remove compression=")


def decode_text(stream: SizeLimitedReader, files: Files) -> Iterator[bytes]:
    """Stream chunks of UTF-8 without a byte order mark; other content is rejected with its position."""
    chunks = iter(partial(stream.read, CHUNK), b"")
    last = b""
    for chunk in (
        _check_utf8(chunks, stream)
        if files.encoding is None and files.encoding_errors == "strict"
        else _transcode(chunks, stream, files)
    ):
        if not last:
            _check_not_html(chunk)
        last = chunk[-1:] or last
        yield chunk
    if not last:
        raise file_error("no-bytes", "has no bytes")
    if files.complete and files.format == "csv" and last not in b"\r\n":
        raise file_error(
            "cut-file",
            "has no line end after its last line: it may be incomplete",
            "send the file again; if its writer never ends the last line, use Files(..., complete=False)",
        )


def _check_utf8(chunks: Iterator[bytes], stream: SizeLimitedReader) -> Iterator[bytes]:
    """Check UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for chunk in chunks:
        before = stream.n_bytes - len(chunk)
        if not before:
            _check_not_binary(chunk)
        _check_chunk_is_utf8(chunk, before, decoder)
        yield chunk.removeprefix(_UTF8_BOM) if not before else chunk
    if decoder.getstate()[0]:
        raise file_error("cut-file", f"ends in the middle of a character, at byte {stream.n_bytes}")


def _transcode(chunks: Iterator[bytes], stream: SizeLimitedReader, files: Files) -> Iterator[bytes]:
    """Convert text of another encoding to UTF-8."""
    decoder = codecs.getincrementaldecoder(files.encoding or "utf-8")(files.encoding_errors)
    first = True
    for chunk in chunks:
        before = stream.n_bytes - len(chunk)
        if not before:
            _check_not_binary(chunk)
        text = _decode_chunk(decoder, chunk, before, files)
        if "\0" in text:
            raise file_error("nul-byte", f"holds a NUL character behind byte {before}", f"is it {files.encoding}?")
        yield (text.removeprefix("\ufeff") if first else text).encode("utf-8", "replace")
        first = first and not text
    _decode_chunk(decoder, b"", stream.n_bytes, files, final=True)


def _decode_chunk(
    decoder: codecs.IncrementalDecoder, chunk: bytes, before: int, files: Files, *, final: bool = False
) -> str:
    try:
        return decoder.decode(chunk, final)
    except UnicodeError as error:
        where = f"behind byte {before}"
        if isinstance(error, UnicodeDecodeError):
            where = f"near byte {before + error.start}"
        message = f"is not {files.encoding} ({where}: {getattr(error, 'reason', error)})"
        raise file_error("other-encoding", message, "declare another encoding=") from None


def _check_not_binary(first: bytes) -> None:
    for magic, code, message in _FOREIGN:
        if first.startswith(magic):
            raise file_error(code, message)


def _check_not_html(first: bytes) -> None:
    head = first[:512].lstrip().lower()
    if head.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")):
        raise file_error("html-page", "got text/html or XML, not data: it may be an error page or a login form")


def _check_chunk_is_utf8(chunk: bytes, before: int, decoder: codecs.IncrementalDecoder) -> None:
    pending = decoder.getstate()[0]
    try:
        decoder.decode(chunk)
    except UnicodeDecodeError as error:
        where = before - len(pending) + error.start
        message = f"is not UTF-8 (byte {where} is 0x{error.object[error.start]:02x})"
        raise _encoding_error(message, pending + chunk) from None
    nul = chunk.find(b"\0")
    if nul >= 0:
        if not before and chunk[:400].count(b"\0") > len(chunk[:400]) // 4:
            raise _encoding_error("is not UTF-8", chunk)
        raise file_error("nul-byte", f"holds a NUL byte at byte {before + nul}")


def _encoding_error(message: str, text: bytes) -> Exception:
    found = guess_encoding(text)
    if found is None:
        return file_error("not-utf8", message, "use Files(..., encoding=...), or write the file as UTF-8")
    return file_error(
        "not-utf8", f"{message}; it looks like {found}", f"use Files(..., encoding={found!r}), or write it as UTF-8"
    )
