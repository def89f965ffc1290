"""The history of one column of the batches: its values or categories, and missing ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from diurnal.plots.chart_fields import number_field, text_field
from diurnal.plots.chart_output import AXIS_WIDTH, ChartWidth, Spec, fill_container, plot_width
from diurnal.plots.chart_values import as_number, clean_text, epoch_milliseconds, thin_evenly, without_nulls
from diurnal.plots.distribution_chart import OTHER, unique_texts
from diurnal.plots.drift_strip_chart import INTERVAL_TEXT, RunDrift, plot_title
from diurnal.plots.timeline_data import Record, interval_text

_MAX_POINTS = 150
_MAX_SHARES = 6
_DIGITS = 10  # of a statistic: times are seconds since 1970, and a large number may vary little
_SCHEMA = {"$schema": "https://vega.github.io/schema/vega-lite/v6.json"}
_QUANTILES = ("q05", "q25", "q50", "q75", "q95")
_MIDDLE = {"calculate": "datum.e ? (datum.d + datum.e) / 2 : datum.d", "as": "m"}


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


def _summary_of(profile: Record, column: str) -> Mapping[str, Any] | None:
    summary: Mapping[str, Any] | None = ((profile.get("summary") or {}).get("columns") or {}).get(column)
    return summary


def _times(profile: Record) -> Spec:
    start, end = profile["data_interval_start"], profile.get("data_interval_end")
    return {"d": epoch_milliseconds(start), "e": epoch_milliseconds(end), "l": interval_text(start, end)}


def _number_plot(found: Sequence[tuple[Record, Mapping[str, Any]]], column: str, kind: Any, width: int) -> Spec:
    """Return the quantiles of a column of numbers or times, and its mean."""
    title = f"{clean_text(column)}: median, the middle 50 % and 90 %; dashed: mean"
    return {
        "data": {"values": _number_rows(found, factor=1000 if kind == "time" else 1)},
        "transform": [_MIDDLE],
        "title": plot_title(title),
        "width": width,
        "height": 90,
        "layer": _number_layers(kind),
    }


def _number_rows(found: Sequence[tuple[Record, Mapping[str, Any]]], factor: int) -> list[Spec]:
    rows = []
    for profile, summary in found:
        numbers = {name: as_number(summary.get(name), _DIGITS) for name in (*_QUANTILES, "mean")}
        scaled = {name: None if number is None else number * factor for name, number in numbers.items()}
        rows.append(without_nulls({**_times(profile), **scaled}))
    return rows


def _number_layers(kind: Any) -> list[Spec]:
    scale = {"type": "utc"} if kind == "time" else {"zero": False}
    x = _time_axis("m")
    y: Spec = {"type": "temporal" if kind == "time" else "quantitative", "scale": scale, "axis": _value_axis()}
    median = {"x": x, "y": {**y, "field": "q50"}}
    tooltip = [
        text_field("l", "data interval"),
        *(number_field(name, title, ".4~g") for name, title in _statistics(kind)),
    ]
    bands: list[Spec] = [
        {
            "mark": {"type": "area", "style": "twin-band", "opacity": opacity},
            "encoding": {"x": x, "y": {**y, "field": low}, "y2": {"field": high}},
        }
        for low, high, opacity in (("q05", "q95", 0.16), ("q25", "q75", 0.24))
    ]
    mean = {"x": x, "y": {**y, "field": "mean"}}
    return [
        *bands,
        {"mark": {"type": "line", "style": "twin", "strokeWidth": 2}, "encoding": median},
        {"mark": {"type": "line", "style": "champion", "strokeWidth": 1.2}, "encoding": mean},
        {"mark": {"type": "circle", "style": "series-0", "size": 18}, "encoding": {**median, "tooltip": tooltip}},
    ]


def _statistics(kind: Any) -> list[tuple[str, str]]:
    if kind == "time":
        return []
    return [("mean", "mean"), ("q05", "5 %"), ("q25", "25 %"), ("q50", "median"), ("q75", "75 %"), ("q95", "95 %")]


def _category_plot(
    found: Sequence[tuple[Record, Mapping[str, Any]]], column: str, measured: Sequence[RunDrift], width: int
) -> Spec:
    """Return the share of each category of a column, and marks of new ones."""
    labels = _category_labels(found)
    rows = _share_rows(found, labels)
    order = [*labels.values(), *([OTHER] if any(row["c"] == OTHER for row in rows) else [])]
    color = {"field": "c", "type": "nominal", "sort": order, "scale": {"domain": order}}
    color["legend"] = {"title": None, "orient": "bottom", "columns": 4, "symbolType": "square"}
    tooltip = [{"field": "d", **INTERVAL_TEXT}, text_field("c", "category"), number_field("s", "share", ".1%")]
    encoding = {
        "x": _time_axis("d"),
        "x2": {"field": "e"},
        "y": {
            "field": "y",
            "type": "quantitative",
            "scale": {"domain": [0, 1]},
            "axis": {**_value_axis(), "format": ".0%"},
        },
        "y2": {"field": "z"},
        "color": color,
        "tooltip": tooltip,
    }
    layers: list[Spec] = [{"data": {"values": rows}, "mark": {"type": "rect", "opacity": 0.85}, "encoding": encoding}]
    title = f"{clean_text(column)}: share of each category"
    if news := _new_categories(measured, column):
        title += "; a triangle: new categories"
        layers.append(_new_categories_layer(news))
    return {"title": plot_title(title), "width": width, "height": 90, "layer": layers}


def _category_labels(found: Sequence[tuple[Record, Mapping[str, Any]]]) -> dict[str, str]:
    """Return the labels of the most frequent categories, by category."""
    totals: dict[str, float] = {}
    for _, summary in found:
        for category, share in (summary.get("top") or {}).items():
            totals[category] = totals.get(category, 0.0) + (as_number(share) or 0.0)
    shown = sorted(totals, key=lambda category: -totals[category])[:_MAX_SHARES]
    return dict(zip(shown, unique_texts(shown), strict=True))


def _share_rows(found: Sequence[tuple[Record, Mapping[str, Any]]], labels: Mapping[str, str]) -> list[Spec]:
    """Return the shares of the categories, stacked, and of all other ones."""
    rows = []
    for profile, summary in found:
        top, times = summary.get("top") or {}, _times(profile)
        shares = {label: as_number(top[category], 4) or 0.0 for category, label in labels.items() if category in top}
        rest = 1.0 - sum(shares.values()) - (as_number(summary.get("missing")) or 0.0)
        if rest > 0.0005:
            shares[OTHER] = as_number(rest, 4) or 0.0
        del times["l"]
        tops = np.cumsum(list(shares.values())).tolist()
        for (label, share), top_end in zip(shares.items(), tops, strict=True):
            ends = {"y": as_number(top_end - share, 4), "z": as_number(top_end, 4)}
            rows.append({**without_nulls(times), "c": label, "s": share, **ends})
    return rows


def _new_categories(measured: Sequence[RunDrift], column: str) -> list[Spec]:
    """Return the runs whose batch has new categories, with their texts."""
    return [
        {
            "d": epoch_milliseconds(run.start),
            "e": epoch_milliseconds(run.end),
            "l": interval_text(run.start, run.end),
            "t": clean_text(", ".join(map(str, run.columns[column]["new_categories"])), 80),
        }
        for run in measured
        if run.columns.get(column, {}).get("new_categories")
    ][-_MAX_POINTS:]


def _new_categories_layer(rows: list[Spec]) -> Spec:
    return {
        "data": {"values": rows},
        "transform": [_MIDDLE],
        "mark": {"type": "point", "shape": "triangle-down", "style": "best-fill", "size": 50, "yOffset": -6},
        "encoding": {
            "x": _time_axis("m"),
            "y": {"value": 0},
            "tooltip": [text_field("l", "data interval"), text_field("t", "new categories")],
        },
    }


def _missing_plot(found: Sequence[tuple[Record, Mapping[str, Any]]], column: str, width: int) -> Spec:
    rows = [without_nulls({**_times(profile), "s": as_number(summary.get("missing"), 4)}) for profile, summary in found]
    tooltip = [
        text_field("l", "data interval"),
        number_field("s", "missing", ".2%"),
    ]
    y = {"field": "s", "type": "quantitative", "axis": {**_value_axis(), "format": "~%", "tickCount": 2}}
    encoding = {"x": _time_axis("d"), "x2": {"field": "e"}, "y": y, "y2": {"datum": 0}, "tooltip": tooltip}
    layer = {"mark": {"type": "rect", "style": "muted-fill"}, "encoding": encoding}
    title = plot_title(f"{clean_text(column)}: missing values")
    return {"data": {"values": rows}, "title": title, "width": width, "height": 30, "layer": [layer]}


def _time_axis(field: str) -> Spec:
    return {"field": field, "type": "temporal", "scale": {"type": "utc"}, "axis": {"title": None, "tickCount": 8}}


def _value_axis() -> Spec:
    return {"title": None, "minExtent": AXIS_WIDTH, "maxExtent": AXIS_WIDTH, "tickCount": 4}
