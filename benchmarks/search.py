"""Time of a search: scikit-learn as written, on all cores, and on one BLAS thread; dask-ml; and diurnal.search.

For each workload the variants run in turn, each in a process of its own after a small search (warm); the best of the
repeats counts. Reported are wall seconds, CPU seconds and peak memory of the process and its children, and the fits of
pipeline steps and final estimators in this process, including those of the refit. `unavoidable` fits each distinct
prefix once and each final estimator once on one thread; it scores and refits nothing.

Usage: ``python benchmarks/search.py [--quick] [--repeats N] [WORKLOAD ...]``.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import os
import resource
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import psutil

WAYS = ("as written", "n_jobs=-1", "1 BLAS thread", "dask-ml", "diurnal")


def tutorial(quick, Cs=(1.0,)):  # noqa: ARG001 - it is small as it is
    from sklearn.datasets import load_breast_cancer

    X, y = load_breast_cancer(return_X_y=True)
    grid = {"pca__n_components": range(1, 30), "log_reg__C": list(Cs)}
    return _scaled_pca_logistic(grid, 3), X[:398], y[:398]


def tutorial_x_10(quick):
    return tutorial(quick, np.logspace(-2, 2, 3 if quick else 10))


def tall(quick):
    """100,000 x 100: twelve PCA sizes and eight C."""
    X, y = _classes(4_000 if quick else 100_000, 100)
    sizes = [5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100]
    Cs = np.logspace(-3, 3, 8)
    grid = {"pca__n_components": sizes[::4] if quick else sizes, "log_reg__C": Cs[::2] if quick else Cs}
    return _scaled_pca_logistic(grid, 5), X, y


def wide(quick):
    """5,000 x 2,000: every size from one exact decomposition, before a support vector machine."""
    from sklearn.decomposition import PCA
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    X, y = _classes(*((800, 300) if quick else (5_000, 2_000)))
    chain = Pipeline([("scale", StandardScaler()), ("pca", PCA(svd_solver="full")), ("svc", SVC())])
    return GridSearchCV(chain, {"pca__n_components": [10, 30, 60], "svc__C": [0.1, 1, 10]}, cv=3), X, y


def mixed(quick):
    """Mixed columns, one-hot and scaled, before gradient boosting: no family but the boosting's stages."""
    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.feature_selection import SelectKBest
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    n, rng = 1_000 if quick else 10_000, np.random.default_rng(0)
    X, y = _classes(n, 10)
    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(10)])
    frame["town"], frame["kind"] = rng.choice([f"t{i}" for i in range(30)], n), rng.choice(list("abcd"), n)
    columns = ColumnTransformer([("text", OneHotEncoder(sparse_output=False), ["town", "kind"])],
                                remainder=StandardScaler())  # fmt: skip
    best = SelectKBest(_mutual_information)
    boost = GradientBoostingClassifier(random_state=0, max_depth=2, n_estimators=30)
    chain = Pipeline([("columns", columns), ("best", best), ("boost", boost)])
    grid = {"best__k": [10, 20], "boost__learning_rate": [0.05, 0.1, 0.3], "boost__n_estimators": [10, 20, 30]}
    return GridSearchCV(chain, grid, cv=3), frame, y


def boosted(quick):
    """XGBoost with 20 numbers of rounds and two depths: one fit for each depth."""
    from sklearn.model_selection import GridSearchCV
    from xgboost import XGBClassifier

    X, y = _classes(1_000 if quick else 10_000, 20)
    rounds = range(10, 201, 10) if quick else range(25, 501, 25)
    return GridSearchCV(XGBClassifier(n_jobs=1), {"n_estimators": rounds, "max_depth": [3, 6]}, cv=3), X, y


def unshared(quick):
    """A search without shared fits: diurnal.search inspects it, and leaves it to scikit-learn."""
    from sklearn.model_selection import GridSearchCV
    from sklearn.tree import DecisionTreeClassifier

    X, y = _classes(2_000 if quick else 8_000, 20)
    grid = {"max_depth": [3, 5, 8, 12], "min_samples_leaf": [1, 5, 20]}
    return GridSearchCV(DecisionTreeClassifier(random_state=0), grid, cv=5), X, y


WORKLOADS = {f.__name__: f for f in (tutorial, tutorial_x_10, tall, wide, mixed, boosted, unshared)}


def run(name, way, quick):
    """Run one variant of one workload in this process; return the time and memory that it takes."""
    warnings.simplefilter("ignore")
    search, X, y = WORKLOADS[name](quick)
    fit = _way(way)
    _, small, small_y = tutorial(True)
    fit(tutorial(True)[0].set_params(param_grid={"pca__n_components": [2, 3]}), small, small_y)  # warm
    peak, fits = _Peak(), _count_fits(search)
    cpu, start = _cpu(), time.perf_counter()
    with peak:
        fitted = fit(search, X, y)
    wall = time.perf_counter() - start
    results = getattr(fitted, "cv_results_", {})
    scores = [results[k].tolist() for k in sorted(results) if k.startswith("split") and k.endswith("test_score")]
    counted = None if way == "n_jobs=-1" else len(fits)  # it fits in other processes
    return {"wall": wall, "cpu": _cpu() - cpu, "peak": peak.bytes, "fits": counted, "scores": scores}


def _way(way):
    from threadpoolctl import threadpool_limits

    def one_thread(search, X, y):
        with threadpool_limits(1):
            return search.fit(X, y)

    def diurnal(search, X, y):
        from diurnal.search import tune

        return tune(search, X, y)

    def dask_ml(search, X, y):
        from dask_ml.model_selection import GridSearchCV

        return GridSearchCV(search.estimator, dict(search.param_grid), cv=search.cv).fit(X, y)

    return {
        "as written": lambda search, X, y: search.fit(X, y),
        "n_jobs=-1": lambda search, X, y: search.set_params(n_jobs=-1).fit(X, y),
        "1 BLAS thread": one_thread,
        "dask-ml": dask_ml,
        "diurnal": diurnal,
        "unavoidable": _unavoidable,
    }[way]


def _unavoidable(search, X, y):
    """Fit each distinct prefix once and each final estimator once, on each fold, by hand."""
    from sklearn.base import clone
    from sklearn.model_selection import ParameterGrid, check_cv
    from sklearn.pipeline import Pipeline
    from threadpoolctl import threadpool_limits

    rows = (lambda i: X.iloc[i]) if hasattr(X, "iloc") else (lambda i: X[i])
    with threadpool_limits(1):
        for train, _ in check_cv(search.cv, y, classifier=True).split(X, y):
            done = {}
            for params in ParameterGrid(search.param_grid):
                one = clone(search.estimator).set_params(**params)
                steps = one.steps if isinstance(one, Pipeline) else [("", one)]
                Z, key = rows(train), ""
                for step_name, step in steps[:-1]:
                    key += step_name + repr({k: v for k, v in params.items() if k.startswith(step_name + "__")})
                    if key not in done:
                        done[key] = step.fit_transform(Z, y[train])
                    Z = done[key]
                steps[-1][1].fit(Z, y[train])


def _count_fits(search):
    """Return a list to which every later fit of a pipeline step or a final estimator adds an item."""
    from sklearn.pipeline import Pipeline

    steps = (
        [step for _, step in search.estimator.steps] if isinstance(search.estimator, Pipeline) else [search.estimator]
    )
    counted, here = [], threading.local()

    def counting(theirs):
        @functools.wraps(theirs)
        def method(self, *args, **words):
            outermost, here.inside = not getattr(here, "inside", False), True
            if outermost:
                counted.append(type(self).__name__)
            try:
                return theirs(self, *args, **words)
            finally:
                here.inside = not outermost

        return method

    for kind in {type(step) for step in steps}:
        for name in {"fit", "fit_transform"} & set(dir(kind)):
            setattr(kind, name, counting(getattr(kind, name)))
    return counted


class _Peak:
    """The most memory that this process and its children hold at once; what they share counts once."""

    def __enter__(self):
        self.bytes, self.ended = self._held(), threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def _look(self):
        seconds = 0.0
        while not self.ended.wait(max(0.02, 30 * seconds)):  # a look takes milliseconds: at most 3 % of a core
            start = time.perf_counter()
            self.bytes = max(self.bytes, self._held())
            seconds = time.perf_counter() - start

    def _held(self):
        held = 0
        for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
            try:
                held += process.memory_full_info().pss
            except psutil.Error:
                continue
        return held


def _cpu():
    """CPU seconds of this process and its children, living or gone."""
    gone = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = resource.getrusage(resource.RUSAGE_SELF)
    seconds = own.ru_utime + own.ru_stime + gone.ru_utime + gone.ru_stime
    for child in psutil.Process().children(recursive=True):
        times = child.cpu_times()
        seconds += times.user + times.system
    return seconds


def _mutual_information(X, y):
    from sklearn.feature_selection import mutual_info_classif

    return mutual_info_classif(X, y, random_state=0)


def _scaled_pca_logistic(grid, cv):
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    chain = Pipeline([("std_scaler", StandardScaler()), ("pca", PCA()), ("log_reg", LogisticRegression(max_iter=1000))])
    return GridSearchCV(chain, grid, cv=cv)


def _classes(n, p):
    from sklearn.datasets import make_classification

    return make_classification(n, p, n_informative=max(2, p * 2 // 5), random_state=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workloads", nargs="*", choices=[[], *WORKLOADS], default=[])
    parser.add_argument("--quick", action="store_true", help="smaller data")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--run", nargs=2, metavar=("WORKLOAD", "WAY"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        print(json.dumps(run(*given.run, given.quick)))
        return
    ways = [w for w in (*WAYS, "unavoidable") if w != "dask-ml" or importlib.util.find_spec("dask_ml")]
    for name in given.workloads or WORKLOADS:
        spent = {way: [] for way in ways}
        for _ in range(given.repeats):
            for way in ways:  # interleaved, so that other load on the machine affects all variants alike
                spent[way].append(_elsewhere(name, way, quick=given.quick))
                print(f"{name}: {way}: {spent[way][-1]['wall']:.2f} s", file=sys.stderr, flush=True)
        _show(name, spent)


def _elsewhere(name, way, *, quick):
    command = [sys.executable, str(Path(__file__)), "--run", name, way, *(["--quick"] if quick else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    if done.returncode:
        sys.exit(f"{name}, {way}:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def _show(name, spent):
    print(f"\n{name}", flush=True)
    print(f"{'':16}{'wall s':>9}{'CPU s':>9}{'MB':>8}{'fits':>7}{'speed-up':>11}  scores that differ")
    ours = min(s["wall"] for s in spent["diurnal"])
    expected = np.array(spent["1 BLAS thread"][0]["scores"])
    for way, repeats in spent.items():
        best = min(repeats, key=lambda s: s["wall"])
        scores = np.array(best["scores"])
        differ = f"{int((scores != expected).sum())} of {expected.size}" if scores.shape == expected.shape else "-"
        fits = "-" if best["fits"] is None else best["fits"]
        print(
            f"{way:16}{best['wall']:9.2f}{best['cpu']:9.2f}{best['peak'] / 1e6:8.0f}{fits:>7}"
            f"{best['wall'] / ours:11.1f}  {differ}"
        )


if __name__ == "__main__":
    main()
