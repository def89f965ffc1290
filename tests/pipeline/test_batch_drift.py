"""Drift of the batches of runs against the training window of the champion."""

import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

import diurnal
from diurnal.experiment.run_context import RunContext
from diurnal.pipeline import contract_acceptance, local_run, steps
from projects import day, patients

DAYS = ("2026-11-01", "2026-11-02", "2026-11-03")


def shifted(date, n=900, **shifts):
    """Return the rows of a day, some of whose numbers are shifted by standard deviations."""
    rows = patients(date, n)
    return rows.assign(**{name: rows[name] + shift * rows[name].std() for name, shift in shifts.items()})


def run_days(project, stores, *batches):
    """Run a day for each batch; return the row of the last run."""
    for date, batch in zip(DAYS, batches, strict=False):
        project.bring(date, batch)
        row = project.run(date, stores).run
    return row


def columns_of(run):
    return {one["column"]: one for one in run["drift"]["columns"] if one["role"] != "prediction"}


def drift_warnings(run):
    return [warning for warning in run["warnings"] if warning.startswith("drift")]


def test_a_shifted_column_is_drift_and_a_warning(project, stores):
    project.declare("drop='ward'")
    batches = shifted(DAYS[0]), shifted(DAYS[1], pressure=0.5)
    first = run_days(project, stores, batches[0])
    assert first["drift"] is None, "there was no champion"
    run = run_days(project, stores, *batches)
    assert run["drift"]["reference"] == {"version": 1, "run_id": first["run_id"], "n_rows": 900}
    columns = columns_of(run)
    assert set(columns) == {"pressure", "age", "ill"}, "key and dropped columns are left out"
    assert {name for name, one in columns.items() if one["drifted"]} == {"pressure"}
    before, after = (batch["pressure"] for batch in batches)
    exact = wasserstein_distance(before, after) / before.std(ddof=0)
    assert columns["pressure"]["effect"] == pytest.approx(exact, rel=0.01)
    assert (columns["pressure"]["measure"], columns["ill"]["measure"]) == ("wasserstein", "jensen-shannon")
    assert columns["ill"]["role"] == "target"
    assert "drift: 1 of " in drift_warnings(run)[0]
    assert f"training window of champion 1: pressure ({exact:.2g})" in drift_warnings(run)[0]
    assert run["reason"].count("drift") == 0, "a warning, and no reason to refuse"


def test_the_reference_is_the_whole_window_of_the_champion(project, stores):
    project.declare("drop='ward', window='all', promotion='always', drift=0.3")
    run = run_days(project, stores, shifted(DAYS[0]), shifted(DAYS[1], age=1.0), shifted(DAYS[2], age=0.5))
    assert run["drift"]["reference"]["n_rows"] == 1_800
    age = columns_of(run)["age"]
    assert age["threshold"] == 0.3
    assert age["effect"] < 0.3, "the window has both"


def test_equal_batches_are_counted_once_each(project, stores):
    project.declare("drop='ward', window=2, promotion='always'")
    run = run_days(project, stores, *[shifted(DAYS[0])] * 3)
    assert run["drift"]["reference"]["n_rows"] == 1_800, "the window of the champion has two batches"
    assert columns_of(run)["age"]["effect"] == 0
    assert run["drift"]["n_drifted"] == 0


def test_thresholds_by_column(project, stores):
    project.declare("drop='ward', drift={'pressure': 0.9, 'age': False, 'presure': 0.2, 'prediction': 5}")
    run = run_days(project, stores, shifted(DAYS[0]), shifted(DAYS[1], pressure=0.5, age=2.0))
    columns = columns_of(run)
    assert set(columns) == {"pressure", "ill"}
    assert not columns["pressure"]["drifted"]
    assert drift_warnings(run) == ["drift= names 'presure', which is no column of a batch; did you mean 'pressure'?"]


def test_switched_off_or_without_profiles_there_is_no_drift(project, stores):
    project.declare("drop='ward', drift=False")
    assert run_days(project, stores, shifted(DAYS[0]), shifted(DAYS[1], age=2.0))["drift"] is None
    project.declare("drop='ward', drift=0.2")
    with stores.warehouse.transaction() as connection:
        connection.exec_driver_sql("DELETE FROM profiles")
    project.bring(DAYS[1], shifted(DAYS[1], age=3.0))
    run = project.run(DAYS[1], stores).run
    assert (run["drift"], drift_warnings(run)) == (None, [])


def test_a_failure_is_a_warning(project, stores):
    project.declare("drop='ward'")
    run_days(project, stores, shifted(DAYS[0]))
    (profile,) = stores.warehouse.profile_files("clinic")
    stores.lake.delete(profile["path"])
    project.bring(DAYS[1], shifted(DAYS[1]))
    run = project.run(DAYS[1], stores).run
    assert run["drift"] is None
    (warning,) = drift_warnings(run)
    assert warning.startswith("drift: not measured: NotFoundError: ")
    assert profile["path"] in warning


def test_a_repeated_step_returns_the_recorded_drift(project, stores):
    project.declare("drop='ward'")
    run = run_days(project, stores, shifted(DAYS[0]), shifted(DAYS[1], age=0.5))
    context = RunContext(project.experiment(), day(DAYS[1]), stores, requested_by="test")
    batch = steps.fetch(context)
    samples = steps.split(context, batch)
    evaluation = steps.evaluate(context, samples, steps.tune(context, samples))
    assert stores.warehouse.champion("clinic").version == 2, "a new comparison would have another reference"
    assert evaluation.drift == run["drift"]


def test_a_renamed_column_is_compared_with_its_former_name(project, stores):
    project.declare("drop='ward', window='all'")
    run_days(project, stores, shifted(DAYS[0]))
    project.bring(DAYS[1], shifted(DAYS[1], pressure=0.5).rename(columns={"pressure": "pressure_mm"}))
    context = RunContext(project.experiment(), day(DAYS[1]), stores, requested_by="test")
    contract_acceptance.accept_changes(context, {"pressure": "pressure_mm"}, "it is meant")
    run = local_run.run(context).run
    assert columns_of(run)["pressure_mm"]["drifted"]
    assert run["drift"]["n_drifted"] == 1


def test_predictions_of_the_champion_are_compared_with_those_of_its_own_run(project, stores, monkeypatch):
    monkeypatch.setenv("DIURNAL_WAREHOUSE", project.warehouse_url)
    project.declare("drop='ward', drift={'prediction': 0.2}")
    run = run_days(project, stores, shifted(DAYS[0]), shifted(DAYS[1], pressure=1.5))
    (found,) = (one for one in run["drift"]["columns"] if one["role"] == "prediction")
    shares = []
    champion = diurnal.load_model("clinic@1", project=project.folder)
    for date in DAYS[:2]:
        test = stores.warehouse.find_split("clinic", day(date), packages_of(stores)[date], 0.3)[1]
        rows = stores.lake.read(test).to_pandas()
        shares.append([(champion.predict(rows[["age", "pressure"]]) == label).sum() for label in ("no", "yes")])
    assert found["effect"] > 0.2
    assert found["drifted"]
    assert found["effect"] == pytest.approx(jensenshannon(*shares, 2), abs=0.06), "of the twin and of the champion"
    assert found["threshold"] == 0.2
    project.declare("drop='ward', drift={'prediction': False}")
    run = project.run(DAYS[1], stores, force=True).run
    assert "prediction" not in {one["role"] for one in run["drift"]["columns"]}


def packages_of(stores):
    """Return the digest of the batch of each day."""
    rows = (row for row in stores.warehouse.packages() if row["role"] == "batch")
    return {str(row["data_interval_start"])[:10]: row["digest"] for row in rows}
