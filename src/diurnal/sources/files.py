"""Files, local or anywhere that fsspec reaches, one or more for each data interval."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import PurePosixPath
from string import Formatter
from typing import TYPE_CHECKING, Any

from diurnal.errors import (
    BatchRefused,
    ConfigurationError,
    DeclarationError,
    DiurnalError,
    NotAllowed,
    Problem,
    TryAgainLater,
    nearest,
)
from diurnal.sources.source import MOST_BYTES, Connections
from diurnal.values import DataInterval

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl"}
FORMATS = ("csv", "parquet", "jsonl")


@dataclass(frozen=True, repr=False)
class Files:
    """The files of a data interval: CSV, Parquet or JSON lines, the text ones also with gzip.

    Parameters
    ----------
    pattern : str
        A path, or any URL of fsspec, with the interval's ``{start:%Y-%m-%d}`` and ``{end:...}`` (in UTC) and with
        ``*``, ``?`` and ``[...]``; what matches is read in the order of names. Paths are relative to the folder
        that the process runs in.
    format : str, optional
        ``"csv"``, ``"parquet"`` or ``"jsonl"``; by default, what the suffix says.
    rename : Mapping of str to str, or callable, optional
        From the names in the file to those of the batch.
    delimiter : str
        Of CSV.
    complete : bool
        Whether a file of text without a line end after its last line is refused, because it may have been cut.
    max_bytes : int
        The most bytes of one file, decompressed.

    Raises
    ------
    DeclarationError
        If the pattern or the format cannot be one.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> turbines = Files("exports/{start:%Y}/turbines-{start:%Y-%m-%d}.csv.gz")
    >>> turbines.resolve(DataInterval(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC)))
    'exports/2026/turbines-2026-11-23.csv.gz'
    """

    pattern: str
    format: str | None = None
    rename: Mapping[str, str] | Callable[[str], str] | None = None
    delimiter: str = ","
    complete: bool = True
    max_bytes: int = MOST_BYTES

    def __post_init__(self) -> None:
        _check_pattern(self.pattern)
        if self.format is None:
            object.__setattr__(self, "format", _format_of(self.pattern))
        elif self.format not in FORMATS:
            raise DeclarationError(
                f"there is no format {self.format!r}; there are {', '.join(FORMATS)}{nearest(self.format, FORMATS)}",
                advice="name one of these",
            )
        if len(self.delimiter) != 1 or not self.delimiter.isascii() or self.delimiter in '"\r\n':
            raise DeclarationError(f"the delimiter {self.delimiter!r} is not one ASCII character", advice="use , or ;")

    def __repr__(self) -> str:
        """Give the call that made it: the same in every process, since it is part of an experiment's identity."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        changed = [name for name in list(given)[2:] if given[name] != self.__dataclass_fields__[name].default]
        shown = {name: given[name] for name in ("format", *changed)}
        listed = ", ".join(f"{name}={_shown(value)}" for name, value in shown.items())
        return f"Files({_public(self.pattern)!r}, {listed})"

    def resolve(self, interval: DataInterval) -> str:
        """Give the pattern of one data interval."""
        return self.pattern.format(start=interval.start, end=interval.end)

    def read(self, interval: DataInterval, connections: Connections) -> Iterator[pa.RecordBatch]:  # noqa: ARG002 - a source's shape
        """Stream the files of an interval.

        Raises
        ------
        TryAgainLater
            If there is none yet, or the store does not answer.
        BatchRefused
            If a file cannot be read as rows; a local one is named as evidence.
        """
        pattern = self.resolve(interval)
        fs, paths = _matches(pattern)
        for path in paths:
            try:
                for batch in self._batches(fs, path):
                    yield self._renamed(batch)
            except BatchRefused as refusal:
                raise _named(refusal, path, local="file" in _protocols(fs)) from refusal.__cause__
            except DiurnalError:
                raise
            except OSError as error:
                raise _unreachable(pattern, error) from error

    def _batches(self, fs: Any, path: str) -> Iterator[pa.RecordBatch]:
        if self.format == "csv":
            from diurnal.sources.delimited import read_csv

            return read_csv(fs, path, self.delimiter, complete=self.complete, max_bytes=self.max_bytes)
        if self.format == "jsonl":
            from diurnal.sources.jsonlines import read_json_lines

            return read_json_lines(fs, path, complete=self.complete, max_bytes=self.max_bytes)
        from diurnal.sources.parquet import read_parquet

        return read_parquet(fs, path, max_bytes=self.max_bytes)

    def found(self, interval: DataInterval) -> tuple[Any, list[str]]:
        """Give the file system and the paths of the files of an interval, for readers other than this one.

        Raises
        ------
        TryAgainLater
            If there is none yet.
        """
        return _matches(self.resolve(interval))

    def renamed(self, names: list[str]) -> list[str]:
        """Give the batch's names of columns for those in the files."""
        if self.rename is None:
            return names
        rename = self.rename if callable(self.rename) else lambda name: self.rename.get(name, name)
        return [rename(name) for name in names]

    def _renamed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch if self.rename is None else batch.rename_columns(self.renamed(list(batch.schema.names)))


def _check_pattern(pattern: str) -> None:
    try:
        names = [name for _, name, _, _ in Formatter().parse(pattern) if name is not None]
        wrong = next((name for name in names if name not in ("start", "end")), None)
        if wrong is None:
            pattern.format(start=datetime(2026, 1, 1, tzinfo=UTC), end=datetime(2026, 1, 2, tzinfo=UTC))
            return
        fault = f"there is no {{{wrong}}}{nearest(wrong, ('start', 'end'))}"
    except (ValueError, IndexError, TypeError) as error:
        fault = str(error)
    raise DeclarationError(
        f"the pattern {_public(pattern)!r} cannot be read: {fault}",
        advice="write the interval as {start:%Y-%m-%d} or {end:...}",
    )


def _format_of(pattern: str) -> str:
    name = PurePosixPath(pattern.split("?", maxsplit=1)[0] if "://" in pattern else pattern).name.removesuffix(".gz")
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in SUFFIXES:
        unpack = "; unpack the archive first" if suffix == ".zip" else ""
        raise DeclarationError(
            f"the suffix {suffix!r} of {_public(pattern)!r} says no format; there are {', '.join(SUFFIXES)}{unpack}",
            advice=f"name the files so, or give format={' or '.join(map(repr, FORMATS))}",
        )
    return SUFFIXES[suffix]


def _matches(pattern: str) -> tuple[Any, list[str]]:
    """Find the files, sorted; none is not an error of the pattern: they may not have come yet."""
    import fsspec

    try:
        fs, path = fsspec.core.url_to_fs(pattern)
        found = sorted(fs.glob(path)) if any(mark in path for mark in "*?[") else [path] * bool(fs.exists(path))
    except (ImportError, ValueError) as error:
        raise ConfigurationError(
            f"{_public(pattern)} cannot be opened: {_public(str(error))}",
            advice="check the URL, or install what it needs: diurnal[s3] for S3",
        ) from error
    except OSError as error:
        raise _unreachable(pattern, error) from error
    if not found:
        raise TryAgainLater(
            f"there is no file {_public(pattern)} yet", advice="wait for it, or correct the pattern of Files(...)"
        )
    return fs, found


def _unreachable(pattern: str, error: OSError) -> DiurnalError:
    place, said = _public(pattern), _public(str(error))
    if isinstance(error, PermissionError):
        return NotAllowed(f"{place} may not be read: {said}", advice="give this user the right to read it")
    return TryAgainLater(f"{place} cannot be read for now: {said}", advice="run it again when it can be reached")


def _public(text: str) -> str:
    """Take the login out of the URLs of a text.

    Behind a colon that begins no port everything up to the last @ may be a password, whatever it holds.
    """
    return re.sub(r"(?<=://)(?:[^\s/@:]*:(?!\d+/)[^\s]*@|[^\s/@]*@)", "", text)


def _named(refusal: BatchRefused, path: str, *, local: bool) -> BatchRefused:
    """Say in each problem which file it is about."""
    name = PurePosixPath(path).name
    problems = [Problem(p.code, f"{name}: {p.what}", p.column, p.rows, p.count) for p in refusal.problems]
    return BatchRefused(problems, evidence=[path] if local else [], advice=refusal.advice)


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def _shown(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}" if hasattr(value, "__qualname__") else repr(value)
