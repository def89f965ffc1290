"""The drift of one column over time, beside the threshold above which it counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from diurnal.plots.chart_fields import number_field
from diurnal.plots.chart_output import ChartWidth, Spec, make_spec
from diurnal.plots.chart_values import as_number, clean_text, epoch_milliseconds, thin_evenly

_MAX_POINTS = 400


def build_column_effect(rows: Iterable[Mapping[str, Any]], column: str, *, width: ChartWidth = 680) -> Spec:
    """Return the effect sizes of one column over time.

    Parameters
    ----------
    rows : iterable of dict
        ``data_interval_start``, ``effect``, ``threshold`` and ``drifted`` of each run, oldest first.
    column : str
        Name of the column.
    width : int or "container"
        Width of the plot.

    Returns
    -------
    dict
        A Vega-Lite specification.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> rows = [{"data_interval_start": datetime(2026, 11, 1, tzinfo=UTC), "effect": 0.3, "threshold": 0.1}]
    >>> build_column_effect(rows, "age")["datasets"]["effects"]
    [{'d': 1793491200000, 'f': 0.3, 'h': 0.1, 'q': 3.0}]
    """
    measured = [row for row in rows if as_number(row.get("effect")) is not None]
    values = [_point(measured[place]) for place in thin_evenly(len(measured), _MAX_POINTS)]
    x = {"field": "d", "type": "temporal", "scale": {"type": "utc"}, "axis": {"title": None, "grid": False}}
    y = {"type": "quantitative", "scale": {"domainMin": 0}, "axis": {"title": "effect", "tickCount": 3}}
    tooltip = [
        {"field": "d", "type": "temporal", "timeUnit": "utcyearmonthdatehoursminutes", "title": "data interval from"},
        number_field("f", "effect", ".3f"),
        number_field("h", "threshold", ".3f"),
    ]
    layers: list[Spec] = [
        {"mark": {"type": "line", "style": "twin"}, "encoding": {"x": x, "y": {**y, "field": "f"}}},
        {
            "mark": {"type": "line", "style": "reference", "interpolate": "step"},
            "encoding": {"x": x, "y": {**y, "field": "h"}},
        },
        {
            "mark": {"type": "point", "style": "series-0", "size": 24},
            "encoding": {"x": x, "y": {**y, "field": "f"}, "tooltip": tooltip},
        },
    ]
    n_above = sum(value.get("q", 0) > 1 for value in values)
    if n_above:  # a layer without rows has no extent, of which Vega warns
        diamond = {"type": "point", "style": "series-1", "shape": "diamond", "size": 60}
        above = {"x": x, "y": {**y, "field": "f"}, "tooltip": tooltip}
        layers.append({"transform": [{"filter": "datum.q > 1"}], "mark": diamond, "encoding": above})
    body = {
        "title": {"text": "drift; dashed: threshold; a diamond: above it", "fontSize": 12, "fontWeight": "normal"},
        "data": {"name": "effects"},
        "width": width,
        "height": 80,
        "layer": layers,
    }
    text = f"Drift of {clean_text(column)}: above its threshold in {n_above} of {len(values)} data intervals"
    return make_spec(body, description=text, data={"effects": values})


def _point(row: Mapping[str, Any]) -> dict[str, Any]:
    effect, threshold = as_number(row["effect"], 4), as_number(row.get("threshold"), 4)
    point = {"d": epoch_milliseconds(row["data_interval_start"]), "f": effect, "h": threshold}
    ratio = as_number(effect / threshold, 3) if effect is not None and threshold else None
    return {name: value for name, value in {**point, "q": ratio}.items() if value is not None}
