"""The project's own code: which files it is, and under which names their modules are known.

Own is what lies in the project's folder or beside an experiment's file, and is neither installed there nor data. A
module has one name here, whatever it was imported as: that by which the project finds its file.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

from diurnal.errors import ConfigurationError

FILE = "diurnal.toml"
_INSTALLED = ("site-packages", "dist-packages")


@dataclass(frozen=True)
class Codebase:
    """Folders of own code.

    Attributes
    ----------
    roots : tuple of Path
        The project's folder and those of experiments.
    data : tuple of Path
        Folders below them that hold data: what lies there is never code.
    names : frozenset of str, optional
        Full names of the only classes and functions that are asked for; None: any.
    """

    roots: tuple[Path, ...] = ()
    data: tuple[Path, ...] = ()
    names: frozenset[str] | None = None

    @classmethod
    def of(cls, folders: Iterable[str | Path], data: Iterable[str | Path] = ()) -> Codebase:
        """Return the code in some folders, less that in others."""
        found = dict.fromkeys(Path(folder).resolve() for folder in folders)
        return cls(tuple(found), tuple(Path(folder).resolve() for folder in data))

    @classmethod
    def around(cls, file: str | Path) -> Codebase:
        """Return the code of the project that a file is in, and what lies beside the file."""
        folder = Path(file).resolve().parent
        project = next((above for above in (folder, *folder.parents) if (above / FILE).is_file()), folder)
        return cls.of([project, folder])

    def __or__(self, other: Codebase) -> Codebase:
        """Return the code of both."""
        return Codebase.of([*self.roots, *other.roots], [*self.data, *other.data])

    def holds(self, file: str | Path) -> bool:
        """Return whether a file is own code."""
        path = Path(file).resolve()
        root = next((root for root in self.roots if path.is_relative_to(root)), None)
        if root is None:
            return False
        apart = (folder for folder in (*self.data, *_libraries()) if folder != root and folder.is_relative_to(root))
        if any(path.is_relative_to(folder) for folder in (*apart, *_libraries())):
            return False
        inner = path.relative_to(root).parts
        return not any(part.startswith(".") or part in _INSTALLED for part in inner)

    def only(self, names: Iterable[str]) -> Codebase:
        """Return the same code, of which only some names are asked for."""
        return replace(self, names=frozenset(names))

    def knows(self, name: str) -> bool:
        """Return whether the full name of a class or function is of own code, and may be asked for."""
        asked = self.names is None or name in self.names
        return bool(self.roots) and asked and self.file_of(name.rpartition(".")[0]) is not None

    def file_of(self, module: str) -> Path | None:
        """Find the own file of a module by the module's name; nothing is imported."""
        places: list[str] | None = [str(place) for place in self._places()]
        origin = None
        for part in module.split("."):
            spec = PathFinder.find_spec(part, places) if part else None
            if spec is None:
                return None
            origin, places = spec.origin, list(spec.submodule_search_locations or ())
        return Path(origin).resolve() if origin and self.holds(origin) else None

    def name_of(self, module: str) -> str | None:
        """Return the one name of an imported module; None if it is not own code."""
        path = _file(sys.modules.get(module))
        if path is None or not self.holds(path):
            return None
        name = next(dotted(path, place) for place in self._places() if path.is_relative_to(place))
        return name if self.file_of(name) == path else None

    def module(self, name: str) -> ModuleType:
        """Return a module of own code by its one name, imported here already or now.

        Raises
        ------
        ConfigurationError
            If there is none.
        """
        path = self.file_of(name)
        if path is None:
            raise ConfigurationError(
                f"there is no module {name!r} in {', '.join(map(str, self.roots)) or 'a project'}",
                hint="put the file back, or run the data interval again",
            )
        for other in (sys.modules.get(name), *list(sys.modules.values())):
            if other is not None and _file(other) == path:
                return other
        place = next(place for place in self._places() if path.is_relative_to(place))
        put_on_path(place, path.parent, *self.roots[1:])
        known = importlib.util.find_spec(name)
        usual = known is not None and known.origin is not None and Path(known.origin).resolve() == path
        return importlib.import_module(name) if usual else import_file(path, place)

    def _places(self) -> list[Path]:
        """Return the folders that names start from, the deepest first where one lies in another."""
        return [place for root in self.roots for place in (root / "src", root)]


def dotted(path: Path, root: Path) -> str:
    """Return the name of a file's module as it is seen from a folder.

    Examples
    --------
    >>> dotted(Path("/p/experiments/churn.py"), Path("/p")), dotted(Path("/p/own/__init__.py"), Path("/p"))
    ('experiments.churn', 'own')
    """
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_file(path: Path, project: Path) -> ModuleType:
    """Import a file under the name that it has when seen from the project, or find it imported already."""
    put_on_path(project, path.parent)
    name = dotted(path, project) if path.is_relative_to(project) else path.stem
    if _taken(name, path):
        import hashlib

        name = f"{name}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def in_place_of(code: Codebase, folder: Path) -> Iterator[Codebase]:
    """Let another state of own code, in another folder, be imported meanwhile; what is imported of `code` comes back.

    Parameters
    ----------
    code : Codebase
        The code of the project as it is.
    folder : Path
        Where the other state is.

    Yields
    ------
    Codebase
        The other state.
    """
    path, other = list(sys.path), Codebase.of([folder])
    aside = _imported_of(code)
    for name in aside:
        del sys.modules[name]
    sys.path[:] = [entry for entry in path if not code.holds(Path(entry or ".") / "any.py")]
    importlib.invalidate_caches()
    try:
        yield other
    finally:
        for name in _imported_of(other):
            del sys.modules[name]
        sys.modules.update(aside)
        sys.path[:] = path
        importlib.invalidate_caches()


def _imported_of(code: Codebase) -> dict[str, ModuleType]:
    files = {name: _file(module) for name, module in list(sys.modules.items())}
    return {name: sys.modules[name] for name, file in files.items() if file is not None and code.holds(file)}


def put_on_path(project: Path | None, *folders: Path) -> None:
    """Let files of the project import each other, now and when a function runs, as ``python -m`` does.

    Folders of experiments come last, for helpers that lie beside one: a file there takes no library's name.
    """
    path = [entry for entry in sys.path if project is None or entry != str(project)]
    front = [] if project is None else [str(project)]
    path = front + path + [str(one) for one in dict.fromkeys(folders) if str(one) not in {*front, *path}]
    if path != sys.path:
        sys.path[:] = path
        importlib.invalidate_caches()


def _taken(name: str, path: Path) -> bool:
    """Say whether a name belongs to another file: Python's own random, the experiments of another project."""
    if name in sys.modules:
        return _file(sys.modules[name]) != path
    known = None if "." in name else importlib.util.find_spec(name)
    return bool(known and known.origin and Path(known.origin).resolve() != path)


def _file(module: ModuleType | None) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file).resolve() if isinstance(file, str) else None


@functools.cache
def _libraries() -> frozenset[Path]:
    paths = sysconfig.get_paths()
    return frozenset(Path(paths[kind]).resolve() for kind in ("stdlib", "platstdlib", "purelib", "platlib"))
