"""The role of a row: pinned, the same by both paths, and for life."""

from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diurnal.data.row_hash import hash_rows
from diurnal.data.train_test_split import assign_role, hash_threshold, select_test

GOLDEN = {
    ("a",): 6306385314117050060,
    ("patient-7",): 6770559313120996215,
    (7,): 1299371948405476248,
    (1.5, None, True): 17913782852942021796,
    (date(2026, 11, 23), datetime(2026, 11, 23, 4, 5, 6, 7, tzinfo=UTC)): 4533657979022123861,
}


def fraction_of(values):
    names = [f"c{i}" for i in range(len(values))]
    table = pa.table({name: [value] for name, value in zip(names, values, strict=True)})
    if any(isinstance(v, datetime) for v in values):
        table = table.set_column(1, "c1", table.column("c1").cast(pa.timestamp("us", "UTC")))
    if None in values:
        table = table.set_column(values.index(None), f"c{values.index(None)}", pa.array([None], pa.float64()))
    return int(hash_rows(table, names, "golden")[0])


@pytest.mark.parametrize(("values", "expected"), GOLDEN.items(), ids=str)
def test_hash_is_pinned(values, expected):
    assert fraction_of(values) == expected


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(-(2**63), 2**63 - 1) | st.none(),
            st.floats(allow_nan=False) | st.none(),
            st.booleans() | st.none(),
            st.text(st.characters(codec="utf-8")) | st.none(),
            st.dates() | st.none(),
            st.datetimes(timezones=st.just(UTC)).filter(lambda t: 1700 < t.year < 2200) | st.none(),
        ),
        min_size=1,
        max_size=8,
    ),
    st.floats(0.01, 0.99),
)
def test_role_of_one_row_is_that_of_the_table(rows, test_size):
    types = [pa.int64(), pa.float64(), pa.bool_(), pa.string(), pa.date32(), pa.timestamp("us", "UTC")]
    names = ["a", "b", "c", "d", "e", "f"]
    columns = [pa.array(column, type_) for column, type_ in zip(zip(*rows, strict=True), types, strict=True)]
    table = pa.table(dict(zip(names, columns, strict=True)))
    mask = select_test(hash_rows(table, names, "x"), test_size)
    assert [assign_role(row, "x", test_size) for row in rows] == ["test" if m else "train" for m in mask]


def test_minus_zero_is_zero_and_null_is_not():
    table = pa.table({"a": pa.array([0.0, -0.0, None])})
    zero, minus_zero, null = hash_rows(table, ["a"], "x")
    assert zero == minus_zero != null


def test_rows_added_move_no_row_to_the_other_side():
    rng = np.random.default_rng(0)
    old = pa.table({"key": [f"k{i}" for i in range(500)], "v": rng.normal(size=500)})
    new = pa.concat_tables([pa.table({"key": [f"n{i}" for i in range(300)], "v": rng.normal(size=300)}), old])
    before = dict(zip(old["key"].to_pylist(), select_test(hash_rows(old, ["key"], "x"), 0.3), strict=True))
    after = dict(zip(new["key"].to_pylist(), select_test(hash_rows(new, ["key"], "x"), 0.3), strict=True))
    assert all(after[key] == side for key, side in before.items())


def test_share_of_test_rows_is_near_test_size():
    table = pa.table({"key": pa.array(np.arange(20_000))})
    for test_size in (0.1, 0.3, 0.5):
        share = select_test(hash_rows(table, ["key"], "x"), test_size).mean()
        assert abs(share - test_size) < 4 * (test_size * (1 - test_size) / 20_000) ** 0.5


def test_experiments_split_apart():
    table = pa.table({"key": pa.array(np.arange(5_000))})
    one, other = (select_test(hash_rows(table, ["key"], name), 0.5) for name in ("one", "other"))
    assert 0.45 < (one == other).mean() < 0.55


def test_threshold_covers_the_whole_range():
    assert hash_threshold(0.5) == 2**63
    assert 0 < hash_threshold(1e-9) < hash_threshold(1 - 1e-9) < 2**64
