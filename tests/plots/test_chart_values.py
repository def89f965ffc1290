"""Texts and numbers of charts."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charts import HOSTILE, draw, texts
from diurnal.plots.chart_output import render_png, to_json
from diurnal.plots.chart_values import as_number, clean_text, is_log_spaced, thin_evenly, value_text
from diurnal.plots.theme import CATEGORIES, chart_config


def test_cleaned_texts_are_safe_in_each_place_of_a_chart():
    cleaned = [clean_text(text) or "empty" for text in HOSTILE]
    plots = [
        {
            "title": text,
            "data": {"values": [{"a": text, "b": 1}]},
            "mark": "bar",
            "encoding": {
                "x": {"field": "a", "type": "nominal", "title": text, "sort": [text], "scale": {"domain": [text]}},
                "y": {"field": "b", "type": "quantitative", "title": text},
                "color": {"field": "a", "type": "nominal", "legend": {"title": text, "values": [text]}},
                "tooltip": [{"field": "b", "type": "quantitative", "title": text}],
            },
        }
        for text in cleaned
    ]
    own = {"scale": {"color": "independent"}}
    shown = texts(draw({"vconcat": plots, "description": cleaned[0], "resolve": own}))
    assert {"it's", "datum.s", 'say "x"', "a\u2216b", "constructor\u200b"} <= set(shown)


@given(st.text())
def test_a_cleaned_text_is_short_and_allowed_in_xml(text):
    cleaned = clean_text(text, limit=20)
    assert len(cleaned) <= 20 + (cleaned[-1:] == "\u200b")
    assert not set(cleaned) & {"\\", "\n", "\x00", "\x1b", "\ufffe", "\u202e"}
    cleaned.encode()


@given(st.one_of(st.floats(), st.integers(), st.booleans(), st.none(), st.text()))
def test_a_number_is_json(value):
    number = as_number(value)
    json.dumps(number, allow_nan=False)
    if isinstance(value, float) and np.isfinite(value):
        assert number == pytest.approx(value, rel=1e-5)
    value_text(value)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)))
def test_any_numbers_have_a_kind_of_axis(values):
    if is_log_spaced(values):
        assert min(values) > 0


@pytest.mark.parametrize(
    ("values", "is_log"),
    [
        ([1e-4, 1e-3, 1e-2], True),
        ([1, 3, 10, 30, 100], True),
        (np.logspace(-3, 3, 50), True),
        ([10, 20, 50, 100, 200, 500], True),
        (np.linspace(1, 100, 20), False),
        ([1, 2, 3, 100], True),
        ([0, 1, 10, 100], False),
        ([5], False),
    ],
)
def test_an_axis_is_logarithmic_where_values_are_spaced_so(values, is_log):
    assert is_log_spaced([float(value) for value in values]) is is_log


@given(st.integers(0, 5000), st.integers(1, 200))
def test_thinned_positions_are_few_and_ordered(n, limit):
    chosen = thin_evenly(n, limit)
    assert chosen == sorted(set(chosen))
    assert len(chosen) <= max(limit, 1)
    assert not n or (chosen[0] == 0 and (limit == 1 or chosen[-1] == n - 1))


@pytest.mark.parametrize(("theme", "background"), [("light", (255, 255, 255)), ("dark", (13, 17, 23))])
def test_each_colour_of_a_theme_has_a_contrast_of_three_to_one(theme, background):
    for color in [*CATEGORIES[theme], chart_config(theme)["axis"]["labelColor"]]:
        rgb = tuple(int(color[i : i + 2], 16) for i in (1, 3, 5))
        assert contrast(rgb, background) >= 3, color


def contrast(one, other):
    """The contrast of WCAG 2.2."""

    def luminance(rgb):
        parts = [(c / 255) / 12.92 if c <= 10.3 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_a_specification_has_the_theme_that_is_asked_for():
    spec = {"data": {"values": [{"a": 1}]}, "mark": "point", "encoding": {}}
    assert "config" not in json.loads(to_json(spec))
    assert json.loads(to_json(spec, "dark"))["config"]["background"] == "transparent"
    assert render_png(spec).startswith(b"\x89PNG")
