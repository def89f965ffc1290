"""Charts as specifications, Altair charts, SVG and PNG.

Builders return Vega-Lite specifications as dictionaries, which takes some milliseconds; Altair's classes validate and
copy each part several times, which takes a second for a timeline. :func:`to_altair` makes an Altair chart of one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from diurnal.plots.theme import Theme, chart_config

if TYPE_CHECKING:
    import altair as alt

Spec = dict[str, Any]
"""A Vega-Lite specification without `config`: the theme is added when it is shown."""

ChartWidth = int | Literal["container"]
"""The width of a chart's plots in pixels, or ``"container"`` for that of the element that vega-embed writes to."""

DEFAULT_WIDTH = 680
AXIS_WIDTH = 96
"""The room left of each plot of a column of plots, so that their axes are below each other."""
_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
_VEGA_LITE = "6.4"  # of vl-convert


def to_altair(spec: Mapping[str, Any], theme: Theme = "light") -> alt.TopLevelMixin:
    """Return an Altair chart of a specification, for notebooks."""
    import altair as alt

    classes = {"vconcat": alt.VConcatChart, "hconcat": alt.HConcatChart, "layer": alt.LayerChart}
    units = {"chart": alt.Chart, "encoding": alt.FacetedEncoding}
    params = [alt.TopLevelSelectionParameter(**param) for param in spec.get("params", [])]
    whole = {**spec, "config": chart_config(theme), **({"params": params} if params else {})}
    chart: alt.TopLevelMixin = _chart_of(whole, classes, units)
    return chart


def _chart_of(spec: Mapping[str, Any], classes: Mapping[str, Any], units: Mapping[str, Any]) -> Any:
    """Make a chart of a specification without `from_dict`, which tries all alternatives of the schema for each part."""
    parts = next((name for name in classes if name in spec), None)
    chart = units["chart"]() if parts is None else classes[parts]()
    for name, value in spec.items():
        if name == parts:
            chart[name] = [_chart_of(part, classes, units) for part in value]
        elif name == "encoding":
            chart[name] = units["encoding"]()
            for channel, definition in value.items():
                chart[name][channel] = definition
        elif name != "$schema":
            chart[name] = value
    return chart


def to_json(spec: Mapping[str, Any], theme: Theme | None = None) -> str:
    r"""Return a specification as JSON that can stand in a ``<script type="application/json">`` element.

    Parameters
    ----------
    spec : Mapping
        The specification.
    theme : {"light", "dark"}, optional
        The theme; without it, set vega-embed's option `config` to the value of :func:`chart_config`.

    Examples
    --------
    >>> to_json({"title": "</script>"})
    '{"title":"\\u003c/script>"}'
    """
    themed = spec if theme is None else {**spec, "config": chart_config(theme)}
    text = json.dumps(themed, separators=(",", ":"), allow_nan=False)  # ASCII: also U+2028 is escaped
    return text.replace("<", "\\u003c")


def render_svg(spec: Mapping[str, Any], theme: Theme = "light") -> str:
    """Return a chart as SVG, for a report; a width of ``"container"`` becomes 680 pixels. No network is needed."""
    import vl_convert

    svg: str = vl_convert.vegalite_to_svg(_for_file(spec, theme), vl_version=_VEGA_LITE)
    return svg


def render_png(spec: Mapping[str, Any], theme: Theme = "light", *, scale: float = 2.0) -> bytes:
    """Return a chart as PNG; see :func:`render_svg`."""
    import vl_convert

    png: bytes = vl_convert.vegalite_to_png(_for_file(spec, theme), vl_version=_VEGA_LITE, scale=scale)
    return png


def make_spec(body: Mapping[str, Any], *, description: str, data: Mapping[str, list[Spec]]) -> Spec:
    """Return a specification with its named data and the description that screen readers read."""
    return {"$schema": _SCHEMA, "description": description, **body, "datasets": dict(data)}


def plot_width(width: ChartWidth) -> int:
    """Return the width in pixels of a plot within a column of plots."""
    return DEFAULT_WIDTH if width == "container" else width


def fill_container(spec: Spec, width: ChartWidth, margin: int = AXIS_WIDTH + 24) -> Spec:
    """Let a column of plots of equal width follow the width of its element.

    Vega-Lite has ``"width": "container"`` for single plots only. The specification gets a patch for vega-embed
    (``usermeta.embedOptions``) that makes the compiled chart's signal `width` depend on the container.
    """
    if width != "container":
        return spec
    update = f"max(160, containerSize()[0] - {margin})"
    signal = {"name": "width", "init": update, "on": [{"events": "window:resize", "update": update}]}
    patch = [{"op": "remove", "path": "/width"}, {"op": "add", "path": "/signals/0", "value": signal}]
    return {**spec, "usermeta": {"embedOptions": {"patch": patch}}}


def _for_file(spec: Mapping[str, Any], theme: Theme) -> Spec:
    fixed = {**spec, "config": chart_config(theme)}
    if fixed.get("width") == "container":
        fixed["width"] = DEFAULT_WIDTH
    fixed.pop("usermeta", None)
    return fixed
