"""Charts of the evaluation of a twin beside that of the champion, from the evaluation data of a run.

Each function returns one chart that contains its data, so that a page can place it, or a concatenation combine them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from diurnal.plots.chart_output import ChartWidth, Spec, fill_container
from diurnal.plots.chart_values import as_number, clean_text, thin_evenly, without_nulls

Evaluation = Mapping[str, Any]
"""The evaluation data of a run: the JSON file of the column `experiments.evaluation`."""

MODELS = ("twin", "champion")
_MAX_CLASSES = 6  # with curves in one chart
_MAX_CELLS_WITH_TEXT = 100
_MAX_FEATURES = 20
_MAX_SLICES = 40


def roc_chart(evaluation: Evaluation, width: ChartWidth = 320) -> Spec | None:
    """Return the ROC curves; None without any."""
    points = _curve_points(evaluation, "roc", "fpr", "tpr", "auc", "AUC")
    return _curve_chart(
        "ROC",
        points,
        list(model_labels(evaluation).values()),
        "false positive rate",
        "true positive rate",
        width,
        diagonal=True,
    )


def precision_recall_chart(evaluation: Evaluation, width: ChartWidth = 320) -> Spec | None:
    """Return the precision-recall curves; None without any."""
    points = _curve_points(evaluation, "precision_recall", "recall", "precision", "average_precision", "AP")
    return _curve_chart(
        "Precision and recall",
        points,
        list(model_labels(evaluation).values()),
        "recall",
        "precision",
        width,
        diagonal=False,
    )


def calibration_chart(evaluation: Evaluation, width: ChartWidth = 320) -> Spec | None:
    """Return the calibration curves; None without probabilities."""
    points = _curve_points(evaluation, "calibration", "predicted", "observed", None, "", size="n")
    chart = _curve_chart(
        "Calibration",
        points,
        list(model_labels(evaluation).values()),
        "predicted probability",
        "observed share",
        width,
        diagonal=True,
    )
    if chart is not None:
        line = chart["layer"][-1]
        dots = {"mark": {"type": "circle", "opacity": 1}, "encoding": {**line["encoding"]}}
        dots["encoding"]["size"] = {"field": "n", "type": "quantitative", "legend": None, "scale": {"range": [15, 120]}}
        dots["encoding"].pop("strokeDash")
        dots["encoding"].pop("order")
        dots["encoding"]["tooltip"] = [
            {"field": "series", "type": "nominal", "title": "model"},
            {"field": "x", "type": "quantitative", "title": "predicted", "format": ".3f"},
            {"field": "y", "type": "quantitative", "title": "observed", "format": ".3f"},
            {"field": "n", "type": "quantitative", "title": "rows", "format": ","},
        ]
        chart["layer"].append(dots)
    return chart


def histogram_chart(evaluation: Evaluation, width: ChartWidth = 320) -> Spec | None:
    """Return histograms of the score by class, of the twin and below of the champion; None without scores.

    With more than two classes it is that of the most frequent one.
    """
    rows, label = [], ""
    for model, data in _models(evaluation):
        for name, curves in list((data.get("curves") or {}).items())[:1]:
            label = clean_text(name, 40)
            histogram = curves.get("histogram") or {}
            for side, text in (("positive", label), ("negative", "other classes")):
                rows += [
                    {"model": model, "a": a, "b": b, "n": count, "class": text}
                    for a, b, count in _bins(histogram.get("edges"), histogram.get(side))
                    if count
                ]
    if not rows:
        return None
    labels = [label, "other classes" if label != "other classes" else "others"]
    color = {
        **_palette_color("class", labels, skip=2),
        "legend": {"title": "true class", "orient": "bottom", "values": labels},
    }
    bar = {
        "mark": {"type": "rect", "opacity": 0.6},
        "encoding": {
            "x": {"field": "a", "type": "quantitative", "title": f"score of {label}"},
            "x2": {"field": "b"},
            "y": {
                "field": "n",
                "type": "quantitative",
                "title": "rows",
                "stack": None,
                "axis": {"format": "~s", "tickCount": 4},
            },
            "y2": {"datum": 0},
            "color": color,
            "tooltip": [
                {"field": "class", "type": "nominal", "title": "true class"},
                {"field": "a", "type": "quantitative", "title": "score from", "format": ".3~g"},
                {"field": "b", "type": "quantitative", "title": "to", "format": ".3~g"},
                {"field": "n", "type": "quantitative", "title": "rows", "format": ","},
            ],
        },
    }
    models = list(dict.fromkeys(row["model"] for row in rows))
    charts = [
        {
            "title": _small_title(model_labels(evaluation)[model]),
            "transform": [{"filter": f"datum.model == '{model}'"}],
            "height": 220 // len(models) - 12,
            **bar,
        }
        for model in models
    ]
    return _column("Scores by true class", rows, charts, width)


def confusion_chart(evaluation: Evaluation, width: ChartWidth = 320, *, model: str = "twin") -> Spec | None:
    """Return the confusion matrix of a model, coloured by the share of the true class; None without one."""
    data = dict(_models(evaluation)).get(model) or {}
    matrix = data.get("confusion") or []
    classes = _unique([clean_text(name, 30) for name in data.get("classes") or []])[: len(matrix)]
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
    return _chart(f"Confusion matrix: {model_labels(evaluation)[model]}", rows, {"layer": layers}, width, height)


def predicted_true_chart(evaluation: Evaluation, width: ChartWidth = 320, *, model: str = "twin") -> Spec | None:
    """Return the counts of rows by true and predicted value; None without them."""
    data = (dict(_models(evaluation)).get(model) or {}).get("predicted_true") or {}
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
    return _chart(
        f"Predicted and true values: {model_labels(evaluation)[model]}", rows, {"layer": [cells, diagonal]}, width, 260
    )


def residuals_chart(evaluation: Evaluation, width: ChartWidth = 320) -> Spec | None:
    """Return histograms of true less predicted value, with median and 90 % range; None without them."""
    rows, ranges = [], []
    for model, data in _models(evaluation):
        residuals = data.get("residuals") or {}
        bins = _bins(residuals.get("edges"), residuals.get("counts"))
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
                "title": _small_title(f"{model_labels(evaluation)[model]}: median and the middle 90 %"),
                "height": 240 // len(models) - 12,
                "layer": [
                    {"transform": [{"filter": f"datum.model == '{model}'"}], **bars},
                    zero,
                    {**own, **span},
                    {**own, **median},
                ],
            }
        )
    return _column("Residuals", rows, charts, width)


def importances_chart(evaluation: Evaluation, width: ChartWidth = 320) -> Spec | None:
    """Return the permutation importances of the twin's features, strongest first; None without them."""
    data = dict(_models(evaluation)).get("twin") or {}
    listed = [one for one in data.get("importances") or [] if as_number(one.get("mean")) is not None]
    rows = []
    names = _unique([clean_text(one.get("feature", ""), 40) for one in listed])
    for name, one in list(zip(names, listed, strict=True))[:_MAX_FEATURES]:
        mean, std = as_number(one["mean"]) or 0, as_number(one.get("std")) or 0
        rows.append({"f": name, "m": mean, "lo": as_number(mean - std), "hi": as_number(mean + std)})
    if not rows:
        return None
    y = {
        "field": "f",
        "type": "nominal",
        "sort": None,
        "title": None,
        "axis": {"labelLimit": 150, "domain": False, "ticks": False},
    }
    x = {"type": "quantitative", "title": "drop of the score if it is shuffled (mean ± std)"}
    tooltip = [
        {"field": "f", "type": "nominal", "title": "feature"},
        {"field": "m", "type": "quantitative", "title": "mean", "format": ".4~g"},
        {"field": "lo", "type": "quantitative", "title": "mean - std", "format": ".4~g"},
        {"field": "hi", "type": "quantitative", "title": "mean + std", "format": ".4~g"},
    ]
    layers = [
        {"data": {"values": [{}]}, "mark": {"type": "rule", "style": "reference"}, "encoding": {"x": {"datum": 0}}},
        {
            "mark": {"type": "rule", "style": "span"},
            "encoding": {"x": {**x, "field": "lo"}, "x2": {"field": "hi"}, "y": y},
        },
        {
            "mark": {"type": "circle", "style": "series-0", "size": 60},
            "encoding": {"x": {**x, "field": "m"}, "y": y, "tooltip": tooltip},
        },
    ]
    title = (
        f"Permutation importance, the {len(rows)} strongest" if len(listed) > len(rows) else "Permutation importance"
    )
    return _chart(title, rows, {"layer": layers}, width, 20 * len(rows))


def slices_chart(evaluation: Evaluation, width: ChartWidth = 320, *, scoring: str = "score") -> Spec | None:
    """Return the scores by category of a category column, of twin and champion; None without them."""
    rows: list[Spec] = []
    labels = model_labels(evaluation)
    models = list(labels.values())
    for model, data in _models(evaluation):
        for one in data.get("slices") or []:
            score = as_number(one.get("score"))
            if score is not None:
                column, category = clean_text(one.get("column", ""), 30), clean_text(one.get("category", ""), 30)
                label = f"{column} = {category}"
                rows.append({"label": label, "series": labels[model], "s": score, "n": as_number(one.get("n"))})
    if not rows:
        return None
    sizes = {row["label"]: row["n"] or 0 for row in rows}
    largest = sorted(sizes, key=lambda label: -sizes[label])[:_MAX_SLICES]
    shown = [label for label in sizes if label in set(largest)]
    rows = [without_nulls(row) for row in rows if row["label"] in set(largest)]
    y = {
        "field": "label",
        "type": "nominal",
        "sort": shown,
        "title": None,
        "axis": {"labelLimit": 170, "domain": False, "ticks": False, "grid": True},
    }
    x = {"field": "s", "type": "quantitative", "title": clean_text(scoring), "scale": {"zero": False, "padding": 8}}
    encoding = {
        "x": x,
        "y": y,
        "color": {
            **_palette_color("series", models),
            "legend": {"title": None, "orient": "bottom", "values": _present(models, rows, "series")},
        },
        "shape": {
            "field": "series",
            "type": "nominal",
            "scale": {"domain": models, "range": ["circle", "diamond"]},
            "legend": {"title": None, "orient": "bottom", "values": _present(models, rows, "series")},
        },
        "tooltip": [
            {"field": "label", "type": "nominal", "title": "slice"},
            {"field": "series", "type": "nominal", "title": "model"},
            {"field": "s", "type": "quantitative", "title": clean_text(scoring), "format": ".4f"},
            {"field": "n", "type": "quantitative", "title": "rows", "format": ","},
        ],
    }
    title = f"Score by category, the {len(shown)} largest" if len(sizes) > len(shown) else "Score by category"
    layer = {"mark": {"type": "point", "filled": True, "size": 60, "opacity": 0.9}, "encoding": encoding}
    return _chart(title, rows, layer, width, 20 * len(shown))


def _models(evaluation: Evaluation) -> list[tuple[str, Mapping[str, Any]]]:
    models = evaluation.get("models") or {}
    return [(name, models[name]) for name in MODELS if models.get(name)]


def _curve_points(
    evaluation: Evaluation, part: str, x: str, y: str, value: str | None, label: str, *, size: str | None = None
) -> list[Spec]:
    """Return the points of the curves: a series for each model and class."""
    points: list[Spec] = []
    labels = model_labels(evaluation)
    for model, data in _models(evaluation):
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
    title: str, points: list[Spec], models: Sequence[str], x: str, y: str, width: ChartWidth, *, diagonal: bool
) -> Spec | None:
    """Return a chart of curves in the unit square: coloured by model, or with several classes by class."""
    if not points:
        return None
    classes = list(dict.fromkeys(point["class"] for point in points))
    legend: Spec = {
        "title": None,
        "orient": "bottom",
        "direction": "vertical",
        "symbolType": "stroke",
        "symbolSize": 240,
    }
    if len(classes) > 1:
        color: Spec = {**_palette_color("class", classes), "legend": {**legend, "title": "class", "columns": 2}}
        dash: Spec = {"field": "model", "type": "nominal", "scale": {"domain": list(models), "range": [[1, 0], [6, 3]]}}
        dash["legend"] = {**legend, "values": _present(models, points, "model")}
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
    return _chart(title, points, {"layer": layers}, width, 260)


def _palette_color(field: str, values: Sequence[str], *, skip: int = 0) -> Spec:
    """Return a colour channel; `skip` leaves the first colours to twin and champion."""
    taken = [f"\u200b{k}" for k in range(skip)]  # no value is a zero-width space with a number
    return {"field": field, "type": "nominal", "scale": {"domain": [*taken, *values]}}


def model_labels(evaluation: Evaluation) -> dict[str, str]:
    """Return the names of the two models in legends and titles; a comparison of two runs has other ones (`labels`)."""
    labels = evaluation.get("labels") or {}
    return {model: clean_text(labels.get(model, model), 40) for model in MODELS}


def _present(values: Sequence[str], rows: Sequence[Mapping[str, Any]], field: str) -> list[str]:
    return [value for value in values if any(row[field] == value for row in rows)]


def _bins(edges: Sequence[float] | None, counts: Sequence[float] | None) -> list[tuple[Any, Any, Any]]:
    ends = [as_number(edge, 10) for edge in edges or []]
    return list(zip(ends, ends[1:], [as_number(count) for count in counts or []], strict=False))


def _count_text(count: float) -> str:
    return f"{count:,.0f}" if abs(count) < 100_000 else f"{count:.2e}"


def _unique(names: Sequence[str]) -> list[str]:
    """Return names that differ: clipped ones may be equal."""
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return unique


def _small_title(text: str) -> Spec:
    return {"text": clean_text(text), "fontSize": 12, "fontWeight": "normal", "offset": 4}


def _chart(title: str, rows: list[Spec], body: Spec, width: ChartWidth, height: int) -> Spec:
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "description": title,
        "title": clean_text(title, 80),
        "data": {"values": rows},
        "width": width,
        "height": height,
        **body,
    }


def _column(title: str, rows: list[Spec], charts: list[Spec], width: ChartWidth) -> Spec:
    """Return charts below each other; one chart alone has the width of its container."""
    if len(charts) == 1:
        return _chart(
            title, rows, {key: value for key, value in charts[0].items() if key not in ("title", "height")}, width, 260
        )
    pixels = 320 if width == "container" else width
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "description": title,
        "title": clean_text(title, 80),
        "data": {"values": rows},
        "vconcat": [{**chart, "width": pixels} for chart in charts],
        "spacing": 8,
        "resolve": {"scale": {"x": "shared"}},
    }
    return fill_container(spec, width, margin=76)
