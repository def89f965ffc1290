"""Files as a source, local or on any file system of fsspec, one or more for each data interval."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields, replace
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from diurnal.errors import BatchRejectedError, DiurnalError, ExperimentError, Problem, did_you_mean
from diurnal.sources import path_patterns
from diurnal.sources.files_arguments import RULES, check_clashes
from diurnal.sources.pandas_arguments import accept_pandas_arguments, check_format_arguments
from diurnal.sources.source import MOST_BYTES, Connections
from diurnal.types import DataInterval

if TYPE_CHECKING:
    import pyarrow as pa


@accept_pandas_arguments
@dataclass(frozen=True, repr=False)
class Files:
    r"""The files of a data interval, read with the arguments of ``pandas.read_csv`` and their meaning in pandas.

    Formats are CSV, JSON, JSON lines, Parquet, Feather and Arrow, and spreadsheets (``pip install diurnal[excel]``).
    CSV and JSON may be compressed with gzip, bzip2, xz, zstd or zip. docs/files.md lists the differences from pandas.

    Parameters
    ----------
    pattern : str
        A path, or any URL of fsspec, with the interval's ``{start:%Y-%m-%d}`` and ``{end:...}`` (in the experiment's
        timezone) and with ``*``, ``?`` and ``[...]``; matching files are read in the order of their names. A
        relative path is relative to the project's folder, which holds ``diurnal.toml``; without a project, to the
        working directory.
    format : str, optional
        ``"csv"``, ``"json"``, ``"jsonl"``, ``"parquet"``, ``"feather"`` or ``"excel"``; by default, the format of the
        suffix.
    rename : Mapping of str to str, or callable, optional
        From the names in the file to those of the batch. All other arguments take the names in the file.
    delimiter, sep : str, optional
        Of CSV: one character, ``r"\s+"`` for spaces and tabs, or another regular expression, with which quotes are
        ordinary characters. By default ``","``, and a tab for ``.tsv``.
    complete : bool
        Whether a CSV file without a line end after its last line is rejected, because it may be incomplete.
    max_bytes : int
        Maximum size of one file, in decompressed bytes.
    header : int, None or "infer"
        Number of the header row, from 0; None if there is none.
    names : sequence of str, optional
        Names of the columns. The file then has no header, unless `header` is given.
    index_col : int, str or sequence, optional
        Columns to leave out; in pandas they become the index.
    usecols : sequence of str or of int, callable, or str such as "A:C,F" for spreadsheets, optional
        Columns to read; their order is that of the file.
    dtype : type, str or Mapping of str to these, optional
        Types of columns, by the names of pandas or NumPy. ``str`` keeps ``007`` as it is.
    na_values : scalar, sequence, or Mapping of str to these, optional
        Missing values, in addition to empty cells.
    keep_default_na : bool
        Whether pandas' default list (``NA``, ``null``, ``None``, ...) are missing values in columns of text, too. In
        columns of other kinds they always are.
    skiprows : int, sequence of int, or callable, optional
        Number of lines to skip at the start, numbers of lines from 0, or a function of a line's number.
    skipfooter : int
        Number of lines to skip at the end.
    comment : str, optional
        Character that starts a comment; the rest of the line is skipped.
    decimal, thousands : str
        Decimal separator, and separator of groups of digits.
    quotechar, quoting, doublequote, escapechar, skipinitialspace
        As in Python's ``csv``.
    parse_dates : sequence of str or of int, optional
        Columns of dates. Dates in ISO 8601 need not be declared.
    dayfirst : bool
        Whether ``05/11/2026`` is in November.
    date_format : str, or Mapping of str to str, optional
        Format of dates, as in ``strftime``.
    timezone : str, optional
        Timezone of timestamps without offset, such as ``"Europe/Berlin"``. They become instants.
    encoding, encoding_errors : str
        Encoding of text, UTF-8 by default, and what to do with bytes that are not of it, as in :func:`open`.
    compression : str, optional
        ``"gzip"``, ``"bz2"``, ``"xz"``, ``"zstd"`` or ``"zip"``; by default, the codec of the suffix.
    sheet_name : str or int
        Sheet of a spreadsheet.

    Raises
    ------
    ExperimentError
        If an argument is unknown, or not allowed.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> turbines = Files("exports/{start:%Y}/turbines-{start:%Y-%m-%d}.csv.gz", decimal=",", sep=";")
    >>> turbines.resolve(DataInterval(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC)))
    'exports/2026/turbines-2026-11-23.csv.gz'
    >>> Files("uci/iris.data", names=["sepal", "petal", "class"], low_memory=False)
    Files('uci/iris.data', format='csv', names=('sepal', 'petal', 'class'))
    """

    pattern: str
    format: str | None = None
    rename: Mapping[str, str] | Callable[[str], str] | None = None
    delimiter: Any = None
    complete: bool = True
    max_bytes: int = MOST_BYTES
    _: KW_ONLY
    sep: str | None = None
    header: Any = "infer"
    names: Any = None
    index_col: Any = None
    usecols: Any = None
    dtype: Any = None
    na_values: Any = None
    keep_default_na: bool = False
    skiprows: Any = None
    skipfooter: int = 0
    comment: str | None = None
    decimal: str = "."
    thousands: str | None = None
    quotechar: str | None = '"'
    quoting: int = csv.QUOTE_MINIMAL
    doublequote: bool = True
    escapechar: str | None = None
    skipinitialspace: bool = False
    parse_dates: Any = ()
    dayfirst: bool = False
    date_format: Any = None
    timezone: str | None = None
    encoding: str | None = None
    encoding_errors: str = "strict"
    compression: Any = "infer"
    sheet_name: str | int = 0

    def __post_init__(self) -> None:
        path_patterns.check_pattern(self.pattern)
        if self.format is None:
            self._set("format", path_patterns.format_of(self.pattern))
        elif self.format not in path_patterns.FORMATS:
            allowed = ", ".join(path_patterns.FORMATS)
            raise ExperimentError(
                f"format={self.format!r} does not exist{did_you_mean(self.format, path_patterns.FORMATS)}",
                hint=f"use one of {allowed}",
            )
        for name, rule in RULES.items():
            self._set(name, rule(name, getattr(self, name)))
        self._set("delimiter", self.sep or self.delimiter or path_patterns.delimiter_of(self.pattern))
        self._set("sep", None)
        if isinstance(self.usecols, str) and self.format != "excel":
            self._set("usecols", (self.usecols,))
        check_format_arguments(self._changed, str(self.format))
        check_clashes(self)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @property
    def _changed(self) -> list[str]:
        """Names of the arguments that differ from their defaults."""
        usual = {field.name: field.default for field in fields(self)} | {"delimiter": ","}
        return [name for name in list(usual)[2:] if getattr(self, name) != usual[name]]

    def __repr__(self) -> str:
        """Return the call that creates it: equal in every process, as it is part of the identity of an experiment."""
        shown = {name: getattr(self, name) for name in ("format", *self._changed)}
        listed = ", ".join(f"{name}={_format_argument(name, value)}" for name, value in shown.items())
        return f"Files({path_patterns.hide_login(self.pattern)!r}, {listed})"

    @property
    def header_row(self) -> int | None:
        """Number of the header row, if there is one."""
        if self.header == "infer":
            return None if self.names else 0
        return self.header  # type: ignore[no-any-return]  # validated: a number or None

    @property
    def is_split(self) -> bool:
        """Whether the separator is a regular expression."""
        return len(self.delimiter) > 1

    @property
    def codec(self) -> str | None:
        """The declared codec, or that of the suffix."""
        return path_patterns.split_suffixes(self.pattern)[1] if self.compression == "infer" else self.compression

    @property
    def is_unconverted(self) -> bool:
        """Whether no cell is converted, so that Spark may read the files."""
        return not (self.dtype or self.parse_dates or self.timezone)

    def with_pattern(self, pattern: str) -> Files:
        """Return the declaration of other files with the same arguments; no column of `usecols` is required in them."""
        if path_patterns.format_of(pattern) != self.format:
            return Files(pattern, complete=False)
        wanted = self.usecols
        if isinstance(wanted, tuple) and all(isinstance(column, str) for column in wanted):
            wanted = frozenset(wanted).__contains__
        return replace(self, pattern=pattern, complete=False, usecols=wanted, compression="infer")

    def resolve(self, interval: DataInterval) -> str:
        """Return the pattern of one data interval."""
        return self.pattern.format(start=interval.start, end=interval.end)

    def read(self, interval: DataInterval, connections: Connections) -> Iterator[pa.RecordBatch]:
        """Stream the files of an interval.

        Raises
        ------
        TransientError
            If there is no file yet, or the storage is not reachable.
        BatchRejectedError
            If a file cannot be read as rows; the path of a local file is its evidence.
        """
        fs, paths = self.find_files(interval, connections)
        for path in paths:
            try:
                for batch in self._batches(fs, path):
                    yield self._renamed(batch)
            except BatchRejectedError as refusal:
                raise _add_file_name(refusal, path, local="file" in _protocols_of(fs)) from refusal.__cause__
            except DiurnalError:
                raise
            except OSError as error:
                raise path_patterns.storage_error(self.resolve(interval), error) from error

    def _batches(self, fs: Any, path: str) -> Iterator[pa.RecordBatch]:
        if self.format == "csv":
            from diurnal.sources.byte_streams import open_text_file
            from diurnal.sources.csv_reader import read_csv

            return read_csv(partial(open_text_file, fs, path, self), self)
        if self.format == "excel":
            from diurnal.sources.excel_reader import read_excel

            return read_excel(fs, path, self)
        if self.format in ("json", "jsonl"):
            from diurnal.sources.json_reader import read_json

            return read_json(fs, path, self)
        if self.format == "feather":
            from diurnal.sources.arrow_reader import read_feather

            return read_feather(fs, path, self)
        from diurnal.sources.parquet_reader import read_parquet

        return read_parquet(fs, path, self)

    def find_files(self, interval: DataInterval, connections: Connections) -> tuple[Any, list[str]]:
        """Return the file system and the paths of the files of an interval.

        Raises
        ------
        TransientError
            If there is no file yet.
        """
        return path_patterns.find_files(self.resolve(interval), connections)

    def rename_columns_of(self, names: Sequence[str]) -> list[str]:
        """Return the names of columns in the batch for those in the files."""
        if self.rename is None:
            return list(names)
        rename = self.rename if callable(self.rename) else lambda name: self.rename.get(name, name)
        return [rename(name) for name in names]

    def _renamed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch if self.rename is None else batch.rename_columns(self.rename_columns_of(batch.schema.names))


def _add_file_name(refusal: BatchRejectedError, path: str, *, local: bool) -> BatchRejectedError:
    """Add the name of the file to each problem."""
    name = PurePosixPath(path).name
    problems = [Problem(p.code, f"{name}: {p.message}", p.column, p.rows, p.count) for p in refusal.problems]
    return BatchRejectedError(problems, evidence=[path] if local else [], hint=refusal.hint)


def _protocols_of(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def _format_argument(name: str, value: Any) -> str:
    """Format an argument, equally in every process; a lambda is identified by its code."""
    if not hasattr(value, "__qualname__"):
        return repr(value)
    shown = f"{value.__module__}.{value.__qualname__}"
    return shown if name == "rename" or "<lambda>" not in shown else f"{shown} {_function_digest(value)}"


def _function_digest(function: Any) -> str:
    import hashlib

    code = function.__code__
    return hashlib.sha256(repr((code.co_code, code.co_names, code.co_consts)).encode()).hexdigest()[:12]
