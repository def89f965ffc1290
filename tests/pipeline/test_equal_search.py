"""A run with the data and code of an earlier one has its search."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from diurnal.experiment.run_context import RunContext
from diurnal.pipeline import steps, tuning_shards
from diurnal.pipeline.garbage import collect_garbage
from diurnal.runtime import fit_environment
from projects import day, patients

FIRST, SECOND, THIRD = "2026-11-01", "2026-11-02", "2026-11-03"
OF_SEARCH = ("best_params", "cv_score_mean", "cv_score_std", "n_candidates", "cv_folds", "candidates", "n_train")


@pytest.fixture
def equal_days(project):
    """A project whose source has the same rows every day."""
    for date in (FIRST, SECOND, THIRD):
        project.bring(date, patients(FIRST))
    return project


def tuned_by(outcome):
    return outcome.run["twin"]["tuned_by"]


def test_equal_data_are_tuned_once_and_each_run_names_the_one_that_tuned(equal_days, stores):
    first, second, third = (equal_days.run(date, stores) for date in (FIRST, SECOND, THIRD))
    assert [tuned_by(one) for one in (first, second, third)] == [None, first.run["run_id"], first.run["run_id"]]
    for name in OF_SEARCH:
        assert first.run[name] == second.run[name] == third.run[name]
    assert (second.version, second.run["test_score"]) == (2, first.run["test_score"])
    said = equal_days.command("run", "clinic", "--date", SECOND).stdout
    assert f"3 on 3 folds, tuned by {first.run['run_id']}: same data, same code" in said


def test_a_forced_run_tunes_again_with_the_same_numbers(equal_days, stores):
    first = equal_days.run(FIRST, stores)
    forced = equal_days.run(SECOND, stores, force=True)
    assert tuned_by(forced) is None
    assert forced.run["candidates"] != first.run["candidates"], "the times of fits differ"
    assert [forced.run[name] for name in OF_SEARCH[:-2]] == [first.run[name] for name in OF_SEARCH[:-2]]


def test_other_data_or_code_are_tuned(equal_days, stores):
    equal_days.run(FIRST, stores)
    equal_days.bring(SECOND)
    assert tuned_by(equal_days.run(SECOND, stores)) is None
    equal_days.declare("drop='ward', test_size=0.4")
    assert tuned_by(equal_days.run(THIRD, stores)) is None


def test_another_version_of_any_package_tunes_again(equal_days, stores, tmp_path, monkeypatch):
    equal_days.run(FIRST, stores)
    (tmp_path / "packages" / "helper_of_a_scorer-2.0.dist-info").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path / "packages")
    fit_environment.digest_of_packages.cache_clear()
    try:
        assert tuned_by(equal_days.run(SECOND, stores)) is None
    finally:
        fit_environment.digest_of_packages.cache_clear()


def test_estimators_without_a_seed_are_tuned_again(equal_days, stores):
    file = equal_days.folder / "experiments" / "clinic.py"
    text = file.read_text().replace("LogisticRegression", "SGDClassifier")
    file.write_text(text.replace("logisticregression__C", "sgdclassifier__alpha"))
    assert [tuned_by(equal_days.run(date, stores)) for date in (FIRST, SECOND)] == [None, None]


def test_without_the_file_of_its_twin_it_is_tuned_again(equal_days, stores):
    first = equal_days.run(FIRST, stores)
    Path(stores.lake.url(first.run["twin"]["path"])).unlink()
    second = equal_days.run(SECOND, stores)
    assert tuned_by(second) is None
    assert second.run["cv_score_mean"] == first.run["cv_score_mean"]


def test_garbage_collection_leaves_the_twin_of_the_newest_run(equal_days, stores):
    first, second = (equal_days.run(date, stores) for date in (FIRST, SECOND))
    later = datetime.now(UTC) + timedelta(days=2)
    collect_garbage(stores, older_than=timedelta(days=1), now=later)
    assert stores.lake.exists(second.run["twin"]["path"])
    assert tuned_by(equal_days.run(THIRD, stores)) == first.run["run_id"]


def test_garbage_collection_leaves_the_twin_that_a_run_in_progress_has_taken_over(equal_days, stores):
    first = equal_days.run(FIRST, stores)
    equal_days.bring(SECOND)
    equal_days.run(SECOND, stores)  # the newest run, of other data
    old = (datetime.now(UTC) - timedelta(days=3)).timestamp()
    os.utime(stores.lake.url(first.run["twin"]["path"]), (old, old))
    context = RunContext(equal_days.experiment(), day(THIRD), stores, requested_by="test")
    samples = steps.split(context, steps.fetch(context))
    search = steps.tune(context, samples)
    collect_garbage(stores, older_than=timedelta(days=1))
    assert search.tuned_by == first.run["run_id"]
    assert steps.evaluate(context, samples, search).test_score == first.run["test_score"]


def test_there_is_nothing_to_do_for_the_tasks_of_its_shards(equal_days, stores):
    equal_days.declare("drop='ward', n_tuning_shards=2")
    first = equal_days.run(FIRST, stores)
    context = RunContext(equal_days.experiment(), day(SECOND), stores, requested_by="test")
    samples = steps.split(context, steps.fetch(context))
    shards = tuning_shards.plan_search_shards(context, samples)
    assert [shard["stop"] for shard in shards] == [0]
    parts = tuple(tuning_shards.score_search_shard(context, samples, shard) for shard in shards)
    assert steps.tune(context, samples, parts).tuned_by == first.run["run_id"]
