"""The timeline of an experiment: scores, events, rows, parameters, drift and durations on one time axis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from diurnal.plots.chart_fields import text_field
from diurnal.plots.chart_output import AXIS_WIDTH, ChartWidth, Spec, fill_container, make_spec, plot_width
from diurnal.plots.chart_values import NUMBER_LABELS, clean_text
from diurnal.plots.timeline_data import (
    CODE,
    CONTRACT,
    FAILED,
    MARK_KINDS,
    PROMOTED,
    REJECTED,
    ROLLED_BACK,
    Record,
    TimelineData,
    TimelineParameter,
    collect_timeline,
)

_SHAPES = {  # and the place of the colour in the palette
    PROMOTED: ("triangle-up", 2),
    ROLLED_BACK: ("triangle-down", 1),
    REJECTED: ("square", 4),
    FAILED: ("cross", 3),
    CODE: ("diamond", 0),
    CONTRACT: ("circle", 6),
}
_SERIES = ["twin, on the test rows of its window", "champion, on the new test rows"]
_COLUMNS = "width && width >= 440 ? 2 : 1"  # of a legend; the signal is 0 where the width is fixed
_OVERVIEW_FROM = 15  # data intervals
_POINTS_UP_TO = 150
_MAX_DRIFT = 20  # multiples of the threshold; where a constant changes, there are thousands
_STEPS_UP_TO = 300
_PANES_UP_TO = 300  # in every plot; the interpreter of expressions takes its time for each tooltip
_PANE = "pane"
_MIDDLE = {"calculate": "datum.e ? (datum.d + datum.e) / 2 : datum.d", "as": "m"}
_TIME = {"type": "temporal", "scale": {"type": "utc"}}


def build_timeline(
    runs: Iterable[Record],
    promotions: Iterable[Record] = (),
    failures: Iterable[Record] = (),
    contracts: Iterable[Record] = (),
    *,
    name: str = "",
    timezone: str = "UTC",
    width: ChartWidth = 680,
    interactive: bool = True,
) -> Spec:
    """Return the timeline of an experiment.

    Parameters
    ----------
    runs, promotions, failures, contracts : iterable of Mapping
        Rows of the tables of the same names (`runs`: of `experiments`), in any order. What absent columns would show is
        left out.
    name : str
        Name of the experiment, for the title.
    timezone : str
        The timezone of the experiment, in which data intervals are named.
    width : int or "container"
        Width of the plots.
    interactive : bool
        Whether the chart has tooltips and an overview in which a period can be selected; without them it is smaller.

    Returns
    -------
    dict
        A Vega-Lite specification: plots below each other with a common time axis. Each row of the data set ``rows`` has
        the field `id`, which is the run's.
    """
    runs = list(runs)
    data = collect_timeline(runs, promotions, failures, contracts, timezone=timezone)
    panels = _Panels(data, plot_width(width), interactive)
    shown = panels.finish(_all_panels(panels, data, _newest_scoring(runs)))
    stack = {
        "vconcat": shown,
        "spacing": 10,
        "resolve": {"scale": {"x": "shared", "color": "independent", "strokeDash": "independent"}},
    }
    plots = [stack, panels.overview()] if panels.has_overview else [stack]
    strips = [stretch for parameter in data.parameters for stretch in parameter.stretches]
    body = {"title": _title(data, name), "params": panels.params(shown), "vconcat": plots, "spacing": 14}
    datasets = {"rows": data.rows, "marks": data.marks, "strips": strips}
    spec = make_spec(body, description=_description(data, name), data=datasets)
    return fill_container(spec, width)


def _newest_scoring(runs: Sequence[Record]) -> str:
    named = [run for run in runs if run.get("scoring")]
    return str(max(named, key=lambda run: run["data_interval_start"])["scoring"]) if named else "score"


def _title(data: TimelineData, name: str) -> Spec:
    lines = []
    if data.per_point > 1:
        lines.append(f"each point is the mean of {data.per_point} of {data.n_intervals:,} data intervals")
    if data.n_hidden_marks:
        lines.append(f"the {data.n_hidden_marks:,} oldest events are not shown")
    if data.constants:
        lines.append(clean_text("constant: " + ", ".join(data.constants), 120))
    return {"text": clean_text(name or "Timeline"), "subtitle": lines}


def _description(data: TimelineData, name: str) -> str:
    if not data.rows:
        return f"Timeline of {name}: no runs"
    counts = [(sum(mark["kind"] == kind for mark in data.marks), kind) for kind in MARK_KINDS]
    events = ", ".join(f"{kind}: {count}" for count, kind in counts if count)
    first, last = data.rows[0], data.rows[-1]
    score = f"; last test score {last['t']}" if "t" in last else ""
    span = first["l"] if len(data.rows) == 1 else f"{first['l']} to {last['l']}"
    text = f"Timeline of {name}, {span}; {data.n_intervals} data interval{'s' * (data.n_intervals != 1)}{score}"
    return f"{text}; {events}" if events else text


def _all_panels(panels: _Panels, data: TimelineData, scoring: str) -> list[Spec]:
    shown = [panels.scores(clean_text(scoring))]
    if data.marks:
        shown.append(panels.marks())
    if data.has("x"):
        shown.append(panels.differences())
    if data.has("n"):
        shown.append(panels.panel("rows of the batch", [panels.bars("n", "twin-fill", format="~s")], 44))
    shown += [panels.numbers(one) for one in data.parameters if one.row_field]
    if any(one.stretches for one in data.parameters):
        shown.append(panels.strips())
    if data.has("q"):
        shown.append(panels.drift())
    if data.has("st"):
        shown.append(panels.durations())
    return shown


class _Panels:
    """The plots of a timeline, with the same time axis, tooltips and highlighted data interval."""

    def __init__(self, data: TimelineData, width: int, interactive: bool) -> None:
        self.data = data
        self.width = width
        self.interactive = interactive
        self.has_overview = interactive and len(data.rows) >= _OVERVIEW_FROM
        self._has_panes = interactive
        self._tooltip = _tooltip(data)

    def x(self, field: str = "d") -> Spec:
        """Return the time axis, whose labels are below the last plot only."""
        scale = {"type": "utc", **({"domain": {"param": "period", "encoding": "x"}} if self.has_overview else {})}
        axis = {"title": None, "labels": False, "ticks": False, "tickCount": 8}
        return {"field": field, "type": "temporal", "scale": scale, "axis": axis}

    def y(self, field: str, *, format: str | None = None, grid: bool = True, **scale: Any) -> Spec:  # noqa: A002
        """Return a value axis of fixed width, so that the plots are below each other."""
        axis: Spec = {"title": None, "minExtent": AXIS_WIDTH, "maxExtent": AXIS_WIDTH, "tickCount": 3, "grid": grid}
        return {
            "field": field,
            "type": "quantitative",
            "axis": {**axis, **({"format": format} if format else {})},
            "scale": scale,
        }

    def lanes(self, field: str, values: Sequence[str]) -> Spec:
        """Return an axis with a lane for each value."""
        axis = {"title": None, "minExtent": AXIS_WIDTH, "maxExtent": AXIS_WIDTH, "domain": False, "ticks": False}
        axis |= {"labelLimit": AXIS_WIDTH - 6, "grid": False}
        return {"field": field, "type": "nominal", "sort": None, "scale": {"domain": list(values)}, "axis": axis}

    def bars(self, field: str, style: str, *, format: str | None = None, **scale: Any) -> Spec:  # noqa: A002
        """Return a bar from 0 for each data interval, as wide as the interval."""
        y = self.y(field, format=format, zero=True, **scale)
        encoding = {"x": self.x(), "x2": {"field": "e"}, "y": y, "y2": {"datum": 0}}
        return {"data": {"name": "rows"}, "mark": {"type": "rect", "style": style, "clip": True}, "encoding": encoding}

    def panel(self, title: str, layers: Sequence[Spec], height: int) -> Spec:
        """Return a plot of layers; interactive ones have a pane for each interval with a tooltip over them."""
        shown = list(layers)
        if self._has_panes and self.data.rows:
            shown.append(self._pane())
            self._has_panes = len(self.data.rows) <= _PANES_UP_TO
        return {"title": _panel_title(title), "width": self.width, "height": height, "layer": shown}

    def _pane(self) -> Spec:
        opacity = {"condition": {"param": "interval", "empty": False, "value": 0.25}, "value": 0}
        return {
            "name": _PANE,
            "data": {"name": "rows"},
            "mark": {"type": "rect", "style": "pane", "clip": True},
            "encoding": {"x": self.x(), "x2": {"field": "e"}, "fillOpacity": opacity, "tooltip": self._tooltip},
        }

    def params(self, panels: Sequence[Spec]) -> list[Spec]:
        """Return the selections: of the highlighted data interval, and of the shown period."""
        point = {"type": "point", "fields": ["d"], "on": "pointerover", "clear": "pointerout"}
        period = {"name": "period", "select": {"type": "interval", "encodings": ["x"]}, "views": ["overview"]}
        panes = [layer["name"] for panel in panels for layer in panel["layer"] if "name" in layer]
        interval = [{"name": "interval", "select": point, "views": panes}] if panes else []
        return [*interval, *([period] if self.has_overview else [])]

    def scores(self, scoring: str) -> Spec:
        """Return the plot of the twin's and the champion's score."""
        has_both = self.data.has("c")
        legend: Spec = {"title": None, "orient": "top", "direction": "horizontal", "offset": 2, "symbolSize": 260}
        legend |= {"labelLimit": 400, "symbolType": "stroke", "columns": {"expr": _COLUMNS}}
        color = {"field": "series", "type": "nominal", "scale": {"domain": _SERIES}, "legend": legend}
        dash = {"field": "series", "type": "nominal", "scale": {"domain": _SERIES, "range": [[1, 0], [6, 3]]}}
        dash["legend"] = legend
        encoding = {"x": self.x("m"), "y": self.y("value", zero=False), "color": color}
        line = {
            "mark": {"type": "line", "strokeWidth": 1.8, "clip": True},
            "encoding": {**encoding, "strokeDash": dash},
        }
        point = {"mark": {"type": "circle", "size": 18, "clip": True, "opacity": 1}, "encoding": encoding}
        series = {
            "data": {"name": "rows"},
            "transform": [
                _MIDDLE,
                {"fold": ["t", "c"] if has_both else ["t"], "as": ["key", "value"]},
                {"filter": "isValid(datum.value)"},
                {"calculate": f"datum.key == 't' ? '{_SERIES[0]}' : '{_SERIES[1]}'", "as": "series"},
            ],
            "layer": [line, point] if len(self.data.rows) <= _POINTS_UP_TO else [line],
        }
        return self.panel(scoring, [series], 150)

    def marks(self) -> Spec:
        """Return the plot of the events, with a lane, a shape and a colour for each kind."""
        kinds = [kind for kind in MARK_KINDS if any(mark["kind"] == kind for mark in self.data.marks)]
        lane = {**self.lanes("kind", kinds)}
        lane["axis"] = {**lane["axis"], "grid": True, "gridDash": [1, 3]}
        tooltip = [
            text_field("l", "data interval"),
            text_field("kind", "event"),
            text_field("text", "what"),
        ]
        encoding = {"x": self.x(), "y": lane, **({"tooltip": tooltip} if self.interactive else {})}
        layers = [
            {
                "data": {"name": "marks"},
                "transform": [{"filter": f"datum.kind == '{kind}'"}],
                "mark": {"type": "point", "shape": _SHAPES[kind][0], "style": f"series-{_SHAPES[kind][1]}", "size": 60},
                "encoding": encoding,
            }
            for kind in kinds
        ]
        return {"title": _panel_title("events"), "width": self.width, "height": 18 * len(kinds), "layer": layers}

    def differences(self) -> Spec:
        """Return the plot of the twin's score less the champion's, with the interval that the paired test gave."""
        title = "twin less champion, on the same new test rows"
        few = len(self.data.rows) <= _POINTS_UP_TO
        layers = [
            {"data": {"values": [{}]}, "mark": {"type": "rule", "style": "reference"}, "encoding": {"y": {"datum": 0}}}
        ]
        if self.data.has("lo"):
            title += ", with its 95 % interval"
            span = {"x": self.x("m"), "y": self.y("lo", grid=False), "y2": {"field": "hi"}}
            layers.append({"mark": {"type": "rule", "style": "span", "clip": True}, "encoding": span})
        point = {"x": self.x("m"), "y": self.y("x", grid=False)}
        size = 26 if few else 8
        layers.append({"mark": {"type": "circle", "style": "series-0", "size": size, "clip": True}, "encoding": point})
        for layer in layers[1:]:
            layer |= {"data": {"name": "rows"}, "transform": [_MIDDLE]}
        return self.panel(title, layers, 80)

    def numbers(self, parameter: TimelineParameter) -> Spec:
        """Return the plot of a numeric parameter."""
        scale: Spec = {"type": "log", "nice": False} if parameter.is_log else {"zero": False}
        y = self.y(parameter.row_field, grid=False, **scale)
        y["axis"] |= NUMBER_LABELS
        mark: Spec = {"type": "line", "style": "twin", "interpolate": "step-after", "strokeWidth": 1.8, "clip": True}
        if len(self.data.rows) > _STEPS_UP_TO:  # a line that changes at every pixel is an area
            mark = {"type": "circle", "style": "twin-fill", "size": 7, "opacity": 0.5, "clip": True}
        line = {"data": {"name": "rows"}, "mark": mark, "encoding": {"x": self.x(), "y": y}}
        return self.panel(parameter.name, [line], 44)

    def strips(self) -> Spec:
        """Return the plot of the other parameters: a lane for each, coloured by the value."""
        stretches = [one for parameter in self.data.parameters for one in parameter.stretches]
        lanes = list(dict.fromkeys(one["lane"] for one in stretches))
        legend = {"title": None, "orient": "bottom", "columns": 5, "symbolType": "square", "symbolLimit": 20}
        tooltip = [
            text_field("lane", "parameter"),
            text_field("value", "value"),
        ]
        encoding = {
            "x": self.x(),
            "x2": {"field": "e"},
            "y": self.lanes("lane", lanes),
            "color": {"field": "value", "type": "nominal", "legend": legend},
        }
        layer = {
            "data": {"name": "strips"},
            "mark": {"type": "rect", "clip": True, "height": {"band": 0.75}},
            "encoding": {**encoding, **({"tooltip": tooltip} if self.interactive else {})},
        }
        title = _panel_title("best parameters")
        return {"title": title, "width": self.width, "height": 22 * len(lanes), "layer": [layer]}

    def drift(self) -> Spec:
        """Return the plot of the strongest drift of each data interval."""
        threshold = {
            "data": {"values": [{}]},
            "mark": {"type": "rule", "style": "reference"},
            "encoding": {"y": {"datum": 1}},
        }
        title, scale = "strongest drift of a column, as a multiple of its threshold", dict[str, Any]()
        if max(row.get("q") or 0 for row in self.data.rows) > _MAX_DRIFT:
            title += f"; at most {_MAX_DRIFT} is shown"
            scale = {"domain": [0, _MAX_DRIFT], "clamp": True}
        above = {**self.bars("q", "alarm-fill", **scale), "transform": [{"filter": "datum.q > 1"}]}
        return self.panel(title, [self.bars("q", "muted-fill", **scale), above, threshold], 54)

    def durations(self) -> Spec:
        """Return the plot of the durations, with the share of the longest step."""
        title, layers = "duration of all steps in seconds", [self.bars("st", "muted-fill", format="~s")]
        if self.data.has("s0"):
            title += f", of which {clean_text(self.data.steps[0])} is coloured"
            layers.append(self.bars("s0", "twin-fill", format="~s"))
        return self.panel(title, layers, 44)

    def overview(self) -> Spec:
        """Return the plot in which a period can be selected."""
        axis: Spec = {"title": None, "labels": False, "ticks": False, "domain": False, "grid": False}
        axis |= {"minExtent": AXIS_WIDTH, "maxExtent": AXIS_WIDTH}
        field = "t" if self.data.has("t") else "n"
        y = {"field": field, "type": "quantitative", "scale": {"zero": False}, "axis": axis}
        return {
            "title": _panel_title("drag here to select a period; double-click to show all"),
            "width": self.width,
            "height": 30,
            "data": {"name": "rows"},
            "name": "overview",
            "mark": {"type": "line", "style": "twin", "strokeWidth": 1},
            "encoding": {"x": {"field": "d", **_TIME, "axis": {"title": None, "tickCount": 8}}, "y": y},
        }

    @staticmethod
    def finish(panels: list[Spec]) -> list[Spec]:
        """Return the plots: their panes have names, as Altair numbers them, and the last one labels the time axis."""
        for i, panel in enumerate(panels):
            for layer in panel["layer"]:
                if layer.get("name") == _PANE:
                    layer["name"] = f"{_PANE}_{i}"
        for layer in panels[-1]["layer"]:
            for part in layer.get("layer", [layer]):
                if "x" in part["encoding"]:
                    part["encoding"]["x"]["axis"] = {"title": None, "tickCount": 8}
        return panels


def _panel_title(text: str) -> Spec:
    limit = {"expr": "width && width < 440 ? width : 1000"}  # a longer title would make the whole chart smaller
    return {"text": text, "fontSize": 12, "fontWeight": "normal", "offset": 4, "frame": "group", "limit": limit}


def _tooltip(data: TimelineData) -> list[Spec]:
    fields = [
        ("l", "data interval", None),
        ("v", "version", None),
        ("dec", "decision", None),
        ("t", "twin's test score", ".4f"),
        ("c", "champion on the new rows", ".4f"),
        ("cv", "champion's version", None),
        ("x", "twin less champion", "+.4f"),
        ("lo", "95 % interval from", "+.4f"),
        ("hi", "95 % interval to", "+.4f"),
        ("n", "rows of the batch", ","),
        *((one.row_field, one.name, "~g") for one in data.parameters if one.row_field),
        ("q", "strongest drift / threshold", ".2f"),
        ("qc", "column of the strongest drift", None),
        *((f"s{i}", f"{step}, seconds", ",.2f") for i, step in enumerate(data.steps)),
        ("st", "all steps, seconds", ",.2f"),
    ]
    return [
        {"field": field, "title": title, **({"type": "quantitative", "format": form} if form else {"type": "nominal"})}
        for field, title, form in fields
        if data.has(field)
    ]
