"""The confusion matrix of a model."""

from __future__ import annotations

from collections.abc import Sequence

from diurnal.plots.chart_fields import number_field, text_field
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
_SHARE = "share of the true class"


def confusion_chart(evaluation: Evaluation, width: ChartWidth = 320, *, model: str = "twin") -> Spec | None:
    """Return the confusion matrix of a model, coloured by the share of the true class; None without one."""
    data = dict(evaluated_models(evaluation)).get(model) or {}
    matrix = data.get("confusion") or []
    classes = unique_names([clean_text(name, 30) for name in data.get("classes") or []])[: len(matrix)]
    if not matrix or not classes:
        return None
    rows = _matrix_cells(classes, matrix)
    axis = {"labelLimit": 110, "domain": False, "ticks": False}
    x = {
        **text_field("p", "predicted class"),
        "sort": None,
        "axis": {**axis, "labelAngle": 0 if len(classes) < 6 else -40},
    }
    y = {**text_field("t", "true class"), "sort": None, "axis": {**axis, "titlePadding": 12}}
    layers = [_color_layer(x, y)]
    if len(rows) <= _MAX_CELLS_WITH_TEXT:
        layers += _text_layers(x, y)
    height = max(100, min(34 * len(classes), 420))
    return single_chart(f"Confusion matrix: {model_labels(evaluation)[model]}", rows, {"layer": layers}, width, height)


def _matrix_cells(classes: Sequence[str], matrix: Sequence[Sequence[float]]) -> list[Spec]:
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
    return rows


def _color_layer(x: Spec, y: Spec) -> Spec:
    legend = {"title": _SHARE, "orient": "bottom", "format": ".0%", "gradientLength": 160, "gradientThickness": 9}
    scale = {"range": "heatmap", "domain": [0, 1]}
    color = {"field": "share", "type": "quantitative", "scale": scale, "legend": legend}
    tooltip = [
        text_field("t", "true class"),
        text_field("p", "predicted class"),
        number_field("n", "rows", ","),
        number_field("share", _SHARE, ".1%"),
    ]
    return {"mark": {"type": "rect"}, "encoding": {"x": x, "y": y, "color": color, "tooltip": tooltip}}


def _text_layers(x: Spec, y: Spec) -> list[Spec]:
    """Return the counts, in the ink that is seen on their cells."""
    inks = (("label-text", "datum.share < 0.4"), ("on-fill-text", "datum.share >= 0.4"))
    return [
        {
            "transform": [{"filter": test}],
            "mark": {"type": "text", "style": style, "fontSize": 11},
            "encoding": {"x": x, "y": y, "text": {"field": "text", "type": "nominal"}},
        }
        for style, test in inks
    ]


def _count_text(count: float) -> str:
    return f"{count:,.0f}" if abs(count) < 100_000 else f"{count:.2e}"
