"""The imports that statements need, and their text in the order of isort."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from diurnal.notebook.effects import find_free_names
from diurnal.notebook.magics import parse_python
from diurnal.notebook.program import Program

_MAX_LINE = 120
_EXPERIMENTAL = {
    "HalvingGridSearchCV": "enable_halving_search_cv",
    "HalvingRandomSearchCV": "enable_halving_search_cv",
    "IterativeImputer": "enable_iterative_imputer",
}
ALIASES = {
    "np": "numpy",
    "pd": "pandas",
    "plt": "matplotlib.pyplot",
    "sns": "seaborn",
    "xgb": "xgboost",
    "lgb": "lightgbm",
}


class Import(NamedTuple):
    """One imported name.

    Attributes
    ----------
    module : str
        The module that contains the name: empty for ``import numpy as np``, with leading dots if relative.
    name : str
        The name, or the module of ``import numpy as np``.
    alias : str or None
        The alias.
    """

    module: str
    name: str
    alias: str | None = None

    @property
    def bound(self) -> str:
        """The name that the import binds."""
        return self.alias or (self.name if self.module else self.name.split(".")[0])

    @property
    def top(self) -> str:
        """The top-level package of the import."""
        return (self.module or self.name).split(".")[0]


def find_imports(program: Program, nodes: dict[int, ast.stmt], names: Iterable[str] = (), at: int = 0) -> set[Import]:
    """Return the imports that statements and names need.

    Parameters
    ----------
    program : Program
        The statements of the notebook.
    nodes : dict of int to ast.stmt
        The statements, by index.
    names : iterable of str
        Further names that need imports.
    at : int
        The index of the statement that uses `names`.
    """
    names_at = [(name, index) for index, node in nodes.items() for name in find_free_names(node)]
    names_at += [(name, at) for name in names]
    found = {import_ for name, index in names_at for import_ in _imports_of_name(program, name, index)}
    return found | {
        Import("sklearn.experimental", _EXPERIMENTAL[import_.name])
        for import_ in found
        if import_.name in _EXPERIMENTAL
    }


def _imports_of_name(program: Program, name: str, at: int) -> Iterable[Import]:
    """Yield the import that binds a name; nothing if another statement binds it."""
    index = program.reaching_definition(name, at)
    if index is None and (star := _import_from_star(program, name, at)):
        yield star
        return
    if index is None:  # cells ran in another order
        index = program.reaching_definition(name, len(program))
    if index is None:
        found = find_missing_import(program, name)
        yield from [found] if found else []
        return
    node = program[index].node
    if isinstance(node, ast.ImportFrom):
        module = "." * node.level + (node.module or "")
        yield from (Import(module, a.name, a.asname) for a in node.names if (a.asname or a.name) == name)
    elif isinstance(node, ast.Import):
        yield from (Import("", a.name, a.asname) for a in node.names if Import("", a.name, a.asname).bound == name)


def find_missing_import(program: Program, name: str) -> Import | None:
    """Return the import of a name that the notebook uses and does not define; None if it is not known, or defined."""
    end = len(program)
    is_bound = program.reaching_definition(name, end) is not None or _import_from_star(program, name, end) is not None
    return None if is_bound else find_library_import(name)


def find_library_import(name: str) -> Import | None:
    """Return the import of a name of scikit-learn, or of the usual alias of a library; None if it is neither.

    Cells run in any order, and a kernel knows the imports of cells that were deleted.

    Examples
    --------
    >>> find_library_import("GridSearchCV")
    Import(module='sklearn.model_selection', name='GridSearchCV', alias=None)
    >>> find_library_import("np")
    Import(module='', name='numpy', alias='np')
    """
    if name in ALIASES:
        return Import("", ALIASES[name], name)
    module = _sklearn_names().get(name)
    return Import(module, name) if module else None


@cache
def _sklearn_names() -> dict[str, str]:
    """Return the module of each public name of scikit-learn."""
    import sklearn

    modules = [module for name in sklearn.__all__ if importlib.util.find_spec(module := f"sklearn.{name}")]
    return {name: module for module in modules for name in _installed_module_names(module)}


def _import_from_star(program: Program, name: str, at: int) -> Import | None:
    """Return the import of a name that a ``from module import *`` binds."""
    for statement in reversed(program.statements[:at]):
        node = statement.node
        module = node.module if isinstance(node, ast.ImportFrom) and node.names[0].name == "*" else None
        if module and name in _module_names(module, program.document.path.parent):
            return Import(module, name)
    return None


def _module_names(module: str, folder: Path) -> set[str]:
    """Return the names of a module: parsed from a file in the notebook's folder, or imported if it is installed."""
    path = folder.joinpath(*module.split(".")).with_suffix(".py")
    if path.is_file():
        try:
            tree = parse_python(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            return set()
        return {name for node in tree.body for name in _names_bound_by(node)}
    return _installed_module_names(module) if _is_installed(module.split(".", maxsplit=1)[0]) else set()


def _names_bound_by(node: ast.stmt) -> Iterable[str]:
    """Return the names that a module-level statement binds."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [(alias.asname or alias.name).split(".")[0] for alias in node.names]
    return [part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)]


def _is_installed(package: str) -> bool:
    """Return whether a package is installed. A file of the user is never imported, since that would run it."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return False
    roots = [sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")]
    origin = spec.origin if spec is not None else None
    return origin in ("built-in", "frozen") or bool(origin and any(Path(origin).is_relative_to(home) for home in roots))


def _installed_module_names(module: str) -> set[str]:
    try:
        found = importlib.import_module(module)
    except Exception:  # noqa: BLE001 - a package may raise any exception when it is imported
        return set()
    return set(getattr(found, "__all__", None) or (name for name in dir(found) if not name.startswith("_")))


def format_imports(imports: Iterable[Import], indent: int = 0) -> list[str]:
    """Return the lines of imports in the order of isort: sections, then modules, then names."""
    sections: dict[int, list[Import]] = {}
    for import_ in set(imports):
        section = (
            0
            if import_.top == "__future__"
            else 1
            if import_.top in sys.stdlib_module_names
            else 2
            if import_.top
            else 3
        )
        sections.setdefault(section, []).append(import_)
    lines: list[str] = []
    for section in sorted(sections):
        lines += [""] * bool(lines) + _format_section(sections[section], indent)
    return lines


def _format_section(imports: list[Import], indent: int) -> list[str]:
    plain = sorted(f"import {import_.name}{_alias_suffix(import_)}" for import_ in imports if not import_.module)
    modules = sorted({import_.module for import_ in imports if import_.module}, key=str.lower)
    return plain + [line for module in modules for line in _format_from_imports(module, imports, indent)]


def _alias_suffix(import_: Import) -> str:
    return f" as {import_.alias}" if import_.alias and import_.alias != import_.name else ""


def _format_from_imports(module: str, imports: list[Import], indent: int) -> list[str]:
    names = sorted({import_ for import_ in imports if import_.module == module}, key=_sort_key)
    plain = [import_.name for import_ in names if not _alias_suffix(import_)]
    unused = "  # noqa: F401" if module == "sklearn.experimental" else ""  # the import itself enables the feature
    line = f"from {module} import {', '.join(plain)}{unused}"
    lines = [line] if plain else []
    if len(line) + indent > _MAX_LINE:
        lines = [f"from {module} import (", *(f"    {name}," for name in plain), ")"]
    return [
        *lines,
        *(
            f"from {module} import {import_.name}{_alias_suffix(import_)}"
            for import_ in names
            if _alias_suffix(import_)
        ),
    ]


def _sort_key(import_: Import) -> tuple[int, str]:
    """Return the sort key of isort: constants before classes before functions."""
    rank = 0 if import_.name.isupper() and len(import_.name) > 1 else 1 if import_.name[:1].isupper() else 2
    return rank, import_.name.lower()
