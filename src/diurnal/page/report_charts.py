"""The charts of a report, as images that a browser draws without a script."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from diurnal.errors import UsageError

if TYPE_CHECKING:
    from diurnal.page.report_content import ReportContent

Spec = dict[str, Any]
SECTIONS = ("timeline", "tuning", "evaluation", "drift")
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReportChart:
    """A chart of a report.

    Attributes
    ----------
    section : str
        The section of the report, one of `SECTIONS`.
    caption : str
        What it shows; also its text for screen readers.
    image : str or None
        A data URI of an SVG; None if it was left out, as the report would be too large.
    """

    section: str
    caption: str
    image: str | None

    def without_image(self) -> ReportChart:
        """Return the chart without its image."""
        return replace(self, image=None)


def draw_charts(content: ReportContent) -> list[ReportChart]:
    """Return the charts of a run.

    A chart that cannot be drawn is left out with a message in the log: a report without it is better than none.
    """
    charts: list[ReportChart] = []
    for section, build in _chart_builders(content):
        try:
            charts += [_draw_chart(section, spec) for spec in build()]
        except UsageError:  # there is nothing to draw, such as no candidate with a score
            continue
        except Exception:  # noqa: BLE001 - of a library that draws
            _LOG.exception("the chart %s of %s cannot be drawn", section, content.run["run_id"])
    return charts


def _chart_builders(content: ReportContent) -> list[tuple[str, Callable[[], list[Spec]]]]:
    """Return a function for each section; it returns the charts that the run has data for."""
    from diurnal.plots.drift_strip_chart import drift_strip, measured_drift
    from diurnal.plots.evaluation_page import evaluation_parts
    from diurnal.plots.timeline_chart import build_timeline
    from diurnal.plots.timeline_data import local_records
    from diurnal.plots.tuning_chart import build_tuning

    run, candidates, evaluation = content.run, content.details.candidates, content.details.evaluation
    records = content.promotions, content.failures, content.contracts
    history = local_records(content.history, content.timezone)
    named: dict[str, Any] = {"name": run["experiment"], "timezone": content.timezone}
    return [
        ("timeline", lambda: [build_timeline(content.history, *records, **named, interactive=False)]),
        ("tuning", lambda: [] if candidates is None else [build_tuning(candidates, name=content.interval)]),
        ("evaluation", lambda: list(evaluation_parts(evaluation, scoring=run["scoring"], width=380).values())),
        ("drift", lambda: [spec for spec in [drift_strip(measured_drift(history))] if spec]),
    ]


def _draw_chart(section: str, spec: Spec) -> ReportChart:
    from diurnal.plots.chart_output import render_svg

    image = base64.b64encode(render_svg(spec).encode()).decode()
    return ReportChart(section, str(spec.get("description", section)), f"data:image/svg+xml;base64,{image}")
