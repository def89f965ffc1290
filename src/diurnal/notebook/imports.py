"""The imports that some statements need, and in which order they stand."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from diurnal.notebook.effects import find_free_names
from diurnal.notebook.magics import parse_python
from diurnal.notebook.program import Program

_LONGEST = 120
_EXPERIMENTAL = {
    "HalvingGridSearchCV": "enable_halving_search_cv",
    "HalvingRandomSearchCV": "enable_halving_search_cv",
    "IterativeImputer": "enable_iterative_imputer",
}


class Import(NamedTuple):
    """One name that is imported.

    Attributes
    ----------
    module : str
        Where from: empty for ``import numpy as np``, dots at its head for a relative one.
    name : str
        What.
    alias : str or None
        Under which other name.
    """

    module: str
    name: str
    alias: str | None = None

    @property
    def bound(self) -> str:
        """The name that it binds."""
        return self.alias or (self.name if self.module else self.name.split(".")[0])

    @property
    def top(self) -> str:
        """The top-level package that it comes from."""
        return (self.module or self.name).split(".")[0]


def needed(program: Program, nodes: dict[int, ast.stmt], names: Iterable[str] = (), at: int = 0) -> set[Import]:
    """Return what some statements import.

    Parameters
    ----------
    program : Program
        All statements.
    nodes : dict of int to ast.stmt
        Those that need imports, by their indexes.
    names : iterable of str
        Further names.
    at : int
        The index of the statement that needs these.
    """
    asked = [(name, index) for index, node in nodes.items() for name in find_free_names(node)]
    asked += [(name, at) for name in names]
    found = {made for name, index in asked for made in _made(program, name, index)}
    return found | {
        Import("sklearn.experimental", _EXPERIMENTAL[one.name]) for one in found if one.name in _EXPERIMENTAL
    }


def _made(program: Program, name: str, at: int) -> Iterable[Import]:
    """Return the import that binds a name; none where something else does."""
    index = program.definition(name, at)
    if index is None:
        yield from _of_star(program, name, at)
        return
    node = program[index].node
    if isinstance(node, ast.ImportFrom):
        module = "." * node.level + (node.module or "")
        yield from (Import(module, a.name, a.asname) for a in node.names if (a.asname or a.name) == name)
    elif isinstance(node, ast.Import):
        yield from (Import("", a.name, a.asname) for a in node.names if Import("", a.name, a.asname).bound == name)


def _of_star(program: Program, name: str, at: int) -> Iterable[Import]:
    """Find the ``from module import *`` that gives a name."""
    for statement in reversed(program.statements[:at]):
        node = statement.node
        module = node.module if isinstance(node, ast.ImportFrom) and node.names[0].name == "*" else None
        if module and name in _names_of_module(module, program.document.path.parent):
            yield Import(module, name)
            return


def _names_of_module(module: str, folder: Path) -> set[str]:
    """Return the names of a module: read off a file of the notebook's folder, or asked of an installed package."""
    path = folder.joinpath(*module.split(".")).with_suffix(".py")
    if path.is_file():
        try:
            tree = parse_python(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            return set()
        return {name for node in tree.body for name in names_bound(node)}
    return _names_installed(module) if _is_installed(module.split(".", maxsplit=1)[0]) else set()


def names_bound(node: ast.stmt) -> Iterable[str]:
    """Return the names that a statement of a module binds."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [(alias.asname or alias.name).split(".")[0] for alias in node.names]
    return [part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)]


def _is_installed(package: str) -> bool:
    """Return whether a package is installed, and so no file of the user's: only then it is imported."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return False
    homes = [sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")]
    origin = spec.origin if spec is not None else None
    return origin in ("built-in", "frozen") or bool(origin and any(Path(origin).is_relative_to(home) for home in homes))


def _names_installed(module: str) -> set[str]:
    try:
        found = importlib.import_module(module)
    except Exception:  # noqa: BLE001 - whatever a package does when it is imported, the name stays unknown
        return set()
    return set(getattr(found, "__all__", None) or (name for name in dir(found) if not name.startswith("_")))


def lines_of(imports: Iterable[Import], indent: int = 0) -> list[str]:
    """Write imports in the order that formatters put them: sections, then modules, then names."""
    sections: dict[int, list[Import]] = {}
    for one in set(imports):
        section = 0 if one.top == "__future__" else 1 if one.top in sys.stdlib_module_names else 2 if one.top else 3
        sections.setdefault(section, []).append(one)
    lines: list[str] = []
    for section in sorted(sections):
        lines += [""] * bool(lines) + _section(sections[section], indent)
    return lines


def _section(imports: list[Import], indent: int) -> list[str]:
    plain = sorted(f"import {one.name}{_as(one)}" for one in imports if not one.module)
    modules = sorted({one.module for one in imports if one.module}, key=str.lower)
    return plain + [line for module in modules for line in _from(module, imports, indent)]


def _as(one: Import) -> str:
    return f" as {one.alias}" if one.alias and one.alias != one.name else ""


def _from(module: str, imports: list[Import], indent: int) -> list[str]:
    names = sorted({one for one in imports if one.module == module}, key=_order)
    plain = [one.name for one in names if not _as(one)]
    unused = "  # noqa: F401" if module == "sklearn.experimental" else ""  # importing them is what they are for
    line = f"from {module} import {', '.join(plain)}{unused}"
    lines = [line] if plain else []
    if len(line) + indent > _LONGEST:
        lines = [f"from {module} import (", *(f"    {name}," for name in plain), ")"]
    return [*lines, *(f"from {module} import {one.name}{_as(one)}" for one in names if _as(one))]


def _order(one: Import) -> tuple[int, str]:
    """Put constants before classes before functions, as isort does."""
    rank = 0 if one.name.isupper() and len(one.name) > 1 else 1 if one.name[:1].isupper() else 2
    return rank, one.name.lower()
