"""A day, from fetch to promotion, on a real warehouse."""

import json
import threading
from dataclasses import replace

import numpy as np
import pandas as pd
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import diurnal
from diurnal.data.train_test_split import assign_role
from diurnal.errors import BatchRejectedError, CorruptPackageError, ExperimentError, InvalidModelError
from diurnal.experiment.run_context import RunContext
from diurnal.pipeline import flow, local_run, steps
from diurnal.pipeline.twins import load_twin
from diurnal.storage.lake import Lake
from diurnal.types import DataInterval, Package, SearchResult
from projects import FORKS, day, patients


def rows_of(stores, packages):
    return {
        key
        for package in packages
        for key in stores.lake.read(Package(package["path"], package["digest"], package["n_rows"]))[
            "patient"
        ].to_pylist()
    }


def test_edges_are_the_days_shape():
    assert flow.dependencies() == [
        ("fetch", "save_batch"),
        ("fetch", "split"),
        ("split", "tune"),
        ("split", "evaluate"),
        ("tune", "evaluate"),
        ("tune", "record"),
        ("evaluate", "record"),
        ("split", "refit"),
        ("tune", "refit"),
        ("record", "publish"),
        ("refit", "publish"),
        ("publish", "promote"),
        ("evaluate", "promote"),
    ]


def test_run_leaves_a_row_a_version_and_a_champion(project, stores):
    rows = project.bring("2026-11-01")
    outcome = project.run("2026-11-01", stores)
    assert (outcome.version, outcome.promoted, outcome.already) == (1, True, False)
    row = outcome.run
    assert row["n_train"] + row["n_test"] == len(rows)
    assert row["n_candidates"] == 3
    assert row["cv_folds"] == 3
    assert row["best_params"]["logisticregression__C"] in (0.1, 1.0, 10.0)
    assert 0.7 < row["test_score"] <= 1
    assert row["champion_score"] is None
    assert set(row["durations"]) == {"fetch", "split", "tune", "evaluate"}
    with psycopg.connect(project.warehouse_url) as connection:
        assert connection.execute("select count(*) from batch_data_clinic").fetchone() == (len(rows),)


def test_test_score_is_the_twins_and_the_model_has_seen_all_rows(project, stores):
    rows = project.bring("2026-11-01")
    outcome = project.run("2026-11-01", stores)
    on_test = np.array([assign_role([key], "clinic", 0.3) == "test" for key in rows["patient"]])
    X, y = rows[["age", "pressure"]], rows["ill"]
    search = project.experiment()().set_params(**{f"estimator__{k}": v for k, v in outcome.run["best_params"].items()})
    twin = search.estimator.fit(X[~on_test], y[~on_test])
    assert outcome.run["test_score"] == pytest.approx(twin.score(X[on_test], y[on_test]), abs=1e-12)
    published = stores.models.load(**picked(stores, 1))
    refit = search.estimator.fit(X, y)
    np.testing.assert_allclose(published.predict_proba(X), refit.predict_proba(X), atol=1e-6)


def picked(stores, version):
    row = stores.warehouse.version("clinic", version)
    return {key: row[key] for key in ("path", "digest", "trusted", "signature", "library_versions")}


def test_run_again_does_nothing_and_says_so(project, stores):
    project.bring("2026-11-01")
    first = project.run("2026-11-01", stores)
    again = project.run("2026-11-01", stores)
    assert again.already
    assert again.run["run_id"] == first.run["run_id"]
    assert len(stores.warehouse.versions("clinic")) == 1


def test_run_again_with_the_rows_in_another_order_does_nothing(project, stores):
    rows = project.bring("2026-11-01")
    project.run("2026-11-01", stores)
    project.bring("2026-11-01", rows.sample(frac=1, random_state=0)[list(reversed(rows.columns))])
    assert project.run("2026-11-01", stores).already


def test_force_makes_one_more(project, stores):
    project.bring("2026-11-01")
    first = project.run("2026-11-01", stores)
    more = project.run("2026-11-01", stores, force=True)
    assert (more.already, more.version, more.run["repeat"]) == (False, 2, 1)
    assert more.run["test_score"] == first.run["test_score"]
    digests = {row["digest"] for row in stores.warehouse.versions("clinic")}
    assert len(digests) == 1, "the same data, code and threads give the same model"


def test_corrected_batch_gives_a_new_package_one_more_run_and_a_moved_pointer(project, stores):
    rows = project.bring("2026-11-01")
    before = project.run("2026-11-01", stores)
    project.bring("2026-11-01", rows.head(200))
    after = project.run("2026-11-01", stores)
    assert (after.already, after.version) == (False, 2)
    assert before.run["batch_digest"] != after.run["batch_digest"]
    assert len(rows_of(stores, before.run["packages"])) == 240
    assert len(rows_of(stores, after.run["packages"])) == 200
    with psycopg.connect(project.warehouse_url) as connection:
        assert connection.execute("select count(*) from batch_data_clinic").fetchone() == (200,)


def test_window_learns_from_several_batches_and_no_row_changes_sides(project, stores):
    project.declare("drop='ward', window=3")
    outcomes = []
    for date in ("2026-11-01", "2026-11-02", "2026-11-03", "2026-11-04"):
        project.bring(date)
        outcomes.append(project.run(date, stores))
    assert [len(o.run["packages"]) for o in outcomes] == [1, 2, 3, 3]
    assert [o.run["n_train"] + o.run["n_test"] for o in outcomes] == [240, 480, 720, 720]
    assert "the window has 2 of 3 batches" in outcomes[1].run["warnings"]
    with psycopg.connect(project.warehouse_url) as connection:
        sides = {
            side: {
                key
                for (path, digest, n) in connection.execute(
                    "select path, digest, n_rows from packages where role = %s", [side]
                )
                for key in stores.lake.read(Package(path, digest, n))["patient"].to_pylist()
            }
            for side in ("train", "test")
        }
    assert not sides["train"] & sides["test"]
    assert len(sides["train"] | sides["test"]) == 4 * 240


def test_window_takes_the_newest_row_of_a_key(project, stores):
    project.declare("drop='ward', window=2")
    rows = project.bring("2026-11-01")
    project.run("2026-11-01", stores)
    project.bring("2026-11-02", pd.concat([patients("2026-11-02", 100), rows.head(50).assign(age=51.0)]))
    outcome = project.run("2026-11-02", stores)
    assert outcome.run["n_train"] + outcome.run["n_test"] == 240 + 100


def test_champion_is_scored_on_rows_that_it_has_not_seen(project, stores):
    rows = project.bring("2026-11-01")
    project.run("2026-11-01", stores)
    project.bring("2026-11-02")
    second = project.run("2026-11-02", stores)
    assert second.run["champion_version"] == 1
    assert 0.7 < second.run["champion_score"] <= 1
    assert second.run["comparison"]["n_compared"] == second.run["n_test"]
    project.bring("2026-11-03", pd.concat([patients("2026-11-03", 100), patients("2026-11-02")]))
    third = project.run("2026-11-03", stores)
    assert third.run["comparison"]["n_compared"] < third.run["n_test"]
    project.bring("2026-11-04", pd.concat([patients("2026-11-03", 100), patients("2026-11-02")]))
    fourth = project.run("2026-11-04", stores)
    assert fourth.run["champion_score"] is None
    assert any("was trained on all" in warning for warning in fourth.run["warnings"])
    assert len(rows) == 240


def test_guarded_keeps_a_champion_that_is_better_on_the_new_rows(project, stores):
    project.bring("2026-11-01", patients("2026-11-01", 2_000))
    project.run("2026-11-01", stores)
    upside_down = patients("2026-11-02", 2_000)
    train = np.array([assign_role([key], "clinic", 0.3) == "train" for key in upside_down["patient"]])
    upside_down.loc[train, "ill"] = np.where(upside_down["ill"][train] == "yes", "no", "yes")
    project.bring("2026-11-02", upside_down)
    worse = project.run("2026-11-02", stores)
    assert (worse.version, worse.promoted) == (2, False)
    assert stores.warehouse.champion("clinic").version == 1
    project.declare("drop='ward', promotion='always'")
    upside_down.loc[train, "age"] += 0.01
    project.bring("2026-11-02", upside_down)
    assert project.run("2026-11-02", stores).promoted


def test_old_day_never_dethrones_a_newer_champion(project, stores):
    project.declare("drop='ward', promotion='always'")
    for date in ("2026-11-05", "2026-11-01"):
        project.bring(date)
        outcome = project.run(date, stores)
    assert (outcome.version, outcome.promoted) == (2, False)
    assert stores.warehouse.champion("clinic").version == 1


def test_never_promotes_nothing(project, stores):
    project.declare("drop='ward', promotion='never'")
    project.bring("2026-11-01")
    assert not project.run("2026-11-01", stores).promoted
    assert stores.warehouse.champion("clinic") is None


def test_refused_batch_goes_to_quarantine_and_the_champion_goes_on(project, stores):
    project.bring("2026-11-01")
    project.run("2026-11-01", stores)
    project.bring("2026-11-02", patients("2026-11-02").rename(columns={"age": "Age"}))
    with pytest.raises(BatchRejectedError, match=r"did you mean") as refusal:
        project.run("2026-11-02", stores)
    (folder,) = (project.folder / "data" / "clinic" / "quarantine" / day("2026-11-02").key).iterdir()
    assert str(folder) in str(refusal.value)
    assert {"missing-column"} <= {p["code"] for p in json.loads((folder / "reasons.json").read_text())["problems"]}
    assert len(list(folder.iterdir())) >= 2, "what came is kept beside the reasons"
    assert stores.warehouse.champion("clinic").version == 1
    assert stores.warehouse.window("clinic", day("2026-11-02"), last=5, since=None) == [
        (day("2026-11-01"), stores.warehouse.window("clinic", day("2026-11-01"), last=1, since=None)[0][1])
    ]
    project.bring("2026-11-02")
    assert project.run("2026-11-02", stores).version == 2


def test_first_batch_that_is_refused_fixes_no_schema(project, stores):
    project.bring("2026-11-01", patients("2026-11-01").assign(ill="yes"))
    with pytest.raises(BatchRejectedError):
        project.run("2026-11-01", stores)
    assert stores.warehouse.schema("clinic") is None


def test_batch_of_ten_times_the_usual_rows_is_warned_of(project, stores):
    project.bring("2026-11-01", patients("2026-11-01", 60))
    project.bring("2026-11-02", patients("2026-11-02", 600))
    assert project.run("2026-11-01", stores).run["warnings"] == []
    assert project.run("2026-11-02", stores).run["warnings"] == [
        "the batch has 600 rows; the 1 before it had 60 (the median)"
    ]


def test_first_batch_warns_of_categories_that_may_be_missing_values(project, stores):
    rows = patients("2026-11-01", 40)
    rows.loc[:4, "ward"] = "NA"
    rows["pulse"] = [f"{60 + i}" for i in range(39)] + ["?"]
    project.declare("")
    warnings = []
    for date in ("2026-11-01", "2026-11-02"):
        project.bring(date, rows)
        warnings.append(steps.fetch(RunContext(project.experiment(), day(date), stores, requested_by="test")).warnings)
    for text in (
        "ward has the category 'NA'; if it means a missing value, declare Files(..., na_values='NA')",
        "pulse has the category '?' among numbers; if it means a missing value, declare Files(..., na_values='?')",
    ):
        assert [text in some for some in warnings] == [True, False]


def test_key_with_two_values_is_refused(project, stores):
    rows = patients("2026-11-01")
    project.bring("2026-11-01", pd.concat([rows, rows.head(2).assign(age=1.0)]))
    with pytest.raises(BatchRejectedError, match=r"key-conflict.*2026-11-01-000[01]"):
        project.run("2026-11-01", stores)


def test_changed_target_is_a_declaration_error(project, stores):
    project.bring("2026-11-01")
    project.run("2026-11-01", stores)
    project.declare("drop='ward'")
    path = project.folder / "experiments" / "clinic.py"
    path.write_text(path.read_text().replace('target="ill"', 'target="ward"').replace("drop='ward'", ""))
    with pytest.raises(ExperimentError, match="its first batch fixed 'ill'"):
        project.run("2026-11-01", stores)


def test_changed_code_runs_again_and_changed_schedule_does_not(project, stores):
    project.bring("2026-11-01")
    project.run("2026-11-01", stores)
    project.declare("drop='ward', schedule='@weekly', retries=1, promotion='always'")
    assert project.run("2026-11-01", stores).already
    project.declare("drop='ward', test_size=0.4")
    assert project.run("2026-11-01", stores).version == 2


def test_load_model_gives_the_champion_a_version_and_what_served(project, stores):
    for date in ("2026-11-01", "2026-11-02"):
        project.bring(date)
        project.run(date, stores)
    code = """if True:
        import diurnal, datetime
        today = datetime.datetime.now(datetime.timezone.utc).date()
        rows = __import__("pandas").read_csv("incoming/2026-11-02.csv")[["age", "pressure"]]
        one, two, served = (diurnal.load_model(f"clinic@{w}") for w in ("1", "champion", today))
        assert (two.predict_proba(rows) == served.predict_proba(rows)).all()
        assert (one.predict_proba(rows) != two.predict_proba(rows)).any()
        for bad in ("clinic@2020-01-01", "clinic@9", "clinc"):
            try:
                diurnal.load_model(bad)
            except diurnal.DiurnalError as error:
                print(error)
    """
    done = FORKS.run(code, cwd=project.folder, env=project.environment)
    assert done.returncode == 0, done.stderr
    assert "did you mean 'clinic'" in done.stdout
    assert callable(diurnal.load_model)


def test_reader_sees_only_complete_loads(project, stores):
    rows = patients("2026-11-01", 3_000)
    project.bring("2026-11-01", rows)
    seen, stop = set(), threading.Event()

    def poll():
        with psycopg.connect(project.warehouse_url, autocommit=True) as connection:
            while not stop.is_set():
                if connection.execute("select to_regclass('batch_data_clinic')").fetchone()[0]:
                    seen.add(connection.execute("select count(*) from batch_data_clinic").fetchone()[0])

    reader = threading.Thread(target=poll)
    reader.start()
    try:
        for n in (3_000, 2_500, 2_000):
            project.bring("2026-11-01", rows.head(n))
            project.run("2026-11-01", stores)
    finally:
        stop.set()
        reader.join()
    assert seen <= {0, 3_000, 2_500, 2_000}
    assert {3_000, 2_500} <= seen


def test_damaged_package_is_refused(project, stores):
    project.declare("drop='ward', window=2")
    project.bring("2026-11-01")
    first = project.run("2026-11-01", stores)
    path = project.folder / "data" / first.run["packages"][0]["path"]
    path.write_bytes(path.read_bytes()[:-50])
    project.bring("2026-11-02")
    with pytest.raises(CorruptPackageError, match=r"clinic 2026-11-02 refit: the package .* is damaged"):
        project.run("2026-11-02", stores)
    assert stores.warehouse.champion("clinic").version == 1


def test_champion_that_fails_on_the_new_rows_is_kept(project, stores):
    project.bring("2026-11-01")
    project.run("2026-11-01", stores)
    file = project.folder / "experiments" / "clinic.py"
    imputing = file.read_text().replace("make_pipeline(Standard", "make_pipeline(SimpleImputer(), Standard")
    file.write_text(imputing.replace("def clinic():", "def clinic():\n    from sklearn.impute import SimpleImputer\n"))
    rows = patients("2026-11-02")
    project.bring("2026-11-02", rows.assign(age=rows["age"].where(rows.index % 4 > 0)))  # the champion takes no null
    outcome = project.run("2026-11-02", stores)
    assert (outcome.version, outcome.promoted) == (2, False)
    assert any("cannot be scored" in warning for warning in outcome.run["warnings"])


def test_champion_that_cannot_be_loaded_makes_way(project, stores):
    project.bring("2026-11-01")
    project.run("2026-11-01", stores)
    model = next((project.folder / "models").rglob("model.skops"))
    model.write_bytes(model.read_bytes()[:-1])
    project.bring("2026-11-02")
    outcome = project.run("2026-11-02", stores)
    assert outcome.promoted
    assert "cannot be loaded" in outcome.reason


def test_changed_drop_is_refused_without_a_key(project, stores):
    path = project.folder / "experiments" / "clinic.py"
    for drop in (("patient", "ward"), ("patient", "ward", "age")):
        project.declare(f"drop={drop!r}")
        path.write_text(path.read_text().replace('key="patient", ', ""))
        project.bring("2026-11-01")
        if drop == ("patient", "ward"):
            project.run("2026-11-01", stores)
    with pytest.raises(ExperimentError, match="which samples are for testing"):
        project.run("2026-11-01", stores)


def test_package_that_was_swapped_is_refused(project, stores):
    project.declare("drop='ward', window=2")
    project.bring("2026-11-01")
    first = project.run("2026-11-01", stores)
    path = project.folder / "data" / first.run["packages"][0]["path"]
    table = pq.read_table(path)
    flipped = pa.array(["yes" if value == "no" else "no" for value in table["ill"].to_pylist()])
    pq.write_table(table.set_column(table.column_names.index("ill"), "ill", flipped), path)
    project.bring("2026-11-02")
    fresh = replace(stores, lake=Lake(stores.lake.root))  # as another process sees it
    with pytest.raises(CorruptPackageError, match="does not match its digest"):
        project.run("2026-11-02", fresh)


def test_twin_that_was_changed_is_refused(project, stores):
    project.bring("2026-11-01")
    project.run("2026-11-01", stores)
    twin = next((project.folder / "data" / "clinic" / "twins").rglob("*.skops"))
    path = str(twin.relative_to(project.folder / "data"))
    search = SearchResult(None, (), {}, None, None, 1, 0, "accuracy", 1, None, path, "0" * 64, {})
    with pytest.raises(InvalidModelError, match="does not have the digest"):
        load_twin(RunContext(project.experiment(), day("2026-11-01"), stores, requested_by="test"), search)


def test_week_and_day_that_begin_together_are_two_runs(project, stores):
    project.bring("2026-11-01")
    project.run("2026-11-01", stores)
    week = DataInterval(day("2026-11-01").start, day("2026-11-07").end)
    outcome = local_run.run(RunContext(project.experiment(), week, stores, requested_by="test"))
    assert not outcome.already
