"""Charts of the scores of a classification: curves, calibration and histograms, of the twin beside the champion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diurnal.plots.chart_fields import number_field, text_field
from diurnal.plots.chart_output import ChartWidth, Spec
from diurnal.plots.chart_values import as_number, clean_text, thin_evenly, without_nulls
from diurnal.plots.evaluation_values import (
    Evaluation,
    chart_column,
    evaluated_models,
    histogram_bins,
    model_labels,
    palette_color,
    present_values,
    single_chart,
    small_title,
)

_MAX_CLASSES = 6  # with curves in one chart
_OTHERS = "other classes"


def roc_chart(evaluation: Evaluation, width: ChartWidth = 320) -> Spec | None:
    """Return the ROC curves; None without any."""
    points = _curve_points(evaluation, "roc", "fpr", "tpr", "auc", "AUC")
    axes = ("false positive rate", "true positive rate")
    return _curve_chart("ROC", points, evaluation, *axes, width, diagonal=True)


def precision_recall_chart(evaluation: Evaluation, width: ChartWidth = 320) -> Spec | None:
    """Return the precision-recall curves; None without any."""
    points = _curve_points(evaluation, "precision_recall", "recall", "precision", "average_precision", "AP")
    return _curve_chart("Precision and recall", points, evaluation, "recall", "precision", width, diagonal=False)


def calibration_chart(evaluation: Evaluation, width: ChartWidth = 320) -> Spec | None:
    """Return the calibration curves; None without probabilities."""
    points = _curve_points(evaluation, "calibration", "predicted", "observed", None, "", size="n")
    axes = ("predicted probability", "observed share")
    chart = _curve_chart("Calibration", points, evaluation, *axes, width, diagonal=True)
    if chart is not None:
        line = chart["layer"][-1]
        dots = {"mark": {"type": "circle", "opacity": 1}, "encoding": {**line["encoding"]}}
        dots["encoding"]["size"] = {"field": "n", "type": "quantitative", "legend": None, "scale": {"range": [15, 120]}}
        dots["encoding"].pop("strokeDash")
        dots["encoding"].pop("order")
        dots["encoding"]["tooltip"] = [
            text_field("series", "model"),
            number_field("x", "predicted", ".3f"),
            number_field("y", "observed", ".3f"),
            number_field("n", "rows", ","),
        ]
        chart["layer"].append(dots)
    return chart


def histogram_chart(evaluation: Evaluation, width: ChartWidth = 320) -> Spec | None:
    """Return histograms of the score by class, of the twin and below of the champion; None without scores.

    With more than two classes it is that of the most frequent one.
    """
    rows, label = [], ""
    for model, data in evaluated_models(evaluation):
        for name, curves in list((data.get("curves") or {}).items())[:1]:
            label = clean_text(name, 40)
            rows += _histogram_rows(model, label, curves.get("histogram") or {})
    models = list(dict.fromkeys(row["model"] for row in rows))
    charts = [
        {
            "title": small_title(model_labels(evaluation)[model]),
            "transform": [{"filter": f"datum.model == '{model}'"}],
            "height": 220 // len(models) - 12,
            **_histogram_bars(label),
        }
        for model in models
    ]
    return chart_column("Scores by true class", rows, charts, width) if charts else None


def _histogram_rows(model: str, label: str, histogram: Mapping[str, Any]) -> list[Spec]:
    return [
        {"model": model, "a": a, "b": b, "n": count, "class": text}
        for side, text in (("positive", label), ("negative", _OTHERS))
        for a, b, count in histogram_bins(histogram.get("edges"), histogram.get(side))
        if count
    ]


def _histogram_bars(label: str) -> Spec:
    labels = [label, _OTHERS if label != _OTHERS else "others"]
    legend = {"title": "true class", "orient": "bottom", "values": labels}
    y = {**number_field("n", "rows"), "stack": None, "axis": {"format": "~s", "tickCount": 4}}
    tooltip = [
        text_field("class", "true class"),
        number_field("a", "score from", ".3~g"),
        number_field("b", "to", ".3~g"),
        number_field("n", "rows", ","),
    ]
    encoding = {
        "x": number_field("a", f"score of {label}"),
        "x2": {"field": "b"},
        "y": y,
        "y2": {"datum": 0},
        "color": {**palette_color("class", labels, skip=2), "legend": legend},
        "tooltip": tooltip,
    }
    return {"mark": {"type": "rect", "opacity": 0.6}, "encoding": encoding}


def _curve_points(
    evaluation: Evaluation, part: str, x: str, y: str, value: str | None, label: str, *, size: str | None = None
) -> list[Spec]:
    """Return the points of the curves: a series for each model and class."""
    points: list[Spec] = []
    labels = model_labels(evaluation)
    for model, data in evaluated_models(evaluation):
        curves = list((data.get("curves") or {}).items())
        for name, curve in curves[:_MAX_CLASSES]:
            drawn = curve.get(part) or {}
            number = as_number(curve.get(value), 4) if value else None
            text = f" ({label} {number:.3f})" if number is not None else ""
            values = list(zip(drawn.get(x) or [], drawn.get(y) or [], strict=False))
            sizes = drawn.get(size) or [] if size else []
            for k in thin_evenly(len(values), max(40, 200 // len(curves))):
                a, b = values[k]
                point = {"x": as_number(a, 4), "y": as_number(b, 4), "k": k, "model": labels[model]}
                point |= {"class": clean_text(name, 30), "series": f"{labels[model]}{text}"}
                points.append(without_nulls({**point, "n": sizes[k] if k < len(sizes) else None}))
    return points


def _curve_chart(
    title: str, points: list[Spec], evaluation: Evaluation, x: str, y: str, width: ChartWidth, *, diagonal: bool
) -> Spec | None:
    """Return a chart of curves in the unit square: coloured by model, or with several classes by class."""
    if not points:
        return None
    models = list(model_labels(evaluation).values())
    classes = list(dict.fromkeys(point["class"] for point in points))
    legend: Spec = {
        "title": None,
        "orient": "bottom",
        "direction": "vertical",
        "symbolType": "stroke",
        "symbolSize": 240,
    }
    if len(classes) > 1:
        color: Spec = {**palette_color("class", classes), "legend": {**legend, "title": "class", "columns": 2}}
        dash: Spec = {"field": "model", "type": "nominal", "scale": {"domain": list(models), "range": [[1, 0], [6, 3]]}}
        dash["legend"] = {**legend, "values": present_values(models, points, "model")}
    else:
        named = {point["model"]: point["series"] for point in points}
        series = [named.get(model, f"\u200b{model}") for model in models]  # each model keeps its colour
        legend["values"] = list(named.values())
        color = {"field": "series", "type": "nominal", "sort": None, "scale": {"domain": series}, "legend": legend}
        dash = {
            "field": "series",
            "type": "nominal",
            "sort": None,
            "scale": {"domain": series, "range": [[1, 0], [6, 3]]},
        }
        dash["legend"] = legend
        title = f"{title} of {classes[0]}"
    scale = {"domain": [0, 1], "nice": False}
    axes = {
        "x": {"field": "x", "type": "quantitative", "title": x, "scale": scale, "axis": {"tickCount": 5}},
        "y": {"field": "y", "type": "quantitative", "title": y, "scale": scale, "axis": {"tickCount": 5}},
    }
    line: Spec = {
        "mark": {"type": "line", "strokeWidth": 2},
        "encoding": {**axes, "color": color, "strokeDash": dash, "order": {"field": "k"}},
    }
    layers = [line]
    if diagonal:
        ends = {
            "data": {"values": [{"x": 0, "y": 0}, {"x": 1, "y": 1}]},
            "mark": {"type": "line", "style": "reference"},
        }
        layers = [{**ends, "encoding": axes}, line]
    return single_chart(title, points, {"layer": layers}, width, 260)
