"""The contract: what it infers, what it casts, what it warns of. What it refuses is in test_bad_batches.py."""

from __future__ import annotations

import json
import math
import struct
import subprocess
import sys
from datetime import UTC, date, datetime

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diurnal.data import UNTYPED, BatchValidator, Column, Schema, infer_schema
from diurnal.errors import BatchRejectedError, ExperimentError
from diurnal.types import Limits


def rows(**columns) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(columns)


def texts(**columns) -> pa.RecordBatch:
    schema = pa.schema([(name, pa.string()) for name in columns], metadata=UNTYPED)
    return pa.RecordBatch.from_pydict(columns, schema=schema)


def inferred(*batches, target="y", key=(), drop=(), task="classification", limits=None) -> Schema:
    return infer_schema(lambda: batches, target=target, key=key, drop=drop, task=task, limits=limits or Limits())


def read(schema: Schema, *batches, training=True, limits=None) -> tuple[pa.Table, list[str]]:
    inspection = BatchValidator(schema, limits or Limits(), training=training)
    table = pa.Table.from_batches(inspection.validate(batches))
    return table, inspection.warnings


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "-20", "0"], "int"),
        (["1", "2.0"], "float"),
        (["1", "1e-7", ".5"], "float"),
        (["1", "nan"], "float"),
        (["True", "false"], "bool"),
        (["2026-11-23", "2024-02-29"], "date"),
        (["2026-11-23T06:00:00Z", "2026-11-23 06:00:00.5+02:00"], "instant"),
        (["007", "12"], "text"),
        (["1", "NA"], "int"),
        (["1", "nan", "NA"], "float"),
        (["true", "N/A"], "bool"),
        (["2026-11-23", "NULL", "nan"], "date"),
        (["null", "None"], "float"),
        (["north", "NA"], "text"),
        (["007", "NA"], "text"),
        ([" 1", "2 ", "\t-3"], "int"),
        (["  1.5", "NA"], "float"),
        ([" ", "1"], "text"),
        (["true", "1"], "text"),
        (["1.2.26", "3.4.26"], "text"),
    ],
)
def test_infer_finds_the_narrowest_kind(cells, kind):
    schema = inferred(texts(a=[*cells, None], y=["u"] * len(cells) + ["v"]))
    assert schema.columns[0].kind == kind
    assert schema.columns[0].nullable


def test_infer_looks_at_the_whole_batch():
    schema = inferred(texts(a=["1"], y=["u"]), texts(a=["2.5"], y=["v"]), texts(a=["x"], y=["u"]))
    assert schema.columns[0] == Column("a", "text", nullable=False, categories=("1", "2.5", "x"), null_share=0.0)
    assert schema.classes == ("u", "v")


def test_infer_gives_arrow_types_a_kind():
    batch = pa.RecordBatch.from_pydict(
        {
            "i": pa.array([1, 2], pa.uint16()),
            "f": pa.array([1.5, None], pa.float32()),
            "d": pa.array(["1.10", "2.20"]).cast(pa.decimal128(9, 2)),
            "c": pa.array(["a", "b"]).dictionary_encode(),
            "v": pa.array(["a", "b"], pa.string_view()),
            "t": pa.array([0, 1], pa.timestamp("ms", "Europe/Berlin")),
            "n": pa.array([date(2026, 1, 1)] * 2),
            "y": [True, False],
        }
    )
    schema = inferred(batch, key=("i",), drop=("v",))
    assert [column.kind for column in schema.columns] == [
        "int",
        "float",
        "float",
        "text",
        "text",
        "instant",
        "date",
        "bool",
    ]
    assert schema.features == ("f", "d", "c", "t", "n")
    assert schema.classes == (False, True)
    table, _ = read(schema, batch)
    assert table.schema == schema.arrow_schema
    assert table["t"][1].as_py() == datetime(1970, 1, 1, 0, 0, 0, 1000, tzinfo=UTC)


def test_infer_parses_the_classes_of_text():
    assert inferred(texts(a=["1", "2"], y=["10", "9"])).classes == (9, 10)


def test_schema_survives_json():
    schema = inferred(rows(i=[1, 2], a=["x", "y"], b=[1.0, 2.0], y=[0, 1]), key=("i",), drop=("b",))
    assert Schema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema


def test_many_categories_are_not_kept():
    many = [f"c{i}" for i in range(1001)]
    assert inferred(rows(a=many, y=["u", *["v"] * 1000])).columns[0].categories is None


def test_read_accepts_reordered_columns_and_exact_numbers():
    schema = inferred(rows(n=[1, 2], x=[0.5, 1.5], y=["u", "v"]))
    table, warnings = read(schema, rows(y=["u", "v"], x=[3, 2**53], n=[4.0, 5.0]))
    assert table.to_pydict() == {"n": [4, 5], "x": [3.0, 2.0**53], "y": ["u", "v"]}
    assert warnings == []


def test_read_parses_text_in_the_fixed_kinds():
    schema = inferred(texts(n=["1", "2"], x=["0.5", "1"], b=["true", "false"], y=["u", "v"]))
    table, _ = read(schema, texts(n=["1.0", None], x=["7", "-0.0"], b=["FALSE", "True"], y=["v", "u"]))
    assert table.to_pydict() == {"n": [1, None], "x": [7.0, 0.0], "b": [False, True], "y": ["v", "u"]}
    assert math.copysign(1, table["x"][1].as_py()) == -1


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=64), min_size=2, max_size=30))
@settings(max_examples=50, deadline=None)
def test_read_keeps_each_finite_float_bit_by_bit(numbers):
    schema = Schema((Column("x", "float"), Column("y", "int")), "y", task="regression")
    y = list(range(len(numbers)))
    typed, _ = read(schema, rows(x=numbers, y=y), limits=Limits(max_null=1))
    parsed, _ = read(schema, texts(x=[repr(n).replace("e+", "e") for n in numbers], y=[str(i) for i in y]))
    for table in (typed, parsed):
        cells = table["x"].to_pylist()
        assert struct.pack(f"{len(cells)}d", *cells) == struct.pack(f"{len(numbers)}d", *numbers)


def test_read_takes_nan_as_null():
    schema = inferred(rows(x=[0.5, 1.5, 2.5], y=["u", "v", "u"]))
    table, warnings = read(schema, rows(x=[math.nan, 1.5, 2.5], y=["u", "v", "u"]))
    assert table["x"].to_pylist() == [None, 1.5, 2.5]
    assert warnings == ["x has 1 nulls, and had none in the first batch"]


def test_marks_of_missing_values_are_null_outside_of_text():
    batches = [texts(n=["NA"], b=["NULL"], at=["nan"], t=["NA"], y=["1"])]
    batches += [texts(n=[" 1"], b=["true"], at=["2026-11-23"], t=["u"], y=["NA"])]
    batches += [texts(n=[None], b=["N/A"], at=["2026-11-24"], t=["v"], y=["0"])]
    schema = inferred(*batches)
    assert [(column.kind, round(column.null_share, 2)) for column in schema.columns] == [
        ("int", 0.67), ("bool", 0.67), ("date", 0.33), ("text", 0.0), ("int", 0.33),
    ]  # fmt: skip
    assert schema.classes == (0, 1)
    table, _ = read(schema, *batches)
    assert table.to_pydict() == {
        "n": [None, 1, None],
        "b": [None, True, None],
        "at": [None, date(2026, 11, 23), date(2026, 11, 24)],
        "t": ["NA", "u", "v"],
        "y": [1, None, 0],
    }


def test_target_of_marks_only_is_null():
    with pytest.raises(BatchRejectedError, match="null in every row"):
        inferred(texts(a=["1", "2"], y=["NA", "NA"]))


def test_read_keeps_words_and_formulas_as_text():
    cells = ["NA", "null", "None", "=cmd|'/c calc'!A1", "007", "nan"]
    schema = inferred(texts(a=cells, y=list("uvuvuv")))
    assert read(schema, texts(a=cells, y=list("uvuvuv")))[0]["a"].to_pylist() == cells


def test_read_warns_of_what_is_odd_but_allowed():
    schema = inferred(rows(a=["p", "q", "q"], b=[1, 2, 3], y=["u", "v", "u"]))
    batch = rows(a=["r", "s", "p"], b=[7, 7, 7], z=[1, 1, 1], y=["u", "v", "u"])
    _, warnings = read(schema, batch, limits=Limits(extra="ignore"))
    assert warnings == [
        "the column 'z' is not in the schema; it is ignored",
        "a has new categories in 2 rows, such as 'r', 's'",
        "b has the same value in every row",
    ]


def test_read_allows_an_empty_batch_only_if_asked():
    schema = inferred(rows(a=[1, 2], y=["u", "v"]))
    empty = rows(a=[1], y=["u"]).slice(0, 0)
    inspection = BatchValidator(schema, Limits(allow_empty=True))
    assert list(inspection.validate([empty])) == []
    assert inspection.warnings == ["the batch has no rows"]


def test_read_for_prediction_needs_features_only():
    schema = inferred(rows(i=[1, 2], a=["p", "q"], b=[1, 2], y=["u", "v"]), key=("i",), drop=("b",))
    table, _ = read(schema, rows(a=["p"], y=["never seen"]), training=False)
    assert table.to_pydict() == {"a": ["p"]}
    table, warnings = read(schema, rows(a=pa.array([None], pa.null()), i=[7]), training=False)
    assert table.to_pydict() == {"i": [7], "a": [None]}
    assert warnings == ["a has 1 nulls, and had none in the first batch"]
    assert list(BatchValidator(schema, Limits(), training=False).validate([])) == []


def test_read_yields_nothing_once_something_is_wrong():
    schema = inferred(rows(x=[0.5, 1.5], y=["u", "v"]))
    came = []
    with pytest.raises(BatchRejectedError) as refusal:
        came.extend(
            BatchValidator(schema, Limits()).validate([rows(x=[1.0, 2.0], y=["u", "v"]), rows(x=[math.inf], y=["w"])])
        )
    assert [batch.num_rows for batch in came] == [2]
    assert [(p.code, p.rows) for p in refusal.value.problems] == [("infinite", (3,)), ("unseen-label", (3,))]


def test_problems_show_twenty_rows_and_count_all():
    schema = inferred(texts(x=["1", "2"], y=["u", "v"]))
    pieces = [texts(x=["1", "oops"] * 50, y=["u", "v"] * 50) for _ in range(3)]
    with pytest.raises(BatchRejectedError) as refusal:
        read(schema, *pieces)
    (problem,) = refusal.value.problems
    assert problem.rows == tuple(range(2, 42, 2))
    assert problem.count == 150
    assert "(rows 2, 4, 6" in str(refusal.value)
    assert "and 130 more" in str(refusal.value)


def test_inspection_refuses_a_range_of_no_column():
    schema = inferred(rows(age=[1, 2], y=["u", "v"]))
    with pytest.raises(ExperimentError, match="did you mean 'age'"):
        BatchValidator(schema, Limits(ranges={"agee": (0, 1)}))


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_rows": -1},
        {"max_rows": 0},
        {"max_null": 1.5},
        {"extra": "ignored"},
        {"ranges": {"a": (2, 1)}},
        {"min_rows": True},
    ],
)
def test_limits_refuse_what_is_no_limit(wrong):
    with pytest.raises(ExperimentError, match=next(iter(wrong))):
        Limits(**wrong)


def test_importing_loads_nothing_heavy():
    code = (
        "import sys, diurnal.data, diurnal.sources, diurnal.types\n"
        "heavy = {'pyarrow', 'pandas', 'numpy', 'sklearn', 'sqlalchemy', 'fsspec', 'msgspec'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
