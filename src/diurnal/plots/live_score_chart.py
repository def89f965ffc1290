"""Live scores over time: how right predictions were, beside the test score of the version that made them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from diurnal.plots.chart_fields import number_field, text_field
from diurnal.plots.chart_output import AXIS_WIDTH, ChartWidth, Spec, fill_container, make_spec, plot_width
from diurnal.plots.chart_values import as_number, clean_text, epoch_milliseconds, without_nulls
from diurnal.plots.timeline_data import Record, interval_text, local_records

MAX_ROWS = 1_200
_SERIES = ["live score, by the truth that came later", "test score of the version"]
_COLUMNS = "width && width >= 440 ? 2 : 1"  # of the legend
_MIDDLE = {"calculate": "datum.e ? (datum.d + datum.e) / 2 : datum.d", "as": "m"}
_TIME = {"type": "temporal", "scale": {"type": "utc"}}


def build_live_scores(
    rows: Iterable[Record], *, name: str = "", timezone: str = "UTC", width: ChartWidth = 680
) -> Spec:
    """Return the live scores of an experiment.

    Parameters
    ----------
    rows : iterable of Mapping
        As the warehouse's `live_scores` returns them. The lines are of visible predictions; those of a version that
        another one has replaced are single points. Of more than :data:`MAX_ROWS`, the newest are shown.
    name : str
        Name of the experiment, for the title.
    timezone : str
        The timezone of the experiment, in which data intervals are named.
    width : int or "container"
        Width of the plots.

    Returns
    -------
    dict
        A Vega-Lite specification: the scores, and below them the share of predictions whose truth is known.
    """
    local = sorted(local_records(rows, timezone), key=lambda row: (row["data_interval_start"], row["version"]))
    shown = local[-MAX_ROWS:]
    scoring = clean_text(shown[-1].get("scoring") or "score") if shown else "score"
    pixels = plot_width(width)
    body = {
        "title": {
            "text": clean_text(f"Live scores of {name}" if name else "Live scores"),
            "subtitle": _subtitle_lines(shown),
        },
        "vconcat": [_score_plot(scoring, pixels), _share_plot(pixels)],
        "spacing": 10,
        "resolve": {"scale": {"x": "shared", "color": "independent", "strokeDash": "independent"}},
    }
    spec = make_spec(
        body, description=_describe_scores(shown, name), data={"rows": [_row_fields(row) for row in shown]}
    )
    return fill_container(spec, width)


def _row_fields(row: Record) -> Spec:
    n, n_labelled = row["n_predictions"], row["n_labelled"]
    return without_nulls(
        {
            "d": epoch_milliseconds(row["data_interval_start"]),
            "e": epoch_milliseconds(row["data_interval_end"]),
            "l": interval_text(row["data_interval_start"], row["data_interval_end"]),
            "s": as_number(row.get("score")),
            "t": as_number(row.get("test_score")),
            "v": f"version {row['version']}",
            "n": n,
            "k": n_labelled,
            "i": row.get("n_in_sample") or None,
            "p": n_labelled / n if n else 0,
            "h": 1 if row.get("shown") else 0,
        }
    )


def _subtitle_lines(rows: Sequence[Record]) -> list[str]:
    if not any(row.get("score") is not None for row in rows):
        return ["no prediction has a truth that its version has not learnt"]
    is_replaced = any(not row.get("shown") for row in rows)
    return (
        ["small points beside the line: predictions of a version that another one has replaced"] if is_replaced else []
    )


def _describe_scores(rows: Sequence[Record], name: str) -> str:
    scored = [row for row in rows if row.get("score") is not None]
    visible = [row for row in scored if row.get("shown")]
    last = f"; the last one is {as_number(visible[-1]['score'], 4)}" if visible else ""
    return f"Live scores of {clean_text(name)}: {len(scored)} of {len(rows)} data intervals and versions{last}"


def _score_plot(scoring: str, width: int) -> Spec:
    legend: Spec = {"title": None, "orient": "top", "direction": "horizontal", "offset": 2, "symbolSize": 260}
    legend |= {"labelLimit": 400, "symbolType": "stroke", "columns": {"expr": _COLUMNS}}
    color = {"field": "series", "type": "nominal", "scale": {"domain": _SERIES}, "legend": legend}
    dash = {"field": "series", "type": "nominal", "scale": {"domain": _SERIES, "range": [[1, 0], [6, 3]]}}
    encoding = {"x": {"field": "m", **_TIME, "axis": _interval_axis(labels=False)}, "y": _value_channel("value")}
    line = {
        "transform": [{"filter": "datum.h == 1"}],
        "mark": {"type": "line", "strokeWidth": 1.8},
        "encoding": {**encoding, "color": color, "strokeDash": {**dash, "legend": legend}},
    }
    point = {
        "transform": [{"filter": "datum.key == 's'"}],
        "mark": {"type": "circle", "opacity": 1},
        "encoding": {
            **encoding,
            "color": color,
            "size": {"condition": {"test": "datum.h == 1", "value": 26}, "value": 10},
            "tooltip": _row_tooltip(scoring),
        },
    }
    fold = [
        _MIDDLE,
        {"fold": ["s", "t"], "as": ["key", "value"]},
        {"filter": "isValid(datum.value)"},
        {"calculate": f"datum.key == 's' ? '{_SERIES[0]}' : '{_SERIES[1]}'", "as": "series"},
    ]
    layers = {"data": {"name": "rows"}, "transform": fold, "layer": [line, point]}
    return {"title": _plot_heading(scoring), "width": width, "height": 130, "layer": [layers]}


def _share_plot(width: int) -> Spec:
    encoding = {
        "x": {"field": "d", **_TIME, "axis": _interval_axis(labels=True)},
        "x2": {"field": "e"},
        "y": {**_value_channel("p", format=".0%"), "scale": {"domain": [0, 1]}},
        "y2": {"datum": 0},
        "tooltip": _row_tooltip("score"),
    }
    bars = {
        "data": {"name": "rows"},
        "transform": [{"filter": "datum.h == 1"}],
        "mark": {"type": "rect", "style": "twin-fill"},
        "encoding": encoding,
    }
    title = _plot_heading("predictions whose truth is known")
    return {"title": title, "width": width, "height": 44, "layer": [bars]}


def _row_tooltip(scoring: str) -> list[Spec]:
    return [
        text_field("l", "data interval"),
        text_field("v", "model"),
        number_field("s", scoring, ".4f"),
        number_field("t", "test score", ".4f"),
        number_field("k", "with truth", ","),
        number_field("i", "learnt by the version", ","),
        number_field("n", "predictions", ","),
    ]


def _interval_axis(*, labels: bool) -> Spec:
    return {"title": None, "labels": labels, "ticks": labels, "tickCount": 8}


def _value_channel(field: str, *, format: str | None = None) -> Spec:  # noqa: A002
    axis: Spec = {"title": None, "minExtent": AXIS_WIDTH, "maxExtent": AXIS_WIDTH, "tickCount": 3}
    axis |= {"format": format} if format else {}
    return {"field": field, "type": "quantitative", "axis": axis, "scale": {"zero": False}}


def _plot_heading(text: str) -> Spec:
    return {"text": text, "fontSize": 12, "fontWeight": "normal", "offset": 4, "frame": "group"}
