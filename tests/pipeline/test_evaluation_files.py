"""Evaluation data of whole runs: in the lake, in the row, verified, collected, and never a reason to fail."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import diurnal
from diurnal.backends.sklearn import evaluation_curves
from diurnal.errors import NotFoundError
from diurnal.experiment.run_context import RunContext
from diurnal.pipeline import evaluation_files, steps
from diurnal.pipeline.garbage import collect_garbage
from diurnal.pipeline.store_verification import verify_stores
from projects import day, patients

DATES = ("2026-11-01", "2026-11-02")


@pytest.fixture(autouse=True)
def enough_time(monkeypatch):
    """The budget of importances does not depend on what else the machine does."""
    monkeypatch.setattr(evaluation_files, "IMPORTANCE_SECONDS", 20.0)


@pytest.fixture
def two_days(project, stores):
    """A project with two finished days, whose second twin was compared with a champion."""
    project.declare("window=2, drop='ward'")
    for date in DATES:
        rows = patients(date)
        project.bring(date, rows.assign(smokes=rows["ward"] == "north"))
        project.run(date, stores)
    return project


def test_twin_and_champion_are_described_on_the_same_rows(two_days, stores):
    second, first = stores.warehouse.runs("clinic")
    content = evaluation_files.read_evaluation(stores.lake, second["evaluation"])
    assert (content["version"], content["task"], content["notes"]) == (1, "classification", [])
    models = content["models"]
    assert models["twin"]["n_rows"] == models["champion"]["n_rows"] == second["comparison"]["n_compared"]
    assert models["twin_window"]["n_rows"] == content["n_rows"] == second["n_test"]
    assert {one["column"] for one in models["champion"]["slices"]} == {"smokes"}
    assert {one["feature"] for one in models["twin"]["importances"]} == {"age", "pressure", "smokes"}
    right = sum(models["champion"]["confusion"][i][i] for i in range(2))
    assert right / second["comparison"]["n_compared"] == pytest.approx(second["champion_score"])
    right = sum(models["twin_window"]["confusion"][i][i] for i in range(2))
    assert right / second["n_test"] == pytest.approx(second["test_score"])
    assert set(evaluation_files.read_evaluation(stores.lake, first["evaluation"])["models"]) == {"twin"}
    sample = evaluation_files.read_evaluation_sample(stores.lake, second["evaluation_sample"]).to_pandas()
    assert list(sample) == ["true", "twin", "twin_probability", "champion", "champion_probability"]
    assert (sample["true"] == sample["champion"]).mean() == pytest.approx(second["champion_score"])
    assert not [text for row in (first, second) for text in row["warnings"] if "evaluation data" in text]


def test_evaluation_data_of_a_version_are_a_dict(two_days, stores, monkeypatch):
    monkeypatch.setenv("DIURNAL_WAREHOUSE", two_days.warehouse_url)
    assert set(diurnal.evaluation("clinic@2", project=two_days.folder)["models"]) == {"twin", "champion", "twin_window"}
    with stores.warehouse.transaction() as connection:
        connection.exec_driver_sql("UPDATE experiments SET evaluation = NULL")
    with pytest.raises(NotFoundError, match="version 2 of clinic has no evaluation data"):
        diurnal.evaluation("clinic@2", project=two_days.folder)


def test_files_are_verified_and_kept_by_garbage_collection(two_days, stores):
    kinds = ("evaluation", "evaluation_sample")
    assert [one.state for one in verify_stores(stores) if one.kind in kinds] == ["good"] * 4
    later = datetime.now(UTC) + timedelta(days=365)
    assert not [name for name in collect_garbage(stores, older_than=timedelta(0), now=later) if "evaluations" in name]
    unreferenced = stores.lake.write_bytes("clinic", "evaluations", b"{}", ".json")
    assert f"lake {unreferenced}" in collect_garbage(stores, older_than=timedelta(0), now=later)
    row = stores.warehouse.runs("clinic")[0]
    Path(stores.lake.url(row["evaluation"])).write_bytes(b"{}")
    Path(stores.lake.url(row["evaluation_sample"])).unlink()
    found = {one.kind: one.state for one in verify_stores(stores) if one.name in {row[kind] for kind in kinds}}
    assert found == {"evaluation": "damaged", "evaluation_sample": "missing"}


def test_repeated_evaluation_is_the_recorded_one(two_days, stores):
    context = RunContext(two_days.experiment(), day(DATES[1]), stores, requested_by="test")
    batch = steps.fetch(context)
    samples = steps.split(context, batch)
    search = steps.tune(context, samples)
    evaluation = steps.evaluate(context, samples, search)
    row = stores.warehouse.run(batch.run.run_id)
    assert (evaluation.curves, evaluation.sample) == (row["evaluation"], row["evaluation_sample"])


def test_forced_run_gives_the_same_bytes(two_days, stores):
    before = stores.warehouse.runs("clinic")[-1]
    two_days.run(DATES[0], stores, force=True)
    rows = [
        row for row in stores.warehouse.runs("clinic") if row["data_interval_start"] == before["data_interval_start"]
    ]
    assert len({row["run_id"] for row in rows}) == 2
    assert len({row["evaluation_sample"] for row in rows}) == 1
    one, other = (evaluation_files.read_evaluation(stores.lake, row["evaluation"]) for row in rows)
    assert one == other
    assert len({row["evaluation"] for row in rows}) == 1


def test_description_that_fails_is_a_warning(project, stores, monkeypatch):
    def fail(*args, **kwargs):
        raise ArithmeticError("a new kind of number")

    monkeypatch.setattr(evaluation_curves, "describe_evaluation", fail)
    project.bring(DATES[0])
    project.run(DATES[0], stores)
    (row,) = stores.warehouse.runs("clinic")
    assert row["promoted"]
    assert (row["evaluation"], row["evaluation_sample"]) == (None, None)
    assert "evaluation data: description: ArithmeticError: a new kind of number" in row["warnings"]
