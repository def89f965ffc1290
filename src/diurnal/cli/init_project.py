"""Writing a new project, or a new experiment of one."""

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


def name_for(path: str, name: str | None) -> str:
    """Give the experiment's name: the one that was asked for, or one made of the name of a folder or a file.

    Examples
    --------
    >>> name_for("notebooks/02 - Titanic (final)", None)
    'titanic_final'
    """
    if name is None:
        name = re.sub(r"[^a-z0-9]+", "_", Path(path).resolve().name.lower()).strip("_")
        name = re.sub(r"^[\d_]+(?=[a-z])", "", name)[:50].rstrip("_")
        name = name if name[:1].isalpha() and not keyword.iskeyword(name) else f"experiment_{name}".rstrip("_")
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,49}", name) or keyword.iskeyword(name):
        raise UsageError(
            f"{name!r} cannot name an experiment; allowed are up to 50 small letters, digits and _, a letter first, "
            "and no keyword of Python",
            hint="give one, as in --name churn",
        )
    return name


def write(folder: str, name: str | None, *, force: bool = False) -> list[Path]:
    """Write the files of a new project.

    Parameters
    ----------
    folder : str
        Where; it may exist.
    name : str or None
        Name of the experiment; the folder's own unless given.
    force : bool
        Whether files that are there are overwritten.

    Returns
    -------
    list of pathlib.Path
        What was written.

    Raises
    ------
    UsageError
        If one of the files is there already, without `force`.
    """
    experiment = name_for(folder, name)
    return write_all(
        {
            Path(folder) / target.format(name=experiment): filled(source, experiment)
            for source, target in _FILES.items()
        },
        force=force,
    )


def filled(template: str, name: str) -> str:
    """Give the text of a template for an experiment."""
    text = (files("diurnal.cli") / "template" / template).read_text(encoding="utf-8")
    return Template(text).safe_substitute(name=name)


def write_all(texts: Mapping[Path, str], *, force: bool) -> list[Path]:
    """Write files, all of them or none.

    Raises
    ------
    UsageError
        If one is there already with another text, without `force`.
    """
    if not force:
        refuse_taken(path for path in texts if path.exists())
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(texts)


def refuse_taken(paths: Iterable[Path]) -> None:
    """Refuse to overwrite files."""
    taken = ", ".join(map(str, paths))
    if taken:
        raise UsageError(
            f"{taken} already there, and init overwrites nothing",
            hint="choose another folder, or another --name; --force overwrites",
        )
