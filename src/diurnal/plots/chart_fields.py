"""Fields of tooltips and axes, as Vega-Lite's definitions of channels."""

from __future__ import annotations

from diurnal.plots.chart_output import Spec


def number_field(field: str, title: str, number_format: str | None = None) -> Spec:
    """Return a field of numbers with a title and a format of d3.

    Examples
    --------
    >>> number_field("n", "rows", ",")
    {'field': 'n', 'type': 'quantitative', 'title': 'rows', 'format': ','}
    """
    definition = {"field": field, "type": "quantitative", "title": title}
    return definition if number_format is None else {**definition, "format": number_format}


def text_field(field: str, title: str | None) -> Spec:
    """Return a field of texts with a title.

    Examples
    --------
    >>> text_field("c", "column")
    {'field': 'c', 'type': 'nominal', 'title': 'column'}
    """
    return {"field": field, "type": "nominal", "title": title}
