"""Profiles of batches: what they hold equals what pandas, numpy and scipy compute from the raw rows."""

import datetime as dt
import decimal
import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from diurnal.data import Column, Schema, profile_builder
from diurnal.data.distributions import MAX_ERROR, MAX_POINTS, compress_points, find_quantiles
from diurnal.data.profile_builder import ProfileBuilder
from diurnal.data.profiles import MAX_LISTED, MAX_SUMMARY_COLUMNS, Profile, merge_profiles
from tables import RandomTable

FINITE = st.floats(allow_nan=False, allow_infinity=False, width=64)


def schema_of(table, target, task="classification", **roles):
    return Schema(tuple(Column(name, "float") for name in table.column_names), target, task=task, **roles)


def profile_of(table, target=None, block=None, **roles):
    builder = ProfileBuilder(schema_of(table, target or table.column_names[-1], **roles))
    for start in range(0, max(1, table.num_rows), block or max(1, table.num_rows)):
        builder.update(table.slice(start, block))
    profile = builder.build()
    assert builder.error is None
    return profile


def column_of(profile, name):
    return next(column for column in profile.columns if column.column == name)


def test_numbers_are_those_of_numpy():
    rng = np.random.default_rng(0)
    values = rng.lognormal(size=50_000)
    profile = profile_of(pa.table({"x": values, "y": np.ones(50_000, int)}), block=7_000)
    x = column_of(profile, "x")
    assert (x.n_rows, x.n_missing, x.min, x.max) == (50_000, 0, values.min(), values.max())
    assert x.mean == pytest.approx(values.mean(), rel=1e-12)
    assert x.std == pytest.approx(values.std(), rel=1e-12)
    assert len(x.values) <= MAX_POINTS
    assert x.weights.sum() == pytest.approx(50_000)
    assert np.average(x.values, weights=x.weights) == pytest.approx(values.mean(), rel=1e-9)
    distance = wasserstein_distance(values, x.values, None, x.weights)
    assert distance < MAX_ERROR * np.ptp(values)
    assert distance < 0.005 * values.std(), "bins are narrow in the tail as well"
    quantiles = find_quantiles(x.values, x.weights, [0.05, 0.5, 0.95])
    assert quantiles == pytest.approx(np.quantile(values, [0.05, 0.5, 0.95]), rel=0.02)


def test_few_distinct_values_are_exact():
    values = pa.array([3.0, None, 1.0, 3.0, float("nan"), float("inf"), -0.0])
    x = column_of(profile_of(pa.table({"x": values, "y": range(7)})), "x")
    assert (x.n_missing, x.n_infinite, x.n_values) == (2, 1, 4)
    assert x.values.tolist() == [0.0, 1.0, 3.0]
    assert x.weights.tolist() == [1.0, 1.0, 2.0]
    assert (x.min, x.max, x.mean) == (0.0, 3.0, 1.75)


@given(st.lists(FINITE, min_size=1, max_size=900), st.integers(1, 400))
@settings(max_examples=60, deadline=None)
def test_any_floats_have_a_distribution_within_the_bound(values, block):
    x = column_of(profile_of(pa.table({"x": values, "y": [0] * len(values)}), block=block), "x")
    assert (x.min, x.max) == (min(values), max(values))
    assert np.isfinite(x.values).all()
    assert x.weights.sum() == pytest.approx(len(values))
    if len(set(values)) <= MAX_POINTS:
        assert dict(zip(x.values, x.weights, strict=True)) == pd.Series(values).value_counts().to_dict()
    scale = max(1.0, *map(abs, values))
    exact = np.asarray(values) / scale
    assert x.mean / scale == pytest.approx(exact.mean(), abs=1e-9)
    if x.std is not None:
        assert x.std / scale == pytest.approx(exact.std(), abs=1e-9)


@given(st.integers(0, 2**32 - 1), st.integers(MAX_POINTS + 1, 5_000), st.floats(0.01, 8), st.floats(0, 0.95))
@settings(max_examples=40, deadline=None)
def test_compressed_points_stay_within_the_stated_bound(seed, n, sigma, zero_share):
    rng = np.random.default_rng(seed)
    values, weights = rng.lognormal(0, sigma, n), rng.exponential(size=n) + 0.001
    values[: int(zero_share * n)] = 0.0
    found = compress_points(values, weights)
    assert len(found[0]) <= MAX_POINTS
    assert found[1].sum() == pytest.approx(weights.sum())
    distance = wasserstein_distance(values, found[0], weights, found[1])
    assert distance <= MAX_ERROR * np.ptp(values) * (1 + 1e-9)


def test_categories_are_those_of_pandas():
    rng = np.random.default_rng(1)
    texts = rng.choice(["a", "b", "c", None], 3_000, p=[0.6, 0.2, 0.1, 0.1])
    flags = rng.choice([True, False], 3_000)
    labels = rng.integers(0, 3, 3_000)
    profile = profile_of(pa.table({"text": texts, "flag": flags, "label": labels}), block=1_000)
    text, flag, label = profile.columns
    assert dict(zip(text.categories, text.counts, strict=True)) == pd.Series(texts).value_counts().to_dict()
    assert (text.n_missing, text.n_categories, text.n_other) == (int(pd.isna(texts).sum()), 3, 0)
    assert set(flag.categories) == {"True", "False"}
    assert (label.kind, label.role) == ("category", "target")
    assert (
        dict(zip(map(int, label.categories), label.counts, strict=True)) == pd.Series(labels).value_counts().to_dict()
    )
    assert column_of(profile_of(pa.table({"x": flags, "label": labels}), task="regression"), "label").kind == "number"


def test_a_million_categories_are_bounded_and_frequent_ones_exact():
    rng = np.random.default_rng(2)
    numbers = rng.zipf(1.3, 400_000) % 1_000_000
    texts = pa.array([f"c{number}" for number in numbers])
    column = column_of(profile_of(pa.table({"text": texts, "y": numbers}), block=131_072, task="regression"), "text")
    exact = pd.Series(numbers).value_counts()
    assert len(column.categories) <= MAX_LISTED
    assert column.has_more_categories
    assert column.n_categories == profile_builder.MAX_COUNTED + 1
    assert sum(column.counts) + column.n_other == 400_000
    assert list(column.counts[:50]) == exact.head(50).tolist()
    ids = pa.array([f"{i:09d}" for i in range(50_000)])
    column = column_of(profile_of(pa.table({"id": ids, "y": range(50_000)}), block=20_000, task="regression"), "id")
    assert (column.categories, column.n_other) == ((), 50_000), "which of the unique ones to list would be arbitrary"


def test_long_texts_are_cut():
    texts = ["x" * 300 + str(i) for i in range(10)]
    column = column_of(profile_of(pa.table({"text": texts, "y": range(10)})), "text")
    assert column.categories == ("x" * profile_builder.MAX_CATEGORY_CHARACTERS,)
    assert column.counts == (10,)


def test_a_sample_is_bounded_and_keeps_the_proportions(monkeypatch):
    monkeypatch.setattr(profile_builder, "MAX_SAMPLE_ROWS", 1_000)
    values = np.random.default_rng(3).permutation(np.repeat(np.arange(4.0), [8_000, 4_000, 2_000, 2_000]))
    table = pa.table({"x": values, "y": np.zeros(16_000)})
    x = column_of(profile_of(table, block=1_500), "x")
    assert x.weights.sum() == 16_000
    assert x.weights / 16_000 == pytest.approx([0.5, 0.25, 0.125, 0.125], abs=0.06)
    assert x.mean == pytest.approx(values.mean(), abs=1e-12), "moments are those of all rows"
    expecting = ProfileBuilder(schema_of(table, "y"), n_rows=16_000)
    for start in range(0, 16_000, 1_500):
        expecting.update(table.slice(start, 1_500))
    assert expecting.build().to_table().equals(profile_of(table, block=1_500).to_table())


def test_merged_parts_equal_the_whole(monkeypatch):
    monkeypatch.setattr(profile_builder, "MAX_SAMPLE_ROWS", 2_000)
    rng = np.random.default_rng(4)
    table = pa.table({"x": rng.normal(size=9_000), "t": rng.choice(["a", "b"], 9_000), "y": rng.integers(0, 2, 9_000)})
    whole = profile_of(table, block=1_000)
    schema, merged = schema_of(table, "y"), ProfileBuilder(schema_of(table, "y"))
    for start in range(0, 9_000, 3_000):
        part = ProfileBuilder(schema)
        for first in range(start, start + 3_000, 1_000):
            part.update(table.slice(first, 1_000))
        merged.merge(part)
    x, expected = column_of(merged.build(), "x"), column_of(whole, "x")
    assert (x.values == expected.values).all()
    assert (x.weights == expected.weights).all()
    assert x.mean == pytest.approx(expected.mean, rel=1e-12)
    assert x.std == pytest.approx(expected.std, rel=1e-12)
    assert column_of(merged.build(), "t").counts == column_of(whole, "t").counts


def test_profiles_of_a_window_add_up():
    rng = np.random.default_rng(5)
    days = [
        pa.table({"x": rng.normal(day, 1, n), "t": rng.choice(["a", "b", f"c{day}"], n), "y": rng.integers(0, 2, n)})
        for day, n in enumerate((300, 2_000, 900))
    ]
    whole = pa.concat_tables(days)
    merged = merge_profiles([profile_of(day) for day in days], schema_of(whole, "y"))
    values, x = whole["x"].to_numpy(), column_of(merged, "x")
    assert (merged.n_rows, x.n_rows, x.min, x.max) == (3_200, 3_200, values.min(), values.max())
    assert x.mean == pytest.approx(values.mean(), rel=1e-12)
    assert x.std == pytest.approx(values.std(), rel=1e-12)
    assert wasserstein_distance(values, x.values, None, x.weights) < 0.01 * values.std()
    t, expected = column_of(merged, "t"), pd.Series(whole["t"].to_pylist()).value_counts()
    assert dict(zip(t.categories, t.counts, strict=True)) == expected.to_dict()
    assert (t.n_categories, t.has_more_categories, t.n_other) == (5, False, 0)


def test_a_window_follows_renamed_columns_and_changed_kinds():
    old = pa.table({"cost": [1.0, 2.0], "code": pa.array([1, 2]), "y": [0, 1]})
    new = pa.table({"price": [3.0], "code": pa.array(["c"]), "extra": [1.0], "y": [1]})
    columns = (Column("price", "float", former=("cost",)), Column("code", "text"), Column("extra", "float"))
    schema = Schema((*columns, Column("y", "int")), "y", origins=(("cost", "float"), ("code", "int")))
    merged = merge_profiles([profile_of(old), profile_of(new)], schema)
    assert merged.names == ("price", "code", "extra", "y")
    assert column_of(merged, "price").n_rows == 3
    assert column_of(merged, "code").n_rows == 1, "numbers and categories are not added"
    assert column_of(merged, "extra").n_rows == 1


ODD = {
    "nothing": pa.nulls(3),
    "all_missing": pa.array([None, None, None], pa.float64()),
    "constant": pa.array([0.1] * 3),
    "infinite": pa.array([float("inf"), float("-inf"), 1.0]),
    "only_infinite": pa.array([float("inf")] * 3),
    "huge": pa.array([1e308, -1e308, 1e308]),
    "big_ints": pa.array([2**63 - 1, -(2**63), 0]),
    "unsigned": pa.array([2**64 - 1, 0, 1], pa.uint64()),
    "half": pa.array(np.array([1, 2, 3], np.float16)),
    "decimal": pa.array([decimal.Decimal("1.50"), None, decimal.Decimal("2.50")]),
    "date": pa.array([dt.date(1970, 1, 2), None, dt.date(1, 1, 1)]),
    "date64": pa.array([dt.date(1970, 1, 2), None, None], pa.date64()),
    "instant": pa.array([dt.datetime(1970, 1, 1, 0, 0, 2, tzinfo=dt.UTC)] * 3),
    "timestamp_s": pa.array([2, None, 3], pa.timestamp("s")),
    "timestamp_ns": pa.array([2 * 10**9, None, 3 * 10**9], pa.timestamp("ns")),
    "time": pa.array([dt.time(1), None, dt.time(2)]),
    "duration": pa.array([dt.timedelta(seconds=5)] * 3),
    "list": pa.array([[1, 2], None, [1, 2]]),
    "struct": pa.array([{"a": 1}, {"a": 2}, None]),
    "binary": pa.array([b"\xff", b"a", None]),
    "dictionary": pa.array(["a", "b", "a"]).dictionary_encode(),
    "number_dictionary": pa.array([1, 2, 1]).dictionary_encode(),
    "large_text": pa.array(["a", None, "a"], pa.large_string()),
    "text_view": pa.array(["a", None, "a"], pa.string_view()),
    "nul": pa.array(["a\0b", "a\0b", None]),
}


@pytest.mark.parametrize("n_rows", [3, 0])
def test_any_type_has_a_profile(n_rows):
    table = pa.table(ODD).slice(0, n_rows)
    profile = profile_of(table, "nul")
    found = {column.column: column for column in profile.columns}
    assert profile.names == tuple(ODD)
    stored = Profile.from_table(profile.to_table())
    assert stored.to_table().equals(profile.to_table())
    assert "\0" not in str(profile.summarize())
    assert merge_profiles([profile, profile], schema_of(table, "nul")).n_rows == 2 * n_rows
    if not n_rows:
        assert {column.n_rows for column in profile.columns} == {0}
        return
    assert (found["nothing"].n_missing, found["only_infinite"].n_infinite, found["infinite"].n_infinite) == (3, 3, 2)
    assert (found["constant"].mean, found["constant"].std) == (0.1, 0.0)
    assert found["huge"].std is not None
    assert found["decimal"].mean == 2.0
    assert [found[name].max for name in ("date", "date64", "instant", "timestamp_s", "timestamp_ns", "time")] == [
        86_400.0,
        86_400.0,
        2.0,
        3.0,
        3.0,
        7_200.0,
    ]
    assert {name for name, column in found.items() if column.kind == "time"} == {
        "date",
        "date64",
        "instant",
        "timestamp_s",
        "timestamp_ns",
    }
    assert found["list"].categories == ("[1, 2]",)
    assert found["dictionary"].counts == (2, 1)
    assert found["number_dictionary"].kind == "number"
    assert found["large_text"].counts == found["text_view"].counts == (2,)


def test_roles_are_those_of_the_schema():
    table = pa.table({"id": ["a"], "note": ["b"], "x": [1.0], "y": [1]})
    profile = profile_of(table, key=("id",), drop=("note",))
    assert [column.role for column in profile.columns] == ["other", "other", "feature", "target"]
    assert list(profile.summarize()["columns"]) == ["y", "x", "id", "note"]


def test_wide_batches_have_bounded_samples_and_summaries():
    values = np.random.default_rng(6).normal(size=(6_000, 2_000))
    table = pa.table({f"x{i}": values[:, i] for i in range(2_000)})
    profile = profile_of(table, "x0", task="regression", block=3_000)
    assert len(profile.columns) == 2_000
    assert len(profile.summarize()["columns"]) == MAX_SUMMARY_COLUMNS
    assert {column.weights.sum() for column in profile.columns} == {6_000.0}


def test_a_failure_ends_the_profile_and_not_the_run(caplog):
    table = pa.table({"x": [1.0], "y": [1]})
    builder = ProfileBuilder(schema_of(table, "y"))
    builder.update(table)
    builder.update(table.select(["x"]))
    builder.update(table)
    assert builder.build() is None
    assert "KeyError" in builder.error
    assert "no profile of the batch" in caplog.text
    whole = ProfileBuilder(schema_of(table, "y"))
    whole.merge(builder)
    assert whole.error == builder.error


@pytest.mark.parametrize("seed", range(40))
def test_profiles_of_random_files_are_those_of_pandas(seed):
    source = RandomTable(seed)
    frame = pd.read_csv(io.BytesIO(source.data), engine="python", **source.arguments)
    profile = profile_of(pa.Table.from_pandas(frame, preserve_index=False))
    assert profile.names == tuple(frame.columns)
    for column in profile.columns:
        values = frame[column.column]
        assert column.n_missing == values.isna().sum()
        if column.kind == "number" and values.notna().any():
            assert column.mean == pytest.approx(values.mean())
            assert column.std == pytest.approx(values.std(ddof=0))
        elif column.kind == "category":
            assert sorted(column.counts) == sorted(values.value_counts())
