import os
import threading
import time

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from diurnal.backends.sklearn.tuning import tune_estimator
from diurnal.runtime import Settings, cores
from diurnal.search import executor, fork_join, tune, workers
from diurnal.search.fork_join import ForkJoinPool
from diurnal.storage.stores import open_stores
from searching import same

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3000, 8))
Y = (X[:, 0] + X[:, 1] + RNG.normal(size=len(X)) > 0).astype(int)


class OwnScaler(TransformerMixin, BaseEstimator):
    """An estimator that is not scikit-learn's; it warns."""

    def fit(self, X, y=None):
        import warnings

        warnings.warn("slow", UserWarning, stacklevel=1)
        return self

    def transform(self, X):
        return X * 2


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(fork_join, "START_SECONDS", 0)
    monkeypatch.setattr(workers, "PROCESS_SECONDS", 0)


@pytest.fixture
def chosen(monkeypatch):
    """The workers that were chosen."""
    seen, choose = [], executor.choose_workers
    monkeypatch.setattr(executor, "choose_workers", lambda *args: seen.append(choose(*args)) or seen[-1])
    return seen


@pytest.mark.parametrize("final", [LogisticRegression(), HistGradientBoostingClassifier(max_iter=3, random_state=0)])
@pytest.mark.usefixtures("at_once")
def test_estimators_of_scikit_learn_run_on_threads_with_its_numbers(chosen, final):
    chain = make_pipeline(StandardScaler(), final)
    grid = {"standardscaler__with_mean": [True, False], f"{chain.steps[1][0]}__class_weight": [None, "balanced"]}
    same(GridSearchCV(chain, grid, cv=2, return_train_score=True), X[:600], Y[:600], max_cores=2)
    same(
        GridSearchCV(final, {"class_weight": [None, "balanced"]}, cv=2), X[:600], Y[:600], max_cores=4
    )  # nothing is shared
    assert {kind for kind, _ in chosen} <= {"threads", "one"}


@pytest.mark.usefixtures("at_once")
def test_other_estimators_run_in_processes_after_a_fold_that_shows_the_gain(monkeypatch):
    sent = []
    run = executor._run_in_processes
    monkeypatch.setattr(executor, "_run_in_processes", lambda *args: sent.append(args[2]) or run(*args))
    chain = make_pipeline(OwnScaler(), DecisionTreeClassifier(max_depth=2, random_state=0))
    grid = {"decisiontreeclassifier__min_samples_leaf": [1, 10]}
    same(GridSearchCV(chain, grid, cv=4, n_jobs=1), X, Y)
    # warned=False: with n_jobs scikit-learn warns in its worker processes, where the warnings are not seen.
    same(GridSearchCV(chain, grid, cv=4, n_jobs=2, refit=False), X, Y, warned=False)
    monkeypatch.setattr(workers, "PROCESS_SECONDS", 60)  # too small to gain
    same(GridSearchCV(chain, grid, cv=4, n_jobs=2, refit=False), X, Y, warned=False)
    assert sent == [[], [1, 2, 3], []]


@pytest.mark.usefixtures("at_once")
def test_folds_that_cannot_be_sent_to_processes_are_fitted_here():
    class Locked(OwnScaler):
        def __init__(self, lock=None):
            self.lock = lock

        def __sklearn_clone__(self):
            return Locked(self.lock)

    chain = make_pipeline(Locked(threading.Lock()), DecisionTreeClassifier(max_depth=2, random_state=0))
    search = GridSearchCV(chain, {"decisiontreeclassifier__min_samples_leaf": [1, 10]}, cv=4)
    same(search, X, Y, max_cores=2)


@pytest.mark.parametrize(("n_jobs", "max_cores", "expected"), [(None, 1, 1), (3, None, 3), (3, 2, 2), (1, 8, 1)])
def test_a_search_uses_at_most_its_n_jobs_and_max_cores(chosen, n_jobs, max_cores, expected):
    search = GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [1, 2]}, n_jobs=n_jobs, refit=False)
    tune(search, X, Y, max_cores=max_cores)
    assert [n for _, n in chosen] == [expected]


def test_a_search_without_n_jobs_uses_the_cores_of_its_process(chosen):
    search = GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [1, 2]}, refit=False)
    tune(search, X, Y)
    with joblib.parallel_config(n_jobs=1, backend="threading"):
        tune(search, X, Y)
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        tune(search, X, Y)
    finally:
        os.sched_setaffinity(0, before)
    assert [n for _, n in chosen] == [len(before), len(before), 1]


def test_tuning_of_a_project_uses_at_most_its_setting(chosen, tmp_path, monkeypatch):
    monkeypatch.setattr(cores, "_limit", type(cores._limit)())
    open_stores(Settings.load(tmp_path, {"DIURNAL_CORES": "1"}), create=False)
    search = GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [1, 2]}, n_jobs=2)
    tune_estimator(search, pd.DataFrame(X, columns=list("abcdefgh")), Y)
    assert chosen == [("one", 1)]


@pytest.mark.usefixtures("at_once")
def test_idle_threads_take_parts_of_divided_tasks():
    used = set()

    def part(i):
        time.sleep(0.02)
        used.add(threading.get_native_id())
        return i

    with ForkJoinPool(3) as pool:
        assert pool.map(lambda n: sum(pool.map(part, range(n))), [9, 1, 0, 4]) == [36, 0, 0, 6]
    assert len(used) == 3


@pytest.mark.usefixtures("at_once")
def test_threads_that_wait_for_the_interpreter_lock_stop(monkeypatch):
    monkeypatch.setattr(fork_join, "WINDOW_SECONDS", 0.05)
    with ForkJoinPool(4) as pool:
        start = time.monotonic()
        while not pool.is_limited and time.monotonic() - start < 20:
            pool.map(lambda n: sum(range(n)), [1_000_000] * 8)
        assert pool.is_limited
        assert pool.n_allowed < 4


@pytest.mark.usefixtures("at_once")
def test_the_first_error_ends_a_map_when_its_running_calls_are_done():
    ended = []

    def fail(i):
        if i == 2:
            raise KeyboardInterrupt
        time.sleep(0.01)
        ended.append(i)

    with ForkJoinPool(3) as pool:
        with pytest.raises(KeyboardInterrupt):
            pool.map(fail, range(1000))
        n_ended = len(ended)
        time.sleep(0.05)
    assert n_ended == len(ended) < 999


def test_a_busy_thread_of_the_application_is_not_counted_as_a_thread_of_the_fits():
    ended = threading.Event()
    application = threading.Thread(target=_compute_until, args=(ended,))
    application.start()
    try:
        usage, all_threads, start = fork_join.CoreUsage(), time.process_time(), time.perf_counter()
        fit = threading.Thread(target=_compute_until, args=(ended,))  # a thread of a fit starts later
        fit.start()
        time.sleep(0.5)
        n_seconds = usage.n_cores() * (time.perf_counter() - start)
        assert 0.2 < n_seconds / (time.process_time() - all_threads) < 0.8  # each takes a half
    finally:
        ended.set()
        application.join()
        fit.join()


def _compute_until(ended):
    data = np.ones((1000, 1000))
    while not ended.is_set():
        np.exp(data)  # without the interpreter lock


@pytest.mark.usefixtures("at_once")
def test_a_thread_is_added_when_the_fits_have_no_threads_of_their_own_any_more(monkeypatch):
    monkeypatch.setattr(fork_join, "WINDOW_SECONDS", 0.02)
    monkeypatch.setattr(fork_join, "SPIN_SECONDS", 0)
    usage, allowed = iter([1.9, 1.9, 1.0]), []
    monkeypatch.setattr(fork_join.CoreUsage, "n_cores", lambda _: next(usage))
    with ForkJoinPool(2) as pool:
        pool.map(lambda _: allowed.append(pool.n_allowed) or time.sleep(0.01), range(40))
    assert (allowed[0], max(allowed)) == (1, 2)
