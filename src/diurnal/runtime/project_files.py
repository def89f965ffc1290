"""The code of the project: its files, and the names of their modules.

The code of a project is the files in its folder and beside the file of an experiment, without installed packages and
folders of data. A module has one name here, even if it was imported under another one: the name by which an import
from the project's folder finds its file.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import TypeGuard

from diurnal.errors import ConfigurationError

FILE = "diurnal.toml"
_INSTALLED = ("site-packages", "dist-packages")


@dataclass(frozen=True)
class Codebase:
    """Folders with the code of a project.

    Attributes
    ----------
    roots : tuple of Path
        The folder of the project and those of experiments.
    data : tuple of Path
        Folders below them that contain data; files in them are never code.
    names : frozenset of str, optional
        Full names of the classes and functions that are allowed; None: all.
    """

    roots: tuple[Path, ...] = ()
    data: tuple[Path, ...] = ()
    names: frozenset[str] | None = None

    @classmethod
    def of(cls, folders: Iterable[str | Path], data: Iterable[str | Path] = ()) -> Codebase:
        """Return the code in some folders, without that in `data`."""
        roots = dict.fromkeys(Path(folder).resolve() for folder in folders)
        return cls(tuple(roots), tuple(Path(folder).resolve() for folder in data))

    @classmethod
    def around(cls, file: str | Path) -> Codebase:
        """Return the code of the project that a file is in, and of the folder of the file."""
        folder = Path(file).resolve().parent
        project = next((above for above in (folder, *folder.parents) if (above / FILE).is_file()), folder)
        return cls.of([project, folder])

    def __or__(self, other: Codebase) -> Codebase:
        """Return the code of both."""
        return Codebase.of([*self.roots, *other.roots], [*self.data, *other.data])

    def contains(self, file: str | Path) -> bool:
        """Return whether a file is code of the project."""
        path = Path(file).resolve()
        root = next((root for root in self.roots if path.is_relative_to(root)), None)
        if root is None:
            return False
        excluded = (
            folder for folder in (*self.data, *_library_folders()) if folder != root and folder.is_relative_to(root)
        )
        if any(path.is_relative_to(folder) for folder in (*excluded, *_library_folders())):
            return False
        inner = path.relative_to(root).parts
        return not any(part.startswith(".") or part in _INSTALLED for part in inner)

    def restrict_to(self, names: Iterable[str]) -> Codebase:
        """Return the same code, of which only some names are allowed."""
        return replace(self, names=frozenset(names))

    def allows(self, name: str) -> bool:
        """Return whether the full name of a class or function belongs to the code and is allowed."""
        is_named = self.names is None or name in self.names
        return bool(self.roots) and is_named and self.file_of(name.rpartition(".")[0]) is not None

    def file_of(self, module: str) -> Path | None:
        """Return the file of a module by its name, without an import; None if it is not code of the project."""
        folders: list[str] | None = [str(folder) for folder in self._import_roots()]
        origin = None
        for part in module.split("."):
            spec = PathFinder.find_spec(part, folders) if part else None
            if spec is None:
                return None
            origin, folders = spec.origin, list(spec.submodule_search_locations or ())
        return Path(origin).resolve() if origin and self.contains(origin) else None

    def name_of(self, module: str) -> str | None:
        """Return the one name of an imported module; None if it is not code of the project."""
        path = _file_of(sys.modules.get(module))
        if path is None or not self.contains(path):
            return None
        name = next(module_name(path, root) for root in self._import_roots() if path.is_relative_to(root))
        return name if self.file_of(name) == path else None

    def load_module(self, name: str) -> ModuleType:
        """Return a module by its one name; import it if no module of its file is imported yet.

        Raises
        ------
        ConfigurationError
            If the project has no such module.
        """
        path = self.file_of(name)
        if path is None:
            raise ConfigurationError(
                f"there is no module {name!r} in {', '.join(map(str, self.roots)) or 'a project'}",
                hint="put the file back, or run the data interval again",
            )
        status = path.stat()
        for other in (sys.modules.get(name), *list(sys.modules.values())):
            if _has_status(other, status) and _file_of(other) == path:
                return other
        root = next(root for root in self._import_roots() if path.is_relative_to(root))
        extend_sys_path(root, path.parent, *self.roots[1:])
        spec = importlib.util.find_spec(name)
        is_importable = spec is not None and spec.origin is not None and Path(spec.origin).resolve() == path
        return importlib.import_module(name) if is_importable else import_file(path, root)

    def _import_roots(self) -> list[Path]:
        """Return the folders that names start from; a folder precedes the folder that contains it."""
        return [folder for root in self.roots for folder in (root / "src", root)]


def module_name(path: Path, root: Path) -> str:
    """Return the name of the module of a file for imports from a folder.

    Examples
    --------
    >>> module_name(Path("/p/experiments/churn.py"), Path("/p")), module_name(Path("/p/own/__init__.py"), Path("/p"))
    ('experiments.churn', 'own')
    """
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_file(path: Path, project: Path) -> ModuleType:
    """Return the module of a file, named as for imports from the project; import it if it is not imported yet."""
    extend_sys_path(project, path.parent)
    name = module_name(path, project) if path.is_relative_to(project) else path.stem
    if _is_taken(name, path):
        import hashlib

        name = f"{name}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def replace_code(code: Codebase, folder: Path) -> Iterator[Codebase]:
    """Replace the imported code of a project by another state of it, in another folder, while the block runs.

    At the end, the imported modules of `code` and ``sys.path`` are restored.

    Parameters
    ----------
    code : Codebase
        The present code of the project.
    folder : Path
        The folder of the other state.

    Yields
    ------
    Codebase
        The other state.
    """
    path, other = list(sys.path), Codebase.of([folder])
    originals = _imported_modules(code)
    for name in originals:
        del sys.modules[name]
    sys.path[:] = [entry for entry in path if not code.contains(Path(entry or ".") / "any.py")]
    importlib.invalidate_caches()
    try:
        yield other
    finally:
        for name in _imported_modules(other):
            del sys.modules[name]
        sys.modules.update(originals)
        sys.path[:] = path
        importlib.invalidate_caches()


def _imported_modules(code: Codebase) -> dict[str, ModuleType]:
    files = {name: _file_of(module) for name, module in list(sys.modules.items())}
    return {name: sys.modules[name] for name, file in files.items() if file is not None and code.contains(file)}


def extend_sys_path(project: Path | None, *folders: Path) -> None:
    """Extend ``sys.path``, so that files of the project can import each other, now and when a function runs.

    The folder of the project is first, as with ``python -m``. Folders of experiments are last, for helpers beside an
    experiment, so that a file there does not hide a library of the same name.
    """
    path = [entry for entry in sys.path if project is None or entry != str(project)]
    front = [] if project is None else [str(project)]
    path = front + path + [str(one) for one in dict.fromkeys(folders) if str(one) not in {*front, *path}]
    if path != sys.path:
        sys.path[:] = path
        importlib.invalidate_caches()


def _is_taken(name: str, path: Path) -> bool:
    """Return whether a name belongs to another file: Python's own ``random``, the experiments of another project."""
    if name in sys.modules:
        return _file_of(sys.modules[name]) != path
    spec = None if "." in name else importlib.util.find_spec(name)
    return bool(spec and spec.origin and Path(spec.origin).resolve() != path)


def _file_of(module: ModuleType | None) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file).resolve() if isinstance(file, str) else None


def _has_status(module: ModuleType | None, status: os.stat_result) -> TypeGuard[ModuleType]:
    """Return whether the file of a module has an inode: resolving the paths of a thousand modules takes 0.3 seconds."""
    file = getattr(module, "__file__", None)
    try:
        return isinstance(file, str) and os.path.samestat(Path(file).stat(), status)
    except OSError:
        return False


@functools.cache
def _library_folders() -> frozenset[Path]:
    paths = sysconfig.get_paths()
    return frozenset(Path(paths[key]).resolve() for key in ("stdlib", "platstdlib", "purelib", "platlib"))
