"""Charts of the evaluation of a regression: predicted and true values, and residuals."""

from __future__ import annotations

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
    x_edges, y_edges, counts = data.get("x_edges") or [], data.get("y_edges") or [], data.get("counts") or []
    rows = [
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
    if not rows:
        return None
    low, high = min(x_edges[0], y_edges[0]), max(x_edges[-1], y_edges[-1])
    scale = {"domain": [as_number(low, 10), as_number(high, 10)], "nice": False, "zero": False}
    x = {
        "field": "a",
        "type": "quantitative",
        "title": "true value",
        "scale": scale,
        "axis": {"tickCount": 5, "format": "~s"},
    }
    y = {
        "field": "c",
        "type": "quantitative",
        "title": "predicted value",
        "scale": scale,
        "axis": {"tickCount": 5, "format": "~s"},
    }
    most = max(row["n"] or 0 for row in rows)
    color = {
        "field": "n",
        "type": "quantitative",
        "scale": {"type": "log" if most > 20 else "linear", "range": "heatmap"},
        "legend": {"title": "rows", "orient": "bottom", "gradientLength": 160, "gradientThickness": 9, "format": "~s"},
    }
    tooltip = [
        {"field": name, "type": "quantitative", "title": title, "format": ".4~g"}
        for name, title in (("a", "true from"), ("b", "to"), ("c", "predicted from"), ("d", "to "), ("n", "rows"))
    ]
    cells = {
        "mark": {"type": "rect"},
        "encoding": {"x": x, "x2": {"field": "b"}, "y": y, "y2": {"field": "d"}, "color": color, "tooltip": tooltip},
    }
    diagonal = {
        "data": {"values": [{"x": as_number(low, 10)}, {"x": as_number(high, 10)}]},
        "mark": {"type": "line", "style": "reference"},
        "encoding": {"x": {**x, "field": "x"}, "y": {**y, "field": "x"}},
    }
    return single_chart(
        f"Predicted and true values: {model_labels(evaluation)[model]}", rows, {"layer": [cells, diagonal]}, width, 260
    )


def residuals_chart(evaluation: Evaluation, width: ChartWidth = 320) -> Spec | None:
    """Return histograms of true less predicted value, with median and 90 % range; None without them."""
    rows, ranges = [], []
    for model, data in evaluated_models(evaluation):
        residuals = data.get("residuals") or {}
        bins = histogram_bins(residuals.get("edges"), residuals.get("counts"))
        rows += [{"model": model, "a": a, "b": b, "n": count} for a, b, count in bins if count]
        values = {name: as_number(residuals.get(name)) for name in ("q05", "q50", "q95", "mean", "std")}
        ranges.append(without_nulls({"model": model, **values}))
    if not rows:
        return None
    models = list(dict.fromkeys(row["model"] for row in rows))
    x = {"field": "a", "type": "quantitative", "title": "residual", "axis": {"tickCount": 6, "format": "~s"}}
    y = {"field": "n", "type": "quantitative", "title": "rows", "axis": {"format": "~s", "tickCount": 4}}
    tooltip = [
        {"field": "a", "type": "quantitative", "title": "residual from", "format": ".4~g"},
        {"field": "b", "type": "quantitative", "title": "to", "format": ".4~g"},
        {"field": "n", "type": "quantitative", "title": "rows", "format": ","},
    ]
    charts = []
    for model in models:
        bars = {
            "mark": {"type": "rect", "style": f"{model}-fill", "opacity": 0.75},
            "encoding": {"x": x, "x2": {"field": "b"}, "y": y, "y2": {"datum": 0}, "tooltip": tooltip},
        }
        span = {
            "mark": {"type": "rule", "style": "best", "strokeWidth": 2},
            "encoding": {"x": {**x, "field": "q05"}, "x2": {"field": "q95"}, "y": {"value": 4}},
        }
        median = {
            "mark": {"type": "point", "style": "best-fill", "size": 40},
            "encoding": {"x": {**x, "field": "q50"}, "y": {"value": 4}},
        }
        own = {"data": {"values": [one for one in ranges if one["model"] == model]}}
        zero = {
            "data": {"values": [{}]},
            "mark": {"type": "rule", "style": "reference"},
            "encoding": {"x": {"datum": 0}},
        }
        charts.append(
            {
                "title": small_title(f"{model_labels(evaluation)[model]}: median and the middle 90 %"),
                "height": 240 // len(models) - 12,
                "layer": [
                    {"transform": [{"filter": f"datum.model == '{model}'"}], **bars},
                    zero,
                    {**own, **span},
                    {**own, **median},
                ],
            }
        )
    return chart_column("Residuals", rows, charts, width)
