"""Streaming decompression: gzip, bzip2, xz, zstd and zip."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from diurnal.errors import BatchRejectedError, Problem

CHUNK = 2**20

_MOST_DICTIONARY = 256 * 2**20  # bytes; the strongest preset of xz needs 65 MiB

_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bz2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),  # without a file
)

_DAMAGED = (zlib.error, lzma.LZMAError, zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError)


def file_error(code: str, message: str, hint: str | None = None) -> BatchRejectedError:
    """Return the error of a file that cannot be read; its name is added later."""
    return BatchRejectedError([Problem(code, message)], hint=hint or "write or send the file again")


class SizeLimitedReader(io.RawIOBase):
    """Reads a stream up to a number of bytes; a longer one is rejected."""

    def __init__(self, stream: Any, max_bytes: int) -> None:
        self._stream, self._max_bytes = stream, max_bytes
        self.n_bytes = 0

    def readable(self) -> bool:
        """Return True, for wrappers of :mod:`io`."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer, for wrappers of :mod:`io`."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int = -1) -> bytes:
        """Read at most `size` bytes; of a damaged file, those before the damage."""
        try:
            data: bytes = self._stream.read(size)
        except EOFError:
            raise file_error("cut-file", f"ends in the middle, after {self.n_bytes} decompressed bytes") from None
        except _DAMAGED as error:
            raise self._damaged(error) from None
        except RuntimeError as error:
            raise _unpack_error(error) from None
        except OSError as error:
            if error.errno is None and type(error) in (
                OSError,
                gzip.BadGzipFile,
            ):  # of a codec
                raise self._damaged(error) from None
            raise
        self.n_bytes += len(data)
        if self.n_bytes > self._max_bytes:
            raise file_error("too-many-bytes", f"holds more than max_bytes={self._max_bytes} once decompressed")
        return data

    def _damaged(self, error: Exception) -> BatchRejectedError:
        if "Truncated" in str(error):
            return file_error("cut-file", f"ends in the middle, after {self.n_bytes} decompressed bytes")
        return file_error("damaged-file", f"cannot be decompressed beyond byte {self.n_bytes}: {error}")


class _MultiStreamReader(io.RawIOBase):
    """Reads a file of one or more streams of bzip2 or xz, at most `size` decompressed bytes at a time."""

    def __init__(self, stream: Any, make: Callable[[], Any]) -> None:
        self._stream, self._make = stream, make
        self._decompressor = make()

    def read(self, size: int = -1) -> bytes:
        """Read at most `size` bytes."""
        while True:
            if self._decompressor.eof:
                rest = (self._decompressor.unused_data or self._stream.read(CHUNK)).lstrip(b"\0")
                if not rest:
                    return b""
                self._decompressor = self._make()
            else:
                rest = self._stream.read(CHUNK) if self._decompressor.needs_input else b""
                if not rest and self._decompressor.needs_input:
                    raise EOFError
            data: bytes = self._decompressor.decompress(rest, size)
            if data:
                return data


def open_raw_file(fs: Any, path: str) -> Any:
    """Open the bytes of a file, which may be the member of an archive (``zip://train.csv::archive.zip``)."""
    try:
        return fs.open(path, "rb")
    except (*_DAMAGED, RuntimeError) as error:
        raise _unpack_error(error) from None


def detect_codec(magic: bytes) -> str | None:
    """Return the codec of the first bytes of a file."""
    return next((codec for first, codec in _MAGIC if magic.startswith(first)), None)


@contextmanager
def open_decompressed(raw: Any, codec: str) -> Iterator[Any]:
    """Open a compressed file."""
    if codec == "gzip":
        with gzip.GzipFile(fileobj=raw) as stream:
            yield stream
    elif codec == "zstd":
        import pyarrow as pa

        yield pa.CompressedInputStream(raw, "zstd")
    elif codec == "zip":
        with _open_member(raw) as stream:
            yield stream
    else:
        make = bz2.BZ2Decompressor if codec == "bz2" else _xz_decompressor
        yield _MultiStreamReader(raw, make)


def _xz_decompressor() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(memlimit=_MOST_DICTIONARY)


@contextmanager
def _open_member(raw: Any) -> Iterator[Any]:
    """Open the one file of a zip archive."""
    try:
        archive = zipfile.ZipFile(raw)
    except (*_DAMAGED, EOFError) as error:
        raise file_error("damaged-file", f"is no zip archive that can be read: {error}") from None
    with archive:
        members = [m for m in archive.infolist() if not m.is_dir() and not _is_litter(m.filename)]
        if len(members) != 1:
            listed = ", ".join(ascii(m.filename) for m in members[:10]) or "none"
            more = f" and {len(members) - 10} more" if len(members) > 10 else ""
            raise file_error(
                "zip-file",
                f"is a zip archive of {len(members)} files: {listed}{more}",
                "name one, as in Files('zip://train.csv::folder/archive.zip'), or pack one file in each archive",
            )
        try:
            stream = archive.open(members[0])
        except (*_DAMAGED, RuntimeError) as error:
            raise _unpack_error(error) from None
        with stream:
            yield stream


def _unpack_error(error: Exception) -> BatchRejectedError:
    if "password" in str(error) or "encrypted" in str(error):
        return file_error("encrypted-file", f"is encrypted: {error}", "pack it without a password")
    return file_error("damaged-file", f"cannot be decompressed: {error}")


def _is_litter(name: str) -> bool:
    """Return whether a file is metadata of an operating system."""
    return name.startswith("__MACOSX/") or name.rpartition("/")[2] in (".DS_Store", "Thumbs.db", "desktop.ini")
