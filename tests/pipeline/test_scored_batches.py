"""Predictions of batches: one for each key and data interval, in the view all of them or none."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import product

import numpy as np
import pandas as pd
import psycopg
import pytest

import diurnal
from diurnal.data import Column, Schema
from diurnal.errors import BatchRejectedError, NotFoundError, SupersededError
from diurnal.experiment.run_context import RunContext
from diurnal.pipeline import garbage, store_verification
from diurnal.pipeline.prediction_columns import prediction_contract
from diurnal.pipeline.scored_batches import score_batch
from diurnal.storage.load_model import load_version
from projects import Project, day, patients

POINTS = ["warehouse.claim_predictions", "warehouse.prediction_rows", "warehouse.show_predictions"]
TRAINED, SCORED = "2026-11-01", "2026-11-02"


@pytest.fixture
def trained(project, stores):
    """A project with a champion, and rows without labels for the next day."""
    project.bring(TRAINED)
    project.run(TRAINED, stores)
    project.bring(SCORED, patients(SCORED).drop(columns="ill"))
    return project


def context_of(project, stores, date=SCORED):
    return RunContext(project.experiment(), day(date), stores, requested_by="a test")


def score(project, stores, date=SCORED, **options):
    return score_batch(context_of(project, stores, date), **options)


def promote(stores, version):
    stores.warehouse.set_champion("clinic", version, requested_by="a test", reason="test", action="promote")


def query(project, sql):
    with psycopg.connect(project.warehouse_url) as connection:
        return connection.execute(sql).fetchall()


def view(project):
    with psycopg.connect(project.warehouse_url) as connection:
        cursor = connection.execute("SELECT * FROM predictions_clinic ORDER BY patient")
        return pd.DataFrame(cursor.fetchall(), columns=[column.name for column in cursor.description])


def test_rows_without_labels_are_predicted_as_the_model_predicts_them(trained, stores):
    progress = []
    result = score(trained, stores, progress=lambda done, total: progress.append((done, total)))
    assert (result.state, result.version, result.n_rows, result.n_repeated) == ("scored", 1, 240, 0)
    assert progress == [(240, 240)]
    rows, found = patients(SCORED), view(trained)
    version = stores.warehouse.version("clinic", 1)
    model = load_version(stores.models, version, stores.code)
    assert found["patient"].tolist() == rows["patient"].tolist()
    assert found["prediction"].tolist() == list(model.predict(rows[["age", "pressure"]]))
    probabilities = model.predict_proba(rows[["age", "pressure"]])
    for label, column in zip(model.classes_, probabilities.T, strict=True):
        np.testing.assert_array_equal(found[f"probability_{label}"], column)
    assert set(found["version"]) == {1}
    assert set(found["digest"]) == {version["digest"]}
    assert set(found["data_interval_start"]) == {day(SCORED).start}
    assert set(found["data_interval_end"]) == {day(SCORED).end}
    assert found["predicted_at"].notna().all()


def test_stored_batch_is_scored_in_place_of_the_source(trained, stores):
    trained.bring(TRAINED, patients(TRAINED, 3))
    assert score(trained, stores, TRAINED).n_rows == 240


def test_same_rows_in_another_order_and_repeated_are_unchanged(trained, stores):
    first = score(trained, stores)
    rows = patients(SCORED).drop(columns="ill")
    trained.bring(SCORED, pd.concat([rows[::-1], rows[:7]]))
    again = score(trained, stores)
    assert (again.state, again.load_id, again.n_repeated) == ("unchanged", first.load_id, 7)
    assert len(view(trained)) == 240
    assert len(stores.warehouse.prediction_loads()) == 1


def test_changed_rows_replace_the_predictions_of_their_interval_only(trained, stores):
    score(trained, stores, TRAINED)
    score(trained, stores)
    trained.bring(SCORED, patients(SCORED, 100).drop(columns="ill"))
    assert score(trained, stores).state == "scored"
    counts = query(trained, "SELECT data_interval_start, count(*) FROM predictions_clinic GROUP BY 1 ORDER BY 1")
    assert [n for _, n in counts] == [240, 100]


def test_another_champion_replaces_predictions_only_on_request(trained, stores):
    first = score(trained, stores)
    trained.bring("2026-11-03", patients("2026-11-03", shift=2.0))
    trained.run("2026-11-03", stores)
    if stores.warehouse.champion("clinic").version != 2:
        promote(stores, 2)
    kept = score(trained, stores)
    assert (kept.state, kept.version, kept.requested_version) == ("kept", 1, 2)
    assert set(view(trained)["version"]) == {1}
    second = score(trained, stores, rescore=True)
    assert (second.state, second.version) == ("scored", 2)
    assert set(view(trained)["version"]) == {2}
    assert len(view(trained)) == 240
    back = score(trained, stores, version=1, rescore=True)
    assert (back.version, back.load_id) == (1, first.load_id), "predictions of the same rows and version are used again"
    loads = stores.warehouse.prediction_loads("clinic")
    assert [(load["version"], load["shown"]) for load in loads] == [(1, True), (2, False)]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda rows: pd.concat([rows, rows[:3].assign(age=1.0)]), "3 values of the key 'patient' have several rows"),
        (lambda rows: rows.drop(columns="patient"), "missing-column"),
        (lambda rows: rows.drop(columns="pressure"), "missing-column"),
        (lambda rows: rows.assign(age="old"), "age"),
        (lambda rows: rows.assign(patient=[None, *rows["patient"][1:]]), "the key patient is null"),
    ],
)
def test_invalid_rows_change_nothing_and_are_not_echoed(trained, stores, change, expected):
    score(trained, stores)
    before = view(trained)
    trained.bring(SCORED, change(patients(SCORED).drop(columns="ill")))
    with pytest.raises(BatchRejectedError, match=expected) as error:
        score(trained, stores)
    assert f"{SCORED}-0001" not in str(error.value)
    pd.testing.assert_frame_equal(view(trained), before)


def test_interval_must_have_ended_and_there_must_be_a_champion(trained, stores):
    with pytest.raises(BatchRejectedError, match="not over before"):
        score(trained, stores, now=day(SCORED).end - timedelta(seconds=1))
    with pytest.raises(NotFoundError, match="no version 7"):
        score(trained, stores, version=7)


def test_interval_without_rows_has_no_predictions(trained, stores):
    score(trained, stores)
    trained.bring(SCORED, patients(SCORED).drop(columns="ill")[:0])
    assert score(trained, stores).n_rows == 0
    assert len(view(trained)) == 0


def test_rows_without_key_are_numbered_and_hashed(tmp_path, another_url):
    project = Project.make(tmp_path / "keyless", another_url, "drop=['ward', 'patient']")
    file = project.folder / "experiments" / "clinic.py"
    file.write_text(file.read_text().replace('key="patient", ', ""))
    stores = project.stores()
    try:
        project.bring(TRAINED)
        project.run(TRAINED, stores)
        score(project, stores, TRAINED)
        stored = query(project, "SELECT row_hash, prediction FROM predictions_clinic ORDER BY row_number")
        assert [n for (n,) in query(project, "SELECT row_number FROM predictions_clinic ORDER BY 1")] == [
            *range(1, 241)
        ]
        project.bring(SCORED, patients(TRAINED).drop(columns="ill"))
        score(project, stores)
        of_source = f"SELECT row_hash, prediction FROM predictions_clinic WHERE data_interval_start = '{SCORED} 00:00Z'"
        assert sorted(query(project, of_source)) == sorted(stored), "a row has one hash, wherever it comes from"
    finally:
        stores.warehouse.close()


def test_columns_follow_the_classes_and_the_key_of_the_contract(trained, stores):
    row = stores.warehouse.version("clinic", 1)
    contract = Schema((Column("version", "int"), Column("x", "float"), Column("y", "text")), "y", ("version",))
    shown = prediction_contract(contract, row)
    assert shown.key == ("version_",)
    assert shown.names == ("version_", "prediction", "probability_no", "probability_yes")


def test_reader_never_sees_a_part(trained, stores):
    score(trained, stores)
    seen = []
    trained.bring(SCORED, patients(SCORED, 90).drop(columns="ill"))
    score(trained, stores, progress=lambda *_: seen.append(len(view(trained))))
    assert seen == [240]
    assert len(view(trained)) == 90


@pytest.mark.parametrize(("point", "side"), list(product(POINTS, ["before", "after"])))
def test_killed_scoring_is_completed_by_the_next_one(trained, point, side):
    killed = trained.command("score", "clinic", "--date", SCORED, fault=f"kill@{point}:{side}")
    assert killed.returncode == -signal.SIGKILL
    views = query(trained, "SELECT to_regclass('predictions_clinic')")[0][0]
    shown = query(trained, "SELECT count(*) FROM predictions_clinic")[0][0] if views else 0
    assert shown == (240 if (point, side) == (POINTS[2], "after") else 0)
    done = trained.command("score", "clinic", "--date", SCORED, "--json")
    assert done.returncode == 0, done.stderr
    counts = query(trained, "SELECT count(*), count(DISTINCT patient) FROM predictions_clinic")
    assert counts == [(240, 240)]
    stores = trained.stores()
    try:
        later = datetime.now(UTC) + timedelta(days=1)
        removed = garbage.collect_garbage(stores, older_than=timedelta(0), now=later)
        loads = stores.warehouse.prediction_loads()
        assert [(load["state"], load["shown"]) for load in loads] == [("complete", True)]
        assert any("predictions" in name for name in removed) == (
            (point, side) in {(POINTS[1], "before"), (POINTS[1], "after"), (POINTS[2], "before")}
        )
        assert query(trained, "SELECT count(*) FROM prediction_rows_clinic") == [(240,)]
        assert {finding.state for finding in store_verification.verify_stores(stores)} == {"good"}
    finally:
        stores.warehouse.close()


def test_attempt_that_wakes_up_after_a_newer_one_has_no_effect(trained, stores):
    zombie = trained.start("score", "clinic", "--date", SCORED, fault="stop@warehouse.show_predictions:entry")
    try:
        _, status = os.waitpid(zombie.pid, os.WUNTRACED)
        assert status & 0xFF == 0x7F, "it is stopped"
        trained.bring(SCORED, patients(SCORED, 90).drop(columns="ill"))
        assert score(trained, stores).n_rows == 90
        zombie.send_signal(signal.SIGCONT)
        _, said = zombie.communicate(timeout=60)
        assert zombie.returncode == 0, said
        assert "superseded" in said
        assert len(view(trained)) == 90
        assert len(stores.warehouse.prediction_loads()) == 1
    finally:
        zombie.kill()


def test_concurrent_scorings_leave_one_complete_load(trained, stores):
    context = context_of(trained, stores)

    def attempt(_):
        try:
            return score_batch(context).state
        except SupersededError:
            return "superseded"

    with ThreadPoolExecutor(3) as pool:
        states = list(pool.map(attempt, range(3)))
    assert "scored" in states
    assert len(view(trained)) == view(trained)["patient"].nunique() == 240
    assert [load["shown"] for load in stores.warehouse.prediction_loads()] == [True]


def test_failed_scoring_is_a_failure_until_it_succeeds(trained, stores):
    trained.bring(SCORED, patients(SCORED).drop(columns=["ill", "age"]))
    with pytest.raises(BatchRejectedError):
        score(trained, stores)
    with pytest.raises(NotFoundError):
        score(trained, stores, version=9)
    (failure,) = stores.warehouse.failures("clinic")
    assert (failure["step"], failure["error"]["problems"][0]["column"], failure["resolved_at"]) == (
        "score",
        "age",
        None,
    )
    assert stores.warehouse.newest_failures_since({"clinic": day(TRAINED).start}) == [], "no run has failed"
    score(trained, stores, TRAINED)
    assert [row["is_resolved"] for row in stores.warehouse.failure_page("clinic", limit=9)] == [False]
    trained.bring(SCORED, patients(SCORED).drop(columns="ill"))
    score(trained, stores)
    assert [row["is_resolved"] for row in stores.warehouse.failure_page("clinic", limit=9)] == [True]


def test_file_with_some_keys_replaces_the_interval_with_a_warning(trained, stores):
    score(trained, stores)
    file = trained.folder / "some.csv"
    patients(SCORED, 100).drop(columns="ill").to_csv(file, index=False)
    done = trained.command("score", "clinic", "--date", SCORED, "--file", str(file))
    assert "2026-11-02 had 240 predictions, and has 100 now" in done.stderr
    assert "diurnal score clinic --date 2026-11-02" in done.stderr
    done = trained.command("score", "clinic", "--date", SCORED)
    assert (done.stderr, len(view(trained))) == ("", 240)


def test_verify_counts_the_predictions(trained, stores):
    score(trained, stores)
    with psycopg.connect(trained.warehouse_url) as connection:
        connection.execute("DELETE FROM prediction_rows_clinic WHERE patient < '2026-11-02-0010'")
    found = [one for one in store_verification.verify_stores(stores) if one.kind == "predictions"]
    assert [one.state for one in found] == ["damaged"]


def test_predictions_are_a_frame(trained, stores, monkeypatch):
    monkeypatch.setenv("DIURNAL_WAREHOUSE", trained.warehouse_url)
    with pytest.raises(NotFoundError, match="diurnal score clinic"):
        diurnal.predictions("clinic", project=trained.folder)
    score(trained, stores, TRAINED)
    score(trained, stores)
    frame = diurnal.predictions("clinic", project=trained.folder)
    assert len(frame) == 480
    assert frame["data_interval_start"].is_monotonic_increasing
    later = diurnal.predictions("clinic", since=SCORED, project=trained.folder)
    assert set(later["patient"]) == set(patients(SCORED)["patient"])


def test_batch_of_before_a_renamed_key_is_scored(trained, stores):
    score(trained, stores, TRAINED)
    trained.declare("drop='ward'")
    file = trained.folder / "experiments" / "clinic.py"
    file.write_text(file.read_text().replace('key="patient"', 'key="person"'))
    trained.bring("2026-11-03", patients("2026-11-03").rename(columns={"patient": "person"}))
    words = ("--date", "2026-11-03", "--rename", "patient=person", "--why", "a test")
    accepted = trained.command("contract", "clinic", "accept", *words)
    assert accepted.returncode == 0, accepted.stderr
    assert trained.command("run", "clinic", "--date", "2026-11-03").returncode == 0
    assert score(trained, stores, TRAINED, version=1).state == "unchanged"
    assert score(trained, stores, "2026-11-03", version=1).n_rows == 240
    assert query(trained, "SELECT count(DISTINCT person) FROM predictions_clinic") == [(480,)]
    assert score(trained, stores, TRAINED, version=2, rescore=True).n_rows == 240
    assert query(trained, "SELECT count(DISTINCT person) FROM predictions_clinic") == [(480,)]
