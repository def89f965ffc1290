"""All charts of one evaluation: as parts for a page, and as one chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from diurnal.plots.chart_output import ChartWidth, Spec
from diurnal.plots.chart_values import as_number, clean_text
from diurnal.plots.confusion_chart import confusion_chart
from diurnal.plots.curve_charts import calibration_chart, histogram_chart, precision_recall_chart, roc_chart
from diurnal.plots.evaluation_values import Evaluation
from diurnal.plots.feature_charts import importances_chart, slices_chart
from diurnal.plots.regression_charts import predicted_true_chart, residuals_chart

_OWN_SCALES = {"scale": dict.fromkeys(("color", "strokeDash", "shape", "size"), "independent")}
_ROWS = (  # of the single chart
    ("scores",),
    ("roc", "precision_recall"),
    ("calibration", "histogram"),
    ("confusion", "champion_confusion"),
    ("predicted_true", "champion_predicted_true"),
    ("residuals",),
    ("importances", "slices"),
)


def evaluation_parts(
    evaluation: Evaluation | None, *, scoring: str = "score", width: ChartWidth = 320
) -> dict[str, Spec]:
    """Return the charts that the evaluation data of a run have contents for.

    Parameters
    ----------
    evaluation : Mapping or None
        The evaluation data: the JSON file that the column `experiments.evaluation` names. Old runs have none.
    scoring : str
        Name of the main score.
    width : int or "container"
        Width of each chart.

    Returns
    -------
    dict
        Vega-Lite specifications by name: ``roc``, ``precision_recall``, ``calibration``, ``histogram``, ``confusion``,
        ``champion_confusion``, ``predicted_true``, ``champion_predicted_true``, ``residuals``, ``importances``,
        ``slices``.
    """
    data = evaluation or {}
    charts = {
        "roc": roc_chart(data, width),
        "precision_recall": precision_recall_chart(data, width),
        "calibration": calibration_chart(data, width),
        "histogram": histogram_chart(data, width),
        "confusion": confusion_chart(data, width),
        "champion_confusion": confusion_chart(data, width, model="champion"),
        "predicted_true": predicted_true_chart(data, width),
        "champion_predicted_true": predicted_true_chart(data, width, model="champion"),
        "residuals": residuals_chart(data, width),
        "importances": importances_chart(data, width),
        "slices": slices_chart(data, width, scoring=scoring),
    }
    return {name: chart for name, chart in charts.items() if chart is not None}


def build_evaluation(
    evaluation: Evaluation | None, run: Mapping[str, Any] | None = None, *, name: str = "", width: int = 320
) -> Spec:
    """Return all charts of an evaluation, two beside each other.

    Parameters
    ----------
    evaluation : Mapping or None
        The evaluation data. Old runs have none: their chart has the scores only.
    run : Mapping, optional
        The row of `experiments`, for the scores.
    name : str
        The version or run, for the title.
    width : int
        Width of each chart in pixels.

    Returns
    -------
    dict
        A Vega-Lite specification.
    """
    run = run or {}
    parts = evaluation_parts(evaluation, scoring=str(run.get("scoring") or "score"), width=width)
    scores = scores_chart(run, width)
    parts |= {} if scores is None else {"scores": scores}
    lines = [clean_text(note, 120) for note in (evaluation or {}).get("notes") or []][:6]
    if evaluation is None:
        lines.append("The run has no evaluation data: it was recorded by an earlier release, or they were too old.")
    else:
        lines.insert(0, f"{evaluation.get('n_rows', 0):,} test rows; solid: twin, dashed: champion on the same rows")
    empty = {"data": {"values": [{"t": "nothing to show"}]}, "mark": {"type": "text", "style": "muted-text"}}
    empty |= {"encoding": {"text": {"field": "t", "type": "nominal"}}, "width": width, "height": 40}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "description": f"Evaluation of {clean_text(name)}: {', '.join(parts)}",
        "title": {"text": clean_text(f"Evaluation of {name}" if name else "Evaluation"), "subtitle": lines},
        "vconcat": arrange_parts(parts) or [empty],
        "spacing": 30,
        "resolve": _OWN_SCALES,
    }


def arrange_parts(parts: Mapping[str, Spec]) -> list[Spec]:
    """Return the charts as rows of one chart, with those beside each other that are read together."""
    return [
        {"hconcat": [_without_schema(chart) for chart in charts], "spacing": 40, "resolve": _OWN_SCALES}
        for names in _ROWS
        if (charts := [parts[part] for part in names if part in parts])
    ]


def scores_chart(run: Mapping[str, Any], width: ChartWidth = 320) -> Spec | None:
    """Return a table of a run's scores: the twin's on its test rows, and both on the new rows; None without any."""
    comparison = run.get("comparison") or {}
    scoring = clean_text(run.get("scoring") or "score", 40)
    rows = [
        (clean_text(name, 40), "twin, test rows of the window", score)
        for name, score in (run.get("test_scores") or {}).items()
    ]
    rows = rows or [(scoring, "twin, test rows of the window", run.get("test_score"))]
    rows += [
        (scoring, "twin, new test rows", comparison.get("twin_score")),
        (scoring, "champion, new test rows", comparison.get("champion_score")),
    ]
    shown = [
        {"k": k, "name": name, "model": model, "s": f"{number:.5g}"}
        for k, (name, model, score) in enumerate(row for row in rows if as_number(row[2]) is not None)
        if (number := as_number(score)) is not None
    ]
    if not shown:
        return None
    texts = (("name", 0, "left", "label-text"), ("model", 0.42, "left", "muted-text"), ("s", 1, "right", "label-text"))
    y = {"field": "k", "type": "ordinal", "axis": None}
    layers = [
        {
            "mark": {"type": "text", "style": style, "align": align, "limit": 150},
            "encoding": {
                "y": y,
                "x": {"datum": place, "type": "quantitative", "scale": {"domain": [0, 1]}, "axis": None},
                "text": {"field": field, "type": "nominal"},
            },
        }
        for field, place, align, style in texts
    ]
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "description": "scores: " + ", ".join(f"{row['name']} of the {row['model']} {row['s']}" for row in shown),
        "title": "Scores",
        "data": {"values": shown},
        "width": width,
        "height": 20 * len(shown),
        "layer": layers,
    }


def _without_schema(spec: Any) -> Any:
    """Return a specification as a part of another one."""
    if isinstance(spec, Mapping):
        return {key: _without_schema(value) for key, value in spec.items() if key not in ("$schema", "usermeta")}
    if isinstance(spec, Sequence) and not isinstance(spec, str):
        return [_without_schema(one) for one in spec]
    return spec
