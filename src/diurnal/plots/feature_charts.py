"""Charts of an evaluation by feature: permutation importances, and scores by category."""

from __future__ import annotations

from diurnal.plots.chart_fields import number_field, text_field
from diurnal.plots.chart_output import ChartWidth, Spec
from diurnal.plots.chart_values import as_number, clean_text, without_nulls
from diurnal.plots.evaluation_values import (
    Evaluation,
    evaluated_models,
    model_labels,
    palette_color,
    present_values,
    single_chart,
    unique_names,
)

_MAX_FEATURES = 20
_MAX_SLICES = 40


def importances_chart(evaluation: Evaluation, width: ChartWidth = 320) -> Spec | None:
    """Return the permutation importances of the twin's features, strongest first; None without them."""
    data = dict(evaluated_models(evaluation)).get("twin") or {}
    listed = [one for one in data.get("importances") or [] if as_number(one.get("mean")) is not None]
    rows = []
    names = unique_names([clean_text(one.get("feature", ""), 40) for one in listed])
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
        text_field("f", "feature"),
        number_field("m", "mean", ".4~g"),
        number_field("lo", "mean - std", ".4~g"),
        number_field("hi", "mean + std", ".4~g"),
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
    return single_chart(title, rows, {"layer": layers}, width, 20 * len(rows))


def slices_chart(evaluation: Evaluation, width: ChartWidth = 320, *, scoring: str = "score") -> Spec | None:
    """Return the scores by category of a category column, of twin and champion; None without them."""
    rows: list[Spec] = []
    labels = model_labels(evaluation)
    models = list(labels.values())
    for model, data in evaluated_models(evaluation):
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
            **palette_color("series", models),
            "legend": {"title": None, "orient": "bottom", "values": present_values(models, rows, "series")},
        },
        "shape": {
            "field": "series",
            "type": "nominal",
            "scale": {"domain": models, "range": ["circle", "diamond"]},
            "legend": {"title": None, "orient": "bottom", "values": present_values(models, rows, "series")},
        },
        "tooltip": [
            text_field("label", "slice"),
            text_field("series", "model"),
            number_field("s", clean_text(scoring), ".4f"),
            number_field("n", "rows", ","),
        ],
    }
    title = f"Score by category, the {len(shown)} largest" if len(sizes) > len(shown) else "Score by category"
    layer = {"mark": {"type": "point", "filled": True, "size": 60, "opacity": 0.9}, "encoding": encoding}
    return single_chart(title, rows, layer, width, 20 * len(shown))
