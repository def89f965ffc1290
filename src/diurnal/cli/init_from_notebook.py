"""`diurnal init --from`: an experiment extracted from a notebook or a script."""

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
    from diurnal.notebook import ExperimentDraft


@dataclass(frozen=True)
class ExtractedExperiment:
    """An experiment that was extracted, and the locations of its files.

    Attributes
    ----------
    name : str
        The name of the experiment.
    notebook, experiment, project : Path
        The file that it was extracted from, its own file, and the folder of its project.
    draft : ExperimentDraft
        Its text, and the report of what was left out.
    written : list of Path
        The files that were written.
    """

    name: str
    notebook: Path
    experiment: Path
    project: Path
    draft: ExperimentDraft
    written: list[Path]


def extract_project(
    notebook: str, folder: str | None, name: str | None, search: str | None, *, force: bool, dry_run: bool
) -> ExtractedExperiment:
    """Extract the search of a notebook into the project of a folder, or into a new project there.

    Raises
    ------
    UsageError
        If the notebook has no search that can be extracted, or a file exists already, without `force`.
    """
    from diurnal.notebook import draft_experiment

    path = Path(notebook)
    name = init_project.experiment_name(str(path.with_suffix("")), name)
    settings = Settings.load(None if folder is None else Path(folder))
    home, file = settings.project, settings.experiments / f"{name}.py"
    extracted = draft_experiment(path, name, search=search, project=home, file=file)
    texts = {file: extracted.text, home / "dags" / f"{name}.py": init_project.fill_template(init_project.DAG, name)}
    texts |= _missing_modules(extracted, path, home)
    if not (home / FILE).is_file():
        texts |= {
            home / target: init_project.fill_template(source, name)
            for source, target in init_project.SCAFFOLD.items()
            if not (home / target).exists()
        }
    written = [] if dry_run else init_project.write_files(texts, force=force)
    return ExtractedExperiment(name, path, file, home, extracted, written)


def _missing_modules(extracted: ExperimentDraft, notebook: Path, home: Path) -> dict[Path, str]:
    """Return the modules of the notebook's folder that the project does not have yet, with their text."""
    texts = {}
    for module in extracted.modules:
        target = home / module.relative_to(notebook.resolve().parent)
        text = module.read_text(encoding="utf-8")
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            texts[target] = text
    return texts


def print_extracted(extracted: ExtractedExperiment, *, json_: bool, dry_run: bool) -> None:
    """Print what was extracted, what was left out, what is to be filled in, and the next command."""
    if json_:
        click.echo(json.dumps(_extracted_json(extracted, dry_run=dry_run), indent=2))
        return
    if dry_run:
        click.echo(extracted.draft.text)
    for line in _report_lines(extracted):
        click.echo(line, err=dry_run)


def _extracted_json(extracted: ExtractedExperiment, *, dry_run: bool) -> dict[str, Any]:
    content: dict[str, Any] = {
        "name": extracted.name,
        "written": [str(path) for path in extracted.written],
        **extracted.draft.report.as_dict(),
        "next": _next_command(extracted),
    }
    return {**content, "text": extracted.draft.text} if dry_run else content


def _next_command(extracted: ExtractedExperiment) -> str:
    import shlex

    project = extracted.project
    change_folder = (
        "" if Path.cwd().resolve().is_relative_to(project) else f"cd {shlex.quote(_short_path(project))} && "
    )
    return f"{change_folder}diurnal check {extracted.name}"


def _short_path(path: Path) -> str:
    """Return a path relative to the working directory, if it is below it."""
    return os.path.relpath(path) if path.resolve().is_relative_to(Path.cwd().resolve()) else str(path)


def _report_lines(extracted: ExtractedExperiment) -> list[str]:
    report, file = extracted.draft.report, _short_path(extracted.experiment)
    taken = [(e["what"], e["text"], e["place"]) for e in report.taken]
    left_out = [(_format_location(e.cell, e.line, e.last_line), e.text, e.reason) for e in report.left_out]
    return [
        *(f"wrote {_short_path(path)}" for path in extracted.written),
        *_report_section(f"Taken from {extracted.notebook.name}", taken),
        *_report_section("Left out", left_out),
        *_report_section("To fill in", [(f"{file}:{hole['line']}", str(hole["what"])) for hole in report.to_fill_in]),
        *_report_section("Notes", [(note,) for note in report.notes]),
        "",
        f"Next: {_next_command(extracted)}",
    ]


def _format_location(cell: int | None, line: int, last: int) -> str:
    lines = f"line {line}" if line == last else f"lines {line}-{last}"
    return lines if cell is None else f"cell {cell}, {lines}"


def _report_section(title: str, rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return the lines of a section: its title, and rows in columns."""
    if not rows:
        return []
    short = [tuple(cell if i == len(row) - 1 else _shorten_cell(cell) for i, cell in enumerate(row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*short, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in short]
    return ["", title, *(f"  {line}" for line in lines)]


def _shorten_cell(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"
