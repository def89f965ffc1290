"""Recorded results as pandas frames."""

import pandas as pd
import psycopg
import pytest

import diurnal
from diurnal.errors import ConfigurationError, NotFoundError, UsageError
from projects import patients

DAYS = pd.to_datetime(["2026-11-01", "2026-11-02"], utc=True)


@pytest.fixture
def folder(project, stores, monkeypatch):
    """A project with two finished days, and its settings in the environment."""
    for date in ("2026-11-01", "2026-11-02"):
        project.bring(date)
        project.run(date, stores)
    monkeypatch.setenv("DIURNAL_WAREHOUSE", project.warehouse_url)
    return project.folder


def test_runs_are_rows_in_the_order_of_their_data_intervals(folder, stores):
    frame = diurnal.runs("clinic", project=folder)
    rows = {row["run_id"]: row for row in stores.warehouse.runs("clinic")}
    assert list(frame["run_id"]) == list(reversed(rows))
    assert isinstance(frame["data_interval_start"].dtype, pd.DatetimeTZDtype)
    for _, run in frame.iterrows():
        row = rows[run["run_id"]]
        assert run["test_score"] == row["test_score"]
        assert run["param_logisticregression__C"] == row["best_params"]["logisticregression__C"]
        assert run["test_accuracy"] == row["test_scores"]["accuracy"]
    assert frame["comparison_n_compared"].notna().tolist() == [False, True], "the first run had no champion"
    assert frame["model_version"].tolist() == [1, 2]


def test_versions_and_promotions_are_frames(folder):
    assert diurnal.versions("clinic", project=folder)["version"].tolist() == [1, 2]
    promoted = diurnal.promotions("clinic", project=folder)
    assert promoted["version"].iloc[0] == 1
    assert promoted["promoted_at"].is_monotonic_increasing


def test_candidates_are_those_of_cv_results(folder, stores):
    frame = diurnal.candidates("clinic@1", project=folder)
    assert frame["param_logisticregression__C"].tolist() == [0.1, 1.0, 10.0]
    run = stores.warehouse.run(stores.warehouse.version("clinic", 1)["run_id"])
    best = frame.loc[frame["rank_test_score"].idxmin()]
    assert best["mean_test_score"] == run["cv_score_mean"]
    assert {"split0_test_score", "split1_test_score", "split2_test_score"} <= set(frame)


def test_profiles_have_a_row_for_each_day_and_column(folder, stores, warehouse_url):
    frame = diurnal.profiles("clinic", project=folder)
    assert frame["column"].tolist() == ["ill", "age", "pressure", "patient", "ward"] * 2
    assert frame["data_interval_start"].is_monotonic_increasing
    first, second = (frame[(frame["column"] == "age") & (frame["data_interval_start"] == day)] for day in DAYS)
    assert first["q50"].item() == pytest.approx(patients("2026-11-01")["age"].median(), abs=0.2)
    assert first["drift_effect"].isna().all(), "there was no champion"
    (run, _) = stores.warehouse.runs("clinic")
    effects = {one["column"]: one["effect"] for one in run["drift"]["columns"]}
    assert second["drift_effect"].item() == effects["age"]
    assert frame.loc[0, "top"] == pytest.approx(
        patients("2026-11-01")["ill"].value_counts(normalize=True).to_dict(), abs=1e-6
    )
    with psycopg.connect(warehouse_url) as connection:
        connection.execute("DELETE FROM profiles")
    with pytest.raises(NotFoundError, match="has a profile") as error:
        diurnal.profiles("clinic", project=folder)
    assert "diurnal profile clinic" in error.value.hint


def test_what_does_not_exist_is_an_error_with_what_does(folder, tmp_path, monkeypatch):
    with pytest.raises(NotFoundError, match="did you mean 'clinic'") as error:
        diurnal.runs("clinik", project=folder)
    assert "diurnal run clinik" in error.value.hint
    with pytest.raises(UsageError, match="invalid model reference"):
        diurnal.candidates("Clinic 1", project=folder)
    monkeypatch.delenv("DIURNAL_WAREHOUSE")
    with pytest.raises(ConfigurationError, match="no project found"):
        diurnal.runs("clinic", project=tmp_path / "elsewhere")
