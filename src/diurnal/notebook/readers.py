"""Translation of the calls that read files into sources of diurnal."""

from __future__ import annotations

import ast
import inspect
import os
import re
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

from diurnal.errors import ExperimentError
from diurnal.notebook.constants import NotConstantError, evaluate_constant, evaluate_string
from diurnal.notebook.program import Program
from diurnal.notebook.queries import QUERY_READERS, DetectedSource, find_query
from diurnal.notebook.script_options import PLACEHOLDER
from diurnal.notebook.syntax import callee_name
from diurnal.sources import Files

_TABLE_READERS = ("read_csv", "read_table", "read_parquet", "read_json", "read_excel", "read_feather", "read_orc")
_TEXT_READERS = ("read_csv", "read_table", "read_excel")
_FILE_READERS = (
    *_TABLE_READERS, "read_pickle", "read_hdf", "read_fwf", "read_xml", "read_stata", "read_sas", "read_spss",
    "loadtxt", "genfromtxt", "load", "open", "fromfile", "read_html", "glob",
)  # fmt: skip
_NEUTRAL_OPTIONS = frozenset(
    [
        "engine", "low_memory", "memory_map", "verbose", "infer_datetime_format", "cache_dates", "float_precision",
        "dtype_backend", "error_bad_lines", "warn_bad_lines", "encoding_errors", "storage_options",
        "use_nullable_dtypes",
    ]
)  # fmt: skip
_SYNONYMS = {"sep": "delimiter", "columns": "usecols"}  # arguments of pandas, and their names in Files if these differ


@dataclass(frozen=True)
class ProjectPaths:
    """The folders of the notebook and of its project.

    Attributes
    ----------
    notebook, project : Path
        The folders.
    file : Path
        The file of the experiment.
    """

    notebook: Path
    project: Path
    file: Path

    def project_expression(self) -> str:
        """Return the expression of the project's folder in the file of the experiment."""
        folder = self.file.resolve().parent
        if folder.is_relative_to(self.project):
            return f"Path(__file__).parents[{len(folder.relative_to(self.project).parts)}]"
        return f"Path({str(self.project)!r})"

    def relative_to_project(self, path: str) -> str:
        """Return a path of the notebook relative to the project, or unchanged if the file does not exist."""
        if is_url(path) or PurePosixPath(path).is_absolute() or not (self.notebook / path).exists():
            return path
        return PurePosixPath(os.path.relpath(self.notebook / path, self.project)).as_posix()


def is_url(path: str) -> bool:
    """Return whether a path is a URL."""
    return re.match(r"[a-z][a-z0-9+.-]*:", path) is not None and not re.match(r"[a-zA-Z]:[\\/]", path)


def find_source(
    program: Program, call: ast.Call, at: int, keep: tuple[str, ...] | None, paths: ProjectPaths
) -> DetectedSource | None:
    """Return the source for a call of a pandas reader such as `read_csv`.

    Parameters
    ----------
    program : Program
        The statements of the notebook.
    call : ast.Call
        The call of the reader.
    at : int
        The index of its statement.
    keep : tuple of str or None
        The columns that are used, if their names are known.
    paths : ProjectPaths
        The folders of the notebook and of the project.

    Returns
    -------
    Reading or None
        None if no source of diurnal reads exactly the same rows. The experiment then reads them with a function.
    """
    name = callee_name(call.func)
    if not program.qualified_name(call.func, at).startswith("pandas."):
        return None
    if name in QUERY_READERS:
        return find_query(program, call, at) if keep is None else None
    return _find_files_source(program, call, at, keep, paths) if name in _TABLE_READERS else None


def find_path(program: Program, call: ast.Call, at: int) -> str | None:
    """Return the path of the file that a call reads, or None if it is not known."""
    return evaluate_string(program, _path_argument(call), at) if callee_name(call.func) in _FILE_READERS else None


def reads_placeholder(call: ast.Call) -> bool:
    """Return whether a call reads a file whose path is a placeholder."""
    argument = _path_argument(call) if callee_name(call.func) in _FILE_READERS else None
    return isinstance(argument, ast.Name) and argument.id == PLACEHOLDER


def find_path_literal(call: ast.Call) -> ast.Constant | None:
    """Return the literal with the path that a call reads, or None."""
    argument = _path_argument(call) if callee_name(call.func) in _FILE_READERS else None
    return argument if isinstance(argument, ast.Constant) else None


def _path_argument(call: ast.Call) -> ast.expr | None:
    """Return the argument with the path; ``"clients.csv"`` in ``io.BytesIO(uploaded["clients.csv"])``."""
    arguments = _first_argument(call)
    if isinstance(arguments, ast.Call) and callee_name(arguments.func) in ("BytesIO", "StringIO"):
        named = (part for part in ast.walk(arguments) if isinstance(part, ast.Subscript))
        return next((part.slice for part in named if isinstance(part.slice, ast.Constant)), arguments)
    return arguments


def _first_argument(call: ast.Call) -> ast.expr | None:
    named = ("filepath_or_buffer", "path", "path_or_buf", "io", "fname", "file")
    return call.args[0] if call.args else next((k.value for k in call.keywords if k.arg in named), None)


def replace_path(call: ast.Call, path: ast.expr) -> None:
    """Replace the path of a call that reads a file."""
    if call.args:
        call.args[0] = path
        return
    old = _first_argument(call)
    for keyword in call.keywords:
        keyword.value = path if keyword.value is old else keyword.value


def _find_files_source(
    program: Program, call: ast.Call, at: int, keep: tuple[str, ...] | None, paths: ProjectPaths
) -> DetectedSource | None:
    arguments = _named_arguments(call)
    path = f"{PLACEHOLDER}.csv" if reads_placeholder(call) else evaluate_string(program, _path_argument(call), at)
    if path is None or arguments is None or path.startswith(("http:", "https:", "ftp:")):
        return None
    translated = _files_options(program, call, at, arguments)
    if translated is None:
        return None
    options, left_out = translated
    notes: list[str] = []
    if keep is not None:
        header = read_header(program, call, at, paths)
        is_other = header is not None and [name for name in header if name in keep] != list(keep)
        if "usecols" not in _files_parameters() or "usecols" in options or is_other:
            return None
        options["usecols"] = list(keep)
        notes += ["the features are in the order of the file, and not in the order of the list that selects them"] * (
            header is None
        )
    pattern = re.sub(r"([*?\[])", r"[\1]", paths.relative_to_project(path).replace("{", "{{").replace("}", "}}"))
    try:
        Files(pattern, **options)
    except (ExperimentError, TypeError, ValueError):
        return None
    options_text = "".join(f", {name}={value!r}" for name, value in options.items())
    return DetectedSource(f"Files({pattern!r}{options_text})", ("Files",), path, left_out=left_out, notes=notes)


def _files_parameters() -> set[str]:
    return {field.name for field in fields(Files)}


def _named_arguments(call: ast.Call) -> dict[str, ast.expr] | None:
    """Return all arguments except the path, by name; None for ``**kwargs`` or more than two positional arguments."""
    arguments = {keyword.arg: keyword.value for keyword in call.keywords}
    if None in arguments or len(call.args) > 2:
        return None
    if len(call.args) == 2:
        arguments["sep"] = call.args[1]
    path = _first_argument(call)
    return {name: value for name, value in arguments.items() if value is not path and name is not None}


def _files_options(
    program: Program, call: ast.Call, at: int, arguments: dict[str, ast.expr]
) -> tuple[dict[str, Any], list[str]] | None:
    """Return the arguments for `Files`, and those without effect on values; None if there are others."""
    parameters, options, left_out = _files_parameters(), dict[str, Any](), list[str]()
    if callee_name(call.func) == "read_table":
        arguments = {"sep": ast.Constant("\t"), **arguments}
    defaults = _reader_defaults(callee_name(call.func)) if arguments else {}
    for name, node in arguments.items():
        try:
            value = evaluate_constant(program, node, at)
        except NotConstantError:
            if name not in _NEUTRAL_OPTIONS:
                return None
            left_out.append(f"{name}={ast.unparse(node)}")
            continue
        if (name in defaults and defaults[name] == value) or _is_default(name, value):
            continue
        if name in parameters or _SYNONYMS.get(name) in parameters:
            options[name if name in parameters else _SYNONYMS[name]] = value
        elif name in _NEUTRAL_OPTIONS:
            left_out.append(f"{name}={ast.unparse(node)}")
        else:
            return None
    is_text = callee_name(call.func) in _TEXT_READERS
    if "keep_default_na" in parameters and is_text and "keep_default_na" not in arguments:
        options["keep_default_na"] = True  # pandas' default
    return options, left_out


def _is_default(name: str, value: Any) -> bool:
    """Return whether a value is a default of `Files`."""
    if name == "encoding":
        return str(value).lower().replace("_", "-") in ("utf-8", "utf8", "utf-8-sig")
    return name == "compression" and value in ("infer", "gzip")


def _reader_defaults(function: str) -> dict[str, Any]:
    """Return the default arguments of a reader of pandas."""
    import pandas as pd

    parameters = inspect.signature(getattr(pd, function)).parameters.values()
    defaults = {p.name: p.default for p in parameters if isinstance(p.default, str | int | bool | None)}
    return {"sep": ",", "header": 0, **defaults} if function == "read_csv" else defaults


def read_header(program: Program, call: ast.Call, at: int, paths: ProjectPaths) -> list[str] | None:
    """Return the column names of a file in the notebook's folder, without reading its rows."""
    path, name = find_path(program, call, at), callee_name(call.func)
    arguments = _named_arguments(call)
    if path is None or arguments is None or is_url(path) or not (paths.notebook / path).is_file():
        return None
    try:
        options = {
            name: evaluate_constant(program, node, at)
            for name, node in arguments.items()
            if name not in _NEUTRAL_OPTIONS
        }
        names = _read_column_names(paths.notebook / path, name, options)
    except (NotConstantError, ValueError, TypeError, OSError):
        return None
    return names if names is not None and all(isinstance(name, str) for name in names) else None


def _read_column_names(path: Path, reader: str, options: dict[str, Any]) -> list[str] | None:
    import pandas as pd
    import pyarrow.parquet as pq

    if reader in ("read_csv", "read_table"):
        return list(getattr(pd, reader)(path, **{**options, "nrows": 0}).columns)
    return list(pq.read_schema(path).names) if reader == "read_parquet" and not options else None
