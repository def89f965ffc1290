"""Charts as the page gets them."""

import json

from diurnal.page.chart_responses import chart_response
from diurnal.plots.timeline_chart import build_timeline


def test_a_chart_has_both_themes_and_the_patch_that_fits_it_to_the_width():
    spec = json.loads(chart_response(build_timeline([], width="container")).body)
    assert set(spec["usermeta"]["themes"]) == {"light", "dark"}
    assert spec["usermeta"]["embedOptions"]["patch"][1]["value"]["name"] == "width"
    assert "config" not in spec
