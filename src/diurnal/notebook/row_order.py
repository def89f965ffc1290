"""The column that orders rows, for searches that split by the order of rows."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from diurnal.notebook.constants import evaluate_strings
from diurnal.notebook.program import Program
from diurnal.notebook.syntax import callee_name


def depends_on_row_order(search: Iterable[ast.AST]) -> bool:
    """Return whether a search splits by the order of rows, as `TimeSeriesSplit` does."""
    calls = (part for node in search for part in ast.walk(node) if isinstance(part, ast.Call))
    return any("timeseries" in callee_name(call.func).lower() for call in calls)


def find_sort_column(program: Program, before: int) -> str | None:
    """Return the column of the last ``sort_values`` before a statement, or None."""
    for index in reversed(range(before)):
        for call in (part for part in ast.walk(program[index].node) if isinstance(part, ast.Call)):
            if callee_name(call.func) == "sort_values":
                argument = call.args[0] if call.args else next((k.value for k in call.keywords if k.arg == "by"), None)
                names = evaluate_strings(program, argument, index)
                return names[0] if names else None
    return None
