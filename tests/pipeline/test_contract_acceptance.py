"""Contracts change on purpose: accepted by a person as one more version, and older batches are read through it."""

import json
import shlex
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import psycopg
import pyarrow as pa
import pytest

from diurnal.backends.sample_reader import SampleReader
from diurnal.backends.sklearn import BACKEND
from diurnal.data import Column, Contract, Schema
from diurnal.errors import (
    BatchRejectedError,
    ContractRejectedError,
    ExperimentError,
    NotEnoughDataError,
    NotFoundError,
    UsageError,
)
from diurnal.experiment.run_context import RunContext
from diurnal.pipeline import contract_acceptance
from diurnal.pipeline.store_verification import verify_stores
from diurnal.types import Package, Run
from projects import Project, day, patients

FIRST, SECOND, THIRD = "2026-11-20", "2026-11-21", "2026-11-22"

EXPERIMENT = '''
from diurnal import experiment
from diurnal.sources import Files


@experiment(source=Files({pattern!r}), {declared})
def clinic():
    """Tell who is ill."""
    import numpy as np
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    numbers = make_pipeline(SimpleImputer(keep_empty_features=True))
    prepare = make_column_transformer(
        (numbers, make_column_selector(dtype_include=np.number)),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude=np.number)),
    )
    return make_pipeline(prepare, LogisticRegression(max_iter=1000))
'''

KEYED = "target='ill', key='patient', window='all'"


def clinic(project, declared=KEYED):
    pattern = str(project.folder / "incoming" / "{start:%Y-%m-%d}.csv")
    text = EXPERIMENT.format(pattern=pattern, declared=declared)
    (project.folder / "experiments" / "clinic.py").write_text(text)


@pytest.fixture
def project(tmp_path, warehouse_url):
    project = Project.make(tmp_path, warehouse_url)
    clinic(project)
    return project


@pytest.fixture
def stores(project):
    stores = project.stores()
    yield stores
    stores.warehouse.close()


def today(project, stores, date):
    return RunContext(project.experiment(), day(date), stores, requested_by="test")


def accept(project, stores, date, why="it is meant", **renames):
    return contract_acceptance.accept_changes(today(project, stores, date), renames, why)


def diff(project, stores, date, **renames):
    return contract_acceptance.diff_contract(today(project, stores, date), renames)


def kinds_of(found):
    return [(change.change, change.column) for change in found.changes]


def begun(project, stores, rows=None):
    """The first day is done: a whole age, so that it is an int."""
    project.bring(FIRST, whole(patients(FIRST)) if rows is None else rows)
    return project.run(FIRST, stores)


def whole(rows):
    return rows.assign(age=rows["age"].round().astype(int))


def view(warehouse_url, query="SELECT * FROM batch_data_clinic"):
    with psycopg.connect(warehouse_url) as connection:
        cursor = connection.execute(query)
        return pd.DataFrame(cursor.fetchall(), columns=[column.name for column in cursor.description])


CHANGES = {
    "new-column": lambda rows: rows.assign(weight=rows["age"] * 1.5),
    "dropped-column": lambda rows: rows.drop(columns="ward"),
    "wider-kind": lambda rows: rows.assign(age=rows["age"] + 0.5),
    "new-class": lambda rows: rows.assign(ill=["maybe" if i % 5 == 0 else v for i, v in enumerate(rows["ill"])]),
    "new-categories": lambda rows: rows.assign(ward=np.where(rows.index % 3 == 0, "west", rows["ward"])),
    "more-nulls": lambda rows: rows.assign(pressure=rows["pressure"].where(rows.index % 10 == 0)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_accepted_by_the_command_of_the_message(project, stores, change):
    begun(project, stores)
    project.bring(SECOND, CHANGES[change](whole(patients(SECOND))))
    if change != "new-categories":  # which are only warned of
        with pytest.raises(BatchRejectedError) as refused:
            project.run(SECOND, stores)
        told = str(refused.value).split(": ")[-1]
        assert told == f"diurnal contract clinic accept --date {SECOND} --why 'WHY IT CHANGED'"
        done = project.command(*shlex.split(told)[1:])
        assert (done.returncode, done.stderr) == (0, "")
    else:
        assert accept(project, stores, SECOND).number == 2
    assert diff(project, stores, SECOND).changes == ()
    outcome = project.run(SECOND, stores)
    assert (outcome.already, outcome.run["contract_version"]) == (False, 2)
    assert outcome.run["n_train"] + outcome.run["n_test"] == 480, "both batches are in the window"
    rows = stores.warehouse.contracts("clinic")
    assert [row["version"] for row in rows] == [1, 2]
    assert rows[1]["changes"][0]["change"] == change
    assert [finding for finding in verify_stores(stores) if finding.state != "good"] == []


def test_a_renamed_column_follows_in_model_and_view(project, stores, warehouse_url):
    begun(project, stores)
    project.bring(SECOND, whole(patients(SECOND)).rename(columns={"pressure": "pressure_mm"}))
    with pytest.raises(BatchRejectedError) as refused:
        project.run(SECOND, stores)
    assert " --rename pressure=pressure_mm " in str(refused.value)
    assert kinds_of(accept(project, stores, SECOND, pressure="pressure_mm")) == [("renamed-column", "pressure")]
    outcome = project.run(SECOND, stores)
    assert outcome.run["comparison"] is not None, "the champion is given the column under the name that it knows"
    signature = stores.warehouse.version("clinic", outcome.version)["signature"]
    assert "pressure_mm" in [column["name"] for column in signature["columns"]]
    shown = view(warehouse_url)
    assert "pressure" not in shown.columns
    assert shown["pressure_mm"].notna().all()
    assert len(shown) == 480


def test_the_view_has_new_columns_wider_kinds_and_those_that_are_gone(project, stores, warehouse_url):
    begun(project, stores)
    with psycopg.connect(warehouse_url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS reader_of_views")
        connection.execute("CREATE ROLE reader_of_views")
        connection.execute("GRANT SELECT ON batch_data_clinic TO reader_of_views")
    rows = whole(patients(SECOND))
    changed = rows.assign(age=rows["age"] + 0.5, weight=7).drop(columns="ward")
    project.bring(SECOND, changed)
    accept(project, stores, SECOND)
    project.run(SECOND, stores)
    shown = view(warehouse_url)
    assert list(shown.columns)[:6] == ["data_interval_start", "patient", "age", "pressure", "ward", "ill"]
    old, new = (part for _, part in shown.groupby("data_interval_start"))
    assert sorted(new["age"]) == sorted(changed["age"])
    assert (old["age"] % 1 == 0).all()
    assert old["weight"].isna().all()
    assert (new["weight"] == 7).all()
    assert (old["ward"].notna().all(), new["ward"].isna().all()) == (True, True)
    granted = "SELECT has_table_privilege('reader_of_views', 'batch_data_clinic', 'SELECT')"
    assert view(warehouse_url, granted).iloc[0, 0]
    assert [finding for finding in verify_stores(stores) if finding.state != "good"] == []
    with psycopg.connect(warehouse_url, autocommit=True) as connection:
        connection.execute("DROP OWNED BY reader_of_views")
        connection.execute("DROP ROLE reader_of_views")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda rows: rows.drop(columns="ill"), "needed-column"),
        (lambda rows: rows.drop(columns="patient"), "needed-column"),
        (lambda rows: rows.assign(pressure="high"), "text-in-number"),
        (lambda rows: rows.assign(patient=None), "null-key"),
        (lambda rows: rows.assign(weight=1, ill=np.where(rows.index % 2, 1.5, 2.5)), "target-kind"),
    ],
)
def test_what_no_version_would_take_in_is_refused_with_the_reason(project, stores, change, code):
    begun(project, stores)
    project.bring(SECOND, change(whole(patients(SECOND))))
    with pytest.raises(ContractRejectedError) as refused:
        accept(project, stores, SECOND)
    assert code in [problem.code for problem in refused.value.problems]
    assert len(stores.warehouse.contracts("clinic")) == 1


def test_a_batch_that_does_not_differ_changes_nothing(project, stores):
    begun(project, stores)
    project.bring(SECOND, whole(patients(SECOND)))
    found = accept(project, stores, SECOND)
    assert (found.number, found.changes) == (1, ())
    done = project.command("contract", "clinic", "accept", "--date", SECOND, "--why", "nothing")
    assert "does not differ" in done.stdout
    done = project.command("contract", "clinic", "diff", "--date", SECOND)
    assert done.stdout == "the batch does not differ from version 1 of the contract\n"


def test_accepting_twice_and_at_once_makes_one_version(project, stores):
    begun(project, stores)
    project.bring(SECOND, CHANGES["new-column"](whole(patients(SECOND))).rename(columns={"pressure": "mm"}))
    one = today(project, stores, SECOND)
    with ThreadPoolExecutor(2) as pool:
        found = list(
            pool.map(lambda _: contract_acceptance.accept_changes(one, {"pressure": "mm"}, "both at once"), range(2))
        )
    assert {(done.number, bool(done.changes)) for done in found} == {(2, True), (2, False)}
    assert accept(project, stores, SECOND, pressure="mm").changes == ()
    assert len(stores.warehouse.contracts("clinic")) == 2


def test_history_is_append_only(project, stores, warehouse_url):
    begun(project, stores)
    with psycopg.connect(warehouse_url) as connection, pytest.raises(psycopg.Error, match="append-only") as refused:
        connection.execute("UPDATE contracts SET why = 'another'")
    assert "diurnal contract NAME accept" in refused.value.diag.message_hint


def test_an_older_day_is_the_same_run_after_the_change(project, stores):
    begun(project, stores)
    project.bring(SECOND, CHANGES["wider-kind"](CHANGES["new-column"](whole(patients(SECOND)))))
    accept(project, stores, SECOND)
    project.run(SECOND, stores)
    assert project.run(FIRST, stores).already
    corrected = whole(patients(FIRST)).iloc[:200]
    project.bring(FIRST, corrected)
    outcome = project.run(FIRST, stores)
    assert not outcome.already
    assert outcome.run["n_train"] + outcome.run["n_test"] == 200
    project.bring(FIRST, CHANGES["wider-kind"](corrected))
    assert not project.run(FIRST, stores).already, "an older batch may have the newer kinds as well"
    project.bring(THIRD, whole(patients(THIRD)))
    with pytest.raises(BatchRejectedError, match="weight"):
        project.run(THIRD, stores)


def test_rows_keep_their_roles_through_all_changes_without_a_key(project, stores):
    clinic(project, "target='ill', drop='patient', window='all', duplicates='drop'")
    begun(project, stores)
    before = roles_of(stores, FIRST)
    changed = whole(patients(FIRST)).assign(age=lambda rows: rows["age"].astype(float), weight=2)
    changed.loc[240] = ["x", 50.5, 120.0, "south", "no", 3]  # so that the age is a float
    project.bring(SECOND, changed.rename(columns={"pressure": "aaa", "ward": "zzz"}))
    accept(project, stores, SECOND, pressure="aaa", ward="zzz")
    project.run(SECOND, stores)
    again = roles_of(stores, SECOND)
    assert len(again) == 241
    assert {patient: again[patient] for patient in before} == before


def test_no_test_sample_is_learnt_after_an_identifying_column_is_dropped(project, stores):
    clinic(project, "target='ill', drop='patient', window='all', duplicates='drop'")
    begun(project, stores)
    project.bring(SECOND, whole(patients(FIRST)).drop(columns="ward"))  # the same rows, less a column
    accept(project, stores, SECOND)
    made = today(project, stores, SECOND)
    outcome = project.run(SECOND, stores)
    test = {patient for date in (FIRST, SECOND) for patient, role in roles_of(stores, date).items() if role == "test"}
    assert outcome.run["n_train"] == 2 * (240 - len(test)), "those on both sides are learnt nowhere"
    assert outcome.run["comparison"] is None, "the champion has learnt all of these rows"
    assert made.newest_schema.lacks_identity


def roles_of(stores, date):
    """Tell the role of each patient, as the packages of a day have it."""
    packages = [row for row in stores.warehouse.packages() if row["data_interval_start"] == day(date).start]
    rows = [(row["role"], stores.lake.fs.cat_file(stores.lake.url(row["path"]))) for row in packages]
    return {
        patient: role
        for role, data in rows
        if role != "batch"
        for patient in pd.read_parquet(pa.BufferReader(data))["patient"]
    }


def test_new_columns_are_refused_ignored_or_accepted(project, stores):
    begun(project, stores)
    project.bring(SECOND, CHANGES["new-column"](whole(patients(SECOND))))
    clinic(project, KEYED + ", new_columns='ignore'")
    outcome = project.run(SECOND, stores)
    assert any("is ignored" in warning for warning in outcome.run["warnings"])
    assert len(stores.warehouse.contracts("clinic")) == 1
    clinic(project, KEYED + ", new_columns='accept'")
    outcome = project.run(SECOND, stores)
    assert any("'weight'" in warning and "accepted" in warning for warning in outcome.run["warnings"])
    (_, second) = stores.warehouse.contracts("clinic")
    assert (second["why"], second["accepted_by"]) == ("new_columns='accept'", "test")
    assert outcome.run["contract_version"] == 2


def test_new_columns_of_an_older_batch_are_refused_unattended(project, stores):
    clinic(project, KEYED + ", new_columns='accept'")
    project.bring(SECOND, whole(patients(SECOND)))
    project.run(SECOND, stores)
    project.bring(FIRST, CHANGES["new-column"](whole(patients(FIRST))))
    with pytest.raises(BatchRejectedError, match="extra-column"):
        project.run(FIRST, stores)
    with pytest.raises(ContractRejectedError, match="older-batch"):
        accept(project, stores, FIRST)


def test_contradicting_words_on_new_columns_are_refused(project):
    clinic(project, KEYED + ", new_columns='sometimes'")
    with pytest.raises(ExperimentError, match="'refuse', 'ignore', 'accept'"):
        project.experiment()


def test_a_rename_of_what_is_not_there_is_refused(project, stores):
    begun(project, stores)
    project.bring(SECOND, whole(patients(SECOND)))
    with pytest.raises(NotFoundError, match="did you mean 'pressure'"):
        accept(project, stores, SECOND, presure="age")
    with pytest.raises(NotFoundError, match="the batch has no column"):
        accept(project, stores, SECOND, pressure="tension")


def test_there_is_no_contract_before_the_first_batch(project, stores):
    project.bring(FIRST)
    with pytest.raises(UsageError, match="first batch fixes it"):
        accept(project, stores, FIRST)


def test_a_column_that_comes_back_is_the_same_column(project, stores):
    begun(project, stores)
    project.bring(SECOND, whole(patients(SECOND)).drop(columns="ward"))
    accept(project, stores, SECOND)
    project.run(SECOND, stores)
    project.bring(THIRD, whole(patients(THIRD)))
    assert kinds_of(accept(project, stores, THIRD)) == [("new-column", "ward")]
    project.run(THIRD, stores)
    contract = Contract.from_rows(stores.warehouse.contracts("clinic"))
    assert [one.schema.gone != () for one in contract.versions] == [False, True, False]
    table = pa.concat_tables(
        SampleReader(today(project, stores, THIRD), contract.newest.schema).samples(
            [package for _, package in stores.warehouse.window("clinic", day(THIRD))]
        )
    )
    assert table["ward"].null_count == 240


def test_show_diff_and_history_print_json(project, stores):
    begun(project, stores)
    project.bring(SECOND, CHANGES["new-column"](whole(patients(SECOND))))
    found = json.loads(project.command("contract", "clinic", "diff", "--date", SECOND, "--json").stdout)
    assert [(row["change"], row["column"], row["acceptable"]) for row in found] == [("new-column", "weight", True)]
    accept(project, stores, SECOND, why="the scales have come")
    shown = json.loads(project.command("contract", "clinic", "show", "--json").stdout)
    assert (shown["version"], shown["target"], shown["classes"]) == (2, "ill", ["no", "yes"])
    assert {column["name"]: column["role"] for column in shown["columns"]} == {
        "patient": "key", "age": "feature", "pressure": "feature", "ward": "feature", "ill": "target",
        "weight": "feature",
    }  # fmt: skip
    (newest, first) = json.loads(project.command("contract", "clinic", "history", "--json").stdout)
    assert (newest["version"], newest["why"], newest["changes"][0]["column"]) == (2, "the scales have come", "weight")
    assert first["why"] == "the first batch fixed it"
    table = project.command("contract", "clinic", "history").stdout
    assert "the scales have come" in table
    assert Schema.from_dict(stores.warehouse.schema("clinic", 1)).names == ("patient", "age", "pressure", "ward", "ill")


def test_diff_reads_a_file(project, stores):
    begun(project, stores)
    other = project.folder / "other.csv"
    CHANGES["dropped-column"](whole(patients(SECOND))).to_csv(other, index=False)
    done = project.command("contract", "clinic", "diff", "--file", str(other))
    assert (done.returncode, "dropped-column" in done.stdout) == (0, True)
    whole(patients(SECOND)).drop(columns="ill").to_csv(other, index=False)
    done = project.command("contract", "clinic", "diff", "--file", str(other), "--json")
    assert (done.returncode, json.loads(done.stdout)[0]["change"]) == (65, "needed-column")


def test_champion_of_an_older_contract_is_compared_where_it_can_score_the_rows(project, stores):
    begun(project, stores)
    changed = CHANGES["wider-kind"](CHANGES["new-column"](whole(patients(SECOND)))).rename(columns={"ward": "station"})
    project.bring(SECOND, changed)
    accept(project, stores, SECOND, ward="station")
    outcome = project.run(SECOND, stores)
    found, model = outcome.run["comparison"], diurnal_model(stores, "clinic@1")
    batch = changed.set_index("patient")
    test = [patient for patient, role in roles_of(stores, SECOND).items() if role == "test"]
    rows = batch.loc[test].rename(columns={"station": "ward"})
    own = (model.predict(rows[["age", "pressure", "ward"]]) == rows["ill"]).mean()
    assert found["n_compared"] == len(test)
    assert found["champion_score"] == pytest.approx(own), "scikit-learn says so of the model itself"


def diurnal_model(stores, reference):
    from diurnal.storage.load_model import load_version, resolve_reference

    return load_version(stores.models, resolve_reference(stores.warehouse, reference), stores.code)


@pytest.mark.parametrize("policy", ["guarded", "superior"])
def test_champion_that_cannot_score_the_rows_is_replaced_and_the_reason_is_kept(project, stores, policy):
    clinic(project, f"{KEYED}, promotion={policy!r}")
    begun(project, stores)
    project.bring(SECOND, whole(patients(SECOND)).drop(columns="ward"))
    accept(project, stores, SECOND)
    outcome = project.run(SECOND, stores)
    assert outcome.run["comparison"] is None
    assert any("needs the column 'ward'" in warning for warning in outcome.run["warnings"])
    assert outcome.promoted
    assert "earlier version of the contract" in outcome.reason
    assert stores.warehouse.promotions("clinic")[0]["evidence"]["uncompared"] == "other-contract"


def test_a_dropped_feature_that_is_declared_again_is_scored_by_its_champion(project, stores):
    begun(project, stores)
    clinic(project, KEYED + ", drop='ward'")
    project.bring(SECOND, whole(patients(SECOND)))
    outcome = project.run(SECOND, stores)
    assert outcome.run["comparison"] is not None, "the column is in the batch, though no feature any more"


def test_models_of_older_contracts_predict_rows_of_either_names(project, stores):
    begun(project, stores)
    rows = whole(patients(SECOND))
    project.bring(SECOND, CHANGES["wider-kind"](rows).rename(columns={"pressure": "mm"}))
    accept(project, stores, SECOND, pressure="mm")
    project.run(SECOND, stores)
    answers = {}
    for name, given in {"old": rows, "new": rows.rename(columns={"pressure": "mm"})}.items():
        given.to_csv(project.folder / f"{name}.csv", index=False)
        done = project.command("predict", "clinic@1", f"{name}.csv")
        assert (done.returncode, done.stderr) == (0, "")
        answers[name] = done.stdout
    assert answers["old"] == answers["new"]
    assert len(answers["old"].splitlines()) == 241
    done = project.command("rollback", "clinic", "--to", "1", "--yes")
    assert done.returncode == 0
    rows.drop(columns="pressure").to_csv(project.folder / "less.csv", index=False)
    assert "'mm' is missing" in project.command("predict", "clinic", "less.csv").stderr


def test_declaration_follows_a_renamed_target(project, stores):
    begun(project, stores)
    project.bring(SECOND, whole(patients(SECOND)).rename(columns={"ill": "sick"}))
    accept(project, stores, SECOND, ill="sick")
    with pytest.raises(ExperimentError, match="declare target='sick'"):
        project.run(SECOND, stores)
    clinic(project, KEYED.replace("'ill'", "'sick'"))
    outcome = project.run(SECOND, stores)
    assert outcome.run["n_train"] + outcome.run["n_test"] == 480
    assert outcome.run["comparison"] is not None
    project.bring(FIRST, whole(patients(FIRST)).iloc[:100])
    assert project.run(FIRST, stores).run["n_train"] < 100, "an older file has the older name"


def test_a_change_amid_a_run_does_not_touch_the_run(project, stores):
    from diurnal.pipeline import steps

    begun(project, stores)
    project.bring(SECOND, whole(patients(SECOND)))
    one = today(project, stores, SECOND)
    batch = steps.fetch(one)
    project.bring(THIRD, CHANGES["new-column"](whole(patients(THIRD))))
    accept(project, stores, THIRD)
    steps.save_batch(one, batch)
    samples = steps.split(one, batch)
    search = steps.tune(one, samples)
    evaluation = steps.evaluate(one, samples, search)
    steps.record(one, search, evaluation)
    signature = steps.refit(one, samples, search).signature
    assert [column["name"] for column in signature["columns"]] == ["age", "pressure", "ward"]
    assert stores.warehouse.run(batch.run.run_id)["contract_version"] == 1


def test_an_hourly_batch_is_named_by_its_instant(project, stores):
    declared = KEYED + ", schedule='@hourly'"
    pattern = str(project.folder / "incoming" / "{start:%Y-%m-%d-%H}.csv")
    (project.folder / "experiments" / "clinic.py").write_text(EXPERIMENT.format(pattern=pattern, declared=declared))
    done = project.command("run", "clinic", "--date", f"{FIRST}T05:00Z")
    rows = patients(FIRST)
    rows.to_csv(project.folder / "incoming" / f"{FIRST}-05.csv", index=False)
    done = project.command("run", "clinic", "--date", f"{FIRST}T05:00Z")
    assert done.returncode == 0, done.stderr
    rows.assign(weight=1).to_csv(project.folder / "incoming" / f"{FIRST}-06.csv", index=False)
    done = project.command("run", "clinic", "--date", f"{FIRST}T06:00Z")
    told = done.stderr.strip().split(": ")[-1]
    assert done.returncode == 65
    assert project.command(*shlex.split(told)[1:]).returncode == 0, told
    assert project.command("run", "clinic", "--date", f"{FIRST}T06:00Z").returncode == 0


@pytest.mark.parametrize("cells", [None, 400])
def test_small_packages_and_those_of_parts_are_read_through_alike(project, stores, cells, monkeypatch):
    if cells:
        monkeypatch.setattr(stores.lake, "cells_per_part", cells)
    clinic(project, "target='ill', drop='patient', window='all', duplicates='drop'")
    begun(project, stores)
    project.bring(SECOND, CHANGES["wider-kind"](whole(patients(SECOND))).rename(columns={"pressure": "mm"}))
    accept(project, stores, SECOND, pressure="mm")
    outcome = project.run(SECOND, stores)
    assert outcome.run["n_train"] + outcome.run["n_test"] == 480
    reader = SampleReader(today(project, stores, SECOND), stores_schema(stores))
    packages = [package for _, package in stores.warehouse.window("clinic", day(SECOND))]
    X = BACKEND.read_training_data(reader, packages).X
    wanted = pd.concat([whole(patients(FIRST)), CHANGES["wider-kind"](whole(patients(SECOND)))])
    assert sorted(X["age"]) == sorted(wanted["age"])
    assert sorted(X["mm"]) == sorted(wanted["pressure"])


@pytest.mark.parametrize(("side", "accepted"), [("before", False), ("after", True)])
def test_accept_that_is_killed_is_there_or_is_not(project, stores, side, accepted):
    begun(project, stores)
    project.bring(SECOND, CHANGES["new-column"](whole(patients(SECOND))))
    words = ("contract", "clinic", "accept", "--date", SECOND, "--why", "new scales", "--json")
    assert project.command(*words, fault=f"kill@warehouse.add_contract_version:{side}").returncode < 0
    assert len(stores.warehouse.contracts("clinic")) == 1 + accepted
    said = json.loads(project.command(*words).stdout)
    assert (said["version"], said["accepted"]) == (2, not accepted)
    assert len(stores.warehouse.contracts("clinic")) == 2


def test_the_table_of_rows_may_be_made_after_the_change(project, stores, warehouse_url):
    begun(project, stores)
    project.bring(SECOND, CHANGES["wider-kind"](whole(patients(SECOND))).rename(columns={"pressure": "mm"}))
    accept(project, stores, SECOND, pressure="mm")
    with psycopg.connect(warehouse_url, autocommit=True) as connection:
        connection.execute("DROP VIEW batch_data_clinic")
        connection.execute("DROP TABLE batch_rows_clinic")
        connection.execute("UPDATE heads SET load_id = NULL")
        connection.execute("DELETE FROM loads")
    project.run(SECOND, stores)
    project.bring(FIRST, whole(patients(FIRST)).iloc[:100])
    project.run(FIRST, stores)
    shown = view(warehouse_url)
    assert list(shown.columns) == ["data_interval_start", "patient", "age", "mm", "ward", "ill"]
    assert (len(shown), shown.isna().sum().sum()) == (340, 0)
    assert [finding for finding in verify_stores(stores) if finding.state != "good"] == []


def test_a_wide_table_keeps_further_columns_in_its_object(warehouse):
    def loaded(date, columns, contract):
        interval = day(date)
        epoch = warehouse.claim_interval("genes", interval, requested_by="a test")
        one = Run(f"genes-{date}", "genes", interval, epoch, f"{len(columns):064d}", "", "")
        package = Package(f"genes/{date}", f"{len(columns):064d}", 2)
        rows = pa.table({name: [1, 2] if name == "g0" else [1.5, 2.5] for name in columns})
        loaded = warehouse.load(one, package, rows.schema, rows.to_batches(), leading={"g1"}, contract=contract)
        again = pa.Table.from_batches(list(warehouse.load_rows("genes", loaded, rows.schema, contract)))
        assert again.equals(rows)

    names = [f"g{i}" for i in range(1500)]
    kinds = {"g0": "int"}
    first = Schema(tuple(Column(name, kinds.get(name, "float")) for name in names), "g1")
    loaded(FIRST, names, first)
    origins = (("g0", "int"),)
    wide = Schema(
        (*(Column(name, "float") for name in names[:-1]), Column("late", "float", former=(names[-1],)),
         Column("new", "float")), "g1", origins=origins,
    )  # fmt: skip
    loaded(SECOND, [*names[:-1], "late", "new"], wide)
    found = warehouse.loads()
    assert [row["state"] for row in found] == ["complete", "complete"]


def test_check_with_data_ends_with_the_command(project, stores):
    begun(project, stores)
    project.bring(SECOND, CHANGES["new-column"](whole(patients(SECOND))))
    done = project.command("check", "clinic", "--data", "--date", SECOND)
    assert done.stdout.strip().endswith(f"diurnal contract clinic accept --date {SECOND} --why 'WHY IT CHANGED'")


DECLARED = {
    "content": "target='ill', drop='patient', duplicates='drop'",
    "every row": "target='ill', drop='patient', duplicates='keep'",
    "groups": "target='ill', key='patient', groups='house'",
    "groups without a key": "target='ill', drop='patient', groups='house', duplicates='drop'",
    "time": "target='ill', key='patient', split='time', order_by='pressure'",
    "a sample": "target='ill', key='patient', sample=0.8",
}


@pytest.mark.parametrize("declared", DECLARED.values(), ids=DECLARED.keys())
def test_a_window_that_spans_changes_is_right_however_rows_are_identified(project, stores, declared):
    clinic(project, declared + ", window='all'")
    project.bring(FIRST, housed(whole(patients(FIRST))))
    if "time" in declared:
        with pytest.raises(NotEnoughDataError):  # the first day alone has nothing to train on
            project.run(FIRST, stores)
    else:
        project.run(FIRST, stores)
    changed = housed(CHANGES["wider-kind"](CHANGES["new-column"](whole(patients(SECOND)))))
    changed = changed.rename(columns={"weight": "aaa"})
    project.bring(SECOND, changed)
    assert [change.change for change in accept(project, stores, SECOND).changes] == ["new-column", "wider-kind"]
    second = project.run(SECOND, stores)
    assert second.run["contract_version"] == 2
    project.bring(THIRD, changed.assign(patient=[f"third-{i}" for i in range(240)]).drop(columns="aaa"))
    assert kinds_of(accept(project, stores, THIRD)) == [("dropped-column", "aaa")]
    third = project.run(THIRD, stores)
    rows = third.run["n_train"] + third.run["n_test"]
    assert rows <= 720
    if "sample" not in declared and "content" not in declared and "without" not in declared:
        assert rows == 720
    project.bring(FIRST, housed(whole(patients(FIRST))).iloc[:120])
    if "time" in declared:
        with pytest.raises(NotEnoughDataError):
            project.run(FIRST, stores)
    else:
        assert not project.run(FIRST, stores).already
    assert not project.run(THIRD, stores).already, "its window has a corrected day"
    assert project.run(THIRD, stores).already
    assert [finding for finding in verify_stores(stores) if finding.state != "good"] == []


@pytest.mark.parametrize(
    ("first", "later", "wide"),
    [
        (lambda i: i, lambda i: f"A{i}", "text"),
        (lambda i: f"2026-01-{i % 28 + 1:02d}", lambda i: f"2026-01-{i % 28 + 1:02d} 08:30:00", "timestamp"),
        (lambda i: f"2026-01-{i % 28 + 1:02d}", lambda i: f"week {i % 50}", "text"),
    ],
)
def test_texts_and_times_that_are_wider_are_read_so_in_older_batches(
    project, stores, warehouse_url, first, later, wide
):
    clinic(project, KEYED + ", drop='code'")
    begun(project, stores, patients(FIRST).assign(code=[first(i) for i in range(240)]))
    project.bring(SECOND, patients(SECOND).assign(code=[later(i) for i in range(240)]))
    (change,) = accept(project, stores, SECOND).changes
    assert (change.change, change.after) == ("wider-kind", wide)
    project.run(SECOND, stores)
    packages = [package for _, package in stores.warehouse.window("clinic", day(SECOND))]
    reader = SampleReader(today(project, stores, SECOND), stores_schema(stores))
    old = pa.Table.from_batches(reader.rows(packages[0], ["patient", "code"]))
    codes = dict(zip(old["patient"].to_pylist(), map(str, old["code"].to_pylist()), strict=True))
    assert codes[f"{FIRST}-0007"] == str(pd.Timestamp(first(7)) if wide == "timestamp" else first(7))
    shown = view(warehouse_url, "SELECT code FROM batch_data_clinic")
    assert shown["code"].notna().all()
    assert [finding for finding in verify_stores(stores) if finding.state != "good"] == []


def test_ranges_know_the_present_names_also_for_older_batches(project, stores):
    begun(project, stores)
    project.bring(SECOND, whole(patients(SECOND)).rename(columns={"pressure": "mm"}))
    accept(project, stores, SECOND, pressure="mm")
    limits = "limits=__import__('diurnal').Limits(ranges={'mm': (None, 100)})"
    clinic(project, f"{KEYED}, {limits}")
    project.bring(FIRST, whole(patients(FIRST)).iloc[:200])
    with pytest.raises(BatchRejectedError, match="above-range"):
        project.run(FIRST, stores)


def housed(rows):
    return rows.assign(house=[f"h{i % 40}" for i in range(len(rows))])


def test_versions_of_each_contract_are_made_again_without_the_rows_of_the_warehouse(project, stores, warehouse_url):
    from diurnal.pipeline.replay import replay_version

    begun(project, stores)
    project.bring(SECOND, CHANGES["wider-kind"](whole(patients(SECOND))).rename(columns={"pressure": "mm"}))
    accept(project, stores, SECOND, pressure="mm")
    project.run(SECOND, stores)
    with psycopg.connect(warehouse_url, autocommit=True) as connection:
        connection.execute("DELETE FROM batch_rows_clinic")
    for version in (1, 2):
        assert replay_version(stores, "clinic", version, project.experiment).equal


def test_a_run_that_was_recorded_before_a_change_goes_on_through_its_own_version(project, stores):
    from diurnal.pipeline import steps

    begun(project, stores)
    project.bring(SECOND, whole(patients(SECOND)))
    one = today(project, stores, SECOND)
    batch = steps.fetch(one)
    samples = steps.split(one, batch)
    search = steps.tune(one, samples)
    steps.record(one, search, steps.evaluate(one, samples, search))
    project.bring(THIRD, CHANGES["new-column"](whole(patients(THIRD))))
    accept(project, stores, THIRD)
    outcome = project.run(SECOND, stores)
    assert (outcome.run["run_id"], outcome.run["contract_version"]) == (batch.run.run_id, 1)
    columns = stores.warehouse.version("clinic", outcome.version)["signature"]["columns"]
    assert [column["name"] for column in columns] == ["age", "pressure", "ward"]


def stores_schema(stores):
    return Schema.from_dict(stores.warehouse.schema("clinic"))
