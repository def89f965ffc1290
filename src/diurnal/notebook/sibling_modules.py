"""The modules that lie beside a notebook."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

from diurnal.notebook.magics import parse_python


def modules_of(nodes: Iterable[ast.stmt], notebook: Path) -> list[Path]:
    """Return the files beside a notebook that some statements import, and those that these import.

    Parameters
    ----------
    nodes : iterable of ast.stmt
        Statements, imports among them.
    notebook : Path
        The notebook.
    """
    own, found = notebook.resolve(), list[Path]()
    waiting = [name for node in nodes for name in _imported(node)]
    while waiting:
        path = own.parent.joinpath(*waiting.pop().split(".")).with_suffix(".py")
        if path.is_file() and path not in (own, *found):
            found.append(path)
            waiting += [name for node in _imports_in(path) for name in _imported(node)]
    return found


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module] if node.module else [alias.name for alias in node.names]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


def _imports_in(path: Path) -> list[ast.AST]:
    try:
        tree = parse_python(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return []
    return [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
