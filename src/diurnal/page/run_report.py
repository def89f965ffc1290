"""The report of a run: one HTML file that contains everything, so that a mail or an archive can carry it.

Charts are SVG within data URIs: a browser draws them without a script, runs none that they would contain, and keeps
their ids apart. The file needs no other file, and its content security policy allows none.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from diurnal.page.classification_metrics import metric_rows
from diurnal.page.comparison_text import explain_comparison
from diurnal.page.html_templates import template_environment
from diurnal.page.report_charts import SECTIONS, ReportChart, draw_charts
from diurnal.page.report_content import ReportContent, interval_label, read_report_content
from diurnal.page.run_details import best_rows, packages_with_dates, score_slices

if TYPE_CHECKING:
    from diurnal.storage.stores import Stores

REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
MAX_BYTES = 3_000_000
"""The maximal size of a report, which mail servers accept."""

_MAX_CODE = 200_000  # characters of one file
_MAX_ROWS = 100
_MAX_CANDIDATES = 10


def build_report(stores: Stores, run: dict[str, Any], *, now: datetime | None = None) -> str:
    """Return the report of a run as HTML.

    Parameters
    ----------
    stores : Stores
        The stores.
    run : dict
        The row of the run, as :func:`diurnal.page.report_content.select_run` returns it.
    now : datetime, optional
        The time that the report names as its own; by default the present.

    Returns
    -------
    str
        An HTML document below 3 MB, in UTF-8.
    """
    content = read_report_content(stores, run)
    charts = draw_charts(content)
    page = _render_report(content, charts, now or datetime.now(UTC))
    while charts and len(page.encode()) > MAX_BYTES:
        largest = max(charts, key=lambda chart: len(chart.image or ""))
        charts = [chart.without_image() if chart is largest else chart for chart in charts]
        if not any(chart.image for chart in charts):
            return _render_report(content, [], now or datetime.now(UTC))
        page = _render_report(content, charts, now or datetime.now(UTC))
    return page


def report_file_name(run: dict[str, Any]) -> str:
    """Return the default name of the file of a report: the experiment and the data interval.

    Examples
    --------
    >>> start, end = datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC)
    >>> run = {"experiment": "late", "run_id": "late-20261123T000000Z-0123456789ab"}
    >>> report_file_name(run | {"data_interval_start": start, "data_interval_end": end})
    'late-2026-11-23.html'
    """
    label = interval_label(run).replace(" to ", "-to-").replace(" ", "T").replace(":", "")
    return f"{run['experiment']}-{label}.html"


def _render_report(content: ReportContent, charts: Sequence[ReportChart], now: datetime) -> str:
    run, details = content.run, content.details
    packages = packages_with_dates(run, content.timezone)
    template = template_environment().get_template("report.html")
    return template.render(
        content=content,
        details=details,
        run=run,
        charts={section: [chart for chart in charts if chart.section == section] for section in SECTIONS},
        comparison=explain_comparison(run),
        candidates=best_rows(details.candidates, run["scoring"])[:_MAX_CANDIDATES],
        slices=score_slices(details.evaluation)[:_MAX_ROWS],
        metrics=metric_rows(details.evaluation)[:_MAX_ROWS],
        code_files=[(name, _shorten_text(text)) for name, text in details.code_files],
        packages=packages[:_MAX_ROWS],
        n_packages=len(packages),
        policy=REPORT_POLICY,
        max_rows=_MAX_ROWS,
        interval_label=interval_label,
        now=now,
    )


def _shorten_text(text: str) -> str:
    return text if len(text) <= _MAX_CODE else f"{text[:_MAX_CODE]}\n\n[the rest is left out of the report]"
