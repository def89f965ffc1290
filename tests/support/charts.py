"""Checks of charts: their schema, what they show, and what they must not contain."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

from diurnal.plots.chart_output import render_svg, to_altair, to_json

SVG = "{http://www.w3.org/2000/svg}"

HOSTILE = [
    "a.b[0]",
    "it's",
    'say "x"',
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "a\\b",
    """x\\" + datum.d + \"""",
    "x\\') + (",
    "${alert(1)}",
    "datum.s",
    "']; alert(1); ['",
    "x:Q",
    "__proto__",
    "constructor",
    "toString",
    "\u202eright to left",
    "\x00\x0b\x1f",
    "a\nb",
    "",
    " ",
    "π 😀 \ufffe",
    "long " * 100,
]
"""Texts that break parsers of field names, expressions, XML or JavaScript, or that are names of JavaScript's own."""


def draw(spec: Mapping[str, Any], theme: Any = "light") -> ET.Element:
    """Return a chart as SVG, after checks of the schema and of its elements."""
    json.loads(to_json(spec))  # JSON without NaN
    to_altair(spec, theme).to_dict()  # it validates
    assert "<" not in to_json(spec), "it can stand in a script element"
    document = ET.fromstring(render_svg(spec, theme))
    for element in document.iter():
        assert element.tag.removeprefix(SVG) in {
            "svg",
            "g",
            "path",
            "rect",
            "text",
            "line",
            "defs",
            "clipPath",
            "linearGradient",
            "stop",
            "title",
            "tspan",
            "image",
        }
        assert not [name for name in element.attrib if name.lower().startswith("on")]
        assert "javascript:" not in str(element.attrib)
    return document


def texts(document: ET.Element) -> list[str]:
    """Return the texts that a drawn chart shows."""
    return ["".join(element.itertext()) for element in document.iter(f"{SVG}text")]


def marks(document: ET.Element, kind: str) -> list[ET.Element]:
    """Return the drawn items of a kind of mark, such as ``"symbol"`` or ``"rect"``."""
    groups = [
        one
        for one in document.iter(f"{SVG}g")
        if f"mark-{kind} " in f"{one.get('class', '')} " and "role-mark" in one.get("class", "")
    ]
    return [item for group in groups for item in group if item.tag in {f"{SVG}path", f"{SVG}text"}]


def size(spec: Mapping[str, Any]) -> int:
    """Return the length of a specification as JSON."""
    return len(to_json(spec))
