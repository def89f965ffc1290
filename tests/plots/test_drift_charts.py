"""Charts of columns over time, and of the distributions of one batch."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from charts import HOSTILE, draw, marks, size, texts
from diurnal.plots.chart_output import render_svg
from diurnal.plots.column_history_chart import build_column_history
from diurnal.plots.distribution_chart import build_distribution
from diurnal.plots.drift_charts import build_drift
from diurnal.plots.drift_strip_chart import measured_drift

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
NUMBER = {"kind": "number", "role": "feature", "missing": 0.05, "mean": 5.0, "std": 1.0, "min": 1.0, "max": 9.0}
NUMBER |= {"q05": 3.0, "q25": 4.0, "q50": 5.0, "q75": 6.0, "q95": 7.0}
CATEGORY = {
    "kind": "category",
    "role": "feature",
    "missing": 0.0,
    "top": {"north": 0.6, "south": 0.3},
    "n_categories": 9,
}
TARGET = CATEGORY | {"role": "target", "top": {"no": 0.6, "yes": 0.4}}


def interval(i):
    return {"data_interval_start": START + DAY * i, "data_interval_end": START + DAY * (i + 1)}


def profile(i, **columns):
    columns = columns or {"ill": TARGET, "age": NUMBER, "ward": CATEGORY}
    return {**interval(i), "summary": {"n_rows": 100, "columns": columns}}


def effect(column, value, **values):
    entry = {"column": column, "role": "feature", "kind": "number", "measure": "wasserstein", "threshold": 0.1}
    return entry | {"effect": value, "drifted": (value or 0) > 0.1, "new_categories": []} | values


def run(i, *columns):
    return {**interval(i), "drift": {"columns": list(columns), "n_columns": len(columns)}}


def test_the_strip_has_the_strongest_column_first_and_marks_those_above_the_threshold():
    runs = [run(i, effect("ward", 0.02), effect("age", 0.05 if i < 8 else 0.3)) for i in range(10)]
    spec = build_drift(runs, [profile(i) for i in range(10)], name="clinic")
    strip = spec["vconcat"][0]
    assert strip["layer"][0]["encoding"]["y"]["scale"]["domain"] == ["age", "ward"]
    cells = {(cell["c"], cell["d"]): cell["q"] for cell in strip["data"]["values"]}
    assert len(cells) == 20
    assert max(cells.values()) == 3.0
    document = draw(spec)
    assert len(marks(document, "symbol")) >= 2
    assert {"age", "ward", "Drift of clinic", "ill: share of each category"} <= set(texts(document))


def test_shares_of_a_category_sum_to_those_that_are_not_missing():
    spec = build_column_history([profile(0, ward=CATEGORY | {"missing": 0.04})], [], "ward")
    shares = {row["c"]: row["s"] for row in spec["vconcat"][0]["layer"][0]["data"]["values"]}
    assert shares == {"north": 0.6, "south": 0.3, "other categories": 0.06}
    assert len(spec["vconcat"]) == 2, "values, and missing ones"


def test_new_categories_are_marked_on_their_day():
    runs = [run(3, effect("ward", 0.01, kind="category", new_categories=["east", "<b>"]))]
    spec = build_column_history([profile(i) for i in range(5)], measured_drift(runs), "ward")
    (new,) = spec["vconcat"][0]["layer"][1]["data"]["values"]
    assert (new["l"], new["t"]) == ("2026-01-04", "east, <b>")
    draw(spec)


def test_a_large_number_that_varies_little_is_not_rounded_away():
    values = 1e6 + np.arange(50) / 1000
    batch = {"column": "x", "kind": "number", "n_rows": 50, "values": values, "weights": np.ones(50)}
    rows = build_distribution(batch)["data"]["values"]
    assert len({row["a"] for row in rows}) == 40
    history = build_column_history([profile(0, x=NUMBER | {"q05": 1e6, "q95": 1e6 + 0.01})], [], "x")
    shown = history["vconcat"][0]["data"]["values"][0]
    assert shown["q95"] - shown["q05"] == pytest.approx(0.01)


def test_times_are_on_a_time_axis():
    seen = {**NUMBER, "kind": "time", "role": "other"} | {
        f"q{k}": 1.7e9 + int(k) for k in ("05", "25", "50", "75", "95")
    }
    spec = build_column_history([profile(i, seen=seen) for i in range(3)], [], "seen")
    assert spec["vconcat"][0]["layer"][0]["encoding"]["y"]["type"] == "temporal"
    assert spec["vconcat"][0]["data"]["values"][0]["q50"] == 1_700_000_050_000
    draw(spec)


def test_three_years_of_days_are_small():
    rng = np.random.default_rng(0)
    runs = [run(i, *(effect(f"x{k}", float(rng.gamma(1, 0.05))) for k in range(40))) for i in range(1100)]
    spec = build_drift(runs, [profile(i) for i in range(1100)])
    assert size(spec) < 400_000
    shown = " ".join(texts(draw(spec)))
    assert "each cell is the strongest of" in shown
    assert "the 20 strongest of 40" in shown
    assert "150 of 1,100 data intervals" in shown


@pytest.mark.parametrize(
    ("runs", "profiles"),
    [
        ([], []),
        ([{**interval(0), "drift": None}], [profile(0)]),
        (
            [run(0)],
            [profile(0, empty={"kind": "number", "role": "feature", "missing": 1.0, "mean": None, "q50": None})],
        ),
        ([run(0, effect("gone", 0.5))], [profile(0)]),
        (
            [run(0, effect("age", None), effect("ward", float("nan")), effect("x", 1, threshold=0))],
            [{**interval(0), "summary": {}}],
        ),
        ([run(0, effect("age", 1e300))], [profile(0, age=NUMBER | {"mean": 1e300, "q95": 1e308})]),
    ],
    ids=["nothing", "no-drift", "empty", "gone", "undefined", "huge"],
)
def test_records_in_every_state_are_drawn(runs, profiles):
    draw(build_drift(runs, profiles, width="container"))


@pytest.mark.parametrize("kind", ["number", "category"])
def test_a_distribution_has_layers_only_for_what_has_rows(kind):
    alone = {"column": "new", "kind": kind, "n_rows": 2, "values": [1.5], "weights": [2.0]}
    alone |= {"categories": ["a"], "counts": [2]}
    assert len(build_distribution(alone)["layer"]) == 1
    assert len(build_distribution(alone, alone)["layer"]) == 2


def test_a_distribution_without_a_value_says_so():
    assert "no values" in render_svg(build_distribution({"column": "new", "kind": "number", "n_rows": 0}))


def test_texts_of_users_are_only_text():
    columns = {text: CATEGORY | {"top": dict.fromkeys(HOSTILE[k : k + 5], 0.1)} for k, text in enumerate(HOSTILE)}
    runs = [run(0, *(effect(text, 0.2, new_categories=[text]) for text in HOSTILE))]
    profiles = [profile(0, **columns), profile(1, **dict.fromkeys(HOSTILE, NUMBER))]
    draw(build_drift(runs, profiles[:1], name=HOSTILE[3], columns=HOSTILE), "dark")
    draw(build_drift(runs, profiles[1:], name=HOSTILE[0], columns=HOSTILE[:6]))
    categories = {
        "column": HOSTILE[4],
        "kind": "category",
        "n_rows": 30,
        "categories": HOSTILE,
        "counts": [1] * len(HOSTILE),
    }
    draw(build_distribution(categories, categories))


def test_the_distribution_of_a_number_is_shares_of_common_bins():
    values = np.arange(100.0)
    batch = {
        "column": "age",
        "kind": "number",
        "n_rows": 110,
        "n_missing": 10,
        "values": values,
        "weights": np.ones(100),
    }
    reference = batch | {"values": values + 50, "n_missing": 0}
    spec = build_distribution(batch, reference)
    rows = spec["data"]["values"]
    assert sum(row["s"] for row in rows if row["side"] == "batch") == pytest.approx(1, abs=1e-3)
    assert {row["a"] for row in rows if row["side"] == "batch"} == {
        row["a"] for row in rows if row["side"] == "reference"
    }
    assert {"batch: 9.1% missing", "batch", "reference"} <= set(texts(draw(spec)))


@pytest.mark.parametrize("kind", ["number", "time", "category"])
@pytest.mark.parametrize("n", [0, 1, 3])
def test_distributions_in_every_state_are_drawn(kind, n):
    lists = (
        {"values": [1.7e9] * n, "weights": [2.0] * n}
        if kind != "category"
        else {"categories": list("abc")[:n], "counts": [2] * n}
    )
    batch = {"column": "x", "kind": kind, "n_rows": 10, "n_missing": 10 - 2 * n, **lists}
    draw(build_distribution(batch))
    draw(build_distribution(batch, batch))
