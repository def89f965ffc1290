"""Drift: effect sizes equal those of scipy, and of Evidently's formulas, on the raw rows."""

import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from diurnal.data import Column, Schema
from diurnal.data.distributions import MAX_ERROR
from diurnal.data.drift import compare_columns, compare_profiles, measure_effect, sort_by_effect, wasserstein_noise
from diurnal.data.profile_builder import ProfileBuilder
from diurnal.data.profiles import MAX_LISTED, merge_profiles
from diurnal.types.drift_thresholds import DriftThresholds


def profile_of(**columns):
    """Return the profile of columns; `y` is the target."""
    table = pa.table({"y": np.zeros(len(next(iter(columns.values())))), **columns})
    schema = Schema(tuple(Column(name, "float") for name in table.column_names), "y", task="regression")
    builder = ProfileBuilder(schema)
    builder.update(table)
    profile = builder.build()
    assert profile is not None, builder.error
    return profile


def column_of(values):
    return profile_of(x=values).columns[1]


def effect_of(reference, current):
    return measure_effect(column_of(reference), column_of(current))


def evidently_wasserstein(reference, current):
    """Evidently 0.7, calculations/stattests/wasserstein_distance_norm.py, of columns without missing values."""
    return wasserstein_distance(reference, current) / max(np.std(reference), 0.001)


def evidently_jensen_shannon(reference, current):
    """Evidently 0.7, calculations/stattests/jensenshannon.py, of columns of categories."""
    keys = sorted(set(reference) | set(current))
    shares = [pd.Series(one).value_counts(normalize=True).reindex(keys, fill_value=0) for one in (reference, current)]
    return jensenshannon(*shares)


@given(
    st.lists(st.integers(-50, 50), min_size=2, max_size=400),
    st.lists(st.integers(-60, 60), min_size=1, max_size=400),
)
@settings(max_examples=60, deadline=None)
def test_few_distinct_numbers_have_the_exact_effect(reference, current):
    assume(len(set(reference)) > 1)
    effect = effect_of(np.array(reference, float), np.array(current, float))
    assert effect.measure == "wasserstein"
    assert effect.size == pytest.approx(evidently_wasserstein(reference, current), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("draw", ["normal", "lognormal", "exponential", "standard_cauchy"])
@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_many_distinct_numbers_have_the_effect_within_the_bound(draw, shift):
    rng = np.random.default_rng(0)
    reference, current = getattr(rng, draw)(size=20_000), getattr(rng, draw)(size=8_000) * (1 + shift) + shift
    effect, expected = effect_of(reference, current), evidently_wasserstein(reference, current)
    bound = MAX_ERROR * (np.ptp(reference) + np.ptp(current)) / reference.std()
    assert abs(effect.size - expected) <= bound
    assert effect.size == pytest.approx(expected, abs=0.005, rel=0.02)


def test_a_window_has_the_effect_of_all_of_its_rows():
    rng = np.random.default_rng(1)
    days = [rng.normal(day / 10, 1, 3_000) for day in range(10)]
    current = rng.normal(2, 1, 3_000)
    schema = Schema((Column("y", "float"), Column("x", "float")), "y", task="regression")
    window = merge_profiles([profile_of(x=day) for day in days], schema)
    effect = measure_effect(window.columns[1], column_of(current))
    assert effect.size == pytest.approx(evidently_wasserstein(np.concatenate(days), current), rel=0.002)


@given(
    st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=300),
    st.lists(st.sampled_from("abcdefgxyz"), min_size=1, max_size=300),
)
@settings(max_examples=60, deadline=None)
def test_categories_have_the_exact_effect(reference, current):
    effect = effect_of(reference, current)
    assert effect.measure == "jensen-shannon"
    expected = evidently_jensen_shannon(reference, current)
    expected = 0.0 if math.isnan(expected) else expected  # scipy: the root of -1e-17
    assert effect.size * math.sqrt(math.log(2)) == pytest.approx(expected, abs=1e-7)
    assert 0 <= effect.size <= 1
    found = compare_columns(column_of(reference), column_of(current), 0.1)
    assert set(found["new_categories"]) == set(current) - set(reference)


def test_missing_values_are_a_category_of_their_own():
    effect = effect_of(["a", "b", None, "a"], ["a", None, None, "b"])
    assert effect.size == pytest.approx(jensenshannon([2, 1, 1], [1, 1, 2], 2))
    numbers = np.random.default_rng(2).normal(size=1_000)
    gaps = pa.array(numbers, mask=np.arange(1_000) % 2 == 0)
    effect = effect_of(numbers, gaps)
    assert (effect.measure, effect.part) == ("jensen-shannon", "missing")
    assert effect.size == pytest.approx(jensenshannon([1, 0], [1, 1], 2))
    assert effect_of(numbers, gaps.fill_null(5.0)).part == "values"
    nothing = pa.nulls(1_000, pa.float64())
    assert effect_of(numbers, nothing).size == effect_of(nothing, numbers).size == 1.0
    assert effect_of(nothing, nothing).size == 0.0
    infinite = np.where(np.arange(1_000) % 2, numbers, np.inf)
    assert effect_of(numbers, infinite).part == "missing"


def test_a_constant_reference_has_the_share_of_other_values():
    constant = np.full(1_000, 0.1)
    assert effect_of(constant, constant).size == 0.0
    assert effect_of(constant, np.append(constant[:750], np.arange(250.0))).size == pytest.approx(0.25)
    assert effect_of(constant, constant + 1).size == 1.0


def test_times_are_compared_as_numbers():
    days = pd.date_range("2026-01-01", periods=300, tz="UTC")
    reference, current = pa.array(days), pa.array(days + pd.Timedelta(days=30))
    effect = effect_of(reference, current)
    seconds = days.as_unit("us").asi8 / 1e6
    assert effect.size == pytest.approx(30 * 86_400 / seconds.std(), rel=1e-9)


def test_what_cannot_be_compared_has_no_effect():
    assert effect_of([1.0, 2.0], ["a", "b"]) is None
    assert effect_of([1.0, 2.0], np.empty(0)) is None
    huge = np.array([1e308, -1e308, 1.0])
    effect = effect_of(huge, -huge)
    assert effect is None or math.isfinite(effect.size)


def test_categories_beyond_the_listed_ones_are_one():
    rng = np.random.default_rng(3)
    reference = rng.integers(0, 50, 20_000)
    many = rng.integers(1_000, 1_000 + 2 * MAX_LISTED, 10_000)
    known = column_of([f"c{i}" for i in np.append(reference, many)])
    assert known.n_other > 0
    effect = measure_effect(known, known)
    assert effect.size == 0.0
    shifted = column_of([f"c{i}" for i in np.append(reference % 25, many)])
    raw = evidently_jensen_shannon(
        [f"c{i}" for i in np.append(reference, many)], [f"c{i}" for i in np.append(reference % 25, many)]
    ) / math.sqrt(math.log(2))
    size = measure_effect(known, shifted).size
    assert size <= raw + 1e-9, "a lower bound, as categories are combined"
    assert size > 0.9 * raw
    assert compare_columns(known, shifted, 0.1)["new_categories"] == [], "not known whether they are new"


@pytest.mark.parametrize("n", [40, 300, 3_000])
@pytest.mark.parametrize("draw", ["normal", "lognormal", "flag", "count"])
def test_chance_alone_is_below_the_noise(n, draw):
    rng = np.random.default_rng(4)
    draws = {"flag": lambda size: rng.random(size) < 0.2, "count": lambda size: rng.poisson(2, size)}
    make = draws.get(draw) or (lambda size: getattr(rng, draw)(size=size))
    reference = column_of(make(5_000).astype(float))
    effects = [measure_effect(reference, column_of(make(n).astype(float))) for _ in range(150)]
    above = sum(effect.size > effect.noise for effect in effects)
    assert above <= (7 if draw == "lognormal" else 3), "one in 1,000; of few rows with a heavy tail a few more"
    noise = np.median([effect.noise for effect in effects])
    assert np.quantile([effect.size for effect in effects], 0.99) > 0.4 * noise, "and it is not far above"


@pytest.mark.parametrize(("n", "k"), [(50, 3), (300, 10), (2_000, 40)])
def test_chance_alone_is_below_the_noise_of_categories(n, k):
    rng = np.random.default_rng(5)
    shares = rng.dirichlet(np.ones(k) * 3)
    reference = column_of([f"c{i}" for i in rng.choice(k, 10_000, p=shares)])
    effects = [measure_effect(reference, column_of([f"c{i}" for i in rng.choice(k, n, p=shares)])) for _ in range(200)]
    assert sum(effect.size > effect.noise for effect in effects) <= 3
    assert np.quantile([effect.size for effect in effects], 0.99) > 0.6 * effects[0].noise


def test_names_that_hardly_repeat_do_not_drift():
    found = compare_columns(column_of([f"a{i}" for i in range(100)]), column_of([f"b{i}" for i in range(100)]), 0.1)
    assert (found["effect"], found["noise"], found["drifted"]) == (1.0, 1.0, False)
    assert len(found["new_categories"]) == 10


def test_noise_is_that_of_a_brownian_bridge():
    uniform = np.linspace(0, 1, 400)
    found = wasserstein_noise(uniform, np.ones(400), 10**9, 1)
    rng = np.random.default_rng(6)
    walks = np.cumsum(rng.normal(size=(20_000, 200)) / math.sqrt(200), axis=1)
    bridges = walks - np.linspace(1 / 200, 1, 200) * walks[:, -1:]
    assert found == pytest.approx(np.quantile(np.abs(bridges).mean(axis=1), 0.999), rel=0.08)


def test_profiles_are_compared_column_by_column():
    rng = np.random.default_rng(7)
    n = 5_000
    reference = profile_of(x=rng.normal(size=n), z=rng.normal(size=n), t=rng.choice(["a", "b"], n))
    current = profile_of(x=rng.normal(0.5, 1, n), z=rng.normal(size=n), t=rng.choice(["a", "b", "c"], n))
    found = {one["column"]: one for one in compare_profiles(reference, current, DriftThresholds())}
    assert {name: one["drifted"] for name, one in found.items()} == {"x": True, "z": False, "t": True, "y": False}
    assert found["x"]["effect"] == pytest.approx(0.5, abs=0.05)
    assert found["x"]["threshold"] == 0.1
    assert found["t"]["new_categories"] == ["c"]
    assert "new_categories" not in found["x"]
    assert found["y"]["role"] == "target"
    assert {one["column"] for one in sort_by_effect(list(found.values()))[:2]} == {"x", "t"}
    thresholds = DriftThresholds(columns={"x": 0.9, "t": None})
    found = {one["column"]: one for one in compare_profiles(reference, current, thresholds)}
    assert set(found) == {"x", "z", "y"}
    assert not found["x"]["drifted"]
    assert compare_profiles(reference, current, DriftThresholds(None, {"z": 0.2}))[0]["threshold"] == 0.2


def test_few_rows_are_not_drift():
    rng = np.random.default_rng(8)
    found = compare_columns(column_of(rng.normal(size=3_000)), column_of(rng.normal(size=30)), 0.1)
    assert found["effect"] > 0.1
    assert not found["drifted"]
    assert found["noise"] > found["effect"]
