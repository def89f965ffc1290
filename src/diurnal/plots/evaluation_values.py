"""What the charts of an evaluation share: its models and their names, and the forms of charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from diurnal.plots.chart_output import ChartWidth, Spec, fill_container
from diurnal.plots.chart_values import as_number, clean_text

Evaluation = Mapping[str, Any]
"""The evaluation data of a run: the JSON file of the column `experiments.evaluation`."""

MODELS = ("twin", "champion")


def evaluated_models(evaluation: Evaluation) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the models that an evaluation describes, twin first."""
    models = evaluation.get("models") or {}
    return [(name, models[name]) for name in MODELS if models.get(name)]


def model_labels(evaluation: Evaluation) -> dict[str, str]:
    """Return the names of the two models in legends and titles; a comparison of two runs has other ones (`labels`)."""
    labels = evaluation.get("labels") or {}
    return {model: clean_text(labels.get(model, model), 40) for model in MODELS}


def palette_color(field: str, values: Sequence[str], *, skip: int = 0) -> Spec:
    """Return a colour channel; `skip` leaves the first colours to twin and champion."""
    taken = [f"\u200b{k}" for k in range(skip)]  # no value is a zero-width space with a number
    return {"field": field, "type": "nominal", "scale": {"domain": [*taken, *values]}}


def present_values(values: Sequence[str], rows: Sequence[Mapping[str, Any]], field: str) -> list[str]:
    """Return the values that a field of the rows has, in their order."""
    return [value for value in values if any(row[field] == value for row in rows)]


def histogram_bins(edges: Sequence[float] | None, counts: Sequence[float] | None) -> list[tuple[Any, Any, Any]]:
    """Return the ends and the count of each bin."""
    ends = [as_number(edge, 10) for edge in edges or []]
    return list(zip(ends, ends[1:], [as_number(count) for count in counts or []], strict=False))


def unique_names(names: Sequence[str]) -> list[str]:
    """Return names that differ: clipped ones may be equal."""
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return unique


def small_title(text: str) -> Spec:
    """Return the title of one of several plots of a chart."""
    return {"text": clean_text(text), "fontSize": 12, "fontWeight": "normal", "offset": 4}


def single_chart(title: str, rows: list[Spec], body: Spec, width: ChartWidth, height: int) -> Spec:
    """Return a chart of one plot with its data."""
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "description": title,
        "title": clean_text(title, 80),
        "data": {"values": rows},
        "width": width,
        "height": height,
        **body,
    }


def chart_column(title: str, rows: list[Spec], charts: list[Spec], width: ChartWidth) -> Spec:
    """Return charts below each other; one chart alone has the width of its container."""
    if len(charts) == 1:
        return single_chart(
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
