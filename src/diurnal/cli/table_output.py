"""Rows and fields as tables for people, or as JSON."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import click

_WIDE_COLUMNS = ("best_params", "reason", "description", "run_id", "digest", "path", "name", "removed")


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    click.echo(json.dumps(value, indent=2, default=_json_default))


def print_table(rows: Sequence[dict[str, Any]], json_: bool, columns: Sequence[str]) -> None:
    """Print rows: as JSON with all their keys, or as a table of those of `columns` that they have."""
    if json_:
        print_json(list(rows))
        return
    if not rows:
        click.echo("none")
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    console = _make_console()
    columns = [column for column in columns if any(column in row for row in rows)]
    cells = [[format_value(row.get(column)) for column in columns] for row in rows]
    max_width = _wide_column_width(columns, cells, console.width)
    for column in columns:
        width = max_width if column in _WIDE_COLUMNS else None
        table.add_column(column.replace("_", "\n"), no_wrap=True, max_width=width)
    for line in cells:
        table.add_row(*line)
    console.print(table)


def _wide_column_width(columns: Sequence[str], cells: Sequence[Sequence[str]], console_width: int) -> int:
    """Return the width of each wide column: an equal part of what the other columns leave, at least 12."""
    widths = [max(map(len, values)) for values in zip(*cells, strict=True)]
    narrow = [(column, width) for column, width in zip(columns, widths, strict=True) if column not in _WIDE_COLUMNS]
    taken = sum(2 + max(width, _heading_width(column)) for column, width in narrow)
    return max(12, (console_width - taken) // max(1, len(columns) - len(narrow)) - 2)


def _heading_width(column: str) -> int:
    """Return the width of a heading, whose parts are on lines of their own."""
    return max(map(len, column.split("_")))


def print_fields(fields: dict[str, Any], json_: bool) -> None:
    """Print names and values, one a line; a list has a line for each of its items."""
    if json_:
        print_json(fields)
        return
    width = max(map(len, fields))
    for name, value in fields.items():
        for i, line in enumerate(value if isinstance(value, list) and value else [value]):
            click.echo(f"{name if i == 0 else '':<{width}}  {format_value(line, 200)}")


def format_value(value: Any, limit: int = 60) -> str:
    """Return a value as a cell of a table, of at most `limit` characters.

    Examples
    --------
    >>> format_value(None), format_value(True), format_value(0.123456), format_value({"C": 10.0, "cv": 3})
    ('-', 'yes', '0.1235', 'C=10, cv=3')
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.4f}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d" if (value.hour, value.minute) == (0, 0) else "%Y-%m-%d %H:%M")
    if isinstance(value, dict):
        value = ", ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in value.items())
    text = str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def format_bytes(n_bytes: int) -> str:
    """Return a size for people.

    Examples
    --------
    >>> format_bytes(512), format_bytes(1_234_567), format_bytes(5_000_000_000_000)
    ('512 B', '1.2 MB', '5,000.0 GB')
    """
    units = [(10**9, "GB"), (10**6, "MB"), (10**3, "kB")]
    size, unit = next(((size, unit) for size, unit in units if n_bytes >= size), (1, "B"))
    return f"{n_bytes} B" if size == 1 else f"{n_bytes / size:,.1f} {unit}"


def _make_console() -> Any:
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=200)


def _json_default(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value)
