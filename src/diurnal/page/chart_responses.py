"""Charts for the page: Vega-Lite specifications, which the browser draws."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Callable

    import altair as alt


def chart_response(make_chart: Callable[[], alt.TopLevelMixin]) -> Response:
    """Return a chart as JSON, for an element with ``data-chart``.

    Parameters
    ----------
    make_chart : callable
        Returns a chart of :mod:`diurnal.plots`. The page's theme replaces its configuration, and its data are part of
        the specification, however many rows it has.
    """
    import altair as alt

    with alt.data_transformers.enable("default", max_rows=None):
        specification = make_chart().to_dict()
    specification.pop("config", None)
    content = json.dumps(specification, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Response(content, media_type="application/json")
