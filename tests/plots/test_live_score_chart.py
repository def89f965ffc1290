"""The chart of live scores, of rows in every state."""

from datetime import UTC, datetime, timedelta

import pytest

from charts import HOSTILE, draw, texts
from diurnal.plots.live_score_chart import build_live_scores

START = datetime(2026, 11, 1, tzinfo=UTC)


def row(i, **values):
    start = START + timedelta(days=i)
    interval = {"data_interval_start": start, "data_interval_end": start + timedelta(days=1), "version": 1}
    numbers = {"n_predictions": 100, "n_labelled": 80, "n_in_sample": 0, "score": 0.8, "test_score": 0.9}
    return {**interval, **numbers, "scoring": "roc_auc", "shown": True} | values


def test_scores_and_shares_are_those_of_the_rows():
    rows = [row(1, version=2, shown=False, score=0.7), row(0), row(1), row(2, score=None, n_labelled=0)]
    spec = build_live_scores(rows, name="clinic")
    fields = spec["datasets"]["rows"]
    assert [(one["l"], one["v"], one.get("s"), one["p"], one["h"]) for one in fields] == [
        ("2026-11-01", "version 1", 0.8, 0.8, 1),
        ("2026-11-02", "version 1", 0.8, 0.8, 1),
        ("2026-11-02", "version 2", 0.7, 0.8, 0),
        ("2026-11-03", "version 1", None, 0.0, 1),
    ]
    shown = " ".join(texts(draw(spec)))
    assert "Live scores of clinic" in shown
    assert "predictions of a version that another one has replaced" in shown
    assert "roc_auc" in shown
    assert spec["description"] == "Live scores of clinic: 3 of 4 data intervals and versions; the last one is 0.8"


@pytest.mark.parametrize("rows", [[], [row(0, score=None, test_score=None, n_predictions=0, n_labelled=0)]])
def test_without_scores_the_chart_says_so(rows):
    assert "no prediction has a truth" in " ".join(texts(draw(build_live_scores(rows, width="container"), "dark")))


def test_no_text_breaks_the_chart():
    for text in HOSTILE:
        draw(build_live_scores([row(0, scoring=text)], name=text))
