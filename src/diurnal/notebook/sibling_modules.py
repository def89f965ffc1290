"""The modules in the folder of a notebook."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

from diurnal.notebook.magics import parse_python


def find_sibling_modules(nodes: Iterable[ast.stmt], notebook: Path) -> list[Path]:
    """Return the modules in the notebook's folder that statements import, directly or through other modules.

    Parameters
    ----------
    nodes : iterable of ast.stmt
        The statements, including imports.
    notebook : Path
        The path of the notebook.
    """
    own, found = notebook.resolve(), list[Path]()
    pending = [name for node in nodes for name in _imported_modules(node)]
    while pending:
        path = own.parent.joinpath(*pending.pop().split(".")).with_suffix(".py")
        if path.is_file() and path not in (own, *found):
            found.append(path)
            pending += [name for node in _import_statements(path) for name in _imported_modules(node)]
    return found


def _imported_modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module] if node.module else [alias.name for alias in node.names]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


def _import_statements(path: Path) -> list[ast.AST]:
    try:
        tree = parse_python(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return []
    return [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
