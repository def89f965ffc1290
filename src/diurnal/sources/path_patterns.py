"""Patterns of paths and URLs: validation, matching files, and their representation in messages."""

from __future__ import annotations

import glob
import re
import zipfile
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from string import Formatter
from typing import Any

from diurnal.errors import (
    ConfigurationError,
    DiurnalError,
    ExperimentError,
    PermissionDeniedError,
    TransientError,
    did_you_mean,
)
from diurnal.sources.decompression import file_error
from diurnal.sources.source import Connections

SUFFIXES = {
    **dict.fromkeys((".csv", ".tsv", ".tab", ".txt", ".data"), "csv"),
    ".json": "json",
    **dict.fromkeys((".jsonl", ".ndjson"), "jsonl"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    **dict.fromkeys((".feather", ".arrow", ".arrows", ".ipc"), "feather"),
    **dict.fromkeys((".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"), "excel"),
}
FORMATS = tuple(dict.fromkeys(SUFFIXES.values()))
CODEC_SUFFIXES = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd", ".zip": "zip"}


def check_pattern(pattern: str) -> None:
    """Reject a pattern with other fields than ``start`` and ``end``."""
    try:
        names = [name for _, name, _, _ in Formatter().parse(pattern) if name is not None]
        wrong = next((name for name in names if name not in ("start", "end")), None)
        if wrong is None:
            pattern.format(start=datetime(2026, 1, 1, tzinfo=UTC), end=datetime(2026, 1, 2, tzinfo=UTC))
            return
        fault = f"there is no {{{wrong}}}{did_you_mean(wrong, ('start', 'end'))}"
    except (ValueError, IndexError, TypeError) as error:
        fault = str(error)
    raise ExperimentError(
        f"the pattern {hide_login(pattern)!r} cannot be read: {fault}",
        hint="write the interval as {start:%Y-%m-%d} or {end:...}",
    )


def split_suffixes(pattern: str) -> tuple[str, str | None]:
    """Return the suffix of the format, and the codec of the suffix after it.

    Examples
    --------
    >>> split_suffixes("s3://shop/{start:%Y-%m-%d}.csv.gz")
    ('.csv', 'gzip')
    >>> split_suffixes("zip://adult.data::uci/adult.zip")
    ('.data', None)
    """
    first = pattern.split("::", maxsplit=1)[0]
    name = PurePosixPath(first.split("?", maxsplit=1)[0] if "://" in first else first).name.lower()
    codec = CODEC_SUFFIXES.get(PurePosixPath(name).suffix)
    inner = PurePosixPath(name).stem if codec else name
    return PurePosixPath(inner).suffix or PurePosixPath(name).suffix, codec


def format_of(pattern: str) -> str:
    """Return the format of the suffix."""
    suffix, _ = split_suffixes(pattern)
    if suffix not in SUFFIXES:
        raise ExperimentError(
            f"the suffix {suffix!r} of {hide_login(pattern)!r} declares no format; allowed are {', '.join(SUFFIXES)}, "
            f"and after those of text {', '.join(CODEC_SUFFIXES)}",
            hint=f"use format={' or '.join(map(repr, FORMATS))}",
        )
    return SUFFIXES[suffix]


def delimiter_of(pattern: str) -> str:
    """Return the default separator of the suffix."""
    return "\t" if split_suffixes(pattern)[0] in (".tsv", ".tab") else ","


def resolve_project_path(pattern: str, connections: Connections) -> str:
    """Resolve a relative path against the project's folder, which is an attribute of the connections.

    Examples
    --------
    >>> [resolve_project_path(path, {}) for path in ("in/[ab].csv", "s3://shop/in.csv", "/in/a.csv")]
    ['in/[ab].csv', 's3://shop/in.csv', '/in/a.csv']
    """
    *outer, location = pattern.rsplit("::", maxsplit=1)
    project: Path | None = getattr(connections, "project", None)
    if project is not None and "://" not in location and not location.startswith(("/", "~")):
        folder = glob.escape(str(project)) if _is_wild(location) else str(project)
        location = f"{folder}/{location}"
    return "::".join([*outer, location])


def _is_wild(pattern: str) -> bool:
    return any(mark in pattern for mark in "*?[")


def find_files(pattern: str, connections: Connections) -> tuple[Any, list[str]]:
    """Return the file system and the sorted paths of the files; raise TransientError if there is none yet."""
    import fsspec

    url = resolve_project_path(pattern, connections)
    try:
        fs, path = fsspec.core.url_to_fs(url)
        found = sorted(fs.glob(path)) if _is_wild(pattern) else []
        found = found or [path] * bool(fs.exists(path))  # such as "sales [2026].csv"
    except (ImportError, ValueError) as error:
        raise ConfigurationError(
            f"{hide_login(pattern)} cannot be opened: {hide_login(str(error))}",
            hint="check the URL, or install its requirements: diurnal[s3] for S3",
        ) from error
    except OSError as error:
        raise storage_error(pattern, error) from error
    except zipfile.BadZipFile as error:
        raise file_error("damaged-file", f"{hide_login(url)} is no zip archive that can be read: {error}") from None
    if not found:
        raise TransientError(
            f"there is no file {hide_login(url)} yet", hint="wait for it, or correct the pattern of Files(...)"
        )
    return fs, found


def storage_error(pattern: str, error: OSError) -> DiurnalError:
    """Translate an error of a file system: permission denied, or a temporary failure."""
    location, message = hide_login(pattern), hide_login(str(error))
    if isinstance(error, PermissionError):
        return PermissionDeniedError(f"{location} may not be read: {message}", hint="grant this user read access")
    return TransientError(f"{location} cannot be read: {message}", hint="run it again when the storage is reachable")


def hide_login(text: str) -> str:
    """Remove the login from the URLs of a text.

    After a colon that does not start a port, everything up to the last @ may be a password.
    """
    return re.sub(r"(?<=://)(?:[^\s/@:]*:(?!\d+/)[^\s]*@|[^\s/@]*@)", "", text)
