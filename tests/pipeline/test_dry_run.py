"""What a dry run tries, what it finds, and what it leaves alone."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import make_scorer
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from diurnal import experiment
from diurnal.experiment.run_context import RunContext
from diurnal.pipeline.dry_run import dry_run
from diurnal.pipeline.local_run import run
from projects import Project, day


@pytest.fixture
def stores(tmp_path, warehouse_url):
    stores = Project.make(tmp_path / "project", warehouse_url).stores()
    yield stores
    stores.warehouse.close()


def frame_of(n=300, seed=0):
    rng = np.random.default_rng(seed)
    x, place = rng.normal(size=n), rng.choice(["here", "there"], n)
    return pd.DataFrame({"x": x, "z": rng.normal(size=n), "place": place, "y": np.where(x > 0, "yes", "no")})


def tried(stores, make, frame=None, **declared):
    def toy():
        """Tell yes from no."""
        return make()

    rows = frame_of() if frame is None else frame
    made = experiment(source=lambda _: rows, **{"target": "y", "drop": "place", **declared})(toy)
    return dry_run(RunContext(made, day("2026-11-01"), stores, requested_by="test"))


def messages(found):
    return [f"{fault.location.rpartition(' ')[2]}: {fault}" for fault in found.faults]


def tidy(stores):
    """Tell that nothing was written."""
    return not list(stores.lake.files()) and not stores.warehouse.packages() and not list(stores.models.list())


def test_a_sound_experiment_has_no_fault_and_nothing_is_written(stores):
    found = tried(stores, lambda: GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), {}, cv=3))
    assert (found.n_rows, found.tried, found.faults) == (300, ["Pipeline"], [])
    assert tidy(stores)
    assert stores.warehouse.schema("toy") is None


def test_every_kind_of_candidate_is_tried(stores):
    def make():
        pipeline = Pipeline([("scale", StandardScaler()), ("model", LogisticRegression())])
        grid = [
            {"model": [SVC(random_state=0), RandomForestClassifier(5, random_state=0)], "scale": ["passthrough"]},
            {"model__C": [0.1, 1.0]},
        ]
        return GridSearchCV(pipeline, grid, cv=2)

    found = tried(stores, make)
    assert found.faults == []
    assert found.tried == ["Pipeline, model=SVC", "Pipeline, model=RandomForestClassifier", "Pipeline"]


def test_a_random_search_is_tried_by_what_it_would_draw(stores):
    def make():
        from scipy.stats import loguniform

        return RandomizedSearchCV(LogisticRegression(), {"C": loguniform(0.01, 1)}, n_iter=50, cv=3)

    assert tried(stores, make).tried == ["LogisticRegression"]


def no_numbers(estimator, X, y):
    raise RuntimeError("this scorer is broken")


FAULTY = [
    (LogisticRegression, {"drop": ()}, ["tune: .*could not convert string to float"]),
    (Ridge, {}, ["fetch: .*target-kind"]),
    (lambda: GridSearchCV(LogisticRegression(), {"C": [-1.0]}, cv=2), {}, ["tune: .*'C' parameter"]),
    (lambda: GridSearchCV(LogisticRegression(), {}, scoring=no_numbers, cv=2), {}, ["tune: .*this scorer is broken"]),
    (lambda: make_pipeline(FunctionTransformer(lambda X: X), LogisticRegression()), {}, ["publish: .*"]),
    (
        lambda: GridSearchCV(
            Pipeline([("f", "passthrough"), ("model", LogisticRegression())]),
            [{"f": [FunctionTransformer(lambda X: X)]}, {"f": [StandardScaler()]}, {"model": [SVC(C=-1)]}],
            cv=2,
        ),
        {},
        ["publish: .*", "tune: .*'C' parameter"],
    ),
    (LogisticRegression, {"limits": None, "target": "nothing"}, ["fetch: .*missing-column"]),
]


@pytest.mark.parametrize(("make", "declared", "expected"), FAULTY)
def test_faults_of_the_code_are_found_all_at_once(stores, make, declared, expected):
    found = tried(stores, make, **declared)
    assert len(found.faults) == len(expected)
    for message, pattern in zip(messages(found), expected, strict=True):
        assert pd.Series([message]).str.contains(pattern, regex=True).all(), message
    assert all(fault.exit_status for fault in found.faults)
    assert tidy(stores)


def test_a_batch_is_held_against_the_contract_of_the_warehouse(stores):
    def toy():
        """Tell yes from no."""
        return LogisticRegression()

    rows = {"2026-11-01": frame_of(), "2026-11-02": frame_of(seed=1).rename(columns={"z": "Z"})}
    declared = experiment(source=lambda at: rows[f"{at.start:%Y-%m-%d}"], target="y", drop="place")(toy)
    run(RunContext(declared, day("2026-11-01"), stores, requested_by="test"))
    before = [row["digest"] for row in stores.warehouse.packages()]
    found = dry_run(RunContext(declared, day("2026-11-02"), stores, requested_by="test"))
    assert "did you mean 'Z'" in messages(found)[0]
    assert [row["digest"] for row in stores.warehouse.packages()] == before
    assert dry_run(RunContext(declared, day("2026-11-01"), stores, requested_by="test")).faults == []


def test_a_window_that_is_too_small_is_no_fault(stores):
    found = tried(stores, LogisticRegression, frame_of().assign(y="no"), window=7)
    assert (found.faults, found.tried) == ([], [])
    assert any("not enough data yet" in warning for warning in found.warnings)


def test_large_batches_and_searches_are_tried_on_few_rows(stores):
    def make():
        encode = ColumnTransformer([("place", OneHotEncoder(), ["place"])], remainder="passthrough")
        pipeline = make_pipeline(encode, HistGradientBoostingClassifier(random_state=0))
        grid = {"histgradientboostingclassifier__max_iter": range(50, 200), "columntransformer__n_jobs": [None, 1]}
        return GridSearchCV(pipeline, grid, scoring=make_scorer(accuracy), cv=5)

    begun = time.perf_counter()
    found = tried(stores, make, frame_of(100_000), drop=())
    assert found.faults == []
    assert found.n_rows == 100_000
    assert time.perf_counter() - begun < 60, "300 candidates on 100,000 rows would take half an hour"


def accuracy(y, predicted):
    return float(np.mean(np.asarray(y) == predicted))
