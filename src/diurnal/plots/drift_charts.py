"""Charts of the columns of batches over time: drift, values and missing ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from diurnal.plots.chart_output import AXIS_WIDTH, DEFAULT_WIDTH, ChartWidth, Spec, fill_container, plot_width
from diurnal.plots.chart_values import as_number, clean_text, epoch_milliseconds, thin_evenly, without_nulls
from diurnal.plots.distribution_chart import OTHER, build_distribution, unique_texts
from diurnal.plots.timeline_data import Record, interval_text

__all__ = [
    "RunDrift",
    "build_column_history",
    "build_distribution",
    "build_drift",
    "drift_strip",
    "measured_drift",
    "strongest_columns",
]

MAX_CELLS = 2_000
MAX_COLUMNS = 20  # in the strip
MAX_HISTORIES = 4
_MAX_POINTS = 150
_MAX_SHARES = 6
_DIGITS = 10  # of a statistic: times are seconds since 1970, and a large number may vary little
_SCHEMA = {"$schema": "https://vega.github.io/schema/vega-lite/v6.json"}
_INTERVAL_TEXT = {"timeUnit": "utcyearmonthdatehoursminutes", "type": "temporal", "title": "data interval from"}
_MEASURES = {"jensen-shannon": "Jensen-Shannon", "wasserstein": "Wasserstein"}
_QUANTILES = ("q05", "q25", "q50", "q75", "q95")


def build_drift(
    runs: Iterable[Record],
    profiles: Iterable[Record],
    *,
    name: str = "",
    columns: Sequence[str] | None = None,
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
    width : int or "container"
        Width of the plots.

    Returns
    -------
    dict
        A Vega-Lite specification.
    """
    runs = sorted(runs, key=lambda run: run["data_interval_start"])
    profiles = sorted(profiles, key=lambda profile: profile["data_interval_start"])
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


@dataclass(frozen=True)
class RunDrift:
    """The drift of the columns of one run, as multiples of their thresholds.

    Attributes
    ----------
    start, end : datetime
        The data interval.
    ratios : Mapping of str to float
        The effect of each column divided by its threshold.
    columns : Mapping of str to Mapping
        The entries of the column `experiments.drift`, by column.
    """

    start: datetime
    end: datetime | None
    ratios: Mapping[str, float]
    columns: Mapping[str, Mapping[str, Any]]


def measured_drift(runs: Iterable[Record]) -> list[RunDrift]:
    """Return the drift of the runs that have a measure of it, in their order."""
    measured = []
    for run in runs:
        columns = {str(one.get("column")): one for one in (run.get("drift") or {}).get("columns") or []}
        ratios = {
            column: effect / threshold
            for column, one in columns.items()
            if (effect := as_number(one.get("effect"))) is not None and (threshold := as_number(one.get("threshold")))
        }
        if ratios:
            measured.append(RunDrift(run["data_interval_start"], run.get("data_interval_end"), ratios, columns))
    return measured


def strongest_columns(measured: Iterable[RunDrift]) -> dict[str, float]:
    """Return the largest drift of each column as a multiple of its threshold, strongest first."""
    largest: dict[str, float] = {}
    for run in measured:
        for column, ratio in run.ratios.items():
            largest[column] = max(largest.get(column, 0.0), ratio)
    return dict(sorted(largest.items(), key=lambda item: -item[1]))


def drift_strip(measured: Sequence[RunDrift], width: ChartWidth = 680) -> Spec | None:
    """Return a strip for each column, strongest drift first, coloured by the drift; None without a measure."""
    largest = strongest_columns(measured)
    shown = list(largest)[:MAX_COLUMNS]
    if not shown:
        return None
    labels = dict(zip(shown, unique_texts(shown), strict=True))
    per_cell = -(-len(measured) * len(shown) // MAX_CELLS)
    cells = [cell for k in range(0, len(measured), per_cell) for cell in _cells(measured[k : k + per_cell], labels)]
    axis = {"title": None, "minExtent": AXIS_WIDTH, "maxExtent": AXIS_WIDTH, "domain": False, "ticks": False}
    y: Spec = {"field": "c", "type": "nominal", "sort": None, "axis": {**axis, "labelLimit": AXIS_WIDTH - 6}}
    y["scale"] = {"domain": list(labels.values())}
    x = {
        "field": "d",
        "type": "temporal",
        "scale": {"type": "utc"},
        "axis": {"title": None, "grid": False, "tickCount": 8},
    }
    color = {
        "field": "q",
        "type": "quantitative",
        "scale": {"range": "heatmap", "domain": [0, 2], "clamp": True},
        "legend": {
            "title": "effect / threshold",
            "orient": "top",
            "values": [0, 0.5, 1, 1.5, 2],
            "format": ".1f",
            "gradientThickness": 9,
        },
    }
    tooltip = [
        {"field": "d", **_INTERVAL_TEXT},
        {"field": "c", "type": "nominal", "title": "column"},
        {"field": "r", "type": "nominal", "title": "role"},
        {"field": "f", "type": "quantitative", "title": "effect", "format": ".3f"},
        {"field": "w", "type": "nominal", "title": "measure"},
        {"field": "q", "type": "quantitative", "title": "effect / threshold", "format": ".2f"},
        {"field": "new", "type": "nominal", "title": "new categories"},
    ]
    band = {"x": x, "x2": {"field": "e"}, "y": y, "color": color, "tooltip": tooltip}
    middle = [{"filter": "datum.q > 1"}, {"calculate": "(datum.d + datum.e) / 2", "as": "m"}]
    dot = {"x": {**x, "field": "m"}, "y": y}
    layers: list[Spec] = [
        {"mark": {"type": "rect", "height": {"band": 0.86}}, "encoding": band},
        {"transform": middle, "mark": {"type": "point", "style": "drifted", "size": 22}, "encoding": dot},
    ]
    text = "drift against the champion's training window; a dot: above the threshold"
    text += f"; each cell is the strongest of {per_cell} data intervals" if per_cell > 1 else ""
    text += f"; the {len(shown)} strongest of {len(largest)}" if len(largest) > len(shown) else ""
    return {
        **_SCHEMA,
        "description": f"Drift of {len(shown)} columns; strongest: {labels[shown[0]]}",
        "title": _plot_title(text),
        "data": {"values": cells},
        "width": width,
        "height": 18 * len(shown),
        "layer": layers,
    }


def build_column_history(
    profiles: Sequence[Record], measured: Sequence[RunDrift], column: str, *, width: ChartWidth = 680
) -> Spec | None:
    """Return the history of one column: quantiles or shares of categories, and the share of missing values.

    Parameters
    ----------
    profiles : sequence of Mapping
        As for :func:`build_drift`, oldest first.
    measured : sequence of RunDrift
        Of the runs, for new categories: see :func:`measured_drift`.
    column : str
        Name of the column.
    width : int or "container"
        Width of the plots.

    Returns
    -------
    dict or None
        A Vega-Lite specification; None if no profile has the column.
    """
    found = [(profile, summary) for profile in profiles if (summary := _summary_of(profile, column)) is not None]
    if not found:
        return None
    n_found, places = len(found), thin_evenly(len(found), _MAX_POINTS)
    if len(places) < len(found):  # each one shown stands for the time until the next one
        ends = [found[k][0]["data_interval_start"] for k in places[1:]] + [found[-1][0].get("data_interval_end")]
        found = [({**found[k][0], "data_interval_end": end}, found[k][1]) for k, end in zip(places, ends, strict=True)]
    kind, pixels = found[-1][1].get("kind"), plot_width(width)
    values = (
        _category_plot(found, column, measured, pixels)
        if kind == "category"
        else _number_plot(found, column, kind, pixels)
    )
    if len(places) < n_found:
        values["title"]["text"] += f"; {len(places)} of {n_found:,} data intervals"
    plots = [values]
    if any(summary.get("missing") for _, summary in found):
        plots.append(_missing_plot(found, column, pixels))
    body = {"vconcat": plots, "spacing": 8, "resolve": {"scale": {"x": "shared", "color": "independent"}}}
    spec = {**_SCHEMA, "description": f"History of the column {clean_text(column, 60)}", **body}
    return fill_container(spec, width)


def _cells(runs: Sequence[RunDrift], labels: Mapping[str, str]) -> list[Spec]:
    """Return a cell for each column: the strongest drift of some data intervals."""
    strongest: dict[str, RunDrift] = {}
    for run in runs:
        for column, ratio in run.ratios.items():
            if column in labels and (column not in strongest or ratio >= strongest[column].ratios[column]):
                strongest[column] = run
    times = {"d": epoch_milliseconds(runs[0].start), "e": epoch_milliseconds(runs[-1].end)}
    cells = []
    for column, run in strongest.items():
        one = run.columns[column]
        new = clean_text(", ".join(map(str, one["new_categories"])), 80) if one.get("new_categories") else None
        role = None if one.get("role") == "feature" else one.get("role")
        values = {"c": labels[column], "q": as_number(run.ratios[column], 3), "f": as_number(one["effect"], 3)}
        cells.append(
            without_nulls({**times, **values, "r": role, "w": _MEASURES.get(str(one.get("measure"))), "new": new})
        )
    return cells


def _default_columns(profiles: Sequence[Record], strongest: Mapping[str, float]) -> list[str]:
    """Return the target and the columns with the strongest drift, then features in their order."""
    known = dict((profiles[-1].get("summary") or {}).get("columns") or {}) if profiles else {}
    target = [column for column, summary in known.items() if summary.get("role") == "target"]
    ranked = [column for column in strongest if column in known and column not in target]
    others = [column for column, summary in known.items() if summary.get("role") == "feature" and column not in ranked]
    return [*target, *[*ranked, *others][:MAX_HISTORIES]]


def _summary_of(profile: Record, column: str) -> Mapping[str, Any] | None:
    summary: Mapping[str, Any] | None = ((profile.get("summary") or {}).get("columns") or {}).get(column)
    return summary


def _times(profile: Record) -> Spec:
    start, end = profile["data_interval_start"], profile.get("data_interval_end")
    return {"d": epoch_milliseconds(start), "e": epoch_milliseconds(end), "l": interval_text(start, end)}


def _number_plot(found: Sequence[tuple[Record, Mapping[str, Any]]], column: str, kind: Any, width: int) -> Spec:
    factor = 1000 if kind == "time" else 1
    rows = [
        without_nulls(
            {
                **_times(profile),
                **{
                    name: None if (number := as_number(summary.get(name), _DIGITS)) is None else number * factor
                    for name in (*_QUANTILES, "mean")
                },
            }
        )
        for profile, summary in found
    ]
    x, middle = _time_axis("m"), {"calculate": "datum.e ? (datum.d + datum.e) / 2 : datum.d", "as": "m"}
    scale = {"type": "utc"} if kind == "time" else {"zero": False}
    y: Spec = {"type": "temporal" if kind == "time" else "quantitative", "scale": scale, "axis": _value_axis()}
    tooltip = [
        {"field": "l", "type": "nominal", "title": "data interval"},
        *(
            {"field": name, "type": "quantitative", "title": title, "format": ".4~g"}
            for name, title in _statistics(kind)
        ),
    ]
    layers: list[Spec] = [
        {
            "mark": {"type": "area", "style": "twin-band", "opacity": opacity},
            "encoding": {"x": x, "y": {**y, "field": low}, "y2": {"field": high}},
        }
        for low, high, opacity in (("q05", "q95", 0.16), ("q25", "q75", 0.24))
    ]
    layers.append(
        {"mark": {"type": "line", "style": "twin", "strokeWidth": 2}, "encoding": {"x": x, "y": {**y, "field": "q50"}}}
    )
    layers.append(
        {
            "mark": {"type": "line", "style": "champion", "strokeWidth": 1.2},
            "encoding": {"x": x, "y": {**y, "field": "mean"}},
        }
    )
    layers.append(
        {
            "mark": {"type": "circle", "style": "series-0", "size": 18},
            "encoding": {"x": x, "y": {**y, "field": "q50"}, "tooltip": tooltip},
        }
    )
    title = f"{clean_text(column)}: median, the middle 50 % and 90 %; dashed: mean"
    return {
        "data": {"values": rows},
        "transform": [middle],
        "title": _plot_title(title),
        "width": width,
        "height": 90,
        "layer": layers,
    }


def _statistics(kind: Any) -> list[tuple[str, str]]:
    if kind == "time":
        return []
    return [("mean", "mean"), ("q05", "5 %"), ("q25", "25 %"), ("q50", "median"), ("q75", "75 %"), ("q95", "95 %")]


def _category_plot(
    found: Sequence[tuple[Record, Mapping[str, Any]]], column: str, measured: Sequence[RunDrift], width: int
) -> Spec:
    totals: dict[str, float] = {}
    for _, summary in found:
        for category, share in (summary.get("top") or {}).items():
            totals[category] = totals.get(category, 0.0) + (as_number(share) or 0.0)
    shown = sorted(totals, key=lambda category: -totals[category])[:_MAX_SHARES]
    labels = dict(zip(shown, unique_texts(shown), strict=True))
    rows = []
    for profile, summary in found:
        top, times = summary.get("top") or {}, _times(profile)
        shares = {labels[category]: as_number(top[category], 4) or 0.0 for category in shown if category in top}
        rest = 1.0 - sum(shares.values()) - (as_number(summary.get("missing")) or 0.0)
        if rest > 0.0005:
            shares[OTHER] = as_number(rest, 4) or 0.0
        del times["l"]
        tops = np.cumsum(list(shares.values())).tolist()
        for (label, share), top_end in zip(shares.items(), tops, strict=True):
            ends = {"y": as_number(top_end - share, 4), "z": as_number(top_end, 4)}
            rows.append({**without_nulls(times), "c": label, "s": share, **ends})
    order = [*labels.values(), *([OTHER] if any(row["c"] == OTHER for row in rows) else [])]
    color = {"field": "c", "type": "nominal", "sort": order, "scale": {"domain": order}}
    color["legend"] = {"title": None, "orient": "bottom", "columns": 4, "symbolType": "square"}
    y = {
        "field": "y",
        "type": "quantitative",
        "scale": {"domain": [0, 1]},
        "axis": {**_value_axis(), "format": ".0%"},
    }
    tooltip = [
        {"field": "d", **_INTERVAL_TEXT},
        {"field": "c", "type": "nominal", "title": "category"},
        {"field": "s", "type": "quantitative", "title": "share", "format": ".1%"},
    ]
    encoding = {
        "x": _time_axis("d"),
        "x2": {"field": "e"},
        "y": y,
        "y2": {"field": "z"},
        "color": color,
        "tooltip": tooltip,
    }
    bars: Spec = {"data": {"values": rows}, "mark": {"type": "rect", "opacity": 0.85}, "encoding": encoding}
    layers = [bars]
    news = [
        {
            "d": epoch_milliseconds(run.start),
            "e": epoch_milliseconds(run.end),
            "l": interval_text(run.start, run.end),
            "t": clean_text(", ".join(map(str, run.columns[column]["new_categories"])), 80),
        }
        for run in measured
        if run.columns.get(column, {}).get("new_categories")
    ][-_MAX_POINTS:]
    title = f"{clean_text(column)}: share of each category"
    if news:
        title += "; a triangle: new categories"
        middle = {"calculate": "datum.e ? (datum.d + datum.e) / 2 : datum.d", "as": "m"}
        mark = {"type": "point", "shape": "triangle-down", "style": "best-fill", "size": 50, "yOffset": -6}
        tip = [
            {"field": "l", "type": "nominal", "title": "data interval"},
            {"field": "t", "type": "nominal", "title": "new categories"},
        ]
        new = {"x": _time_axis("m"), "y": {"value": 0}, "tooltip": tip}
        layers.append({"data": {"values": news}, "transform": [middle], "mark": mark, "encoding": new})
    return {"title": _plot_title(title), "width": width, "height": 90, "layer": layers}


def _missing_plot(found: Sequence[tuple[Record, Mapping[str, Any]]], column: str, width: int) -> Spec:
    rows = [without_nulls({**_times(profile), "s": as_number(summary.get("missing"), 4)}) for profile, summary in found]
    tooltip = [
        {"field": "l", "type": "nominal", "title": "data interval"},
        {"field": "s", "type": "quantitative", "title": "missing", "format": ".2%"},
    ]
    y = {"field": "s", "type": "quantitative", "axis": {**_value_axis(), "format": "~%", "tickCount": 2}}
    encoding = {"x": _time_axis("d"), "x2": {"field": "e"}, "y": y, "y2": {"datum": 0}, "tooltip": tooltip}
    layer = {"mark": {"type": "rect", "style": "muted-fill"}, "encoding": encoding}
    title = _plot_title(f"{clean_text(column)}: missing values")
    return {"data": {"values": rows}, "title": title, "width": width, "height": 30, "layer": [layer]}


def _time_axis(field: str) -> Spec:
    return {"field": field, "type": "temporal", "scale": {"type": "utc"}, "axis": {"title": None, "tickCount": 8}}


def _value_axis() -> Spec:
    return {"title": None, "minExtent": AXIS_WIDTH, "maxExtent": AXIS_WIDTH, "tickCount": 4}


def _plot_title(text: str) -> Spec:
    return {"text": clean_text(text, 160), "fontSize": 12, "fontWeight": "normal", "offset": 4, "frame": "group"}


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
