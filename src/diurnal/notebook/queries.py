"""The queries of a notebook, as sources: their connections belong to the deployment."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from diurnal.errors import ExperimentError
from diurnal.notebook.constants import evaluate_string
from diurnal.notebook.effects import callee_name
from diurnal.notebook.program import Program
from diurnal.sources import Sql

QUERIES = ("read_sql", "read_sql_query", "read_sql_table")


@dataclass
class Reading:
    """A source for what a call reads.

    Attributes
    ----------
    source : str
        The expression of the source.
    imports : tuple of str
        What it needs of `diurnal.sources`.
    path : str or None
        The file that it reads, as the notebook names it.
    to_fill_in : list of str
        What the reader of the experiment has to decide.
    left_out : list of str
        Arguments of the call that were not taken over.
    notes : list of str
        What may differ.
    """

    source: str
    imports: tuple[str, ...]
    path: str | None = None
    to_fill_in: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def query_of(program: Program, call: ast.Call, at: int) -> Reading | None:
    """Return the source for a call of `read_sql`: the query, and a connection whose URI the deployment knows."""
    asked = (
        call.args[0] if call.args else next((k.value for k in call.keywords if k.arg in ("sql", "table_name")), None)
    )
    query = evaluate_string(program, _bare(asked), at)
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
        "for the rows of one data interval alone, ask for ... >= :start and ... < :end"
    )
    left_out = [f"{k.arg}={ast.unparse(k.value)}" for k in call.keywords if k.arg not in ("sql", "con", "table_name")]
    return Reading(f'Sql({query!r}, connection="{name}")', ("Sql",), None, [hint], left_out)


def _bare(node: ast.expr | None) -> ast.expr | None:
    """Take SQLAlchemy's ``text(...)`` off a query."""
    if isinstance(node, ast.Call) and callee_name(node.func) == "text" and node.args:
        return node.args[0]
    return node


def _connection_name(program: Program, call: ast.Call, at: int) -> str:
    """Name the connection by the database of its URI; the URI itself may hold a password, and is not taken."""
    given = call.args[1] if len(call.args) > 1 else next((k.value for k in call.keywords if k.arg == "con"), None)
    for _ in range(3):
        if isinstance(given, ast.Name):
            index = program.definition(given.id, at)
            given, at = (None, at) if index is None else (program[index].value, index)
        elif isinstance(given, ast.Call):
            if isinstance(given.func, ast.Attribute) and given.func.attr == "connect" and not given.args:
                given = given.func.value
            else:
                given = given.args[0] if given.args else None
    uri = evaluate_string(program, given, at) or ""
    path = urlsplit(uri).path.strip("/") if "://" in uri else uri
    stem = PurePosixPath(path.split("?", maxsplit=1)[0]).stem
    name = re.sub(r"\W+", "_", stem).strip("_").lower()
    return name if re.fullmatch(r"[a-z]\w{0,40}", name) else "database"
