"""The rows of a sample are found wherever they were ever stored."""

from dataclasses import replace

import pytest

from diurnal.data import Column, Schema
from diurnal.data.sample_key import SampleKey
from diurnal.errors import NotFoundError, UsageError
from diurnal.experiment.run_context import RunContext
from diurnal.pipeline.key_rows import files_near_key, find_key_rows, parse_key
from diurnal.pipeline.scored_batches import score_batch
from projects import day, patients

DATE, PATIENT = "2026-11-01", "2026-11-01-0007"


def found_roles(found):
    return [(one.role, one.n_rows) for one in found.packages]


def test_rows_of_a_corrected_and_scored_batch_are_all_found(project, stores):
    project.bring(DATE)
    project.run(DATE, stores)
    rows = patients(DATE)
    rows.loc[rows["patient"] == PATIENT, "ill"] = "no"
    rows.loc[0, "age"] += 1
    project.bring(DATE, rows)
    project.run(DATE, stores)
    score_batch(RunContext(project.experiment(), day(DATE), stores, requested_by="a test"))

    found = find_key_rows(stores, parse_key(stores, "clinic", PATIENT))
    (side,) = {one.role for one in found.packages} - {"batch"}
    assert sorted(found_roles(found)) == sorted([("batch", 1)] * 2 + [(side, 1)] * 2)
    assert not found.missing
    assert [row["truth"] for row in found.batches][-1] == "no"
    assert len(found.batches) == 2
    (predicted,) = found.predictions
    shown = stores.warehouse.predictions("clinic").to_pylist()
    expected = next(row for row in shown if row["patient"] == PATIENT)
    assert {name: predicted[name] for name in ("prediction", "probability_no", "probability_yes")} == {
        name: expected[name] for name in ("prediction", "probability_no", "probability_yes")
    }
    assert found_roles(find_key_rows(stores, parse_key(stores, "clinic", "nothing"))) == []

    gone = found.packages[0].package
    stores.lake.fs.rm_file(stores.lake.url(gone.path))
    assert find_key_rows(stores, found.key).missing == (gone,)


def test_only_the_part_of_the_key_is_read(project, stores):
    stores = replace(stores, lake=type(stores.lake)(stores.lake.root, cells_per_part=64))
    project.bring(DATE)
    project.run(DATE, stores)
    for patient in patients(DATE)["patient"][:10]:
        found = find_key_rows(stores, parse_key(stores, "clinic", patient), roles=["batch"])
        assert found_roles(found) == [("batch", 1)]
        assert len(files_near_key(stores.lake, found.packages[0].package, found.key)) == 1
        assert len(stores.lake.manifest(found.packages[0].package).parts) > 8


def test_row_without_a_key_is_found_by_its_hash(project, stores):
    path = project.folder / "experiments" / "clinic.py"
    path.write_text(path.read_text().replace('key="patient", ', "").replace("drop='ward'", "drop=('ward', 'patient')"))
    project.bring(DATE)
    project.run(DATE, stores)
    score_batch(RunContext(project.experiment(), day(DATE), stores, requested_by="a test"))
    row = stores.warehouse.predictions("clinic").to_pylist()[5]
    found = find_key_rows(stores, parse_key(stores, "clinic", [str(row["row_hash"])]))
    assert found_roles(found)[0] == ("batch", 1)
    assert len(found.packages) == 2
    assert [one["prediction"] for one in found.predictions] == [row["prediction"]]


def test_key_that_changed_its_name_and_kind_is_found():
    first = Schema((Column("id", "int"), Column("age", "float"), Column("ill", "text")), "ill", key=("id",))
    now = replace(
        first,
        columns=(Column("patient", "text", former=("id",)), *first.columns[1:]),
        key=("patient",),
        origins=(("id", "int"),),
    )
    assert SampleKey.parse(now, "clinic", ["7"]).hash == SampleKey.parse(first, "clinic", ["7"]).hash


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a"], "the key has the columns shop, day; given: 'a'"),
        (["shop=a"], "given: 'shop=a'"),
        (["shop=a", "day=1"], "the column day of the key has the kind date; given: '1'"),
    ],
)
def test_wrong_key_is_rejected_with_what_is_allowed(texts, message):
    columns = (Column("shop", "text"), Column("day", "date"), Column("sold", "int"))
    with pytest.raises(UsageError) as caught:
        SampleKey.parse(Schema(columns, "sold", ("shop", "day")), "sales", texts)
    assert message in str(caught.value)


def test_experiment_without_a_batch_has_no_keys(stores):
    with pytest.raises(NotFoundError, match="clinic has no contract"):
        parse_key(stores, "clinic", "7")
