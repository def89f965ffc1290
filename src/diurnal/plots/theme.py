"""One theme for all charts: colours safe for the colour-blind, light and dark, system fonts, transparent background.

Charts contain no colour. Their scales refer to the ranges ``category``, ``heatmap``, ``ramp`` and ``diverging`` of the
configuration, and their marks to its styles, so that the same chart is shown in light or dark by another configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Theme = Literal["light", "dark"]

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

# Okabe and Ito's palette. In light, its bright colours are darkened to a contrast of 3:1 on white, the least that
# WCAG 2.2 asks of graphics.
CATEGORIES: dict[Theme, list[str]] = {
    "light": ["#0072B2", "#D55E00", "#009E73", "#A8457F", "#9A7400", "#3A8FC4", "#5B5B5B", "#1B1B1B"],
    "dark": ["#56B4E9", "#E69F00", "#2FC49A", "#D98BB8", "#F0E442", "#7FA8FF", "#B0B0B0", "#F2F2F2"],
}
# Viridis, from its dark to its light end: equal steps of lightness, also in print and for the colour-blind.
RAMP = ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"]
_DENSITY: dict[Theme, list[str]] = {
    "light": ["#e9f1f7", "#a9cde4", "#5aa2cc", "#0072B2", "#00416a"],
    "dark": ["#1d2b36", "#24516f", "#3580ad", "#56B4E9", "#c9e9fb"],
}
_DIVERGING = ["#b35806", "#f1a340", "#fee0b6", "#f7f7f7", "#d8daeb", "#998ec3", "#542788"]
_INK: dict[Theme, dict[str, str]] = {
    "light": {"text": "#1f2328", "muted": "#59636e", "line": "#8c959f", "grid": "#e4e8ec", "alarm": "#B3261E"},
    "dark": {"text": "#e6edf3", "muted": "#9da7b3", "line": "#6e7681", "grid": "#2b3138", "alarm": "#FF8A80"},
}


def chart_config(theme: Theme = "light") -> dict[str, Any]:
    """Return the Vega-Lite configuration of a theme.

    Parameters
    ----------
    theme : {"light", "dark"}
        The theme.

    Returns
    -------
    dict
        The value of ``config`` of a specification, or of vega-embed's option `config`.

    Examples
    --------
    >>> chart_config("dark")["range"]["category"][0]
    '#56B4E9'
    """
    ink = _INK[theme]
    return {
        "background": "transparent",
        "font": FONT,
        "padding": 6,
        **_text_config(ink),
        "view": {"stroke": None},
        "concat": {"spacing": 14},
        "mark": {"aria": False},  # the chart has a description, and the page a table; marks without a text are no help
        "text": {"color": ink["text"]},
        "rule": {"color": ink["line"]},
        "range": {
            "category": CATEGORIES[theme],
            "heatmap": _DENSITY[theme],
            "ramp": RAMP,
            "ordinal": RAMP,
            "diverging": _DIVERGING,
        },
        "style": _mark_styles(theme),
    }


def _text_config(ink: Mapping[str, str]) -> dict[str, Any]:
    """Return the configuration of titles, axes, headers and legends."""
    return {
        "title": {
            "anchor": "start",
            "frame": "group",
            "color": ink["text"],
            "subtitleColor": ink["muted"],
            "fontSize": 14,
            "fontWeight": 600,
            "subtitleFontSize": 12,
            "subtitlePadding": 4,
            "offset": 10,
        },
        "axis": {
            "labelColor": ink["muted"],
            "titleColor": ink["muted"],
            "titleFontWeight": "normal",
            "titleFontSize": 11.5,
            "labelFontSize": 11,
            "domainColor": ink["line"],
            "tickColor": ink["line"],
            "gridColor": ink["grid"],
            "labelLimit": 220,
            "titleLimit": 400,
        },
        "header": {"labelColor": ink["text"], "titleColor": ink["muted"], "labelFontSize": 12, "labelLimit": 300},
        "legend": {
            "labelColor": ink["text"],
            "titleColor": ink["muted"],
            "titleFontWeight": "normal",
            "titleFontSize": 11.5,
            "labelFontSize": 11.5,
            "labelLimit": 240,
            "symbolStrokeWidth": 2,
            "gradientLength": 120,
        },
    }


def _mark_styles(theme: Theme) -> dict[str, Any]:
    """Return the named styles that marks refer to."""
    ink, series = _INK[theme], CATEGORIES[theme]
    return {
        **{f"series-{i}": {"color": color, "filled": True, "opacity": 1} for i, color in enumerate(series)},
        "twin": {"color": series[0]},
        "twin-band": {"color": series[0], "opacity": 0.18},
        "twin-fill": {"color": series[0]},
        "champion": {"color": series[1], "strokeDash": [6, 3]},
        "champion-fill": {"color": series[1]},
        "span": {"color": series[0], "opacity": 0.45, "strokeWidth": 1.5},
        "alarm": {"color": ink["alarm"]},
        "alarm-fill": {"color": ink["alarm"]},
        "reference": {"color": ink["line"], "strokeDash": [4, 3]},
        "pane": {"color": ink["line"]},
        "muted-text": {"color": ink["muted"]},
        "on-fill-text": {"color": "#ffffff" if theme == "light" else "#0b1620"},
        "label-text": {"color": ink["text"]},
        "muted-fill": {"color": ink["line"], "opacity": 0.45},
        "muted-point": {"color": ink["line"], "opacity": 0.7, "size": 14, "filled": True},
        "best-fill": {"color": ink["text"], "filled": True},
        "drifted": {"color": ink["alarm"], "filled": True, "stroke": "#ffffff", "strokeWidth": 0.7},
        "best": {"color": ink["text"], "filled": False, "strokeWidth": 2},
    }
