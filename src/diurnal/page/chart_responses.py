"""Charts for the page: Vega-Lite specifications, which the browser draws."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from diurnal.plots.theme import chart_config

_THEMES = {"light": chart_config("light"), "dark": chart_config("dark")}


def chart_response(spec: Mapping[str, Any]) -> Response:
    """Return a chart as JSON, for an element with ``data-chart``.

    Parameters
    ----------
    spec : Mapping
        A specification of :mod:`diurnal.plots`, such as of :func:`diurnal.plots.timeline_chart.build_timeline` with
        ``width="container"``. The browser chooses the configuration for light or dark; both are in ``usermeta``.
    """
    usermeta = {**spec.get("usermeta", {}), "themes": _THEMES}
    content = json.dumps({**spec, "usermeta": usermeta}, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Response(content, media_type="application/json")
