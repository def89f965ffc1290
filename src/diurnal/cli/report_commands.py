"""``diurnal report``: the report of a run as one HTML file."""

from __future__ import annotations

from pathlib import Path

import click

from diurnal.cli.options import name_argument
from diurnal.cli.project_session import open_project_stores, resolve_experiment_name


@click.command()
@name_argument
@click.option("--date", default=None, help="A date (2026-11-23) of the data interval. Default: that of the last run.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True),
    default=None,
    help="The file; - is stdout. Default: NAME-DATE.html.",
)
def report(name: str, date: str | None, output: str | None) -> None:
    """Write the report of a run: one HTML file that a mail can carry.

    It contains everything, charts included, and needs neither a network nor scripts.
    """
    from diurnal.cli.page_commands import check_page_libraries

    check_page_libraries("a report")
    from diurnal.page.report_content import select_run
    from diurnal.page.run_report import build_report, report_file_name

    with open_project_stores() as stores:
        run = select_run(stores, resolve_experiment_name(stores, name), date)
        text = build_report(stores, run)
    if output == "-":
        click.echo(text, nl=False)
        return
    path = Path(output or report_file_name(run))
    path.write_text(text, encoding="utf-8")
    click.echo(f"{path}: the report of {run['run_id']}, {len(text.encode()) / 1000:.0f} kB")
