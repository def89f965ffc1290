"""Translation of the SQL queries of a notebook into sources with a connection of the deployment."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from diurnal.errors import ExperimentError
from diurnal.notebook.constants import evaluate_string
from diurnal.notebook.program import Program
from diurnal.notebook.syntax import callee_name
from diurnal.sources import Sql

QUERY_READERS = ("read_sql", "read_sql_query", "read_sql_table")


@dataclass
class DetectedSource:
    """A source of diurnal that reads the same rows as a call.

    Attributes
    ----------
    source : str
        The expression of the source.
    imports : tuple of str
        The names to import from `diurnal.sources`.
    path : str or None
        The path of the file, as in the notebook.
    to_fill_in : list of str
        Decisions for the user of the experiment.
    left_out : list of str
        The arguments of the call that the source does not have.
    notes : list of str
        Possible differences from the notebook.
    """

    source: str
    imports: tuple[str, ...]
    path: str | None = None
    to_fill_in: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_query(program: Program, call: ast.Call, at: int) -> DetectedSource | None:
    """Return the source for a call of `read_sql`: the query, and the name of a connection of the deployment."""
    query_argument = (
        call.args[0] if call.args else next((k.value for k in call.keywords if k.arg in ("sql", "table_name")), None)
    )
    query = evaluate_string(program, _strip_text_call(query_argument), at)
    if query is None:
        return None
    if callee_name(call.func) == "read_sql_table" or re.fullmatch(r"\s*[\w.]+\s*", query):
        query = f"select * from {query.strip()}"
    if not set("'\"") & set(query) and "--" not in query:
        query = " ".join(query.split())
    try:
        Sql(query, connection="database")
    except ExperimentError:
        return None
    name = _connection_name(program, call, at)
    hint = (
        f"set AIRFLOW_CONN_{name.upper()} to the URI of the database; "
        "to read the rows of one data interval only, add `where ... >= :start and ... < :end`"
    )
    left_out = [f"{k.arg}={ast.unparse(k.value)}" for k in call.keywords if k.arg not in ("sql", "con", "table_name")]
    return DetectedSource(f'Sql({query!r}, connection="{name}")', ("Sql",), None, [hint], left_out)


def _strip_text_call(node: ast.expr | None) -> ast.expr | None:
    """Return the argument of SQLAlchemy's ``text(...)``."""
    if isinstance(node, ast.Call) and callee_name(node.func) == "text" and node.args:
        return node.args[0]
    return node


def _connection_name(program: Program, call: ast.Call, at: int) -> str:
    """Return the name of the database of a connection.

    Only the last part of the URI's path is used, because the URI may contain a password.
    """
    connection = call.args[1] if len(call.args) > 1 else next((k.value for k in call.keywords if k.arg == "con"), None)
    for _ in range(3):
        if isinstance(connection, ast.Name):
            index = program.reaching_definition(connection.id, at)
            connection, at = (None, at) if index is None else (program[index].value, index)
        elif isinstance(connection, ast.Call):
            if isinstance(connection.func, ast.Attribute) and connection.func.attr == "connect" and not connection.args:
                connection = connection.func.value
            else:
                connection = connection.args[0] if connection.args else None
    uri = evaluate_string(program, connection, at) or ""
    path = urlsplit(uri).path.strip("/") if "://" in uri else uri
    stem = PurePosixPath(path.split("?", maxsplit=1)[0]).stem
    name = re.sub(r"\W+", "_", stem).strip("_").lower()
    return name if re.fullmatch(r"[a-z]\w{0,40}", name) else "database"
