"""Two runs beside each other: scores, parameters that differ, and the curves of both twins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diurnal.plots.chart_output import Spec
from diurnal.plots.chart_values import as_number, clean_text, value_text
from diurnal.plots.evaluation_page import arrange_parts, evaluation_parts
from diurnal.plots.evaluation_values import Evaluation
from diurnal.plots.timeline_data import Record, interval_text, local_records

_MAX_ROWS = 40
_ABSENT = "none"
_COLUMNS = (("name", 0.0, "left"), ("first", 0.52, "right"), ("second", 0.78, "right"), ("difference", 1.0, "right"))


def build_comparison(
    first: Record,
    second: Record,
    evaluations: tuple[Evaluation | None, Evaluation | None] = (None, None),
    *,
    names: tuple[str, str] = ("first", "second"),
    timezone: str = "UTC",
    width: int = 320,
) -> Spec:
    """Return a comparison of two runs.

    Parameters
    ----------
    first, second : Mapping
        Their rows of `experiments`.
    evaluations : tuple of (Mapping or None, Mapping or None)
        Their evaluation data. Each twin was evaluated on the test rows of its own window.
    names : tuple of (str, str)
        Their names, such as of versions.
    timezone : str
        The timezone of the experiment, in which data intervals are named.
    width : int
        Width of each chart in pixels.

    Returns
    -------
    dict
        A Vega-Lite specification.
    """
    first, second = local_records((first, second), timezone)
    labels = _distinct_names(names)
    sections = [("Scores on the test rows of each window", _score_rows(first, second))]
    sections += [("Parameters that differ", _parameter_rows(first, second)), ("Runs", _run_rows(first, second))]
    tables = [_table(title, rows, labels, 2 * width + 40) for title, rows in sections if rows]
    models = {
        model: twin
        for model, evaluation in zip(("twin", "champion"), evaluations, strict=True)
        if (twin := _twin_on_its_window(evaluation))
    }
    merged = {"models": models, "labels": dict(zip(("twin", "champion"), labels, strict=True))}
    scoring = str(first.get("scoring") or "score")
    parts = evaluation_parts(merged, scoring=scoring, width=width)
    parts.pop("importances", None)  # of one of them only
    lines = [
        f"{label} has no evaluation data: it was recorded by an earlier release"
        for label, evaluation in zip(labels, evaluations, strict=True)
        if evaluation is None
    ]
    if first.get("scoring") != second.get("scoring"):
        lines.append("the main scores differ")
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "description": f"Comparison of {labels[0]} with {labels[1]}",
        "title": {"text": clean_text(f"{labels[0]} and {labels[1]}", 80), "subtitle": lines},
        "vconcat": [*tables, *arrange_parts(parts)],
        "spacing": 26,
        "resolve": {"scale": dict.fromkeys(("color", "strokeDash", "shape", "size"), "independent")},
    }


def _score_rows(first: Record, second: Record) -> list[Spec]:
    scores = [
        run.get("test_scores") or {str(run.get("scoring") or "score"): run.get("test_score")} for run in (first, second)
    ]
    rows = [(name, scores[0].get(name), scores[1].get(name)) for name in dict.fromkeys([*scores[0], *scores[1]])]
    name = "cross-validation, mean"
    rows.append((name, first.get("cv_score_mean"), second.get("cv_score_mean")))
    return [_number_row(*row, digits=5) for row in rows if row[1] is not None or row[2] is not None]


def _parameter_rows(first: Record, second: Record) -> list[Spec]:
    params = [run.get("best_params") or {} for run in (first, second)]
    rows = []
    for name in dict.fromkeys([*params[0], *params[1]]):
        texts = [value_text(one[name], 30) if name in one else _ABSENT for one in params]
        if texts[0] != texts[1] or (name in params[0] and name in params[1] and params[0][name] != params[1][name]):
            rows.append({"name": clean_text(name, 50), "first": texts[0], "second": texts[1], "difference": ""})
    return rows


def _run_rows(first: Record, second: Record) -> list[Spec]:
    def span(run: Record) -> str:
        return interval_text(run["data_interval_start"], run.get("data_interval_end"))

    rows: list[Spec] = []
    if first.get("data_interval_start") and second.get("data_interval_start"):
        rows.append({"name": "data interval", "first": span(first), "second": span(second), "difference": ""})
    for name, title in (("n_train", "train rows"), ("n_test", "test rows"), ("n_candidates", "candidates")):
        if first.get(name) is not None or second.get(name) is not None:
            rows.append(_number_row(title, first.get(name), second.get(name), digits=9))
    seconds = [sum((run.get("durations") or {}).values()) or None for run in (first, second)]
    if any(seconds):
        rows.append(_number_row("duration of all steps, seconds", *seconds, digits=4))
    for name, title in (
        ("code_digest", "code"),
        ("contract_version", "version of the contract"),
        ("test_size", "test size"),
    ):
        if first.get(name) != second.get(name):
            texts = [_ABSENT if run.get(name) is None else value_text(run[name])[:12] for run in (first, second)]
            rows.append({"name": title, "first": texts[0], "second": texts[1], "difference": "differs"})
    return rows


def _number_row(name: str, first: Any, second: Any, *, digits: int) -> Spec:
    numbers = [as_number(value) for value in (first, second)]
    texts = [_ABSENT if value is None else f"{value:,.{digits}g}" for value in numbers]
    difference = "" if numbers[0] is None or numbers[1] is None else f"{numbers[1] - numbers[0]:+,.{digits}g}"
    return {"name": clean_text(name, 50), "first": texts[0], "second": texts[1], "difference": difference}


def _table(title: str, rows: list[Spec], labels: tuple[str, str], width: int) -> Spec:
    """Return a table of texts, with the names of the runs above."""
    head = {"name": "", "first": labels[0], "second": labels[1], "difference": "difference", "head": True}
    shown = [{"k": k, **row} for k, row in enumerate([head, *rows[:_MAX_ROWS]])]
    y = {"field": "k", "type": "ordinal", "axis": None}
    layers = []
    for field, place, align in _COLUMNS:
        x = {"datum": place, "type": "quantitative", "scale": {"domain": [0, 1], "nice": False}, "axis": None}
        for test, style in (("datum.head", "muted-text"), ("!datum.head", "label-text")):
            layers.append(
                {
                    "transform": [{"filter": test}],
                    "mark": {"type": "text", "style": style, "align": align, "limit": width // 4},
                    "encoding": {"x": x, "y": y, "text": {"field": field, "type": "nominal"}},
                }
            )
    more = f"; {len(rows) - _MAX_ROWS} more are not shown" if len(rows) > _MAX_ROWS else ""
    return {
        "title": f"{title}{more}",
        "data": {"values": shown},
        "width": width,
        "height": 20 * len(shown),
        "layer": layers,
    }


def _distinct_names(names: tuple[str, str]) -> tuple[str, str]:
    """Return the names as labels that differ."""
    first, second = (clean_text(name, 30) for name in names)
    return (first, second) if first != second else (f"{first} (first)", f"{second} (second)")


def _twin_on_its_window(evaluation: Mapping[str, Any] | None) -> Any:
    """Return the description of a twin on the test rows of its window, not only on those new to the champion."""
    models = (evaluation or {}).get("models") or {}
    return models.get("twin_window") or models.get("twin")
