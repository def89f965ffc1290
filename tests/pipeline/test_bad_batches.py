"""Section A of the catalogue of bad inputs: each is made here, and refused with its code, its place and its cure."""

from __future__ import annotations

import base64
import gzip
import math
import zipfile
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow.parquet import encryption

from diurnal.data import UNTYPED, BatchValidator, Column, Schema, infer_schema
from diurnal.errors import BatchRejectedError
from diurnal.sources import Files, record_batches
from diurnal.types import DataInterval, Limits

DAY = DataInterval(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))

SCHEMA = Schema(
    (
        Column("id", "int", nullable=False),
        Column("age", "int", nullable=False),
        Column("size", "float", nullable=False),
        Column("place", "text", categories=("here", "there")),
        Column("on_day", "date"),
        Column("at", "instant"),
        Column("seen", "timestamp"),
        Column("label", "text", nullable=False),
    ),
    target="label",
    key=("id",),
    classes=("no", "yes"),
)


def good(n: int = 4) -> dict[str, list[Any]]:
    return {
        "id": list(range(n)),
        "age": [20 + i for i in range(n)],
        "size": [0.5 + i for i in range(n)],
        "place": ["here", "there"] * (n // 2),
        "on_day": [date(2026, 11, 23 - i) for i in range(n)],
        "at": [datetime(2026, 11, 23, i, tzinfo=UTC) for i in range(n)],
        "seen": [datetime(2026, 11, 23, i) for i in range(n)],  # noqa: DTZ001 - without a zone, and so it stays
        "label": ["no", "yes"] * (n // 2),
    }


def typed(**changed: Any) -> pa.RecordBatch:
    """A good batch but for some columns; None takes one away."""
    columns = {name: cells for name, cells in {**good(), **changed}.items() if cells is not None}
    return pa.RecordBatch.from_pydict(columns)


def untyped(**changed: list[str | None]) -> pa.RecordBatch:
    """The same as text."""
    instants = [moment.isoformat() for moment in good()["at"]]
    columns = {name: [str(cell) for cell in cells] for name, cells in good().items()} | {"at": instants, **changed}
    return pa.RecordBatch.from_pydict(columns, schema=pa.schema([(c, pa.string()) for c in columns], metadata=UNTYPED))


def refusal(*batches: pa.RecordBatch, limits: Limits | None = None, schema: Schema = SCHEMA) -> BatchRejectedError:
    with pytest.raises(BatchRejectedError) as caught:
        list(BatchValidator(schema, limits or Limits()).validate(batches))
    return caught.value


def has(refused: BatchRejectedError, code: str, rows: tuple[int, ...], *words: str) -> None:
    """The first problem is the expected one, and the message holds the words."""
    assert refused.problems[0].code == code, refused
    assert refused.problems[0].rows == rows
    for word in words:
        assert word in str(refused)
    assert refused.exit_status == 65
    assert refused.hint


@dataclass
class Bad:
    number: int  # in the catalogue
    batch: pa.RecordBatch
    code: str
    rows: tuple[int, ...] = ()
    words: tuple[str, ...] = ()
    limits: Limits | None = None


def at(cells: list[Any], kind: pa.DataType) -> pa.Array:
    return pa.array(cells, kind)


HUGE = [2**53 + 1, 1, 2, 3]
BAD = [
    Bad(1, typed().slice(0, 0), "no-rows", (), ("allow_empty",)),
    Bad(4, typed(), "too-few-rows", (), ("4 rows", "min_rows is 5"), Limits(min_rows=5)),
    Bad(5, typed(), "too-many-rows", (), ("max_rows is 3",), Limits(max_rows=3)),
    Bad(6, typed(age=None), "missing-column", (), ("'age' is missing", "'id', 'size'")),
    Bad(7, typed(colour=[1, 2, 3, 4]), "extra-column", (), ("'colour' is not in the schema",)),
    Bad(9, typed(age=None, Age=[1, 2, 3, 4]), "extra-column", (), ("'age' is missing", "did you mean 'Age'?")),
    Bad(9, typed(place=None, plcae=good()["place"]), "extra-column", (), ("did you mean 'plcae'?",)),
    Bad(13, typed(age=[1.0, 2.5, 3.0, 4.0]), "fraction-in-int", (2,), ("2.5 is no whole number",)),
    Bad(13, untyped(age=["1", "2.5", "3.0", "4"]), "fraction-in-int", (2,), ("'2.5'",)),
    Bad(14, untyped(age=["1", "old", "3", "4"]), "text-in-number", (2,), ("'old' is no number",)),
    Bad(14, untyped(size=["1", "2", "n.a.", "old"]), "text-in-number", (3, 4)),
    Bad(14, typed(age=["1", "2", "3", "4"]), "text-in-number", (1, 2, 3, 4), ("came as text",)),
    Bad(15, typed(size=HUGE), "integer-not-exact", (1,), ("2**53",)),
    Bad(15, untyped(size=[str(i) for i in HUGE]), "integer-not-exact", (1,)),
    Bad(15, typed(age=[2.0**60, 1, 2, 3]), "integer-not-exact", (1,)),
    Bad(16, typed(age=at([2**63, 1, 2, 3], pa.uint64())), "integer-too-large", (1,), (str(2**63), "64 bits")),
    Bad(16, untyped(age=[str(2**63), "1", "2", "3"]), "integer-too-large", (1,)),
    Bad(17, untyped(age=["007", "1", "2", "3"]), "text-in-number", (1,), ("'007'",)),
    Bad(
        19,
        typed(size=[None, None, math.nan, 1.0]),
        "too-many-nulls",
        (),
        ("size is null in 75.0%", "0.0% of the first"),
    ),
    Bad(19, typed(size=[None, 1.0, 1.0, 1.0]), "too-many-nulls", (), ("max_null is 20.0%",), Limits(max_null=0.2)),
    Bad(20, typed(size=at([None] * 4, pa.null())), "all-null-column", (), ("size is null in 100.0%",)),
    Bad(21, typed(size=[1.0, math.inf, -math.inf, 2.0]), "infinite", (2, 3), ("inf is infinite",)),
    Bad(21, untyped(size=["1", "-Infinity", "1e999", "2"]), "infinite", (2, 3)),
    Bad(22, typed(size=[1e300, 1.0, 2.0, 3.0]), "above-range", (1,), ("above 100",), Limits(ranges={"size": (0, 100)})),
    Bad(24, untyped(size=["1,5", "2.5", "3", "4"]), "decimal-comma", (1,), ("decimal=','", "thousands=','")),
    Bad(25, untyped(on_day=["2026-11-23", "23.11.2026", "11/23/26", "2026-11-23"]), "mixed-dates", (2, 3)),
    Bad(25, untyped(on_day=["2026-02-30", "2026-11-23", "2026-11-23", "2026-11-22"]), "impossible-date", (1,)),
    Bad(26, untyped(at=["2026-11-23T06:00:00"] + ["2026-11-23T06:00:00Z"] * 3), "naive-timestamp", (1,), ("offset",)),
    Bad(26, untyped(seen=["2026-11-23T06:00:00Z"] + ["2026-11-23 06:00"] * 3), "zoned-timestamp", (1,), ("offset",)),
    Bad(26, typed(seen=at([0, 1, 2, 3], pa.timestamp("us", "UTC"))), "zoned-timestamp", (), ("had none before",)),
    Bad(27, typed(at=at([0, 1, 2, 3], pa.timestamp("us"))), "naive-timestamp", (), ("tz_localize",)),
    Bad(
        28,
        typed(on_day=[date(1, 1, 1), date(9999, 1, 1), *good()["on_day"][:2]]),
        "date-out-of-range",
        (1, 2),
        ("1678",),
    ),
    Bad(28, untyped(at=["0001-01-01T00:00:00Z"] + ["2026-11-23T06:00:00Z"] * 3), "date-out-of-range", (1,)),
    Bad(28, typed(at=at([2**62, 0, 1, 2], pa.timestamp("s", "UTC"))), "date-out-of-range", (1,)),
    Bad(31, typed(id=[1, None, 3, None]), "null-key", (2, 4), ("the key id is null",)),
    Bad(32, typed(label=["no"] * 4), "one-class", (), ("one label of label",)),
    Bad(34, typed(label=["no", "yes", "maybe", "no"]), "unseen-label", (3,), ("'maybe'", "'no', 'yes'")),
    Bad(35, typed(label=[None] * 4), "null-target", (), ("null in every row",)),
    Bad(37, typed(place=good()["label"]), "leak", (), ("place equals the target", "drop it")),
    Bad(40, typed(place=list("abcd")), "too-many-categories", (), ("max_cardinality=3",), Limits(max_cardinality=3)),
    Bad(41, typed(place=["here", "x" * 2_000_000, "here", "there"]), "long-cell", (2,), ("max_cell_bytes=1000000",)),
    Bad(42, typed(place=["here", "a\0b", "here", "there"]), "nul-byte", (2,)),
    Bad(
        43,
        typed(place=pa.array([b"here", b"\xff", b"here", b"x"]).view(pa.string())),
        "invalid-utf8",
        (2,),
    ),
    Bad(53, typed(size=[[1.0], [2.0], [3.0], [4.0]]), "nested-type", (), ("size is nested",)),
    Bad(53, typed(size=[b"1", b"2", b"3", b"4"]), "unsupported-type", (), ("binary",)),
    Bad(54, typed(size=[True, False, True, False]), "other-type", (), ("float in the schema", "bool")),
    Bad(54, typed(at=at([1, 0, 0, 0], pa.timestamp("ns", "UTC"))), "too-fine-instant", (1,)),
    Bad(56, typed(), "too-many-bytes", (), ("max_bytes is 10",), Limits(max_bytes=10)),
    Bad(
        61,
        typed(age=[20, 21, 22000, 23]),
        "above-range",
        (3,),
        ("22000 is above 130",),
        Limits(ranges={"age": (0, 130)}),
    ),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: f"A{bad.number}-{bad.code}")
def test_a_bad_batch_is_refused(bad):
    has(refusal(bad.batch, limits=bad.limits), bad.code, bad.rows, *bad.words)


def test_the_good_batch_is_good():
    for batch in (typed(), untyped()):
        assert pa.Table.from_batches(BatchValidator(SCHEMA, Limits()).validate([batch])).schema == SCHEMA.arrow_schema


def test_all_problems_are_told_at_once():
    refused = refusal(typed(size=[1.0, math.inf, 2.0, 3.0], label=["no", "yes", "maybe", "no"], id=[None, 1, 2, 3]))
    assert {p.code for p in refused.problems} == {"infinite", "unseen-label", "null-key"}


def test_a_constant_target_is_refused():
    schema = Schema((Column("x", "float"), Column("y", "float")), "y", task="regression")
    batch = pa.RecordBatch.from_pydict({"x": [1.0, 2.0], "y": [7.0, 7.0]})
    has(refusal(batch, schema=schema), "constant-target", (), "y has one value")


def text(**columns: list[str]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(columns, schema=pa.schema([(c, pa.string()) for c in columns], metadata=UNTYPED))


LABELS = ["u", "v"]
FIRST = [
    (1, text(a=[], y=[]), "no-rows", "no rows"),
    (6, text(a=["1", "2"], yy=LABELS), "missing-column", "did you mean 'yy'"),
    (10, pa.RecordBatch.from_arrays([pa.array(LABELS)] * 3, names=["a", "a", "y"]), "duplicate-column", "2 columns"),
    (11, text(**{"a\nb": ["1", "2"], "y": LABELS}), "column-name", "control character"),
    (11, text(**{"a\0": ["1", "2"], "y": LABELS}), "column-name", "'a\\x00'"),
    (11, text(**{"a\x1b[31m": ["1", "2"], "y": LABELS}), "column-name", "\\x1b"),
    (11, text(**{"a\u202eb": ["1", "2"], "y": LABELS}), "column-name", "\\u202e"),
    (24, text(a=["1,5", "2.5"], y=LABELS), "decimal-comma", "decimal=','"),
    (24, text(a=["1,5", "2.5"], y=LABELS), "decimal-comma", "dtype={'a': str}"),
    (35, text(a=["1", "2"], y=[None, None]), "null-target", "null in every row"),
    (25, text(a=["2026-11-23", "23.11.2026"], y=LABELS), "mixed-dates", "more than one notation"),
    (26, text(a=["2026-11-23 06:00", "2026-11-23 06:00Z"], y=LABELS), "mixed-timezones", "with and without"),
    (53, pa.RecordBatch.from_pydict({"a": [[1], [2]], "y": LABELS}), "nested-type", "list"),
    (53, pa.RecordBatch.from_pydict({"a": [b"1", b"2"], "y": LABELS}), "unsupported-type", "drop= or usecols="),
    (0, text(a=["1", "2"], y=["u" * 1001, "v"]), "too-many-classes", "free text"),
    (0, text(y=LABELS), "no-features", "no feature is left"),
    (0, text(a=["1", "2"], y=["0.5", "1.5"]), "target-kind", "regression?"),
    (0, text(a=["1", "2"], y=["2026-01-01", "2026-01-02"]), "target-kind", "date"),
]


@pytest.mark.parametrize(("number", "batch", "code", "words"), FIRST, ids=lambda value: str(value)[:20])
def test_a_bad_first_batch_is_refused(number, batch, code, words):
    with pytest.raises(BatchRejectedError) as caught:
        infer_schema(lambda: [batch], target="y", key=(), drop=(), task="classification", limits=Limits())
    has(caught.value, code, (), words)


def test_what_is_dropped_may_be_odd():
    batch = text(a=["1", "2"], b=["1,5", "2.5"], c=["2026-11-23", "23.11.2026"], y=LABELS)
    schema = infer_schema(lambda: [batch], target="y", key=(), drop=("b", "c"), task="classification", limits=Limits())
    assert [column.kind for column in schema.columns] == ["int", "text", "text", "text"]


def test_dates_in_two_notations_are_refused_across_pieces():
    pieces = [text(a=["2026-11-23"], y=["u"]), text(a=["11/23/2026"], y=["v"])]
    with pytest.raises(BatchRejectedError) as caught:
        infer_schema(lambda: pieces, target="y", key=(), drop=(), task="classification", limits=Limits())
    has(caught.value, "mixed-dates", ())


# --- files -------------------------------------------------------------------------------------------------------

GOOD = b"a,b,c\n" + b"1,2,3\n" * 3

_NUMBERS = gzip.compress(b"".join(b"%d,%d,%d\n" % (i * i % 997, i, i**3 % 991) for i in range(2000)), mtime=0)
BROKEN_GZIP = _NUMBERS[:5000] + b"\xff" * 50 + _NUMBERS[5050:]

BAD_FILES = [
    (3, "x.csv", b"", "no-bytes", "has no bytes"),
    (10, "x.csv", b"a,b,a\n1,2,3\n", "duplicate-column", "named 'a'"),
    (10, "x.csv", b"1,0,0\n1,2,3\n", "duplicate-column", "header=None"),
    (42, "x.csv", GOOD + b"4,\0,5\n", "nul-byte", "at byte 26"),
    (43, "x.csv", GOOD + b"4,\xff\xfe,5\n", "not-utf8", "(byte 26 is 0xff)"),
    (44, "x.csv", "a,b\nstraße,größe\nüber,für\n".encode("latin-1"), "not-utf8", "looks like"),
    (44, "x.csv", ("a,b\n" + "1,2\n" * 50).encode("utf-16"), "not-utf8", "encoding='utf-16'"),
    (44, "x.csv", ("a,b\n" + "1,2\n" * 50).encode("utf-16-le"), "not-utf8", "looks like"),
    (46, "x.csv", b"a,b\n1,2,3\n4,5,6\n", "row-length", "line 2 has 3, line 3 has 3"),
    (47, "x.csv", GOOD + b'"x\ny",2,3\n4,5\n\n6,7,8,9\n', "row-length", "line 7 has 2, line 9 has 4"),
    (48, "x.csv", GOOD + b'4,"5,6\n7,8,9\n', "unclosed-quote", "line 5"),
    (48, "x.csv", GOOD + b'4,"5,6\n7,"8,9\n', "unclosed-quote", "line 5"),
    (48, "x.csv", b'a,"b\n1,2\n', "unclosed-quote", "header"),
    (50, "x.csv", GOOD + b"4,5", "cut-file", "complete=False"),
    (51, "x.parquet", b"PAR1" + b"\0" * 100, "damaged-file", "cannot be read"),
    (51, "x.parquet", b"", "no-bytes", "no bytes"),
    (55, "x.csv.gz", b"\x28\xb5\x2f\xfd" + b"x" * 100, "unknown-codec", "zstd"),
    (56, "x.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 10**6), "too-many-bytes", "max_bytes=1000000"),
    (50, "x.csv.gz", gzip.compress(GOOD * 1000)[:-20], "cut-file", "in the middle"),
    (
        52,
        "x.csv.gz",
        BROKEN_GZIP,
        "damaged-file",
        "decompressed",
    ),
    (58, "x.csv", b"\n<!DOCTYPE html>\n<html>Sign in</html>\n", "html-page", "text/html"),
    (58, "x.jsonl", b"<html>Sign in</html>\n", "html-page", "text/html"),
    (0, "x.csv", b"a;b;c\n1;2;3\n", "delimiter", "delimiter=';'"),
    (0, "x.csv", b"\n\r\n\n", "no-header", "all are blank"),
    (53, "x.jsonl", b'{"a": 1}\n{"a": [1]}\n', "mixed-types", "(row 2)"),
    (53, "x.jsonl", b'{"a": 1}\n[1]\n', "bad-json", "line 2"),
    (50, "x.jsonl", b'{"a": 1}\n{"a": 2', "cut-file", "in the middle of its last line"),
    (21, "x.jsonl", b'{"a": 1}\n\n{"a": NaN}\n', "bad-json", "line 3"),
    (14, "x.jsonl", b'{"a": 1}\n{"a": "x"}\n{"a": 2}\n', "mixed-types", "(row 2)"),
    (15, "x.jsonl", b'{"a": 0.5}\n{"a": 9007199254740993}\n', "integer-not-exact", "2**53"),
    (16, "x.jsonl", b'{"a": 1}\n{"a": 99999999999999999999}\n', "integer-too-large", "(row 2)"),
    (43, "x.jsonl", b'{"a": "\xff"}\n', "not-utf8", "byte 7"),
]


def refused_file(path: Path, **options: Any) -> BatchRejectedError:
    with pytest.raises(BatchRejectedError) as caught:
        list(record_batches(Files(str(path), **options), DAY, {}))
    assert caught.value.evidence == (str(path),)
    assert path.name in str(caught.value)
    return caught.value


@pytest.mark.parametrize(("number", "name", "data", "code", "words"), BAD_FILES, ids=lambda value: str(value)[:16])
def test_a_bad_file_is_refused(tmp_path, number, name, data, code, words):
    path = tmp_path / name
    path.write_bytes(data)
    refused = refused_file(path, max_bytes=1_000_000)
    assert [p.code for p in refused.problems] == [code], refused
    assert words in str(refused)


def test_a_header_alone_is_a_batch_without_rows(tmp_path):
    for data in (b"a,b\n", b"a,b\n\n\n"):
        (tmp_path / "x.csv").write_bytes(data)
        (batch,) = record_batches(Files(str(tmp_path / "x.csv")), DAY, {})
        assert (batch.num_rows, batch.schema.names) == (0, ["a", "b"])


def test_a_zip_is_refused_for_csv(tmp_path):
    path = tmp_path / "x.csv"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.csv", GOOD)
    assert refused_file(path).problems[0].code == "zip-file"


def test_a_row_longer_than_a_block_is_refused(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(GOOD + b'"' + b"x" * 20_000_000 + b'",2,3\n' + GOOD * 10)
    assert refused_file(path).problems[0].code in ("damaged-csv", "unclosed-quote")


@pytest.fixture(scope="module")
def parquet() -> bytes:
    rng = np.random.default_rng(7)
    table = pa.table({"a": rng.normal(size=2000), "b": rng.integers(0, 9, 2000), "c": ["x", "yy"] * 1000})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, write_page_checksum=True, row_group_size=500)
    return sink.getvalue().to_pybytes()


def test_a_truncated_parquet_file_is_refused(tmp_path, parquet):
    for size in (3, 50, len(parquet) // 2, len(parquet) - 1):
        path = tmp_path / f"cut-{size}.parquet"
        path.write_bytes(parquet[:size])
        assert refused_file(path).problems[0].code == "damaged-file"


def test_an_encrypted_parquet_file_is_refused(tmp_path):
    class Keys(encryption.KmsClient):
        def wrap_key(self, key_bytes, master_key_identifier):
            return base64.b64encode(key_bytes)

        def unwrap_key(self, wrapped_key, master_key_identifier):
            return base64.b64decode(wrapped_key)

    for plaintext_footer in (True, False):
        configuration = encryption.EncryptionConfiguration(
            footer_key="f", column_keys={"c": ["a"]}, plaintext_footer=plaintext_footer
        )
        factory = encryption.CryptoFactory(lambda _: Keys())
        properties = factory.file_encryption_properties(encryption.KmsConnectionConfig(), configuration)
        path = tmp_path / "x.parquet"
        pq.write_table(pa.table({"a": [1, 2], "b": [3, 4]}), path, encryption_properties=properties)
        assert refused_file(path).problems[0].code == "encrypted-file"


def test_no_flipped_bit_of_a_parquet_page_reads_as_other_data(tmp_path, parquet):
    path = tmp_path / "x.parquet"
    path.write_bytes(parquet)
    truth = pa.Table.from_batches(record_batches(Files(str(path)), DAY, {}))
    metadata = pq.read_metadata(path)
    pages = (
        metadata.row_group(3).column(2).total_compressed_size + metadata.row_group(3).column(2).dictionary_page_offset
    )
    rng = np.random.default_rng(11)
    for place in rng.integers(4, pages, 150):
        damaged = bytearray(parquet)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            came = pa.Table.from_batches(record_batches(Files(str(path)), DAY, {}))
        except BatchRejectedError as refused:
            assert refused.problems[0].code in ("damaged-file", "unknown-codec")  # noqa: PT017 - either is right
        else:
            assert came.equals(truth)  # a bit of a page header that nobody reads


# --- frames ------------------------------------------------------------------------------------------------------

BAD_FRAMES = [
    (14, pd.DataFrame({"a": [1, "x", 3]}, dtype=object), "mixed-types", (2,), "2 int, 1 str"),
    (16, pd.DataFrame({"a": [1, 2**70]}, dtype=object), "integer-too-large", (), "64 bits"),
    (43, pd.DataFrame({"a": ["x", "\ud800"]}, dtype=object), "invalid-utf8", (2,), "surrogate"),
    (16, pl.DataFrame({"a": pl.Series([2**100], dtype=pl.Int128)}), "unsupported-type", (), "cannot be read"),
    (10, pd.DataFrame([[1, 2]], columns=["a", "a"]), "duplicate-column", (), "'a'"),
]


@pytest.mark.parametrize(("number", "frame", "code", "rows", "words"), BAD_FRAMES, ids=lambda value: str(value)[:16])
def test_a_bad_frame_is_refused(number, frame, code, rows, words):
    with pytest.raises(BatchRejectedError) as caught:
        list(record_batches(lambda interval: frame, DAY, {}))
    has(caught.value, code, rows, words)


def test_columns_that_change_within_a_batch_are_refused():
    pieces = [pa.RecordBatch.from_pydict({"a": [1]}), pa.RecordBatch.from_pydict({"a": ["x"]})]
    with pytest.raises(BatchRejectedError) as caught:
        list(record_batches(lambda interval: iter(pieces), DAY, {}))
    has(caught.value, "changing-columns", (), "'a' was int64 and then is string")
