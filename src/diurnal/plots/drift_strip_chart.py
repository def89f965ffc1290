"""The drift of runs as multiples of the thresholds, and a strip of it for each column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from diurnal.plots.chart_fields import number_field, text_field
from diurnal.plots.chart_output import AXIS_WIDTH, ChartWidth, Spec
from diurnal.plots.chart_values import as_number, clean_text, epoch_milliseconds, without_nulls
from diurnal.plots.distribution_chart import unique_texts
from diurnal.plots.timeline_data import Record

MAX_CELLS = 2_000
MAX_COLUMNS = 20
INTERVAL_TEXT = {"timeUnit": "utcyearmonthdatehoursminutes", "type": "temporal", "title": "data interval from"}
_SCHEMA = {"$schema": "https://vega.github.io/schema/vega-lite/v6.json"}
_MEASURES = {"jensen-shannon": "Jensen-Shannon", "wasserstein": "Wasserstein"}


@dataclass(frozen=True)
class RunDrift:
    """The drift of the columns of one run, as multiples of their thresholds.

    Attributes
    ----------
    start, end : datetime
        The data interval.
    ratios : Mapping of str to float
        The effect of each column divided by its threshold.
    columns : Mapping of str to Mapping
        The entries of the column `experiments.drift`, by column.
    """

    start: datetime
    end: datetime | None
    ratios: Mapping[str, float]
    columns: Mapping[str, Mapping[str, Any]]


def measured_drift(runs: Iterable[Record]) -> list[RunDrift]:
    """Return the drift of the runs that have a measure of it, in their order."""
    measured = []
    for run in runs:
        columns = {str(one.get("column")): one for one in (run.get("drift") or {}).get("columns") or []}
        ratios = {
            column: effect / threshold
            for column, one in columns.items()
            if (effect := as_number(one.get("effect"))) is not None and (threshold := as_number(one.get("threshold")))
        }
        if ratios:
            measured.append(RunDrift(run["data_interval_start"], run.get("data_interval_end"), ratios, columns))
    return measured


def strongest_columns(measured: Iterable[RunDrift]) -> dict[str, float]:
    """Return the largest drift of each column as a multiple of its threshold, strongest first."""
    largest: dict[str, float] = {}
    for run in measured:
        for column, ratio in run.ratios.items():
            largest[column] = max(largest.get(column, 0.0), ratio)
    return dict(sorted(largest.items(), key=lambda item: -item[1]))


def drift_strip(measured: Sequence[RunDrift], width: ChartWidth = 680) -> Spec | None:
    """Return a strip for each column, strongest drift first, coloured by the drift; None without a measure."""
    largest = strongest_columns(measured)
    shown = list(largest)[:MAX_COLUMNS]
    if not shown:
        return None
    labels = dict(zip(shown, unique_texts(shown), strict=True))
    per_cell = -(-len(measured) * len(shown) // MAX_CELLS)
    cells = [cell for k in range(0, len(measured), per_cell) for cell in _cells(measured[k : k + per_cell], labels)]
    text = "drift against the champion's training window; a dot: above the threshold"
    text += f"; each cell is the strongest of {per_cell} data intervals" if per_cell > 1 else ""
    text += f"; the {len(shown)} strongest of {len(largest)}" if len(largest) > len(shown) else ""
    return {
        **_SCHEMA,
        "description": f"Drift of {len(shown)} columns; strongest: {labels[shown[0]]}",
        "title": plot_title(text),
        "data": {"values": cells},
        "width": width,
        "height": 18 * len(shown),
        "layer": _strip_layers(cells, list(labels.values())),
    }


def _strip_layers(cells: Sequence[Spec], labels: list[str]) -> list[Spec]:
    """Return the coloured cells, and the dots of those above the threshold."""
    axis = {"title": None, "minExtent": AXIS_WIDTH, "maxExtent": AXIS_WIDTH, "domain": False, "ticks": False}
    y: Spec = {"field": "c", "type": "nominal", "sort": None, "axis": {**axis, "labelLimit": AXIS_WIDTH - 6}}
    y["scale"] = {"domain": labels}
    x: Spec = {"field": "d", "type": "temporal", "scale": {"type": "utc"}}
    x["axis"] = {"title": None, "grid": False, "tickCount": 8}
    color: Spec = {"field": "q", "type": "quantitative"}
    color["scale"] = {"range": "heatmap", "domain": [0, 2], "clamp": True}
    color["legend"] = {
        "title": "effect / threshold",
        "orient": "top",
        "values": [0, 0.5, 1, 1.5, 2],
        "format": ".1f",
        "gradientThickness": 9,
    }
    tooltip = [
        {"field": "d", **INTERVAL_TEXT},
        text_field("c", "column"),
        text_field("r", "role"),
        number_field("f", "effect", ".3f"),
        text_field("w", "measure"),
        number_field("q", "effect / threshold", ".2f"),
        text_field("new", "new categories"),
    ]
    band = {"x": x, "x2": {"field": "e"}, "y": y, "color": color, "tooltip": tooltip}
    layers: list[Spec] = [{"mark": {"type": "rect", "height": {"band": 0.86}}, "encoding": band}]
    if any((cell.get("q") or 0) > 1 for cell in cells):  # a layer without rows has no extent, of which Vega warns
        above = [{"filter": "datum.q > 1"}, {"calculate": "(datum.d + datum.e) / 2", "as": "m"}]
        dot = {"x": {**x, "field": "m"}, "y": y}
        layers.append({"transform": above, "mark": {"type": "point", "style": "drifted", "size": 22}, "encoding": dot})
    return layers


def _cells(runs: Sequence[RunDrift], labels: Mapping[str, str]) -> list[Spec]:
    """Return a cell for each column: the strongest drift of some data intervals."""
    strongest: dict[str, RunDrift] = {}
    for run in runs:
        for column, ratio in run.ratios.items():
            if column in labels and (column not in strongest or ratio >= strongest[column].ratios[column]):
                strongest[column] = run
    times = {"d": epoch_milliseconds(runs[0].start), "e": epoch_milliseconds(runs[-1].end)}
    cells = []
    for column, run in strongest.items():
        one = run.columns[column]
        new = clean_text(", ".join(map(str, one["new_categories"])), 80) if one.get("new_categories") else None
        role = None if one.get("role") == "feature" else one.get("role")
        values = {"c": labels[column], "q": as_number(run.ratios[column], 3), "f": as_number(one["effect"], 3)}
        cells.append(
            without_nulls({**times, **values, "r": role, "w": _MEASURES.get(str(one.get("measure"))), "new": new})
        )
    return cells


def plot_title(text: str) -> Spec:
    """Return the title of one of several plots below each other."""
    return {"text": clean_text(text, 160), "fontSize": 12, "fontWeight": "normal", "offset": 4, "frame": "group"}
