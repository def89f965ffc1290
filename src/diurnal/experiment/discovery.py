"""Finding experiments: by a plain name, by a file or by a module."""

from __future__ import annotations

import importlib
import traceback
from pathlib import Path
from types import ModuleType

from diurnal.errors import DiurnalError, ExperimentError, NotFoundError, did_you_mean
from diurnal.experiment.declaration import Experiment
from diurnal.runtime.project_files import extend_sys_path, import_file

_FORMS = "a name (breast_cancer), a file (path/to/file.py:name) or a module (package.module:name)"


def find(reference: str, folder: Path) -> Experiment:
    """Find one experiment.

    Parameters
    ----------
    reference : str
        A plain name in the folder of experiments; or ``"path/to/file.py:name"``, seen from the project or from here;
        or ``"package.module:name"``, importable from the project.
    folder : Path
        The folder of experiments; the project is the folder that it lies in.

    Raises
    ------
    NotFoundError
        If there is none; it says where it looked and what is near.
    ExperimentError
        If its file cannot be imported, or two files declare that name.
    """
    folder = folder.resolve()
    place, _, name = reference.rpartition(":")
    if not place:
        return _by_name(reference, folder)
    if place.endswith(".py"):
        paths = [(base / place).resolve() for base in (folder.parent, Path.cwd())]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            raise NotFoundError(f"there is no file {paths[0]}", hint=f"give {_FORMS}")
        module = _import_file(path, folder.parent)
    else:
        module = _import_module(place, folder)
    declared = {value.name: value for value in vars(module).values() if isinstance(value, Experiment)}
    found = getattr(module, name, None)
    if not isinstance(found, Experiment):
        found = declared.get(name)
    if found is None:
        known = f"it has {', '.join(sorted(declared))}" if declared else "it declares none"
        raise NotFoundError(
            f"{place} has no experiment {name!r}; {known}{did_you_mean(name, declared)}", hint=f"give {_FORMS}"
        )
    return found


def discover(folder: Path) -> tuple[dict[str, Experiment], list[DiurnalError]]:
    """Find all experiments of a folder, in the order of their names. A broken file does not hide the others.

    Parameters
    ----------
    folder : Path
        The folder of experiments. Files whose names start with ``_`` or ``.`` are left alone.

    Returns
    -------
    found : dict of str to Experiment
        By name.
    errors : list of DiurnalError
        What could not be imported, and where; names that are declared twice (the first is in `found`).
    """
    everything, errors = _scan(folder)
    found: dict[str, Experiment] = {}
    for value in everything:
        other = found.setdefault(value.name, value)
        if other is not value:
            errors.append(_twice(other, value))
    return dict(sorted(found.items())), errors


def _scan(folder: Path) -> tuple[list[Experiment], list[DiurnalError]]:
    """Import all files of a folder; give what they declare, and what could not be imported."""
    folder = folder.resolve()
    if not folder.is_dir():
        return [], [
            NotFoundError(f"there is no folder {folder}", hint="make one with `diurnal init`, or go to a project")
        ]
    found: list[Experiment] = []
    errors: list[DiurnalError] = []
    for path in sorted(folder.glob("[!_.]*.py")):
        try:
            found += _declared_in(_import_file(path, folder.parent))
        except DiurnalError as error:
            errors.append(error)
    return found, errors


def _by_name(name: str, folder: Path) -> Experiment:
    """Look into the file of that name first, so that the others need not be imported."""
    path = folder / f"{name}.py"
    if name.isidentifier() and path.is_file():
        for value in _declared_in(_import_file(path, folder.parent)):
            if value.name == name:
                return value
    everything, errors = _scan(folder)
    found = [value for value in everything if value.name == name]
    if len(found) > 1:
        raise _twice(*found[:2])
    if found:
        return found[0]
    names = sorted({value.name for value in everything})
    known = f"there are {', '.join(names)}" if names else "there is none"
    broken = "".join(f"\nCould not be looked into: {error}" for error in errors)
    raise NotFoundError(
        f"there is no experiment {name!r} in {folder}; {known}{did_you_mean(name, names)}{broken}",
        hint=f"give {_FORMS}",
    )


def _twice(one: Experiment, other: Experiment) -> ExperimentError:
    return ExperimentError(
        f"two experiments are named {one.name!r}: {one.place} and {other.place}",
        hint="rename one: tables and folders are named after it",
    )


def _declared_in(module: ModuleType) -> list[Experiment]:
    """Give the experiments that a module declares itself; what it imports from another belongs to that one."""
    declared = [value for value in vars(module).values() if isinstance(value, Experiment)]
    return [
        value
        for value in dict.fromkeys(declared)
        if Path(value.file).resolve() == Path(module.__file__ or "").resolve()
    ]


def _import_file(path: Path, project: Path) -> ModuleType:
    try:
        return import_file(path, project)
    except DiurnalError:
        raise
    except (Exception, SystemExit) as error:
        raise _broken(str(path), error) from error


def _import_module(name: str, folder: Path) -> ModuleType:
    extend_sys_path(folder.parent, folder)
    try:
        return importlib.import_module(name)
    except DiurnalError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise NotFoundError(
                f"there is no module {name!r} in {folder.parent} or among what is installed", hint=f"give {_FORMS}"
            ) from None
        raise _broken(name, error) from error


def _broken(what: str, error: BaseException) -> ExperimentError:
    """Name the line of the user's file where importing it failed."""
    if isinstance(error, SyntaxError) and error.filename:
        where, said = f"{error.filename}:{error.lineno}", error.msg
    else:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == what]
        where, said = f"{what}:{frames[-1].lineno}" if frames else what, str(error)
    return ExperimentError(
        f"{where}: importing it fails with {type(error).__name__}: {said}",
        hint="a file of experiments must be importable by itself; heavy imports belong into the function",
    )
