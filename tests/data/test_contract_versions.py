"""What a batch is held against, how rows are hashed, and how packages are read: pure functions of a contract."""

from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diurnal.data import Column, Contract, ContractVersion, Schema
from diurnal.data.batch_contract import run_checks_in_newest_schema
from diurnal.data.contract_changes import Change, apply_changes, column_change_problems, identity_origins
from diurnal.data.fitted_columns import FittedColumns
from diurnal.data.row_hash import hash_rows
from diurnal.data.row_identity import identity_hasher
from diurnal.data.train_test_split import assign_role
from diurnal.data.version_reader import read_in_newest_schema, stored_names


def at(number):
    return datetime(2026, 11, number, tzinfo=UTC)


def schema(*names, key=(), **words):
    return Schema(tuple(Column(name, "float") for name in (*names, "y")), "y", key=key, task="regression", **words)


def evolved(before, *changes, found=None):
    return apply_changes(before, [Change(*change) for change in changes], found or before)


FIRST = schema("a", "b")
WITH_C = evolved(FIRST, ("new-column", "c", None, "float"), found=schema("a", "b", "c"))
WITHOUT_B = evolved(WITH_C, ("dropped-column", "b", "float"))
CONTRACT = Contract(
    (ContractVersion(1, FIRST), ContractVersion(2, WITH_C, at(10)), ContractVersion(3, WITHOUT_B, at(20)))
)


@pytest.mark.parametrize(
    ("day", "header", "chosen"),
    [
        (5, "aby", FIRST),
        (5, "abcy", WITH_C),
        (5, "acy", WITHOUT_B),
        (10, "abcy", WITH_C),
        (10, "aby", WITHOUT_B),
        (15, "acy", WITHOUT_B),
        (20, "abcy", WITHOUT_B),
        (25, "acy", WITHOUT_B),
    ],
)
def test_batch_is_held_against_the_columns_of_its_time_or_of_later_ones(day, header, chosen):
    assert CONTRACT.choose_layout(at(day), list(header)).names == chosen.names


def test_kinds_are_those_of_the_time_and_classes_those_of_the_newest():
    int_a = Schema((Column("a", "int"), Column("y", "text")), "y", classes=("no", "yes"))
    float_a = evolved(int_a, ("wider-kind", "a", "int", "float"))
    with_label = evolved(float_a, ("new-class", "y", ["no", "yes"], ["maybe"]))
    contract = Contract(
        (ContractVersion(1, int_a), ContractVersion(2, float_a, at(10)), ContractVersion(3, with_label, at(8)))
    )
    kinds = {day: contract.choose_layout(at(day), ["a", "y"]).column("a").kind for day in (5, 9, 12)}
    assert kinds == {5: "int", 9: "float", 12: "float"}
    assert contract.choose_layout(at(5), ["a", "y"]).classes == ("maybe", "no", "yes")


cells = {
    "int": st.integers(-(2**53), 2**53),
    "date": st.dates(date(1900, 1, 1), date(2100, 1, 1)),
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "text": st.text(max_size=5),
}
WIDE = {("int", "float"), ("int", "text"), ("date", "timestamp"), ("date", "text")}


@given(st.data(), st.sampled_from(sorted(WIDE)))
def test_widened_and_renamed_cells_are_hashed_as_before(data, kinds):
    narrow, wide = kinds
    values = data.draw(st.lists(st.none() | cells[narrow], min_size=1, max_size=5))
    others = data.draw(st.lists(cells["text"], min_size=len(values), max_size=len(values)))
    before = Schema((Column("m", narrow), Column("t", "text"), Column("y", "float")), "y", task="regression")
    rows = pa.table({"m": pa.array(values, before.arrow_schema.field("m").type), "t": others, "y": [0.0] * len(values)})
    found = Schema((Column("a", wide), *before.columns[1:]), "y")
    after = evolved(before, ("renamed-column", "m", "m", "a"), ("wider-kind", "a", narrow, wide), found=found)
    (through,) = read_in_newest_schema(rows.to_batches(), after, after.names)
    assert through.column("a").type == after.arrow_schema.field("a").type
    old = hash_rows(rows, ["m", "t"], "x")
    assert np.array_equal(identity_hasher(after, "x")(through), old), "read through the newest version"
    assert np.array_equal(identity_hasher(after, "x")(rows), old), "as the package is"
    assert np.array_equal(identity_hasher(before, "x")(rows), old)
    assert assign_role([values[0], others[0]], "x", 0.5) == ("test" if old[0] < 2**63 else "train")


@pytest.mark.parametrize("text", ["007", "-0", "+7", "1e3", " 7", "9" * 30, "\u0667", ""])
def test_texts_that_are_no_plain_number_are_no_int_to_the_hash(text):
    before = Schema((Column("m", "int"), Column("y", "float")), "y", task="regression")
    after = evolved(before, ("wider-kind", "m", "int", "text"))
    hashes = identity_hasher(after, "x")(pa.table({"m": [text]}))
    assert hashes[0] == hash_rows(pa.table({"m": [text]}), ["m"], "x")[0]


def test_column_that_is_gone_is_null_in_the_hash_or_left_out():
    new = pa.table({"a": [1.0], "c": [2.0]})
    old = pa.table({"a": [1.0], "b": [None]}, pa.schema([("a", pa.float64()), ("b", pa.float64())]))
    assert identity_hasher(WITHOUT_B, "x")(new)[0] == hash_rows(old, ["a", "b"], "x")[0]
    whole = pa.table({"a": [1.0], "b": [5.0]})
    left = [identity_hasher(WITHOUT_B, "x", present_only=True)(rows)[0] for rows in (new, whole)]
    assert left[0] == left[1]
    assert WITHOUT_B.lacks_identity
    assert not WITH_C.lacks_identity


def test_only_what_a_package_has_is_read_of_it():
    renamed = evolved(WITHOUT_B, ("renamed-column", "a", "a", "z"))
    assert stored_names(renamed, ["z", "b", "c"], ["a", "b", "y"]) == ["a", "b"]
    old = pa.RecordBatch.from_pydict({"a": [1.0], "b": [2.0]})
    assert [batch.to_pylist() for batch in read_in_newest_schema([old], renamed, ["z", "b", "c"])] == [
        [{"z": 1.0, "b": 2.0, "c": None}]
    ]


def test_schema_is_the_same_after_json():
    renamed = evolved(WITHOUT_B, ("renamed-column", "a", "a", "z"))
    assert Schema.from_dict(renamed.to_dict()) == renamed
    assert "former" not in str(FIRST.to_dict()), "a contract that never changed is written as ever"
    assert identity_origins(renamed) == (("a", "float"), ("b", "float"))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("new-column", "a", None, "float"), "name-taken"),
        (("new-column", "b", None, "text"), "other-type"),
        (("new-column", "b", None, "float"), None),
        (("renamed-column", "z", "z", "b"), "name-taken"),
        (("renamed-column", "z", "z", "a"), None),
        (("renamed-column", "z", "z", "q"), None),
        (("dropped-column", "y", "float"), "needed-column"),
    ],
)
def test_a_name_belongs_to_one_column_for_life(change, code):
    contract = evolved(WITHOUT_B, ("renamed-column", "a", "a", "z"))
    found = [problem.code for problem in column_change_problems(contract, [Change(*change)])]
    assert found == ([code] if code else [])


def test_key_keeps_the_identity_whatever_else_goes():
    keyed = evolved(schema("a", "b", key=("a",)), ("dropped-column", "b", "float"))
    assert keyed.identity == ("a",)
    assert not keyed.lacks_identity


def test_columns_of_a_model_are_known_by_their_present_names():
    now = evolved(WITHOUT_B, ("renamed-column", "a", "a", "z"))
    assert FittedColumns.from_signature({"columns": [{"name": "a", "kind": "float"}]}, now).names == {"a": "z"}
    assert "'b'" in FittedColumns.from_signature({"columns": [{"name": "b", "kind": "float"}]}, now).incompatibility
    text = evolved(
        Schema((Column("a", "int"), Column("y", "float")), "y", task="regression"), ("wider-kind", "a", "int", "text")
    )
    assert (
        "is text and was int"
        in FittedColumns.from_signature({"columns": [{"name": "a", "kind": "int"}]}, text).incompatibility
    )


def test_checks_of_the_experiment_see_the_present_names_and_kinds():
    class Checks:
        seen = None

        def validate(self, frame, lazy):
            self.seen = dict(frame.dtypes.astype(str))

    now = evolved(FIRST, ("renamed-column", "a", "a", "z"))
    checks, batch = Checks(), pa.RecordBatch.from_pydict({"a": [1.0], "b": [2.0], "y": [3.0]})
    assert list(run_checks_in_newest_schema([batch], checks, FIRST, now)) == [batch], "it is kept as it came"
    assert checks.seen == {"z": "float64", "b": "float64", "y": "float64"}
