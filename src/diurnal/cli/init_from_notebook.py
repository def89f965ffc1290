"""`diurnal init --from`: an experiment taken from a notebook or a script."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from diurnal.cli import init_project
from diurnal.runtime import Settings
from diurnal.runtime.project_files import FILE

if TYPE_CHECKING:
    from diurnal.notebook import Draft


@dataclass(frozen=True)
class Taken:
    """An experiment that was taken, and where its files lie.

    Attributes
    ----------
    name : str
        Of the experiment.
    notebook, experiment, project : Path
        The file that it was taken from, its own file, and the folder of its project.
    draft : Draft
        Its text, and what was left out.
    written : list of Path
        The files that were written.
    """

    name: str
    notebook: Path
    experiment: Path
    project: Path
    draft: Draft
    written: list[Path]


def take(
    notebook: str, folder: str | None, name: str | None, search: str | None, *, force: bool, dry_run: bool
) -> Taken:
    """Take the search of a notebook into a project: the one of a folder, or a new one there.

    Raises
    ------
    UsageError
        If the notebook cannot be taken, or a file is there already, without `force`.
    """
    from diurnal.notebook import draft

    path = Path(notebook)
    name = init_project.name_for(str(path.with_suffix("")), name)
    settings = Settings.load(None if folder is None else Path(folder))
    home, file = settings.project, settings.experiments / f"{name}.py"
    made = draft(path, name, search=search, project=home, file=file)
    texts = {file: made.text, home / "dags" / f"{name}.py": init_project.filled(init_project.DAG, name)}
    texts |= _modules(made, path, home)
    if not (home / FILE).is_file():
        texts |= {
            home / target: init_project.filled(source, name)
            for source, target in init_project.SCAFFOLD.items()
            if not (home / target).exists()
        }
    written = [] if dry_run else init_project.write_all(texts, force=force)
    return Taken(name, path, file, home, made, written)


def _modules(made: Draft, notebook: Path, home: Path) -> dict[Path, str]:
    """Return the notebook's own modules for the project, where they are not there already."""
    found = {}
    for module in made.modules:
        place = home / module.relative_to(notebook.resolve().parent)
        text = module.read_text(encoding="utf-8")
        if not place.exists() or place.read_text(encoding="utf-8") != text:
            found[place] = text
    return found


def say(taken: Taken, *, json_: bool, dry_run: bool) -> None:
    """Print what was taken, what was left out, what is to be filled in, and the next command."""
    if json_:
        click.echo(json.dumps(_as_json(taken, dry_run=dry_run), indent=2))
        return
    if dry_run:
        click.echo(taken.draft.text)
    for line in _lines(taken):
        click.echo(line, err=dry_run)


def _as_json(taken: Taken, *, dry_run: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": taken.name,
        "written": [str(path) for path in taken.written],
        **taken.draft.report.as_dict(),
        "next": _next(taken),
    }
    return {**found, "text": taken.draft.text} if dry_run else found


def _next(taken: Taken) -> str:
    import shlex

    here = Path.cwd().resolve() in (taken.project, *taken.project.parents) and Path.cwd().resolve() != taken.project
    outside = here or not Path.cwd().resolve().is_relative_to(taken.project)
    go = f"cd {shlex.quote(_shown(taken.project))} && " if outside else ""
    return f"{go}diurnal check {taken.name}"


def _shown(path: Path) -> str:
    """Return a path as seen from here, where it lies below."""
    return os.path.relpath(path) if path.resolve().is_relative_to(Path.cwd().resolve()) else str(path)


def _lines(taken: Taken) -> list[str]:
    report, file = taken.draft.report, _shown(taken.experiment)
    left = [(_place(one.cell, one.line, one.last_line), one.text, one.reason) for one in report.left_out]
    return [
        *(f"wrote {_shown(path)}" for path in taken.written),
        *_section(f"Taken from {taken.notebook.name}", [(e["what"], e["text"], e["place"]) for e in report.taken]),
        *_section("Left out", left),
        *_section("To fill in", [(f"{file}:{hole['line']}", str(hole["what"])) for hole in report.to_fill_in]),
        *_section("Notes", [(note,) for note in report.notes]),
        "",
        f"Next: {_next(taken)}",
    ]


def _place(cell: int | None, line: int, last: int) -> str:
    lines = f"line {line}" if line == last else f"lines {line}-{last}"
    return lines if cell is None else f"cell {cell}, {lines}"


def _section(title: str, rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Write rows below a title, in columns."""
    if not rows:
        return []
    short = [tuple(cell if i == len(row) - 1 else _cut(cell) for i, cell in enumerate(row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*short, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in short]
    return ["", title, *(f"  {line}" for line in lines)]


def _cut(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"
