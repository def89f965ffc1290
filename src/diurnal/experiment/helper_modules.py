"""The text of the project's modules that an experiment uses, which the digest of its code includes.

They are found without an import, from the ``import`` statements of the file and of the modules that it imports.
Imports by other means are not found.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from diurnal.runtime.project_files import Codebase


def helper_texts(tree: ast.AST, file: Path, *, unused: bool = False) -> dict[str, str]:
    """Return the text of each module of the project that a file uses, directly or not, by its path in the project.

    Parameters
    ----------
    tree : ast.AST
        The parsed file, without the parts that do not count.
    file : Path
        Its path.
    unused : bool
        Whether to include modules that are imported and not used: without them the file cannot be imported.
    """
    code = Codebase.around(file)
    texts: dict[Path, str] = {}
    queue = [(tree, file)]
    while queue:
        module, location = queue.pop()
        for path in _imported_files(module, location, code, unused=unused):
            if path not in texts and path != file.resolve():
                texts[path] = read_text(path)
                queue.append((_parse_module(texts[path]), path))
    return {_relative_path(path, code.roots[0]): text for path, text in sorted(texts.items())}


def path_in_project(file: Path) -> str:
    """Return the path of a file relative to its project."""
    return _relative_path(file.resolve(), Codebase.around(file).roots[0])


def read_text(path: Path) -> str:
    """Return the present text of a file, through the cache of lines that tracebacks use."""
    linecache.checkcache(str(path))
    return "".join(linecache.getlines(str(path)))


@lru_cache(maxsize=64)
def _parse_module(text: str) -> ast.AST:
    try:
        return ast.parse(text)
    except SyntaxError:  # its import raises the error
        return ast.Module([], [])


def _relative_path(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _imported_files(tree: ast.AST, place: Path, code: Codebase, *, unused: bool) -> Iterator[Path]:
    """Yield the files of the project that a file imports and uses, or all that it imports."""
    imports, used = _find_imports(tree)

    def is_included(name: str) -> bool:
        return unused or name in used

    for node in imports:
        if isinstance(node, ast.Import):
            aliases = [alias for alias in node.names if is_included(alias.asname or alias.name.partition(".")[0])]
            yield from _files_of_modules(code, (alias.name for alias in aliases))
        else:
            names = [alias.name for alias in node.names if alias.name == "*" or is_included(alias.asname or alias.name)]
            if names:
                yield from _files_of_from_import(node, names, place, code)


@lru_cache(maxsize=64)
def _find_imports(tree: ast.AST) -> tuple[list[ast.Import | ast.ImportFrom], set[str]]:
    """Return the import statements of a file, and all names that its code uses."""
    nodes = list(ast.walk(tree))
    imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    return imports, {node.id for node in nodes if isinstance(node, ast.Name)}


def _files_of_from_import(node: ast.ImportFrom, names: list[str], place: Path, code: Codebase) -> Iterator[Path]:
    if not node.level:
        yield from _files_of_modules(code, (node.module or "", *(f"{node.module}.{name}" for name in names)))
        return
    folder = place.resolve().parents[node.level - 1].joinpath(*(node.module or "").split("."))
    modules = [
        folder.with_suffix(".py"),
        *(inner for name in ("__init__", *names) for inner in [folder / f"{name}.py"]),
    ]
    yield from (path for path in modules if path.is_file() and code.contains(path))


def _files_of_modules(code: Codebase, modules: Iterator[str] | tuple[str, ...]) -> Iterator[Path]:
    """Yield the files of modules and of the packages that contain them."""
    split = [module.split(".") for module in modules]
    names = dict.fromkeys(".".join(parts[:n]) for parts in split for n in range(1, len(parts) + 1))
    yield from (path for path in map(code.file_of, names) if path is not None)
