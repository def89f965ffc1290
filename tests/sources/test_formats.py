"""Formats and codecs of files: what they hold is read, in bounded memory, and hostile ones are refused."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import resource
import subprocess
import sys
import time
import zipfile
from datetime import UTC, datetime
from datetime import time as clock
from functools import partial
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diurnal.data import BatchValidator, infer_schema
from diurnal.errors import BatchRejectedError, ConfigurationError, ExperimentError, TransientError
from diurnal.sources import Files, record_batches
from diurnal.types import DataInterval, Limits
from projects import Project, patients

DAY = DataInterval(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))
ROWS = b"a,b\n1,x\n,NA\n"


def given(path: Path | str, **arguments: Any) -> pa.Table:
    return pa.Table.from_batches(record_batches(Files(str(path), **arguments), DAY, {}))


def refusal(path: Path | str, **arguments: Any) -> BatchRejectedError:
    with pytest.raises(BatchRejectedError) as caught:
        given(path, **arguments)
    assert caught.value.hint
    return caught.value


# --- codecs -----------------------------------------------------------------------------------------------------------


def zstd(data: bytes) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as stream:
        stream.write(data)
    return out.getvalue().to_pybytes()


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


CODECS = {
    "gzip": ("gz", partial(gzip.compress, mtime=0)),
    "bz2": ("bz2", bz2.compress),
    "xz": ("xz", lzma.compress),
    "zstd": ("zst", zstd),
    "zip": ("zip", lambda data: zipped(**{"__MACOSX/x": b"\0", "x.csv": data, ".DS_Store": b"\0"})),
}


@pytest.mark.parametrize(("codec", "suffix", "compress"), [(c, *words) for c, words in CODECS.items()], ids=CODECS)
def test_compressed_text_is_read(tmp_path, codec, suffix, compress):
    path = tmp_path / f"x.csv.{suffix}"
    path.write_bytes(compress(ROWS))
    assert given(path).to_pydict() == {"a": ["1", None], "b": ["x", "NA"]}
    other = tmp_path / "x.csv"
    other.write_bytes(compress(ROWS))
    assert given(other, compression=codec).num_rows == 2
    if codec != "gzip":  # which its first bytes have always shown
        assert f"compression={codec!r}" in str(refusal(other))
    path.write_bytes(ROWS)
    assert given(path).num_rows == 2
    assert refusal(path, compression=codec).problems[0].code == "damaged-file"


@pytest.mark.parametrize(("suffix", "compress"), [CODECS[codec] for codec in ("gzip", "bz2", "xz", "zstd")])
def test_compressed_files_one_after_the_other_are_one(tmp_path, suffix, compress):
    path = tmp_path / f"x.csv.{suffix}"
    path.write_bytes(compress(b"a,b\n1,2\n") + compress(b"3,4\n"))
    assert given(path)["a"].to_pylist() == ["1", "3"]


@pytest.mark.parametrize(("suffix", "compress"), CODECS.values(), ids=CODECS)
def test_cut_damaged_and_bursting_archives_are_refused(tmp_path, suffix, compress):
    path = tmp_path / f"x.csv.{suffix}"
    rng = np.random.default_rng(0)
    packed = compress(b"a,b\n" + b"".join(b"%d,%d\n" % tuple(pair) for pair in rng.integers(10**6, size=(5000, 2))))
    path.write_bytes(packed[: len(packed) // 2])
    assert refusal(path).problems[0].code in ("cut-file", "damaged-file")
    path.write_bytes(packed[:-400] + bytes(byte ^ 0xFF for byte in packed[-400:-300]) + packed[-300:])
    assert refusal(path).problems[0].code in ("cut-file", "damaged-file", "row-length", "not-utf8", "nul-byte")
    path.write_bytes(compress(b"a,b\n" + b"0,0\n" * 10**6))
    assert refusal(path, max_bytes=10**6).problems[0].code == "too-many-bytes"


def test_one_line_that_never_ends_is_refused_before_it_fills_the_memory(tmp_path):
    path = tmp_path / "x.csv.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(200):
            file.write(b"x" * 2**20)
    started = time.monotonic()
    for arguments in ({}, {"comment": "#"}, {"header": None, "sep": r"\s+"}):
        assert refusal(path, **arguments).problems[0].code == "long-line"
    assert time.monotonic() - started < 10


def test_an_xz_file_may_not_ask_for_gigabytes(tmp_path):
    path = tmp_path / "x.csv.xz"
    chain = [{"id": lzma.FILTER_LZMA2, "dict_size": 2**30}]
    path.write_bytes(lzma.compress(ROWS, filters=chain))
    assert "limit" in str(refusal(path))


def test_a_zip_of_several_files_needs_the_name_of_one(tmp_path):
    path = tmp_path / "uci.zip"
    path.write_bytes(zipped(**{"adult/adult.data": b"1, x\n", "adult/adult.names": b"|\n"}))
    refused = refusal(path, format="csv", header=None)
    assert refused.problems[0].code == "zip-file"
    assert "'adult/adult.data', 'adult/adult.names'" in str(refused)
    assert "zip://" in str(refused.hint)
    chosen = given(f"zip://adult/adult.data::{path}", header=None, skipinitialspace=True)
    assert chosen.to_pydict() == {"0": ["1"], "1": ["x"]}
    assert refusal(tmp_path / "uci.zip", format="json")
    path.write_bytes(zipped())
    assert "of 0 files" in str(refusal(path, format="csv"))
    path.write_bytes(b"PK\x03\x04" + b"\0" * 50)
    assert refusal(path, format="csv").problems[0].code == "damaged-file"
    assert refusal(f"zip://a.csv::{path}").problems[0].code == "damaged-file"
    with pytest.raises(TransientError):
        given(f"zip://a.csv::{tmp_path}/none.zip")


def test_an_encrypted_zip_is_refused(tmp_path):
    path = tmp_path / "x.csv.zip"
    data = bytearray(zipped(**{"x.csv": ROWS}))
    for header, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(header) + offset] |= 1  # the flag that says so
    path.write_bytes(data)
    assert refusal(path).problems[0].code == "encrypted-file"
    assert refusal(f"zip://x.csv::{path}").problems[0].code == "encrypted-file"


@pytest.mark.parametrize(
    ("pattern", "form", "delimiter"),
    [
        ("x.tsv", "csv", "\t"), ("x.TXT", "csv", ","), ("iris.data", "csv", ","), ("x.json.bz2", "json", ","),
        ("x.ndjson.zst", "jsonl", ","), ("x.arrow", "feather", ","), ("x.xls", "excel", ","), ("x.ods", "excel", ","),
        ("s3://b/{start:%Y}/x.csv.xz?v=1", "csv", ","), ("zip://in/a.tsv::b.zip", "csv", "\t"),
    ],
)  # fmt: skip
def test_the_suffix_says_the_format(pattern, form, delimiter):
    files = Files(pattern)
    assert (files.format, files.delimiter) == (form, delimiter)


def test_a_tsv_is_read(tmp_path):
    (tmp_path / "x.tsv").write_text("a\tb\n1,5\t2\n")
    assert given(tmp_path / "x.tsv").to_pydict() == {"a": ["1,5"], "b": ["2"]}


# --- JSON -------------------------------------------------------------------------------------------------------------

FRAME = pd.DataFrame({"a": [1, 2], "b": ['x}{"', None], "größe": [0.5, 1.5]})


@pytest.mark.parametrize("words", [{"orient": "records"}, {"orient": "records", "lines": True}, {"orient": "columns"},
                                   {"orient": "split"}, {}], ids=str)  # fmt: skip
def test_json_is_read_as_pandas_writes_it(tmp_path, words):
    FRAME.to_json(tmp_path / "x.json", **words)
    expected = FRAME.astype(object).where(FRAME.notna(), None).to_dict("list")
    assert given(tmp_path / "x.json").to_pydict() == expected
    assert given(tmp_path / "x.json", usecols=["b"]).column_names == ["b"]


def test_a_list_per_column_and_a_single_object_are_read(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{"a": [1, 2], "b": ["x", null]}')
    assert given(path).to_pydict() == {"a": [1, 2], "b": ["x", None]}
    path.write_text('{"a": 1, "at": "2026-11-23T06:00:00Z"}\n')
    came = given(path, parse_dates=["at"], dtype={"a": str})
    assert came.to_pydict() == {"a": ["1"], "at": ["2026-11-23T06:00:00Z"]}
    batches = came.to_batches()
    kinds = infer_schema(lambda: iter(batches), target="a", task="classification", limits=Limits())
    assert [column.kind for column in kinds.columns] == ["text", "instant"]


def test_an_array_is_read_in_pieces(tmp_path):
    path = tmp_path / "x.json"
    rows = [{"i": i, "text": f'"{i}" [{{', "half": i / 2} for i in range(150_000)]
    path.write_text(json.dumps(rows, indent=1))
    came = given(path)
    assert came["i"].to_pylist() == list(range(150_000))
    assert came.slice(149_999).to_pylist() == rows[-1:]


def test_nested_columns_of_json_may_be_left_out(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('[{"a": 1, "tags": ["x"], "y": "u"}, {"a": 2, "tags": {"k": 1}, "y": "v"}]')
    assert given(path, usecols=["a", "y"]).to_pydict() == {"a": [1, 2], "y": ["u", "v"]}
    batches = given(path).to_batches()
    with pytest.raises(BatchRejectedError, match=r"tags is nested.*leave it out by drop= or usecols="):
        infer_schema(lambda: iter(batches), target="y", task="classification", limits=Limits())
    kept = infer_schema(lambda: iter(batches), target="y", drop=("tags",), task="classification", limits=Limits())
    assert kept.names == ("a", "y")


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ('[{"a": 1}, {"a": 2}', "cut-file", "in the middle"),
        ('[{"a": 1}, {"a":', "cut-file", "in the middle"),
        ('[{"a": 1}] x', "bad-json", "'] x'"),
        ("[[1, 2], [3, 4]]", "bad-json", "an array of objects"),
        ('[{"a": NaN}]', "bad-json", "object 1"),
        ('[{"a": 1}, {"a": 1}, {"a": 01}]', "bad-json", "object 3"),
        ("<html>", "html-page", "login form"),
        ('{"a": [1, 2], "b": [1]}', "row-length", "different lengths"),
        ("[" * 10_000, "bad-json", "objects"),
        ('[{"a":' + "[" * 100_000 + "]" * 100_000 + "}]", "bad-json", "recursion"),
        ('{"a": "x', "cut-file", "in the middle"),
        ("", "no-bytes", "no bytes"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_json_of_rows_is_refused(tmp_path, text, code, words):
    path = tmp_path / "x.json"
    path.write_text(text)
    refused = refusal(path)
    assert refused.problems[0].code == code
    assert words in str(refused)


def test_a_missing_column_of_json_is_named(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('[{"a": 1, "bb": 2}]')
    assert "did you mean 'bb'" in str(refusal(path, usecols=["b"]))


# --- Parquet and Feather ----------------------------------------------------------------------------------------------

MIXED = pa.table({"a.b": [1, 2], "c": ["x", "y"], "tags": [[1], [2]], "at": pa.array([0, 1], pa.timestamp("us"))})


def test_columns_of_parquet_and_feather_may_be_left_out(tmp_path):
    pq.write_table(MIXED, tmp_path / "x.parquet")
    MIXED.to_pandas().to_feather(tmp_path / "x.feather")
    for path in (tmp_path / "x.parquet", tmp_path / "x.feather"):
        assert given(path, usecols=["c", "a.b"]).to_pydict() == {"a.b": [1, 2], "c": ["x", "y"]}
        assert given(path, usecols=lambda name: name != "tags").column_names == ["a.b", "c", "at"]
        assert "did you mean 'c'" in str(refusal(path, usecols=["C"]))
        zoned = given(path, timezone="Europe/Berlin", dtype={"a.b": "float"}, rename={"c": "d"})
        assert zoned["at"][0].as_py().isoformat() == "1970-01-01T00:00:00+01:00"
        assert (zoned["a.b"].to_pylist(), zoned.column_names[1]) == ([1.0, 2.0], "d")


def test_feather_and_streams_of_arrow_are_read(tmp_path):
    frame = pd.DataFrame({"a": [1, None], "b": pd.Categorical(["u", "v"]), "c": ["x", "ü"]})
    frame.to_feather(tmp_path / "x.feather")
    assert given(tmp_path / "x.feather").to_pydict() == {"a": [1.0, None], "b": ["u", "v"], "c": ["x", "ü"]}
    table = pa.table({"a": range(200_000)})
    with pa.ipc.new_stream(tmp_path / "x.arrows", table.schema) as writer:
        writer.write_table(table, max_chunksize=50_000)
    assert given(tmp_path / "x.arrows")["a"].to_pylist() == list(range(200_000))
    with pa.ipc.new_file(tmp_path / "none.arrow", table.schema) as writer:
        pass
    assert (given(tmp_path / "none.arrow").num_rows, given(tmp_path / "none.arrow").column_names) == (0, ["a"])


@pytest.mark.parametrize(
    "damage", [lambda d: d[: len(d) // 2], lambda d: b"FEA1" + d, lambda d: b"hello", lambda d: b"", lambda d: d[:8]]
)
def test_a_damaged_arrow_file_is_refused(tmp_path, damage):
    path = tmp_path / "x.feather"
    FRAME.to_feather(path)
    path.write_bytes(damage(path.read_bytes()))
    assert refusal(path).problems[0].code in ("damaged-file", "unknown-codec")


def test_an_arrow_file_with_offsets_out_of_bounds_is_refused(tmp_path):
    path = tmp_path / "x.arrow"
    offsets = pa.array([0, 10**9, 3], pa.int32()).buffers()[1]
    wild = pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"abc")])
    with pa.ipc.new_file(path, pa.schema([("a", pa.string())])) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays([wild], ["a"]))
    assert refusal(path).problems[0].code == "damaged-file"


# --- spreadsheets -----------------------------------------------------------------------------------------------------

XLSX = {
    "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default '
    'Extension="xml" ContentType="application/xml"/><Default Extension="rels" ContentType="application/vnd.'
    'openxmlformats-package.relationships+xml"/><Override PartName="/xl/workbook.xml" ContentType="application/vnd.'
    'openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/></Types>',
    "_rels/.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship '
    'Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" '
    'Target="xl/workbook.xml"/></Relationships>',
    "xl/workbook.xml": '<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://'
    'schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="Notes" sheetId="1" r:id="r1"/>'
    '<sheet name="Daten" sheetId="2" r:id="r2"/></sheets></workbook>',
    "xl/_rels/workbook.xml.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" '
    'Target="worksheets/sheet1.xml"/><Relationship Id="r2" Type="http://schemas.openxmlformats.org/officeDocument/2006/'
    'relationships/worksheet" Target="worksheets/sheet2.xml"/><Relationship Id="r3" Type="http://schemas.openxmlformats'
    '.org/officeDocument/2006/relationships/styles" Target="styles.xml"/></Relationships>',
    "xl/styles.xml": '<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><cellXfs count="3">'
    '<xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="22"/></cellXfs></styleSheet>',
}
SHEET = (
    '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>{}</sheetData></worksheet>'
)


def moment(*parts: int) -> datetime:
    return datetime(*parts)  # noqa: DTZ001 - a spreadsheet knows no zones


def cell(value: Any, place: str = "") -> str:
    at = f' r="{place}"' if place else ""
    if isinstance(value, bool):
        return f'<c{at} t="b"><v>{int(value)}</v></c>'
    if isinstance(value, datetime):
        days = (value - moment(1899, 12, 30)).total_seconds() / 86_400
        return f'<c{at} s="{1 if value.time() == clock() else 2}"><v>{days!r}</v></c>'
    if isinstance(value, str):
        kind = "e" if value.startswith("#") else "str"
        return f'<c{at} t="{kind}"><v>{escape(value)}</v></c>'
    return f"<c{at}/>" if value is None else f"<c{at}><v>{value!r}</v></c>"


def workbook(path: Path, *rows: list[Any], sheet: str | None = None) -> Path:
    """Write a workbook whose second sheet has some rows."""
    body = sheet or "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in XLSX.items():
            archive.writestr(name, text)
        archive.writestr("xl/worksheets/sheet1.xml", SHEET.format(f"<row>{cell('nothing')}</row>"))
        archive.writestr("xl/worksheets/sheet2.xml", SHEET.format(body))
    return path


TABLE = [
    ["Größe", "n", "code", "ok", "day", "at"],
    [1.5, 1, "007", True, moment(2026, 11, 23), moment(2026, 11, 23, 6)],
    [None, 2, "x,\ny", False, moment(2026, 11, 24), moment(2026, 11, 24)],
    [0.1, 3, None, None, None, None],
]


def test_a_sheet_is_read_as_the_csv_that_it_would_be_saved_as(tmp_path):
    path = workbook(tmp_path / "x.xlsx", *TABLE)
    for sheet in ("Daten", 1):
        assert given(path, sheet_name=sheet).to_pydict() == {
            "Größe": ["1.5", None, "0.1"],
            "n": ["1", "2", "3"],
            "code": ["007", "x,\ny", None],
            "ok": ["True", "False", None],
            "day": ["2026-11-23", "2026-11-24", None],
            "at": ["2026-11-23 06:00:00", "2026-11-24 00:00:00", None],
        }
    assert given(path).column_names == ["nothing"]


def test_a_sheet_takes_the_arguments_of_pandas(tmp_path):
    path = workbook(
        tmp_path / "x.xlsx",
        ["exported on Monday"], [None], ["a", "b", "c", "d"], ["1.234,5", 1.5, "-", 7], ["-1,5", 2, "x", 8], ["TOTAL"],
    )  # fmt: skip
    words = {"sheet_name": 1, "skiprows": 2, "skipfooter": 1, "na_values": "-", "decimal": ",", "thousands": "."}
    batches = list(record_batches(Files(str(path), usecols="A:C", **words), DAY, {}))
    schema = infer_schema(lambda: iter(batches), target="c", task="classification", limits=Limits(max_null=1))
    (came,) = BatchValidator(schema, Limits()).validate_part(batches)
    assert came.to_pydict() == {"a": [1234.5, -1.5], "b": [1.5, 2.0], "c": [None, "x"]}
    assert given(path, usecols=[0, 3], dtype={"d": str}, **words)["d"].to_pylist() == ["7", "8"]
    assert given(path, header=None, names=list("wxyz"), **{**words, "skiprows": 3}).num_rows == 2


def test_errors_of_a_sheet_are_missing_cells_and_its_corner_may_be_anywhere(tmp_path):
    rows = f"<row r='3'>{cell('a', 'B3')}{cell('b', 'C3')}</row><row r='4'>{cell('#N/A', 'B4')}{cell(2, 'C4')}</row>"
    path = workbook(tmp_path / "x.xlsx", sheet=rows)
    assert given(path, sheet_name=1, usecols="B:C").to_pydict() == {"a": [None], "b": ["2"]}
    assert given(path, sheet_name=1, header=None, skiprows=3, usecols=[1, 2]).to_pydict() == {"1": [None], "2": ["2"]}


def test_a_missing_sheet_is_named_with_those_that_there_are(tmp_path):
    assert "'Notes', 'Daten'" in str(refusal(workbook(tmp_path / "x.xlsx", *TABLE), sheet_name="Data"))


XLS = (  # rows: junk; a, b; 1, x; 2.5, -; TOTAL, 3
    "{Wp48S^xk9=GL@E0stWa8~^|S5YJf5;1&M@L0tf7Grk;#Fn3_|q=YI!3><bRg7T4u+=$92y5XR=#sm{*o6VTHX*Crpnc)M|#puk@^h-b4s3P"
    "%T*|5j%FV#XmrK5@>cY#$Aa2quG5BsCaW&p=w%`2#&kvK33jLRL19^cVN7!7pe@YpAhl_+DTtxO8)TRNPt)$jvGwZ=DKT9_0{g2$JZU%zO6<"
    "~VSw4G;M{w;st9r-w<b@Tc+k&|C0M&PHA6K~|~0kBh|_pUQmSm{4vIjrt3iHZe`{3`Ff*C_^7JGHU+yc{3lCY(Vxaxe`_Vtr!Pd_I2tLXf=|"
    "N7*~;jJX4;KfSrGtia82B0T>cWDIzKa|5B{Ls8euLMTSifBzxu0EnMcC3R>sVh%nyAWJ>|VhRbQ{M*`UhN}D8bv4Rk*#bg#4;5nL$pt&3OU)"
    "<vY4g=(<2FXrMn=*Nfuf8WIsBzf710lM{5d2hb`x~t}JT98erK0hY*j3pzd^)obEO7FSIo0mwJ*7Mq*$y>uwfGbT2hz*=dfH$k^?4V#Z?JXR"
    "@0?4EC2FIl{PF&?pESy41|fdcNqxxgFG<|Rm9WLEO_f`(68$-5rQjYQI82rQE}hO2Tm$mJIE)js^!3j&OAKwxb3|MLucP`q$G4mX!0DAlbHU"
    "5jz@NHl?3r|!K?t3%NmjwmYBDybsg(uYBK8mgd;S7Vi9Cdbv^^~n5Iz%{G6YRLi47tgKxG>BNEnu%<)W(Mp+vXIIf9Wb(zvE`V4(sUN^EtuY"
    "0n100000063lNK=WLHW00G?ufGhw2Q*?VovBYQl0ssI200dcD"
)


def test_old_and_open_spreadsheets_are_read(tmp_path):
    (tmp_path / "x.xls").write_bytes(lzma.decompress(base64.b85decode(XLS)))
    came = given(tmp_path / "x.xls", skiprows=1, skipfooter=1, na_values="-")
    assert came.to_pydict() == {"a": ["1", "2.5"], "b": ["x", None]}
    rows = "".join(
        f"<table:table-row>{''.join(ods_cell(value) for value in row)}</table:table-row>"
        for row in (["a", "b"], [1, "x"])
    )
    path = tmp_path / "x.ods"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("META-INF/manifest.xml", ODS_MANIFEST)
        archive.writestr("content.xml", ODS.format(rows))
    assert given(path).to_pydict() == {"a": ["1"], "b": ["x"]}


ODS_MANIFEST = (
    '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"><manifest:file-entry '
    'manifest:full-path="/" manifest:media-type="application/vnd.oasis.opendocument.spreadsheet"/></manifest:manifest>'
)
ODS = (
    '<office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" xmlns:table="urn:oasis:'
    'names:tc:opendocument:xmlns:table:1.0" xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"><office:body>'
    '<office:spreadsheet><table:table table:name="S">{}</table:table></office:spreadsheet></office:body>'
    "</office:document-content>"
)


def ods_cell(value: Any) -> str:
    if isinstance(value, str):
        return f'<table:table-cell office:value-type="string"><text:p>{value}</text:p></table:table-cell>'
    return f'<table:table-cell office:value-type="float" office:value="{value}"/>'


HOSTILE = {
    "two cells at opposite corners": f"<row r='1'>{cell(1, 'A1')}</row><row r='1048576'>{cell(2, 'XFD1048576')}</row>",
    "no XML": "<row><c",
}


@pytest.mark.parametrize("sheet", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_sheet_is_refused_and_this_process_goes_on(tmp_path, sheet):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert refusal(workbook(tmp_path / "x.xlsx", sheet=sheet), sheet_name=1).problems[0].code == "damaged-file"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_a_sheet_that_bursts_is_refused(tmp_path):
    path = tmp_path / "x.xlsx"
    row = f"<row>{''.join(cell('x' * 1000) for _ in range(100))}</row>"
    workbook(path, sheet=row * 300)
    assert refusal(path, sheet_name=1, max_bytes=10**6).problems[0].code == "too-many-bytes"


@pytest.mark.parametrize("data", [b"hello", b"", b"PK\x03\x04" + b"junk" * 99, b"\xd0\xcf\x11\xe0" * 200])
def test_what_is_no_spreadsheet_is_refused(tmp_path, data):
    (tmp_path / "x.xlsx").write_bytes(data)
    assert refusal(tmp_path / "x.xlsx").problems[0].code == "damaged-file"


def test_no_entity_of_a_spreadsheet_is_expanded(tmp_path):
    doctype = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname"><!ENTITY b "bbbb">]>'
    path = workbook(
        tmp_path / "x.xlsx", sheet='<row><c t="str"><v>a</v></c></row><row><c t="str"><v>&a;&b;</v></c></row>'
    )
    data = {name: zipfile.ZipFile(path).read(name) for name in zipfile.ZipFile(path).namelist()}
    data["xl/worksheets/sheet2.xml"] = doctype.encode() + data["xl/worksheets/sheet2.xml"]
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in data.items():
            archive.writestr(name, text)
    try:
        cells = given(path, sheet_name=1)["a"].to_pylist()
    except BatchRejectedError:
        return
    assert Path("/etc/hostname").read_text().strip() not in str(cells)
    assert "bbbb" not in str(cells)


def test_without_its_library_a_spreadsheet_names_the_extra(tmp_path):
    code = (
        "import sys\n"
        "sys.modules['python_calamine'] = None\n"
        "from datetime import UTC, datetime\n"
        "from diurnal.sources import Files\n"
        "from diurnal.types import DataInterval\n"
        "day = DataInterval(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))\n"
        "list(Files(sys.argv[1]).read(day, {}))\n"
    )
    path = workbook(tmp_path / "x.xlsx", *TABLE)
    failed = subprocess.run([sys.executable, "-c", code, path], check=False, capture_output=True, text=True)
    assert "pip install diurnal[excel]" in failed.stderr
    assert ConfigurationError.__name__ in failed.stderr


def test_letters_of_columns_are_for_spreadsheets(tmp_path):
    (tmp_path / "x.csv").write_text("A,B\n1,2\n")
    assert given(tmp_path / "x.csv", usecols="A").to_pydict() == {"A": ["1"]}
    with pytest.raises(ExperimentError, match="encoding= is for csv and json and jsonl"):
        Files("x.xlsx", encoding="latin-1")


def test_a_day_comes_from_a_workbook(tmp_path, warehouse_url):
    project = Project.make(tmp_path / "p", warehouse_url)
    experiment = project.folder / "experiments" / "clinic.py"
    experiment.write_text(experiment.read_text().replace(".csv'", ".xlsx', sheet_name='Daten'"))
    rows = patients("2026-11-01")
    workbook(project.folder / "incoming" / "2026-11-01.xlsx", list(rows.columns), *rows.to_numpy().tolist())
    stores = project.stores()
    with stores.warehouse:
        outcome = project.run("2026-11-01", stores)
    assert outcome.run["n_train"] + outcome.run["n_test"] == len(rows)
