"""The drift of all columns over time, with the history of some of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from diurnal.plots.chart_output import DEFAULT_WIDTH, ChartWidth, Spec, fill_container, plot_width
from diurnal.plots.chart_values import clean_text
from diurnal.plots.column_history_chart import build_column_history
from diurnal.plots.drift_strip_chart import drift_strip, measured_drift, strongest_columns
from diurnal.plots.timeline_data import Record, local_records

MAX_HISTORIES = 4
_SCHEMA = {"$schema": "https://vega.github.io/schema/vega-lite/v6.json"}


def build_drift(
    runs: Iterable[Record],
    profiles: Iterable[Record],
    *,
    name: str = "",
    columns: Sequence[str] | None = None,
    timezone: str = "UTC",
    width: ChartWidth = 680,
) -> Spec:
    """Return the drift of all columns over time, and the history of some of them.

    Parameters
    ----------
    runs : iterable of Mapping
        Rows of `experiments`, with `drift`.
    profiles : iterable of Mapping
        Rows of `profiles` with `data_interval_end`, as the warehouse's `profiles` returns them.
    name : str
        Name of the experiment, for the title.
    columns : sequence of str, optional
        The columns whose history is shown; by default the target and the four with the strongest drift.
    timezone : str
        The timezone of the experiment, in which data intervals are named.
    width : int or "container"
        Width of the plots.

    Returns
    -------
    dict
        A Vega-Lite specification.
    """
    runs = sorted(local_records(runs, timezone), key=lambda run: run["data_interval_start"])
    profiles = sorted(local_records(profiles, timezone), key=lambda profile: profile["data_interval_start"])
    measured = measured_drift(runs)
    strongest = strongest_columns(measured)
    shown = list(columns) if columns is not None else _default_columns(profiles, strongest)
    strip = drift_strip(measured, width)
    plots = [] if strip is None else [strip]
    plots += [
        plot for column in shown if (plot := build_column_history(profiles, measured, column, width=width)) is not None
    ]
    lines = (
        [] if strip is not None else ["No run has a measure of drift: it needs a champion and profiles of its window."]
    )
    if columns is None and len(strongest) > len(shown):
        lines.append(f"below: {len(shown)} columns, those with the strongest drift")
    parts = [_flat(plot) for plot in plots]
    body = {
        "title": {"text": clean_text(f"Drift of {name}" if name else "Drift"), "subtitle": lines},
        "vconcat": [plot for part in parts for plot in part] or [_empty(plot_width(width))],
        "spacing": 14,
        "resolve": {"scale": dict.fromkeys(("color", "opacity"), "independent")},
    }
    text = ", ".join(clean_text(column, 40) for column in shown)
    return fill_container({**_SCHEMA, "description": f"Drift of {clean_text(name)}; history of {text}", **body}, width)


def _default_columns(profiles: Sequence[Record], strongest: Mapping[str, float]) -> list[str]:
    """Return the target and the columns with the strongest drift, then features in their order."""
    known = dict((profiles[-1].get("summary") or {}).get("columns") or {}) if profiles else {}
    target = [column for column, summary in known.items() if summary.get("role") == "target"]
    ranked = [column for column in strongest if column in known and column not in target]
    others = [column for column, summary in known.items() if summary.get("role") == "feature" and column not in ranked]
    return [*target, *[*ranked, *others][:MAX_HISTORIES]]


def _flat(plot: Spec) -> list[Spec]:
    """Return the plots of a column of plots, or the one plot, as parts of another column."""
    parts = plot.get("vconcat", [plot])
    outer = ("$schema", "description", "usermeta")
    return [
        {name: DEFAULT_WIDTH if value == "container" else value for name, value in part.items() if name not in outer}
        for part in parts
    ]


def _empty(width: int) -> Spec:
    text = {"text": {"field": "t", "type": "nominal"}}
    data = {"values": [{"t": "no batch has a profile"}]}
    return {
        "data": data,
        "mark": {"type": "text", "style": "muted-text"},
        "encoding": text,
        "width": width,
        "height": 40,
    }
