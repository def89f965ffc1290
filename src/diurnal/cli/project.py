"""Writing a new project."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from string import Template

from diurnal.errors import UsageError

_FILES = {
    "experiment.py.txt": "experiments/{name}.py",
    "dag.py.txt": "dags/{name}.py",
    "diurnal.toml.txt": "diurnal.toml",
    "README.md.txt": "README.md",
    "gitignore.txt": ".gitignore",
}


def name_for(folder: str, name: str | None) -> str:
    """Give the experiment's name: the one that was asked for, or the folder's, made fit."""
    if name is None:
        name = re.sub(r"[^a-z0-9]+", "_", Path(folder).resolve().name.lower()).strip("_")
        name = name if name[:1].isalpha() else f"experiment_{name}".rstrip("_")
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,49}", name):
        raise UsageError(
            f"{name!r} cannot name an experiment; allowed are up to 50 small letters, digits and _, a letter first",
            advice="give one, as in --name churn",
        )
    return name


def write(folder: str, name: str | None) -> list[Path]:
    """Write the files of a new project; nothing that is there is overwritten.

    Parameters
    ----------
    folder : str
        Where; it may exist.
    name : str or None
        Name of the experiment; the folder's own unless given.

    Returns
    -------
    list of pathlib.Path
        What was written.

    Raises
    ------
    UsageError
        If one of the files is there already.
    """
    experiment = name_for(folder, name)
    targets = {source: Path(folder) / target.format(name=experiment) for source, target in _FILES.items()}
    taken = [str(path) for path in targets.values() if path.exists()]
    if taken:
        raise UsageError(
            f"{', '.join(taken)} already there, and init overwrites nothing",
            advice="choose another folder, or another --name",
        )
    for source, path in targets.items():
        template = Template((files("diurnal.cli") / "template" / source).read_text(encoding="utf-8"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(template.safe_substitute(name=experiment), encoding="utf-8")
    return list(targets.values())
