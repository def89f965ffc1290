"""The timeline, of records in every state."""

import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from charts import HOSTILE, draw, marks, size, texts
from diurnal.plots.timeline_chart import build_timeline
from diurnal.plots.timeline_data import MARK_KINDS, MAX_INTERVALS, collect_timeline

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def interval(i, step=DAY):
    return {"data_interval_start": START + step * i, "data_interval_end": START + step * (i + 1)}


def run(i, step=DAY, **values):
    """A run of the i-th data interval, recorded in a backfill long after."""
    rng = np.random.default_rng(i)
    score, difference = 0.9 + rng.normal(0, 0.01), rng.normal(0, 0.01)
    comparison = {"twin_score": score, "champion_score": score - difference, "difference": difference}
    row = {
        **interval(i, step),
        "run_id": f"clinic-{i}",
        "recorded_at": datetime(2026, 11, 1, tzinfo=UTC) + timedelta(minutes=i),
        "model_version": i + 1,
        "promoted": i % 10 == 0,
        "test_score": score,
        "scoring": "roc_auc",
        "comparison": comparison | {"low": difference - 0.01, "high": difference + 0.01},
        "best_params": {
            "model__C": float(rng.choice([0.01, 0.1, 1.0, 10.0])),
            "kernel": str(rng.choice(["rbf", "poly"])),
        },
        "packages": [{"n_rows": 100}, {"n_rows": 1000 + i}],
        "drift": {"columns": [{"column": "age", "effect": 0.05 + (i == 3), "threshold": 0.1}]},
        "durations": {"tune": 5.0 + i % 3, "fetch": 1.0},
        "code_digest": "a" * 64,
        "contract_version": 1,
    }
    return row | values


def failure(i, kind="TransientError", message="the server is down"):
    return {**interval(i), "step": "fetch", "error": {"type": kind, "message": message}, "failed_at": START}


def promotion(version, minute, kind="promote", evidence=None):
    at = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(minutes=minute, seconds=30)
    values = {"version": version, "kind": kind, "promoted_at": at, "promoted_by": "anna", "reason": "better"}
    return values | {"evidence": evidence or {}}


def test_every_kind_of_event_has_a_lane_a_shape_and_its_time():
    runs = [run(i, code_digest="ab"[i > 4] * 64, contract_version=1 + (i > 6)) for i in range(10) if i != 8]
    failures = [failure(8, "BatchRejectedError"), failure(9), failure(9)]
    promotions = [promotion(1, 0, evidence={"p": 0.1}), promotion(3, 5, "rollback")]
    spec = build_timeline(runs, promotions, failures, name="clinic")
    document = draw(spec)
    assert set(MARK_KINDS) <= set(texts(document))
    times = {mark["kind"]: mark["l"] for mark in spec["datasets"]["marks"]}
    assert times == {
        "promotion": "2026-01-01",
        "rollback": "2026-01-06",  # the newest data interval that was recorded then
        "rejected batch": "2026-01-09",
        "failure": "2026-01-10",
        "code change": "2026-01-06",
        "contract change": "2026-01-08",
    }
    assert [mark["text"] for mark in spec["datasets"]["marks"] if mark["kind"] == "failure"] == [
        "fetch, 2 times: the server is down"
    ]
    shapes = {mark.get("d") for mark in marks(document, "symbol")}
    assert len(shapes) >= len(MARK_KINDS), "a kind is not shown by its colour alone"


def test_scores_are_those_of_the_rows_and_intervals_those_of_the_difference():
    rows = collect_timeline([run(1), run(0)]).rows
    assert [row["l"] for row in rows] == ["2026-01-01", "2026-01-02"]
    recorded = run(1)
    assert rows[1]["t"] == pytest.approx(recorded["test_score"], abs=1e-4)
    assert rows[1]["lo"] == pytest.approx(recorded["comparison"]["low"], abs=1e-4)
    assert rows[1]["n"] == 1001
    assert rows[1]["q"] == 0.5


def test_an_interval_of_the_difference_is_not_invented():
    old = run(1, comparison={"twin_score": 0.9, "champion_score": 0.8})
    spec = build_timeline([run(0, comparison=None), old])
    assert "twin less champion, on the same new test rows" in texts(draw(spec))
    assert spec["datasets"]["rows"][1]["x"] == 0.1
    assert "lo" not in spec["datasets"]["rows"][1]


def test_of_several_runs_of_an_interval_the_last_one_is_shown():
    later = datetime(2026, 12, 1, tzinfo=UTC)
    rows = collect_timeline([run(0, recorded_at=later, test_score=0.5), run(0)]).rows
    assert [row["t"] for row in rows] == [0.5]


def test_parameters_are_lines_strips_or_in_the_title():
    params = [{"C": 10.0**k, "depth": depth, "solver": "lbfgs"} for k, depth in enumerate([2, None, 2, 4])]
    data = collect_timeline([run(i, best_params=one) for i, one in enumerate(params)])
    numeric, other = data.parameters
    assert (numeric.name, numeric.is_log) == ("C", True)
    assert [one["value"] for one in other.stretches] == ["2", "None", "2", "4"]
    assert data.constants == ["solver = lbfgs"]


@pytest.mark.parametrize(
    "runs",
    [
        [],
        [run(0)],
        [interval(0)],
        [run(0, test_score=None, comparison=None, best_params={}, drift=None, durations={}, packages=[])],
        [run(i, test_score=float("nan")) for i in range(3)],
        [run(i, test_score=-1e300 * (i % 2)) for i in range(20)],
        [run(i, best_params={"a": [1, 2], "b": {"c": i}}) for i in range(3)],
    ],
    ids=["none", "one", "bare", "empty", "undefined", "huge", "lists"],
)
def test_records_in_every_state_are_drawn(runs):
    for interactive in (True, False):
        draw(build_timeline(runs, interactive=interactive, width="container"))


@pytest.mark.parametrize("start", range(0, len(HOSTILE), 8))
def test_texts_of_users_are_only_text(start):
    some = HOSTILE[start : start + 8]
    promotions = [promotion(i, i) | {"reason": text, "promoted_by": text} for i, text in enumerate(some)]
    failures = [failure(i, text, text) for i, text in enumerate(some)]
    runs = [run(i, best_params={text: i, f"{text}2": text if i else None}) for i, text in enumerate(some)]
    for one, text in zip(runs, some, strict=True):
        one["drift"] = {"columns": [{"column": text, "effect": 1, "threshold": 0.1}]}
    draw(build_timeline(runs, promotions, failures, name=some[0]), "dark")


def test_three_years_of_days_are_small_and_fast():
    runs = [run(i) for i in range(1100)]
    started = time.process_time()
    spec = build_timeline(runs, [promotion(i, i) for i in range(1, 1100, 10)], [failure(i) for i in range(0, 1100, 30)])
    assert time.process_time() - started < 1, "it takes 0.07 s on an idle machine"
    assert size(spec) < 400_000
    assert len(spec["datasets"]["rows"]) == 1100


def test_more_intervals_than_pixels_are_means_and_the_title_says_it():
    hour = timedelta(hours=1)
    spec = build_timeline([run(i, hour) for i in range(3000)])
    assert len(spec["datasets"]["rows"]) <= MAX_INTERVALS
    assert "each point is the mean of 3 of 3,000 data intervals" in spec["title"]["subtitle"]
    first = [run(i, hour)["test_score"] for i in range(3)]
    assert spec["datasets"]["rows"][0]["t"] == pytest.approx(np.mean(first), abs=1e-4)


def test_the_width_of_the_page_is_that_of_all_plots():
    patch = build_timeline([run(0)], width="container")["usermeta"]["embedOptions"]["patch"]
    assert "containerSize" in patch[1]["value"]["init"]


def test_axis_is_in_the_timezone_of_the_experiment():
    hours = timedelta(hours=9)
    runs = [{**run(i), **{name: at - hours for name, at in interval(i).items()}} for i in range(3)]
    failed = {**failure(3), **{name: at - hours for name, at in interval(3).items()}}
    data = collect_timeline(runs, [promotion(1, 0, evidence={"p": 0.1})], [failed], timezone="Asia/Tokyo")
    starts = [(START + i * DAY).timestamp() * 1000 for i in range(4)]
    assert [row["d"] for row in data.rows] == starts[:3], "local midnights, not 15:00 of the day before"
    noon = DAY.total_seconds() * 500
    assert [mark["d"] for mark in data.marks] == [starts[0] + noon, starts[3] + noon]
