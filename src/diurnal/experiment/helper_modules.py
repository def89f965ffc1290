"""The project's own modules that an experiment uses, as text: what the digest of its code covers beside its file.

They are found by reading, not by importing: ``import`` statements of the file and of the modules that they lead to.
What is imported by other means is not seen.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator
from pathlib import Path

from diurnal.runtime.project_files import Codebase


def helper_texts(tree: ast.AST, file: Path, *, unused: bool = False) -> dict[str, str]:
    """Return the text of each own module that a file uses, directly or not, by its place in the project.

    Parameters
    ----------
    tree : ast.AST
        The file as read, less what does not count.
    file : Path
        Where it is.
    unused : bool
        Whether modules that are imported and not used are wanted too: without them the file cannot be imported.
    """
    code = Codebase.around(file)
    found: dict[Path, str] = {}
    waiting = [(tree, file)]
    while waiting:
        one, place = waiting.pop()
        for path in _imported(one, place, code, unused=unused):
            if path not in found and path != file.resolve():
                found[path] = text_of(path)
                waiting.append((_parsed(found[path]), path))
    return {_place(path, code.roots[0]): text for path, text in sorted(found.items())}


def place_of(file: Path) -> str:
    """Return the place of an own file in its project."""
    return _place(file.resolve(), Codebase.around(file).roots[0])


def text_of(path: Path) -> str:
    """Return the text of a file as it is now."""
    linecache.checkcache(str(path))
    return "".join(linecache.getlines(str(path)))


def _parsed(text: str) -> ast.AST:
    try:
        return ast.parse(text)
    except SyntaxError:  # importing it will say so
        return ast.Module([], [])


def _place(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _imported(tree: ast.AST, place: Path, code: Codebase, *, unused: bool) -> Iterator[Path]:
    """Return the own files that a file imports and uses, or all that it imports."""
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}

    def is_wanted(name: str) -> bool:
        return unused or name in used

    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            wanted = [alias for alias in node.names if is_wanted(alias.asname or alias.name.partition(".")[0])]
            yield from _files(code, (alias.name for alias in wanted))
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names if alias.name == "*" or is_wanted(alias.asname or alias.name)]
            if names:
                yield from _from(node, names, place, code)


def _from(node: ast.ImportFrom, names: list[str], place: Path, code: Codebase) -> Iterator[Path]:
    if not node.level:
        yield from _files(code, (node.module or "", *(f"{node.module}.{name}" for name in names)))
        return
    folder = place.resolve().parents[node.level - 1].joinpath(*(node.module or "").split("."))
    modules = [
        folder.with_suffix(".py"),
        *(inner for name in ("__init__", *names) for inner in [folder / f"{name}.py"]),
    ]
    yield from (path for path in modules if path.is_file() and code.contains(path))


def _files(code: Codebase, modules: Iterator[str] | tuple[str, ...]) -> Iterator[Path]:
    """Return the own files of modules, those of the packages around them included."""
    for module in modules:
        parts = module.split(".")
        names = (".".join(parts[:n]) for n in range(1, len(parts) + 1))
        yield from (path for path in map(code.file_of, names) if path is not None)
