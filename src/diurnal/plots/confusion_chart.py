"""The confusion matrix of a model."""

from __future__ import annotations

from diurnal.plots.chart_output import ChartWidth, Spec
from diurnal.plots.chart_values import as_number, clean_text
from diurnal.plots.evaluation_values import (
    Evaluation,
    evaluated_models,
    model_labels,
    single_chart,
    unique_names,
)

_MAX_CELLS_WITH_TEXT = 100


def confusion_chart(evaluation: Evaluation, width: ChartWidth = 320, *, model: str = "twin") -> Spec | None:
    """Return the confusion matrix of a model, coloured by the share of the true class; None without one."""
    data = dict(evaluated_models(evaluation)).get(model) or {}
    matrix = data.get("confusion") or []
    classes = unique_names([clean_text(name, 30) for name in data.get("classes") or []])[: len(matrix)]
    if not matrix or not classes:
        return None
    rows = []
    for true, line in zip(classes, matrix, strict=False):
        total = sum(line) or 1
        rows += [
            {
                "t": true,
                "p": predicted,
                "n": as_number(count),
                "share": as_number(count / total, 4),
                "text": _count_text(count),
            }
            for predicted, count in zip(classes, line, strict=False)
        ]
    axis = {"labelLimit": 110, "domain": False, "ticks": False}
    x = {
        "field": "p",
        "type": "nominal",
        "sort": None,
        "title": "predicted class",
        "axis": {**axis, "labelAngle": 0 if len(classes) < 6 else -40},
    }
    y = {"field": "t", "type": "nominal", "sort": None, "title": "true class", "axis": {**axis, "titlePadding": 12}}
    color = {
        "field": "share",
        "type": "quantitative",
        "scale": {"range": "heatmap", "domain": [0, 1]},
        "legend": {
            "title": "share of the true class",
            "orient": "bottom",
            "format": ".0%",
            "gradientLength": 160,
            "gradientThickness": 9,
        },
    }
    tooltip = [
        {"field": "t", "type": "nominal", "title": "true class"},
        {"field": "p", "type": "nominal", "title": "predicted class"},
        {"field": "n", "type": "quantitative", "title": "rows", "format": ","},
        {"field": "share", "type": "quantitative", "title": "share of the true class", "format": ".1%"},
    ]
    layers: list[Spec] = [{"mark": {"type": "rect"}, "encoding": {"x": x, "y": y, "color": color, "tooltip": tooltip}}]
    if len(rows) <= _MAX_CELLS_WITH_TEXT:
        text = {"x": x, "y": y, "text": {"field": "text", "type": "nominal"}}
        inks = (("label-text", "datum.share < 0.4"), ("on-fill-text", "datum.share >= 0.4"))
        layers += [
            {
                "transform": [{"filter": test}],
                "mark": {"type": "text", "style": style, "fontSize": 11},
                "encoding": text,
            }
            for style, test in inks
        ]
    height = max(100, min(34 * len(classes), 420))
    return single_chart(f"Confusion matrix: {model_labels(evaluation)[model]}", rows, {"layer": layers}, width, height)


def _count_text(count: float) -> str:
    return f"{count:,.0f}" if abs(count) < 100_000 else f"{count:.2e}"
