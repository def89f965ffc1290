# ruff: noqa: RUF001 - texts of all scripts
"""Files takes the arguments of pandas.read_csv with the meaning that they have there; pandas itself is the oracle."""

from __future__ import annotations

import csv
import math
import subprocess
import sys
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from diurnal.data import BatchValidator, infer_schema
from diurnal.errors import BatchRejectedError, ExperimentError, TransientError
from diurnal.runtime import Settings
from diurnal.sources import Files, Sql, record_batches
from diurnal.sources.encoding_guess import guess_encoding
from diurnal.types import DataInterval, Limits
from forking import COMMAND_LINE
from projects import FORKS, Project, patients
from tables import RandomTable

DAY = DataInterval(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))
LIMITS = Limits(max_null=1.0)


def given(path: Path | str, data: str | bytes, **arguments: Any) -> pa.Table:
    """What a file holds, as text."""
    Path(path).write_bytes(data.encode() if isinstance(data, str) else data)
    return pa.Table.from_batches(record_batches(Files(str(path), **arguments), DAY, {}))


def typed(path: Path | str, target: str = "y", **arguments: Any) -> pa.Table:
    """What a file holds, in the kinds that the contract finds."""
    batches = list(record_batches(Files(str(path), **arguments), DAY, {}))
    schema = infer_schema(lambda: iter(batches), target=target, task="classification", limits=LIMITS)
    inspection = BatchValidator(schema, LIMITS)
    return pa.Table.from_batches(list(inspection.validate_part(batches)), schema=schema.arrow_schema)


def refusal(path: Path | str, data: str | bytes, **arguments: Any) -> BatchRejectedError:
    with pytest.raises(BatchRejectedError) as caught:
        given(path, data, **arguments)
    return caught.value


@pytest.fixture
def csv_(tmp_path):
    """Write a file and read it as text."""
    return partial(given, tmp_path / "x.csv")


def pandas_own(path: Path, **arguments: Any) -> pd.DataFrame:
    """Read a file by pandas, without its list of missing values, which is not ours."""
    missing = arguments.pop("na_values", [])
    engine = "python" if arguments.get("skipfooter") else "c"
    words = {"keep_default_na": False, "na_values": ["", *missing], "engine": engine}
    return pd.read_csv(path, **words, **arguments)


def plain(cells: list[Any]) -> list[Any]:
    absent = [cell is None or cell is pd.NaT or (isinstance(cell, float) and math.isnan(cell)) for cell in cells]
    dates = [pd.Timestamp(cell) if isinstance(cell, date) else cell for cell in cells]
    return [None if no else cell for cell, no in zip(dates, absent, strict=True)]


# --- as pandas ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(120))
def test_a_random_table_is_read_as_pandas_reads_it(tmp_path, monkeypatch, seed):
    monkeypatch.setattr("diurnal.sources.byte_streams.CHUNK", [2**20, 3, 16][seed % 3])
    table = RandomTable(seed)
    path = tmp_path / "x.csv"
    path.write_bytes(table.data)
    ours, theirs = typed(path, **table.arguments), pandas_own(path, **table.arguments)
    assert ours.column_names == list(theirs.columns)
    for name in ours.column_names:
        assert plain(ours[name].to_pylist()) == plain(theirs[name].tolist()), (table.arguments, name)


SAME = [
    ("a  b   c\n1 2\t3\n 4  5 6  \n\n7 '8 9' 10\n", {"sep": r"\s+", "quotechar": "'"}),
    ("1::F::1::10\n2::M::56::16\n", {"sep": "::", "names": ["user", "sex", "age", "job"]}),
    ("39, State-gov, 77516\n50, x, 83311\n", {"sep": r",\s*", "header": None, "names": list("abc")}),
    ('a, b, c\n1, 2,"x, y"\n 4, 5, " z"\n', {"skipinitialspace": True}),
    ("a,b,c\n1,2,3\n", {"usecols": ["c", "a"]}),
    ("a,b,c\n1,2,3\n", {"usecols": [2, 0]}),
    ("a,b,c\n1,2,3\n", {"usecols": lambda name: name != "b"}),
    ("a,b,c\n1,2,3\n", {"usecols": ["c", "b"], "index_col": 0}),
    ("a,b,c\n1,2,3\n", {"index_col": ["a", "b"]}),
    ("1,2,3\n4,5,6\n", {"usecols": [2, 0], "names": ["x", "y"]}),
    ("a,b\n1,2\n", {"names": ["x", "y"], "header": 0}),
    (",a,b\n0,1,2\n1,3,4\n", {}),
    (",a,b\n0,1,2\n1,3,4\n", {"index_col": 0}),
    (",Unnamed: 0,a,\n0,1,2,3\n", {}),
    ("x\n\n# hi\ny\na,b\n1,2\n", {"header": 2, "comment": "#"}),
    ("\n\na,b\n1,2\n", {}),
    ("a,b\n1,2\n3,4\n5,6\n", {"skiprows": [1, 3]}),
    ("a,b\n1,2\n3,4\n5,6\n", {"skiprows": lambda line: line in (1, 3)}),
    ('x\n"y\nz",1\na,b\n1,2\n', {"skiprows": 2}),
    ("a,b\n1,2 # two\n3,'4#'\n", {"comment": "#", "quotechar": "'"}),
    ('# x,"y\na,b\n1,"2\n#"\n#,"\n"#3",4\n', {"comment": "#"}),
    ("a'b,c\n1,x\"y\n", {"quoting": csv.QUOTE_NONE}),
    ("a,b\n1,x\\,y\n", {"escapechar": "\\"}),
    ('a,b\n1,"x\\"y"\n', {"escapechar": "\\", "doublequote": False}),
    ("a,b\n-,-\n2,3\n", {"na_values": {"a": "-"}}),
    ("a,b\n1,-999\n2,-999.0\n3,4\n", {"na_values": -999}),
    ("zip,n\n007,1\n012,2\n", {"dtype": {"zip": str, "n": "float64"}}),
    ("zip,n\n007,1\n012,2\n", {"dtype": "string"}),
    ("a,b\n1,2\nx\nTOTAL,3,4\n", {"skipfooter": 2}),
    ("a,b\n1,2\nTOTAL,3,4\n\n", {"skipfooter": 2}),
    ("d,n\n1/2/2026,1\n1/13/2026,2\n", {"parse_dates": ["d"]}),
    ("d,n\n05.11.26,1\n23.11.26,2\n", {"parse_dates": [0], "date_format": "%d.%m.%y"}),
    ("d,n\n23-Nov-2026,1\n01-Dec-2026,2\n", {"parse_dates": ["d"]}),
]


@pytest.mark.parametrize(("text", "arguments"), SAME, ids=range(len(SAME)))
def test_an_argument_means_what_it_means_in_pandas(tmp_path, text, arguments):
    path = tmp_path / "x.csv"
    path.write_text(text)
    words = dict(arguments)
    missing = words.pop("na_values", [])
    listed = missing if isinstance(missing, list) else [missing]
    missing = {name: ["", cell] for name, cell in missing.items()} if isinstance(missing, dict) else ["", *listed]
    is_pattern = len(words.get("sep", ",")) > 1 and words["sep"] != r"\s+"
    engine = "python" if "skipfooter" in words or is_pattern else None
    frame = pd.read_csv(path, keep_default_na=False, na_values=missing, engine=engine, **words)
    ours = given(path, text, **arguments)
    assert ours.column_names == [str(name) for name in frame.columns]
    kinds = pa.Table.from_pandas(frame, preserve_index=False)
    for name in ours.column_names:
        cells = pd.Series(ours[name].to_pylist())
        theirs = kinds[name].to_pandas()
        if pd.api.types.is_datetime64_any_dtype(theirs):
            cells = pd.to_datetime(cells)
        elif pd.api.types.is_numeric_dtype(theirs):
            cells = cells.astype(float)
        assert plain(cells.tolist()) == plain(theirs.tolist())


def test_all_of_a_call_of_read_csv_may_be_copied():
    copied = Files(
        "x.csv", engine="python", low_memory=False, on_bad_lines="error", nrows=None, na_filter=True, sep=";",
        skip_blank_lines=True, index_col=False, encoding="utf-8", dtype_backend="pyarrow", float_precision="high",
    )  # fmt: skip
    assert repr(copied) == "Files('x.csv', format='csv', delimiter=';')"


# --- differences ----------------------------------------------------------------------------------------------------


def test_only_an_empty_cell_is_missing_unless_it_is_said(csv_):
    text = "a,b\nNA,\nnull,-\n"
    assert csv_(text).to_pydict() == {"a": ["NA", "null"], "b": [None, "-"]}
    assert csv_(text, na_values="-", keep_default_na=True).to_pydict() == {"a": [None, None], "b": [None, None]}


def test_text_keeps_what_looks_like_a_number_of_the_notation(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a;b;y\n1,5;1.234,5;u\nx;-7;v\n")
    came = typed(path, sep=";", decimal=",", thousands=".")
    assert came.to_pydict() == {"a": ["1,5", "x"], "b": [1234.5, -7.0], "y": ["u", "v"]}


def test_a_number_of_another_notation_is_none(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("b;y\n1,5;u\n2,5;v\n")
    batches = list(record_batches(Files(str(path), sep=";", decimal=","), DAY, {}))
    schema = infer_schema(lambda: iter(batches), target="y", task="classification", limits=LIMITS)
    path.write_text("b;y\n1.5;u\n2,5;v\n1.50.0;u\n")
    with pytest.raises(BatchRejectedError, match=r"1\.5 \[decimal=','\]\" is no number \(rows 1, 3\)"):
        list(BatchValidator(schema, LIMITS).validate(record_batches(Files(str(path), sep=";", decimal=","), DAY, {})))


def test_groups_of_digits_end_with_three(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text('a,y\n"1,234",u\n"12,34,567",v\n')
    assert typed(path, thousands=",").to_pydict() == {"a": [1234, 1234567], "y": ["u", "v"]}
    path.write_text('a,y\n"1,234  ",u\nNA,v\n')
    assert typed(path, thousands=",").to_pydict() == {"a": [1234, None], "y": ["u", "v"]}
    path.write_text('a,y\n"1,234",u\n"12,34",v\n')
    with pytest.raises(BatchRejectedError, match="decimal-comma"):
        typed(path, thousands=",")


@pytest.mark.parametrize("kind", ["Int64", "float32", np.int8, float])
def test_cells_that_are_not_of_their_dtype_are_refused_with_their_rows(tmp_path, kind):
    path = tmp_path / "x.csv"
    refused = refusal(path, "a,b\n1,2\n,3\nold,4\nnew,5\n", dtype={"a": kind}, skiprows=0)
    assert refused.problems[0].rows[-2:] == (3, 4)
    assert "a: 'old' is no number" in str(refused)


def test_a_typed_column_has_its_type_on_every_day(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a,b,c,y\n1,2,true,u\n2,3,,v\n")
    came = typed(path, dtype={"a": "float", "b": "category", "c": "boolean"})
    assert [str(kind) for kind in came.schema.types] == ["double", "string", "bool", "string"]
    path.write_text("a,b,c,y\n1.5,x,true,u\n2,3,,v\n")
    assert typed(path, dtype={"a": "float", "b": "category"})["a"].to_pylist() == [1.5, 2.0]


def test_the_order_of_day_and_month_is_never_guessed(csv_, tmp_path):
    path = tmp_path / "x.csv"
    german = "d,n\n23.11.2026,1\n05.11.2026,2\n"
    assert "dayfirst=True" in str(refusal(path, german, parse_dates=["d"]))
    assert refusal(path, "d,n\n05.11.2026,1\n23.11.2026,2\n", parse_dates=["d"]).problems[0].rows == (2,)
    assert csv_(german, parse_dates=["d"], dayfirst=True)["d"].to_pylist() == ["2026-11-23", "2026-11-05"]
    assert csv_("d,n\n2026-11-05,1\n", parse_dates=["d"], dayfirst=True)["d"].to_pylist() == ["2026-11-05"]
    assert "date_format" in str(refusal(path, "d,n\n05.11.26,1\n", parse_dates=["d"], dayfirst=True))
    noon = csv_("d,n\n1/2/2026 6:05 PM,1\n", parse_dates=["d"])
    assert noon["d"].to_pylist() == ["2026-01-02 18:05:00.000000"]


# --- timezone -------------------------------------------------------------------------------------------------------


def test_a_timezone_makes_instants_of_naive_timestamps(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(
        "at,note,y\n2026-01-01 00:00:00,2026-01-01 00:00,u\n2026-07-01T00:00:00Z,x,v\n2026-07-01 00:00,,u\n"
    )
    came = typed(path, timezone="Europe/Berlin")
    assert str(came.schema.field("at").type) == "timestamp[us, tz=UTC]"
    assert [at.isoformat()[:16] for at in came["at"].to_pylist()] == [
        "2025-12-31T23:00", "2026-07-01T00:00", "2026-06-30T22:00"
    ]  # fmt: skip
    assert came["note"].to_pylist() == ["2026-01-01 00:00", "x", None]


def test_times_that_come_twice_or_never_are_refused_with_their_rows(tmp_path):
    path = tmp_path / "x.csv"
    times = ["2026-03-29 01:59", "2026-03-29 02:30", "2026-10-25 02:30", "2026-10-25 03:00"]
    path.write_text("at,y\n" + "".join(f"{at},{label}\n" for at, label in zip(times, "uvuv", strict=True)))
    source = Files(str(path), timezone="Europe/Berlin")
    batches = list(record_batches(source, DAY, {}))
    schema = infer_schema(lambda: iter(batches), target="y", task="classification", limits=LIMITS)
    with pytest.raises(BatchRejectedError) as caught:
        list(BatchValidator(schema, LIMITS).validate(batches))
    assert {(p.code, p.rows) for p in caught.value.problems} == {("nonexistent-time", (2,)), ("ambiguous-time", (3,))}
    pd.read_csv(path, parse_dates=["at"]).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(BatchRejectedError) as typed_:
        list(record_batches(Files(f"{tmp_path}/x.parquet", timezone="Europe/Berlin"), DAY, {}))
    assert {(p.code, p.rows) for p in typed_.value.problems} == {("nonexistent-time", (2,)), ("ambiguous-time", (3,))}


def test_a_query_has_a_timezone_too(warehouse_url):
    query = "SELECT timestamp '2026-01-01 00:00' AS at, timestamptz '2026-01-01 00:00Z' AS zoned, 1 AS n"
    source = Sql(query, "plant", timezone="America/New_York")
    (row,) = pa.Table.from_batches(record_batches(source, DAY, {"plant": warehouse_url})).to_pylist()
    assert (row["at"] - row["zoned"]).total_seconds() == 5 * 3600
    with pytest.raises(BatchRejectedError, match=r"2026-03-08 02:30:00.*\(row 1\)"):
        list(record_batches(Sql("SELECT timestamp '2026-03-08 02:30' AS at", "plant", "America/New_York"), DAY,
                            {"plant": warehouse_url}))  # fmt: skip
    assert repr(Sql("SELECT 1", "plant")) == "Sql(query='SELECT 1', connection='plant')"
    with pytest.raises(ExperimentError, match="did you mean 'Europe/Berlin'"):
        Sql("SELECT 1", "plant", timezone="Europe/Berln")


# --- encodings ------------------------------------------------------------------------------------------------------

WRITTEN = [
    ("cp1252", "cp1252", "name,city\nMüller,Köln\nStraße,größe\n"),
    ("latin-1", "cp1252", "Año,Niño\nJosé,España\n"),
    ("cp1252", "cp1252", "price €,it’s\n10,“x”\n"),
    ("cp1250", "cp1250", "miasto,region\nŁódź,łódzkie\nKraków,małopolskie\nGdańsk,pomorskie\nWrocław,dolnośląskie\n"),
    ("cp1251", "cp1251", "город,область\nМосква,Московская\nНовосибирск,Новосибирская\n"),
    ("cp932", "cp932", "都市,県\n東京,東京都\n大阪,大阪府\nカタカナ,ひらがな\n"),
    ("utf-16", "utf-16", "a,b\n1,ü\n"),
    ("utf-16-le", "utf-16-le", "a,b\n" + "1,2\n" * 50),
]


@pytest.mark.parametrize(("written", "guessed", "text"), WRITTEN, ids=lambda value: str(value)[:12])
def test_the_guessed_encoding_reads_the_file(tmp_path, written, guessed, text):
    path = tmp_path / "x.csv"
    refused = refusal(path, text.encode(written))
    assert refused.problems[0].code == "not-utf8"
    assert f"encoding={guessed!r}" in str(refused)
    header, first = text.splitlines()[:2]
    came = given(path, text.encode(written), encoding=guessed)
    assert came.column_names == header.split(",")
    assert list(came.to_pylist()[0].values()) == first.split(",")


def test_no_encoding_is_guessed_where_none_is_likely(tmp_path):
    assert guess_encoding(bytes(range(128, 256)) * 4) is None
    assert "looks like" not in str(refusal(tmp_path / "x.csv", b"a\n" + bytes(range(128, 256)) * 4 + b"\n"))


def test_text_that_is_not_of_its_encoding_is_refused(tmp_path):
    refused = refusal(tmp_path / "x.csv", b"a,b\n1,\x81\n", encoding="cp1252")
    assert refused.problems[0].code == "other-encoding"
    assert given(tmp_path / "x.csv", b"a,b\n1,\xff\n", encoding_errors="replace")["b"].to_pylist() == ["\ufffd"]


# --- what is refused, and where ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "arguments", "words"),
    [
        ("a,b\n1,2\n3\n4,5,6\n# c\n7,8,9\n", {"comment": "#"}, "line 3 has 1, line 4 has 3, line 6 has 3"),
        ("junk\n\na,b\n1,2\n3\n4,5,6\n", {"skiprows": 1}, "line 5 has 1, line 6 has 3"),
        ("a,b\n1,2\n3\n4,5\nTOTAL\n", {"skipfooter": 1}, "line 3 has 1"),
        ("a b\n1 2\n\n3  4 5\n", {"sep": r"\s+"}, "line 4 has 3"),
        ('#\na,b\n1,"2\n3,4\n', {"comment": "#"}, "quote in line 3"),
        ("1,2\n3,4,5\n", {"header": None}, "line 2 has 3"),
        ('"a" "b"\n"1" 2 3\n"2" 4 5\n', {"sep": " "}, "skiprows=1, names=['label', ...]"),
        ("1,2\n3,4\n", {"names": ["a", "b", "c"]}, "line 1 has 2"),
        ("a,b\n1,2\n", {"names": ["a", "b", "c"], "header": 0}, "a header of 2 cells, and names= has 3"),
        ("a,b\n1,2\n", {"usecols": ["a", "bb"]}, "did you mean 'b'"),
        ("a,b\n1,2\n", {"usecols": [2]}, "the column 2, which is missing"),
        ("a,b\n1,2\n", {"parse_dates": ["bb"]}, "did you mean 'b'"),
        ("a,b\n1,2\n", {"header": 5}, "no line for a header"),
        ("a,b\n1,\x1f2\n", {"sep": r"\s+"}, "0x1f"),
        ("a" * 9_000_000, {}, "longer than"),
        ("a,b\n" + "1" * 9_000_000, {"comment": "#"}, "longer than"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_what_cannot_be_read_is_refused_with_its_line(tmp_path, text, arguments, words):
    assert words in str(refusal(tmp_path / "x.csv", text, **arguments))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"use_cols": ["a"]}, "did you mean 'usecols'"),
        ({"nrows": 100}, r"@experiment\(sample="),
        ({"converters": {"a": int}}, "a function of a data interval"),
        ({"chunksize": 10}, "always streamed"),
        ({"on_bad_lines": "skip"}, "rows are never skipped"),
        ({"storage_options": {"key": "x"}}, "by the environment"),
        ({"delim_whitespace": True}, r"sep=r"),
        ({"usecols": ["a", 1]}, "use one kind"),
        ({"dtype": {"a": "datetime64[ns]"}}, "parse_dates"),
        ({"dtype": {"a": complex}}, "int, float, bool, str"),
        ({"parse_dates": {"at": ["d", "t"]}}, "a list of columns"),
        ({"header": [0, 1]}, "a header is one row"),
        ({"names": ["a", "a"]}, "different names"),
        ({"encoding": "latin-2000"}, "did you mean 'latin-1'"),
        ({"encoding": "zlib"}, "an encoding of text"),
        ({"compression": "tar"}, "one of gzip"),
        ({"timezone": "Europe/Berln"}, "did you mean 'Europe/Berlin'"),
        ({"comment": "//"}, "one ASCII character"),
        ({"decimal": ","}, "decimal and delimiter are both"),
        ({"sep": ";", "decimal": ",", "thousands": ","}, "decimal and thousands are both"),
        ({"sep": "(a"}, "regular expression"),
        ({"skiprows": -1}, "a number of lines"),
        ({"sheet_name": 1}, "sheet_name= is for excel"),
        ({"quoting": csv.QUOTE_NONNUMERIC}, "QUOTE_MINIMAL"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_an_argument_that_is_not_allowed_is_refused_when_declared(arguments, words):
    with pytest.raises(ExperimentError, match=words):
        Files("x.csv", **arguments)


def test_a_call_without_a_pattern_is_refused():
    with pytest.raises(ExperimentError, match="pattern"):
        Files()


# --- identity ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        (Files("x.csv"), "Files('x.csv', format='csv')"),
        (Files("x.csv", delimiter=",", complete=True), "Files('x.csv', format='csv')"),
        (Files("x.dat", "csv", None, ";", False, 9),
         "Files('x.dat', format='csv', delimiter=';', complete=False, max_bytes=9)"),
        (Files("x.parquet", rename={"a": "b"}), "Files('x.parquet', format='parquet', rename={'a': 'b'})"),
        (Files("x.csv", header=0, names=None, skiprows=0), "Files('x.csv', format='csv', header=0)"),
        (Files("x.csv", dtype={"a": str}), "Files('x.csv', format='csv', dtype={'a': 'text'})"),
        (Files("x.csv", na_values={"b", "a"}), "Files('x.csv', format='csv', na_values=('a', 'b'))"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_arguments_that_are_not_given_are_no_part_of_the_identity(source, shown):
    assert repr(source) == shown


def test_another_lambda_is_another_identity():
    one, same, other = (Files("x.csv", usecols=f) for f in (lambda c: c != "a", lambda c: c != "a", lambda c: c != "b"))
    assert repr(one) == repr(same) != repr(other)


# --- warnings ---------------------------------------------------------------------------------------------------------


def test_a_saved_index_is_warned_of(tmp_path):
    path = tmp_path / "x.csv"
    heard: list[str] = []
    path.write_text(",a,b\n0,1,2\n1,3,4\n")
    batches = list(record_batches(Files(str(path), dtype={"bb": str}), DAY, {}, warn=heard.append))
    assert batches[0].schema.names == ["Unnamed: 0", "a", "b"]
    assert len(heard) == 2
    assert "saved" in heard[0]
    assert "did you mean 'b'" in heard[1]
    heard.clear()
    list(record_batches(Files(str(path), index_col=0), DAY, {}, warn=heard.append))
    assert not heard


@pytest.mark.parametrize(
    ("header", "warned"), [("0.46,1,y", False), ("0,1,2", False), ("5.1,3,0", True), ("2,2.0,0", True)]
)
def test_a_header_of_numbers_is_warned_of(tmp_path, header, warned):
    path = tmp_path / "x.csv"
    heard: list[str] = []
    path.write_text(f"{header}\n1,2,3\n")
    list(record_batches(Files(str(path)), DAY, {}, warn=heard.append))
    assert [("header=None" in warning) for warning in heard] == [True] * warned


def test_a_warning_of_a_source_is_one_of_the_run(tmp_path, warehouse_url):
    project = Project.make(tmp_path / "p", warehouse_url)
    patients("2026-11-01").to_csv(project.folder / "incoming" / "2026-11-01.csv")
    stores = project.stores()
    with stores.warehouse as warehouse:
        outcome = project.run("2026-11-01", stores)
        assert any("'Unnamed: 0'" in warning for warning in outcome.run["warnings"])
        assert warehouse.schema("clinic")["columns"][0]["name"] == "Unnamed: 0"


# --- places -----------------------------------------------------------------------------------------------------------


def test_a_relative_path_begins_in_the_project_wherever_the_process_runs(tmp_path, monkeypatch):
    project = tmp_path / "pro[j]ect"
    (project / "in").mkdir(parents=True)
    (project / "diurnal.toml").touch()
    (project / "in" / "2026-11-23.csv").write_text("a\n1\n")
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(project / "in")
    connections = Settings.load(environment={}).connections()
    monkeypatch.chdir(tmp_path)
    for pattern in ("in/{start:%Y-%m-%d}.csv", "in/2026-*.csv"):
        assert next(iter(record_batches(Files(pattern), DAY, connections))).num_rows == 1
        with pytest.raises(TransientError):
            next(iter(record_batches(Files(pattern), DAY, {})))
    with pytest.raises(TransientError, match=r"ect/in/none\.csv"):
        next(iter(record_batches(Files("in/none.csv"), DAY, connections)))
    monkeypatch.chdir(project)
    assert next(iter(record_batches(Files("in/{start:%Y-%m-%d}.csv"), DAY, {}))).num_rows == 1


def test_a_task_of_airflow_has_the_project_of_the_experiments_file(tmp_path, monkeypatch):
    from diurnal.airflow.connections import AirflowConnections

    (tmp_path / "experiments").mkdir()
    (tmp_path / "diurnal.toml").touch()
    monkeypatch.chdir("/")
    declared = Settings.load(environment={}, relative_to=tmp_path / "experiments").connections()
    assert AirflowConnections(declared).project == tmp_path


def test_the_command_line_finds_relative_files_from_anywhere(tmp_path, warehouse_url):
    project = Project.make(tmp_path / "p", warehouse_url)
    text = (project.folder / "experiments" / "clinic.py").read_text()
    relative = text.replace(f"{project.folder}/", "")
    assert relative != text
    (project.folder / "experiments" / "clinic.py").write_text(relative)
    project.bring("2026-11-01")
    done = FORKS.run(COMMAND_LINE, "run", "clinic", "--date", "2026-11-01", cwd=tmp_path, env=project.environment)
    assert done.returncode == 0, done.stderr


def test_rows_to_predict_are_read_as_the_experiments_files(tmp_path, warehouse_url):
    project = Project.make(tmp_path / "p", warehouse_url)
    experiment = project.folder / "experiments" / "clinic.py"
    words = "sep=';', decimal=',', encoding='latin-1', usecols=['patient', 'age', 'pressure', 'ward', 'ill']"
    experiment.write_text(experiment.read_text().replace(".csv'", f".csv', {words}"))
    write = partial(pd.DataFrame.to_csv, sep=";", decimal=",", encoding="latin-1", index=False)
    write(patients("2026-11-01"), project.folder / "incoming" / "2026-11-01.csv")
    assert project.command("run", "clinic", "--date", "2026-11-01").returncode == 0
    rows = patients("2026-11-02", 20).drop(columns="ill").assign(ward="süd")
    write(rows, project.folder / "new.csv")
    done = project.command("predict", "clinic", "new.csv")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 21


# --- memory -----------------------------------------------------------------------------------------------------------


def test_edited_lines_are_streamed(tmp_path):
    path = tmp_path / "x.csv"
    block = "# note\n" + "".join(f'{i};{i / 4:.2f};"text {i}"\n'.replace(".", ",") for i in range(50_000))
    with path.open("w", encoding="latin-1") as file:
        file.write("exported\na;b;c\n")
        file.writelines(block for _ in range(40))
        file.write("TOTAL;3\n")
    code = (
        "import resource, sys\n"
        "from datetime import UTC, datetime\n"
        "from diurnal.sources import Files, record_batches\n"
        "from diurnal.types import DataInterval\n"
        "day = DataInterval(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))\n"
        "n, peak = 0, None\n"
        "source = Files(sys.argv[1], sep=';', decimal=',', encoding='latin-1', comment='#', skiprows=1, skipfooter=1,\n"
        "               na_values='-', dtype={'c': str})\n"
        "for batch in record_batches(source, day, {}):\n"
        "    n += batch.num_rows\n"
        "    if n > 300_000 and peak is None:\n"
        "        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert n == 2_000_000, n\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak)\n"
    )
    grown = subprocess.run([sys.executable, "-c", code, path], check=True, capture_output=True, text=True).stdout
    assert int(grown) < 60_000  # kB, of a file of 50 MB
