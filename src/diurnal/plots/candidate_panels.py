"""Plots of candidates: each function returns a plot and its named data sets."""

from __future__ import annotations

from typing import Any

import numpy as np

from diurnal.plots.chart_fields import number_field, text_field
from diurnal.plots.chart_output import AXIS_WIDTH, Spec
from diurnal.plots.chart_values import NUMBER_LABELS, as_number, clean_text, log_ticks, thin_evenly, without_nulls
from diurnal.plots.tuning_data import SearchParameter, SearchScores

Panel = tuple[Spec, dict[str, list[Spec]]]

MAX_AXES = 8
_BEST_SHOWN = 20
_MAX_TICKS = 9
_MAX_FOLD_POINTS = 800
_MAX_CURVE = 400
_MAX_ANNOTATED = 80


def validation_curve_panel(scores: SearchScores, width: int, data: str = "candidates") -> Panel:
    """Return the score by the value of the only parameter that varies, with the spread of the folds."""
    parameter = scores.parameters[0]
    is_axis = parameter.is_number
    order = np.argsort(np.asarray(parameter.values, dtype=float), kind="stable") if is_axis else range(len(scores.mean))
    chosen = [int(order[i]) for i in thin_evenly(len(scores.mean), _MAX_CURVE)]
    best = scores.order[0]
    chosen = chosen if best in chosen else [*chosen, best]
    rows = [_row(scores, i) for i in chosen]
    folds = [
        {"x": parameter.values[i], "s": as_number(score), "fold": fold}
        for i in chosen
        for fold, score in enumerate(scores.folds[i])
        if np.isfinite(score)
    ]
    x = _axis(parameter, "p0")
    y = _score_axis(scores, "s")
    tooltip = _tooltip(scores)
    spread = {"x": x, "y": _score_axis(scores, "lo"), "y2": {"field": "hi"}, "tooltip": tooltip}
    band = (
        {"type": "area", "style": "twin-band"}
        if is_axis and not parameter.is_drawn
        else {"type": "rule", "style": "span"}
    )
    layers: list[Spec] = [{"mark": band, "encoding": spread}]
    if len(folds) <= _MAX_FOLD_POINTS:
        tick = {"mark": {"type": "point", "style": "muted-point"}, "encoding": {"x": {**x, "field": "x"}, "y": y}}
        layers.append({"data": {"name": f"{data}_folds"}, **tick})
    if is_axis and not parameter.is_drawn:
        layers.append({"mark": {"type": "line", "style": "twin", "strokeWidth": 2}, "encoding": {"x": x, "y": y}})
    layers.append(
        {"mark": {"type": "circle", "style": "series-0", "size": 50}, "encoding": {"x": x, "y": y, "tooltip": tooltip}}
    )
    layers.append(
        {"transform": [{"filter": "datum.b"}], "mark": _BEST_MARK, "encoding": {"x": x, "y": y, "tooltip": tooltip}}
    )
    spec = {"data": {"name": data}, "width": width, "height": 240, "layer": layers}
    return spec, {data: rows, f"{data}_folds": folds if len(folds) <= _MAX_FOLD_POINTS else []}


def heat_map_panel(scores: SearchScores, width: int) -> Panel:
    """Return the score by the values of two parameters, as a table."""
    columns, lines = scores.parameters
    if len(lines.levels) > len(columns.levels):
        columns, lines = lines, columns
    cells: dict[tuple[str, str], int] = {}
    for i in scores.order:
        cells.setdefault((columns.text(i), lines.text(i)), i)
    rows = [{**_row(scores, i), "cx": x, "cy": y, "text": f"{scores.mean[i]:.4g}"} for (x, y), i in cells.items()]
    middle = float(np.mean([scores.mean.min() if scores.floor is None else scores.floor, scores.mean.max()]))
    x = {
        "field": "cx",
        "type": "nominal",
        "sort": columns.levels,
        "title": columns.name,
        "axis": {"labelAngle": 0, "labelOverlap": True},
    }
    y = {"field": "cy", "type": "nominal", "sort": lines.levels, "title": lines.name, "axis": _fixed_axis(lines.name)}
    tooltip = _tooltip(scores)
    layers: list[Spec] = [
        {"mark": {"type": "rect"}, "encoding": {"x": x, "y": y, "color": _color(scores), "tooltip": tooltip}},
        {
            "transform": [{"filter": "datum.b"}],
            "mark": {"type": "rect", "filled": False, "style": "best", "strokeWidth": 2.5},
            "encoding": {"x": x, "y": y, "tooltip": tooltip},
        },
    ]
    if len(cells) <= _MAX_ANNOTATED and len(columns.levels) <= 10:
        ink = {"condition": {"test": f"datum.s < {middle!r}", "value": "#ffffff"}, "value": "#111111"}
        text = {"x": x, "y": y, "text": {"field": "text", "type": "nominal"}, "color": ink}
        layers.append({"mark": {"type": "text", "fontSize": 11}, "encoding": text})
    height = max(60, min(30 * len(lines.levels), 600))
    return {"data": {"name": "candidates"}, "width": width, "height": height, "layer": layers}, {"candidates": rows}


def scatter_panel(scores: SearchScores, width: int) -> Panel:
    """Return the candidates by the values of two parameters, coloured by the score."""
    first, second = scores.parameters
    rows = [_row(scores, i) for i in scores.selection()]
    y = _axis(second, "p1")
    y["axis"] |= _fixed_axis(second.name)
    encoding = {"x": _axis(first, "p0"), "y": y, "tooltip": _tooltip(scores)}
    layers = [
        {"mark": {"type": "circle", "size": 55, "opacity": 0.9}, "encoding": {**encoding, "color": _color(scores)}},
        {"transform": [{"filter": "datum.b"}], "mark": _BEST_MARK, "encoding": encoding},
    ]
    return {"data": {"name": "candidates"}, "width": width, "height": 280, "layer": layers}, {"candidates": rows}


def parallel_panel(scores: SearchScores, width: int) -> Panel:
    """Return parallel coordinates of the parameters with the largest effects: a line for each candidate."""
    axes = scores.parameters[:MAX_AXES]
    names = _distinct([one.label for one in axes])
    places = [_positions(one) for one in axes]
    rows = [
        {**_row(scores, i), **{f"a{k}": as_number(place[0][i], 4) for k, place in enumerate(places)}}
        for i in scores.selection()
    ]
    ticks = [
        {"axis": name, "y": as_number(y, 4), "text": text}
        for name, (_, labels) in zip(names, places, strict=True)
        for text, y in labels
    ]
    axis = {"orient": "top", "title": None, "domain": False, "ticks": False, "labelAngle": 0, "labelPadding": 14}
    axis |= {"grid": True, "labelFontSize": 12, "labelLimit": max(60, width // max(1, len(axes)) + 10)}
    x: Spec = {"field": "axis", "type": "nominal", "sort": None, "axis": axis}
    x["scale"] = {"type": "point", "domain": names, "padding": 0.3}
    y: Spec = {"field": "y", "type": "quantitative", "scale": {"domain": [0, 1]}, "axis": None}
    layers = [_parallel_lines(scores, [f"a{k}" for k in range(len(axes))], x, y), _parallel_labels(x, y)]
    data = {"candidates": rows, "ticks": ticks, "axes": [{"k": k, "axis": name} for k, name in enumerate(names)]}
    return {"width": width, "height": 300, "layer": layers}, data


def _parallel_lines(scores: SearchScores, fields: list[str], x: Spec, y: Spec) -> Spec:
    """Return the lines of the candidates, with the best one above."""
    line = {"x": x, "y": y, "detail": [{"field": "i"}], "tooltip": _tooltip(scores)}
    layers: list[Spec] = [
        {"mark": {"type": "line", "strokeWidth": 1.3, "opacity": 0.55}, "encoding": {**line, "color": _color(scores)}},
        {
            "transform": [{"filter": "datum.b"}],
            "mark": {"type": "line", "style": "best", "strokeWidth": 3, "point": {"style": "best-fill", "size": 60}},
            "encoding": line,
        },
    ]
    fold = [{"fold": fields, "as": ["key", "y"]}, {"calculate": f"indexof({fields}, datum.key)", "as": "k"}]
    joined = {"lookup": "k", "from": {"data": {"name": "axes"}, "key": "k", "fields": ["axis"]}}
    return {"data": {"name": "candidates"}, "transform": [*fold, joined], "layer": layers}


def _parallel_labels(x: Spec, y: Spec) -> Spec:
    """Return the values beside the axes."""
    mark = {"type": "text", "style": "label-text", "align": "left", "dx": 5, "fontSize": 10.5, "fontWeight": 600}
    encoding = {"x": x, "y": y, "text": {"field": "text", "type": "nominal"}}
    return {"data": {"name": "ticks"}, "mark": {**mark, "limit": 110}, "encoding": encoding}


def best_candidates_panel(scores: SearchScores, width: int) -> Panel:
    """Return the best candidates with the spread of their folds, each with its parameters."""
    best = scores.order[:_BEST_SHOWN]
    rows = [{**_row(scores, i), "rank": rank, "text": scores.describe(i)} for rank, i in enumerate(best, 1)]
    folds = [
        {"rank": rank, "s": as_number(score)}
        for rank, i in enumerate(best, 1)
        for score in scores.folds[i]
        if np.isfinite(score)
    ]
    axis = {"title": "rank", "domain": False, "ticks": False, "minExtent": AXIS_WIDTH, "maxExtent": AXIS_WIDTH}
    y: Spec = {"field": "rank", "type": "ordinal", "axis": axis}
    low = float(np.nanmin(np.r_[scores.low[best], scores.mean[best]]))
    high = float(np.nanmax(np.r_[scores.high[best], scores.mean[best]]))
    scale = {"zero": False, "domain": [low, high]} if high > low else {"zero": False}
    x: Spec = {"type": "quantitative", "title": clean_text(scores.metric), "scale": scale}
    tooltip = _tooltip(scores)
    rule = {"x": {**x, "field": "lo"}, "x2": {"field": "hi"}, "y": y, "tooltip": tooltip}
    dot = {"x": {**x, "field": "s"}, "y": y, "tooltip": tooltip}
    layers: list[Spec] = [
        {"data": {"name": "best"}, "mark": {"type": "rule", "style": "span", "yOffset": 7}, "encoding": rule},
        {
            "data": {"name": "best_folds"},
            "mark": {"type": "point", "style": "muted-point", "yOffset": 7},
            "encoding": {"x": {**x, "field": "s"}, "y": y},
        },
        {
            "data": {"name": "best"},
            "mark": {"type": "circle", "style": "series-0", "size": 60, "yOffset": 7},
            "encoding": dot,
        },
        {
            "data": {"name": "best"},
            "mark": {
                "type": "text",
                "style": "label-text",
                "align": "left",
                "fontSize": 10.5,
                "dy": -6,
                "limit": width,
                "tooltip": None,
            },
            "encoding": {"x": {"value": 2}, "y": y, "text": {"field": "text", "type": "nominal"}},
        },
    ]
    title = "the best candidates: mean and folds" if folds else "the best candidates"
    spec = {"title": _subtitle(title), "width": width, "height": 30 * len(best) + 6, "layer": layers}
    return spec, {"best": rows, "best_folds": folds}


def progress_panel(scores: SearchScores, width: int) -> Panel:
    """Return the scores in the order of the search, with the best one so far."""
    n = len(scores.mean)
    running = np.maximum.accumulate(scores.mean)
    changes = [0, *(int(i) for i in np.flatnonzero(np.diff(running)) + 1), n - 1]
    steps = [{"k": i + 1, "s": as_number(running[i])} for i in dict.fromkeys(changes)]
    rows = [{"k": i + 1, "s": as_number(scores.mean[i])} for i in thin_evenly(n, 500)]
    x: Spec = {
        "field": "k",
        "type": "quantitative",
        "title": "candidate",
        "scale": {"domain": [1, max(2, n)], "nice": False},
    }
    y = _score_axis(scores, "s")
    layers = [
        {"data": {"name": "trials"}, "mark": {"type": "point", "style": "muted-point"}, "encoding": {"x": x, "y": y}},
        {
            "data": {"name": "progress"},
            "mark": {"type": "line", "style": "twin", "interpolate": "step-after", "strokeWidth": 2},
            "encoding": {"x": x, "y": y},
        },
    ]
    spec = {
        "title": _subtitle("scores in the order of the search, and the best so far"),
        "width": width,
        "height": 120,
        "layer": layers,
    }
    return spec, {"trials": rows, "progress": steps}


def halving_panel(scores: SearchScores, width: int) -> Panel:
    """Return the scores by the resources of each iteration of successive halving: a line for each candidate."""
    assert scores.iterations is not None  # noqa: S101 - for mypy; the caller has checked it
    assert scores.resources is not None  # noqa: S101
    texts = [scores.describe(i) for i in range(len(scores.mean))]
    keep = set(dict.fromkeys(texts[i] for i in scores.order))
    chosen = list(keep) if len(keep) <= 300 else [*dict.fromkeys(texts[i] for i in scores.order)][:300]
    numbers = {text: k for k, text in enumerate(chosen)}
    rows = [
        {
            **_row(scores, i),
            "line": numbers[texts[i]],
            "r": as_number(scores.resources[i]),
            "it": as_number(scores.iterations[i]),
            "text": texts[i],
        }
        for i in range(len(scores.mean))
        if texts[i] in numbers
    ]
    distinct = sorted({row["r"] for row in rows})
    x: Spec = {
        "field": "r",
        "type": "quantitative",
        "title": "resources of the iteration",
        "scale": {"type": "log" if distinct[0] > 0 else "linear"},
    }
    x["axis"] = {"values": distinct, "grid": True, **NUMBER_LABELS}
    y = _score_axis(scores, "s")
    tooltip = [
        text_field("text", "parameters"),
        number_field("s", clean_text(scores.metric), ".5g"),
    ]
    encoding = {"x": x, "y": y, "detail": [{"field": "line"}], "tooltip": tooltip}
    layers = [
        {"mark": {"type": "line", "style": "twin", "opacity": 0.35, "strokeWidth": 1.2}, "encoding": encoding},
        {"mark": {"type": "circle", "style": "series-0", "size": 30}, "encoding": encoding},
        {"transform": [{"filter": "datum.b"}], "mark": _BEST_MARK, "encoding": encoding},
    ]
    return {"data": {"name": "candidates"}, "width": width, "height": 260, "layer": layers}, {"candidates": rows}


_BEST_MARK = {"type": "point", "shape": "circle", "style": "best", "size": 170}


def _row(scores: SearchScores, i: int) -> Spec:
    """Return the fields of a candidate."""
    values = {
        "i": i,
        "s": as_number(scores.mean[i]),
        "sd": as_number(scores.std[i], 3),
        "lo": as_number(scores.low[i]),
        "hi": as_number(scores.high[i]),
        **{f"p{k}": one.values[i] for k, one in enumerate(scores.parameters[:MAX_AXES])},
        "b": True if i == scores.best else None,
    }
    return without_nulls(values)


def _tooltip(scores: SearchScores) -> list[Spec]:
    return [
        number_field("s", clean_text(scores.metric), ".5g"),
        number_field("lo", "lowest fold", ".5g"),
        number_field("hi", "highest fold", ".5g"),
        *(
            {"field": f"p{k}", "type": "nominal", "title": one.name}
            for k, one in enumerate(scores.parameters[:MAX_AXES])
        ),
    ]


def _color(scores: SearchScores) -> Spec:
    scale: dict[str, Any] = {"range": "ramp", "zero": False}
    if scores.floor is not None:
        scale |= {"domainMin": scores.floor, "clamp": True}
    legend = {"title": clean_text(scores.metric), "orient": "top", "gradientLength": 160, "gradientThickness": 9}
    return {"field": "s", "type": "quantitative", "scale": scale, "legend": legend}


def _score_axis(scores: SearchScores, field: str) -> Spec:
    scale: dict[str, Any] = {"zero": False}
    if scores.floor is not None:
        scale |= {"domainMin": scores.floor, "clamp": True}
    return {
        "field": field,
        "type": "quantitative",
        "scale": scale,
        "title": clean_text(scores.metric),
        "axis": {"minExtent": AXIS_WIDTH - 20, "maxExtent": AXIS_WIDTH - 20, "titlePadding": 0},
    }


def _axis(parameter: SearchParameter, field: str) -> Spec:
    if not parameter.is_number:
        nominal = {"labelAngle": 0 if len(parameter.levels) <= 6 else -35, "labelLimit": 160, "grid": False}
        return {"field": field, "type": "nominal", "sort": parameter.levels, "title": parameter.name, "axis": nominal}
    scale: dict[str, Any] = {"type": "log"} if parameter.is_log else {"zero": False, "nice": True}
    axis: Spec = {**NUMBER_LABELS}
    if parameter.is_log:
        distinct = sorted(set(parameter.values))
        axis["values"] = distinct if len(distinct) <= _MAX_TICKS else log_ticks(distinct[0], distinct[-1])
    return {
        "field": field,
        "type": "quantitative",
        "scale": scale,
        "title": parameter.name,
        "axis": {"grid": False, **axis},
    }


def _fixed_axis(title: str) -> Spec:
    return {
        "minExtent": AXIS_WIDTH - 20,
        "maxExtent": AXIS_WIDTH - 20,
        "labelLimit": AXIS_WIDTH - 26,
        "title": clean_text(title, 40),
        "titlePadding": 0,
    }


def _subtitle(text: str) -> Spec:
    return {"text": text, "fontSize": 12, "fontWeight": "normal", "offset": 4, "frame": "group"}


def _positions(parameter: SearchParameter) -> tuple[list[float], list[tuple[str, float]]]:
    """Return the place of each candidate on an axis from 0 to 1, and the labels of the axis with their places."""
    if not parameter.is_number:
        n = max(1, len(parameter.levels) - 1)
        places = {text: k / n for k, text in enumerate(parameter.levels)}
        shown = thin_evenly(len(parameter.levels), 12)
        return [places[value] for value in parameter.values], [(parameter.levels[k], k / n) for k in shown]
    values = np.asarray(parameter.values, dtype=float)
    scaled = np.log(values) if parameter.is_log else values
    low, high = scaled.min(), scaled.max()
    unit = (scaled - low) / ((high - low) or 1.0)
    distinct = sorted(set(zip(values.tolist(), unit.tolist(), strict=True)))
    shown = thin_evenly(len(distinct), 6 if parameter.levels else 2)
    return unit.tolist(), [(f"{distinct[k][0]:.3g}", distinct[k][1]) for k in shown]


def _distinct(names: list[str]) -> list[str]:
    """Return names that differ: clipped ones may be equal."""
    return [name if names.count(name) == 1 else f"{name} ({k})" for k, name in enumerate(names, 1)]
