"""Arguments of ``pandas.read_csv`` and other readers of pandas that ``Files`` does not have, and their replacements.

Imports no heavy library, since Airflow imports it with every experiment.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from diurnal.errors import ExperimentError, did_you_mean

_NO_EFFECT = (  # they select an implementation and change no value
    "cache_dates",
    "dtype_backend",
    "engine",
    "engine_kwargs",
    "float_precision",
    "infer_datetime_format",
    "low_memory",
    "memory_map",
    "precise_float",
    "verbose",
)

_INSTEAD = {
    "chunksize": "leave it out: files are always streamed",
    "columns": "name them in usecols=[...]",
    "convert_dates": "name the columns of dates in parse_dates=[...]",
    "converters": "convert in a source of your own: a function of a data interval that returns a frame",
    "delim_whitespace": r'write sep=r"\s+"',
    "dialect": "use its parts: sep, quotechar, quoting, doublequote, escapechar, skipinitialspace",
    "date_parser": 'write date_format="%d.%m.%Y"',
    "error_bad_lines": "leave it out: rows are never skipped silently; a row of another length is an error",
    "false_values": "leave them as text, or map them in a source of your own",
    "filepath_or_buffer": "pass the path first: Files('data/{start:%Y-%m-%d}.csv')",
    "io": "pass the path first: Files('data/{start:%Y-%m-%d}.xlsx')",
    "iterator": "leave it out: files are always streamed",
    "lines": "write format='jsonl'",
    "lineterminator": "leave it out: CR, LF and CRLF are recognised",
    "na_filter": "leave it out: only empty cells are null, and what na_values declares",
    "nrows": "train on a sample of the rows by @experiment(sample=...)",
    "on_bad_lines": "leave it out: rows are never skipped silently; a row of another length is an error",
    "orient": "leave it out: an array of objects, lines of objects and an object of columns are recognised",
    "path_or_buf": "pass the path first: Files('data/{start:%Y-%m-%d}.json')",
    "skip_blank_lines": "leave it out: blank lines are skipped",
    "storage_options": "pass credentials to fsspec by the environment, as in AWS_PROFILE",
    "true_values": "leave them as text, or map them in a source of your own",
}

_USUAL: dict[str, tuple[Any, ...]] = {  # values with which the argument has no effect here
    "error_bad_lines": (True,),
    "lineterminator": (None, "\n", "\r\n"),
    "lines": (None, False),
    "na_filter": (True,),
    "on_bad_lines": ("error",),
    "orient": (None, "records"),
    "skip_blank_lines": (True,),
}

_TEXT, _ROWS = ("csv", "json", "jsonl"), ("csv", "excel")
_FORMATS = {
    **dict.fromkeys(("encoding", "encoding_errors", "compression"), _TEXT),
    **dict.fromkeys(("header", "names", "index_col", "skiprows", "skipfooter", "comment"), _ROWS),
    **dict.fromkeys(("decimal", "thousands", "na_values", "keep_default_na"), _ROWS),
    **dict.fromkeys(("sep", "quotechar", "quoting", "doublequote", "escapechar", "skipinitialspace"), ("csv",)),
    "sheet_name": ("excel",),
}


def accept_pandas_arguments(class_: type) -> type:
    """Make a dataclass ignore arguments of pandas without effect, and reject unknown arguments."""
    construct = class_.__init__  # type: ignore[misc]  # of the decorated class
    known = class_.__dataclass_fields__  # type: ignore[attr-defined]

    @functools.wraps(construct)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        check_unknown_arguments({name: value for name, value in kwargs.items() if name not in known}, known)
        try:
            construct(self, *args, **{name: value for name, value in kwargs.items() if name in known})
        except TypeError as error:
            if (
                error.__traceback__ is not None and error.__traceback__.tb_next is not None
            ):  # an error within the constructor
                raise
            raise ExperimentError(f"{class_.__name__}(...): {error}", hint="correct the call") from None

    class_.__init__ = init  # type: ignore[misc]
    return class_


def check_unknown_arguments(kwargs: Mapping[str, Any], known: Iterable[str]) -> None:
    """Reject unknown arguments, except for those of pandas without effect.

    Examples
    --------
    >>> check_unknown_arguments({"engine": "python", "nrows": None}, known=["usecols"])
    >>> check_unknown_arguments({"use_cols": ["a"]}, known=["usecols"])
    Traceback (most recent call last):
    diurnal.errors.ExperimentError: Files has no argument 'use_cols'; did you mean 'usecols'?
    hint: it takes usecols
    """
    known = list(known)
    for name, value in kwargs.items():
        usual = _USUAL.get(name, (None, False))
        if name in _NO_EFFECT or (name in _INSTEAD and any(value is one or value == one for one in usual)):
            continue
        if name in _INSTEAD:
            raise ExperimentError(f"Files has no argument {name!r}", hint=_INSTEAD[name])
        raise ExperimentError(
            f"Files has no argument {name!r}{did_you_mean(name, known)}", hint=f"it takes {', '.join(known)}"
        )


def check_format_arguments(names: Iterable[str], form: str) -> None:
    """Reject arguments without meaning for a format."""
    for name in names:
        allowed = _FORMATS.get(name)
        if allowed and form not in allowed:
            raise ExperimentError(
                f"{name}= is for {' and '.join(allowed)}, and these files are {form}", hint=f"remove {name}="
            )
