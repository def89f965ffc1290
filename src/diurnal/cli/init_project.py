"""The files of a new project, or of a new experiment of a project."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from string import Template

from diurnal.errors import UsageError

DAG = "dag.py.txt"
SCAFFOLD = {"diurnal.toml.txt": "diurnal.toml", "README.md.txt": "README.md", "gitignore.txt": ".gitignore"}
_FILES = {"experiment.py.txt": "experiments/{name}.py", DAG: "dags/{name}.py", **SCAFFOLD}


def experiment_name(path: str, name: str | None) -> str:
    """Return the name of an experiment: the requested one, or one derived from the name of a folder or a file.

    Examples
    --------
    >>> experiment_name("notebooks/02 - Titanic (final)", None)
    'titanic_final'
    """
    if name is None:
        name = re.sub(r"[^a-z0-9]+", "_", Path(path).resolve().name.lower()).strip("_")
        name = re.sub(r"^[\d_]+(?=[a-z])", "", name)[:50].rstrip("_")
        name = name if name[:1].isalpha() and not keyword.iskeyword(name) else f"experiment_{name}".rstrip("_")
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,49}", name) or keyword.iskeyword(name):
        raise UsageError(
            f"{name!r} is not a valid name of an experiment\n"
            "allowed are up to 50 lower-case letters, digits and _, a letter first, and no keyword of Python",
            hint="choose one, as in --name churn",
        )
    return name


def write_project(folder: str, name: str | None, *, force: bool = False) -> list[Path]:
    """Write the files of a new project.

    Parameters
    ----------
    folder : str
        The folder of the project; it may exist.
    name : str or None
        Name of the experiment; by default that of the folder.
    force : bool
        Whether existing files are overwritten.

    Returns
    -------
    list of pathlib.Path
        The files.

    Raises
    ------
    UsageError
        If one of the files exists already, without `force`.
    """
    experiment = experiment_name(folder, name)
    return write_files(
        {
            Path(folder) / target.format(name=experiment): fill_template(source, experiment)
            for source, target in _FILES.items()
        },
        force=force,
    )


def fill_template(template: str, name: str) -> str:
    """Return the text of a template for an experiment."""
    text = (files("diurnal.cli") / "template" / template).read_text(encoding="utf-8")
    return Template(text).safe_substitute(name=name)


def write_files(texts: Mapping[Path, str], *, force: bool) -> list[Path]:
    """Write files, all of them or none.

    Raises
    ------
    UsageError
        If one exists already, without `force`.
    """
    if not force:
        reject_existing(path for path in texts if path.exists())
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(texts)


def reject_existing(paths: Iterable[Path]) -> None:
    """Raise an error if there are existing files."""
    existing = list(map(str, paths))
    if existing:
        raise UsageError(
            "\n".join(["init overwrites nothing, and these files exist:", *existing]),
            hint="choose another folder or another --name, or overwrite them with --force",
        )
