"""A search that was killed goes on with the folds that are left."""

import itertools
from datetime import UTC, timedelta
from pathlib import Path

import pytest

from diurnal.experiment.run_context import RunContext
from diurnal.pipeline import fold_files, steps
from diurnal.pipeline.fold_files import FoldFiles
from diurnal.pipeline.garbage import unreferenced_files
from projects import day

DATE = "2026-11-01"


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def samples(project, stores):
    project.bring(DATE)
    context = RunContext(project.experiment(), day(DATE), stores, requested_by="test")
    return context, steps.split(context, steps.fetch(context))


@pytest.fixture
def keep_all(monkeypatch):
    """Folds are kept from the first one on."""
    monkeypatch.setattr(fold_files, "MIN_SECONDS", 0.0)


def kept_files(stores):
    return list(stores.lake.find("clinic/folds"))


def tune_and_die(context, samples, n_folds, monkeypatch):
    """Tune until some folds are kept."""
    save, calls = FoldFiles.save, itertools.count()

    def save_some(self, *arguments):
        if next(calls) >= n_folds:
            raise Killed
        save(self, *arguments)

    with monkeypatch.context() as killing:
        killing.setattr(FoldFiles, "save", save_some)
        with pytest.raises(Killed):
            steps.tune(context, samples)


def test_folds_of_a_killed_search_are_used_and_deleted(samples, stores, keep_all, monkeypatch):
    context, split = samples
    tune_and_die(context, split, 2, monkeypatch)
    assert len(kept_files(stores)) == 2
    search = steps.tune(context, split)
    assert "has fitted 2 of the folds" in search.warnings[-1]
    assert kept_files(stores) == []
    whole = steps.tune(context, split)
    assert (whole.cv_score_mean, whole.cv_score_std, whole.best_params) == (
        search.cv_score_mean,
        search.cv_score_std,
        search.best_params,
    )
    assert whole.twin_digest == search.twin_digest
    assert not [warning for warning in whole.warnings if "attempt" in warning]


def test_folds_of_other_libraries_are_not_used_and_are_garbage(samples, stores, keep_all, monkeypatch):
    context, split = samples
    tune_and_die(context, split, 1, monkeypatch)
    assert FoldFiles(context, split.run, {"scikit-learn": "1.0"}).load("any") == {}
    (path,) = kept_files(stores)
    written = stores.lake.modified(path).astimezone(UTC)
    garbage = {one.name for one in unreferenced_files(stores, written + timedelta(seconds=1))}
    assert any(path in name for name in garbage)
    assert not any(path in one.name for one in unreferenced_files(stores, written))


def test_a_short_search_writes_nothing(samples, stores):
    context, split = samples
    saved = FoldFiles(context, split.run, {})
    saved.save("round", 0, {})
    steps.tune(context, split)
    assert kept_files(stores) == []


def test_a_damaged_file_is_fitted_again_and_a_deleted_one_does_no_harm(samples, stores, keep_all, monkeypatch):
    context, split = samples
    tune_and_die(context, split, 2, monkeypatch)
    damaged, _ = (Path(stores.lake.url(path)) for path in kept_files(stores))
    damaged.write_bytes(b"no parquet")
    delete = FoldFiles.delete

    def delete_twice(self):
        paths = list(self._paths)
        delete(self)
        self._paths = paths
        delete(self)

    monkeypatch.setattr(FoldFiles, "delete", delete_twice)
    assert "has fitted 1 of the folds" in steps.tune(context, split).warnings[-1]
