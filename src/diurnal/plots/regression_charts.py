"""Charts of the evaluation of a regression: predicted and true values, and residuals."""

from __future__ import annotations

from collections.abc import Sequence

from diurnal.plots.chart_fields import number_field
from diurnal.plots.chart_output import ChartWidth, Spec
from diurnal.plots.chart_values import as_number, without_nulls
from diurnal.plots.evaluation_values import (
    Evaluation,
    chart_column,
    evaluated_models,
    histogram_bins,
    model_labels,
    single_chart,
    small_title,
)


def predicted_true_chart(evaluation: Evaluation, width: ChartWidth = 320, *, model: str = "twin") -> Spec | None:
    """Return the counts of rows by true and predicted value; None without them."""
    data = (dict(evaluated_models(evaluation)).get(model) or {}).get("predicted_true") or {}
    x_edges, y_edges = data.get("x_edges") or [], data.get("y_edges") or []
    rows = _grid_cells(x_edges, y_edges, data.get("counts") or [])
    if not rows:
        return None
    low, high = as_number(min(x_edges[0], y_edges[0]), 10), as_number(max(x_edges[-1], y_edges[-1]), 10)
    both = {
        "scale": {"domain": [low, high], "nice": False, "zero": False},
        "axis": {"tickCount": 5, "format": "~s"},
    }
    x, y = {**number_field("a", "true value"), **both}, {**number_field("c", "predicted value"), **both}
    diagonal = {
        "data": {"values": [{"x": low}, {"x": high}]},
        "mark": {"type": "line", "style": "reference"},
        "encoding": {"x": {**x, "field": "x"}, "y": {**y, "field": "x"}},
    }
    layers = [_cell_layer(x, y, most=max(row["n"] or 0 for row in rows)), diagonal]
    title = f"Predicted and true values: {model_labels(evaluation)[model]}"
    return single_chart(title, rows, {"layer": layers}, width, 260)


def _grid_cells(x_edges: Sequence[float], y_edges: Sequence[float], counts: Sequence[Sequence[float]]) -> list[Spec]:
    return [
        {
            "a": as_number(x_edges[i], 10),
            "b": as_number(x_edges[i + 1], 10),
            "c": as_number(y_edges[j], 10),
            "d": as_number(y_edges[j + 1], 10),
            "n": as_number(count),
        }
        for i, line in enumerate(counts)
        for j, count in enumerate(line)
        if count and i + 1 < len(x_edges) and j + 1 < len(y_edges)
    ]


def _cell_layer(x: Spec, y: Spec, *, most: float) -> Spec:
    color = {
        "field": "n",
        "type": "quantitative",
        "scale": {"type": "log" if most > 20 else "linear", "range": "heatmap"},
        "legend": {"title": "rows", "orient": "bottom", "gradientLength": 160, "gradientThickness": 9, "format": "~s"},
    }
    titles = {"a": "true from", "b": "to", "c": "predicted from", "d": "to ", "n": "rows"}
    tooltip = [number_field(name, title, ".4~g") for name, title in titles.items()]
    encoding = {"x": x, "x2": {"field": "b"}, "y": y, "y2": {"field": "d"}, "color": color, "tooltip": tooltip}
    return {"mark": {"type": "rect"}, "encoding": encoding}


def residuals_chart(evaluation: Evaluation, width: ChartWidth = 320) -> Spec | None:
    """Return histograms of true less predicted value, with median and 90 % range; None without them."""
    rows: list[Spec] = []
    ranges: dict[str, Spec] = {}
    for model, data in evaluated_models(evaluation):
        residuals = data.get("residuals") or {}
        bins = histogram_bins(residuals.get("edges"), residuals.get("counts"))
        rows += [{"model": model, "a": a, "b": b, "n": count} for a, b, count in bins if count]
        values = {name: as_number(residuals.get(name)) for name in ("q05", "q50", "q95", "mean", "std")}
        ranges[model] = without_nulls({"model": model, **values})
    models = list(dict.fromkeys(row["model"] for row in rows))
    charts = [
        {
            "title": small_title(f"{model_labels(evaluation)[model]}: median and the middle 90 %"),
            "height": 240 // len(models) - 12,
            "layer": _residual_layers(model, ranges[model]),
        }
        for model in models
    ]
    return chart_column("Residuals", rows, charts, width) if charts else None


def _residual_layers(model: str, values: Spec) -> list[Spec]:
    """Return the histogram of a model's residuals, a line at zero, their middle 90 % and their median."""
    x = {**number_field("a", "residual"), "axis": {"tickCount": 6, "format": "~s"}}
    y = {**number_field("n", "rows"), "axis": {"format": "~s", "tickCount": 4}}
    tooltip = [
        number_field("a", "residual from", ".4~g"),
        number_field("b", "to", ".4~g"),
        number_field("n", "rows", ","),
    ]
    own = {"data": {"values": [values]}}
    return [
        {
            "transform": [{"filter": f"datum.model == '{model}'"}],
            "mark": {"type": "rect", "style": f"{model}-fill", "opacity": 0.75},
            "encoding": {"x": x, "x2": {"field": "b"}, "y": y, "y2": {"datum": 0}, "tooltip": tooltip},
        },
        {"data": {"values": [{}]}, "mark": {"type": "rule", "style": "reference"}, "encoding": {"x": {"datum": 0}}},
        {
            **own,
            "mark": {"type": "rule", "style": "best", "strokeWidth": 2},
            "encoding": {"x": {**x, "field": "q05"}, "x2": {"field": "q95"}, "y": {"value": 4}},
        },
        {
            **own,
            "mark": {"type": "point", "style": "best-fill", "size": 40},
            "encoding": {"x": {**x, "field": "q50"}, "y": {"value": 4}},
        },
    ]
