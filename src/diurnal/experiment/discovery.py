"""Discovery of experiments by their name, their file or their module."""

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
        A name in the folder of experiments; or ``"path/to/file.py:name"``, relative to the project or to the working
        directory; or ``"package.module:name"``, importable from the project.
    folder : Path
        The folder of experiments; the project is its parent folder.

    Raises
    ------
    NotFoundError
        If there is none; the message has the folder that was searched and the similar names.
    ExperimentError
        If its file cannot be imported, or two files declare the name.
    """
    folder = folder.resolve()
    location, _, name = reference.rpartition(":")
    if not location:
        return _find_by_name(reference, folder)
    if location.endswith(".py"):
        paths = [(base / location).resolve() for base in (folder.parent, Path.cwd())]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            raise NotFoundError(f"there is no file {paths[0]}", hint=f"give {_FORMS}")
        module = _import_file(path, folder.parent)
    else:
        module = _import_module(location, folder)
    declared = {value.name: value for value in vars(module).values() if isinstance(value, Experiment)}
    experiment = getattr(module, name, None)
    if not isinstance(experiment, Experiment):
        experiment = declared.get(name)
    if experiment is None:
        known = f"it has {', '.join(sorted(declared))}" if declared else "it declares no experiment"
        raise NotFoundError(
            f"{location} has no experiment {name!r}; {known}{did_you_mean(name, declared)}", hint=f"give {_FORMS}"
        )
    return experiment


def discover(folder: Path) -> tuple[dict[str, Experiment], list[DiurnalError]]:
    """Find all experiments of a folder, in the order of their names.

    A file that cannot be imported does not hide the others.

    Parameters
    ----------
    folder : Path
        The folder of experiments. Files whose names start with ``_`` or ``.`` are ignored.

    Returns
    -------
    found : dict of str to Experiment
        By name.
    errors : list of DiurnalError
        Errors of imports, with their locations, and of names that are declared twice (the first is in `found`).
    """
    everything, errors = _import_all(folder)
    found: dict[str, Experiment] = {}
    for value in everything:
        other = found.setdefault(value.name, value)
        if other is not value:
            errors.append(_duplicate_error(other, value))
    return dict(sorted(found.items())), errors


def _import_all(folder: Path) -> tuple[list[Experiment], list[DiurnalError]]:
    """Import all files of a folder; return their experiments and the errors of imports."""
    folder = folder.resolve()
    if not folder.is_dir():
        return [], [
            NotFoundError(
                f"there is no folder {folder}",
                hint="create one with `diurnal init`, or change to the folder of a project",
            )
        ]
    found: list[Experiment] = []
    errors: list[DiurnalError] = []
    for path in sorted(folder.glob("[!_.]*.py")):
        try:
            found += _experiments_of(_import_file(path, folder.parent))
        except DiurnalError as error:
            errors.append(error)
    return found, errors


def _find_by_name(name: str, folder: Path) -> Experiment:
    """Return the experiment of a name; import the file of the same name first, so that the others are not needed."""
    path = folder / f"{name}.py"
    if name.isidentifier() and path.is_file():
        for value in _experiments_of(_import_file(path, folder.parent)):
            if value.name == name:
                return value
    everything, errors = _import_all(folder)
    found = [value for value in everything if value.name == name]
    if len(found) > 1:
        raise _duplicate_error(*found[:2])
    if found:
        return found[0]
    names = sorted({value.name for value in everything})
    known = f"there are {', '.join(names)}" if names else "there is none"
    broken = "".join(f"\nNot searched: {error}" for error in errors)
    raise NotFoundError(
        f"there is no experiment {name!r} in {folder}; {known}{did_you_mean(name, names)}{broken}",
        hint=f"give {_FORMS}",
    )


def _duplicate_error(first: Experiment, second: Experiment) -> ExperimentError:
    return ExperimentError(
        f"two experiments are named {first.name!r}: {first.location} and {second.location}",
        hint="rename one of them; tables and folders are named after it",
    )


def _experiments_of(module: ModuleType) -> list[Experiment]:
    """Return the experiments that a module itself declares, without those that it imports from others."""
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
        raise _import_error(str(path), error) from error


def _import_module(name: str, folder: Path) -> ModuleType:
    extend_sys_path(folder.parent, folder)
    try:
        return importlib.import_module(name)
    except DiurnalError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise NotFoundError(
                f"there is no module {name!r} in {folder.parent} or among the installed packages", hint=f"give {_FORMS}"
            ) from None
        raise _import_error(name, error) from error


def _import_error(source: str, error: BaseException) -> ExperimentError:
    """Return the error of an import, with the line of the user's file."""
    if isinstance(error, SyntaxError) and error.filename:
        location, message = f"{error.filename}:{error.lineno}", error.msg
    else:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == source]
        location, message = f"{source}:{frames[-1].lineno}" if frames else source, str(error)
    return ExperimentError(
        f"{location}: the import fails with {type(error).__name__}: {message}",
        hint="a file of experiments must be importable by itself; put slow imports into the function",
    )
