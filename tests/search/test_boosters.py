"""Boosters with several numbers of rounds: one fit serves all."""

import catboost
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import is_classifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from diurnal.search import tune
from diurnal.search.families.boosters import BoosterFamily, FittedBoosters
from diurnal.search.tree import PipelineStep, own_params
from searching import same

XGB = {"n_jobs": 1, "max_depth": 3}
LIGHT = {"n_jobs": 1, "verbose": -1, "min_child_samples": 5}
CAT = {"thread_count": 1, "verbose": False, "allow_writing_files": False, "learning_rate": 0.3, "depth": 3}
BOOSTERS = {
    "xgboost": (xgboost.XGBClassifier(**XGB), {"subsample": [1.0, 0.6], "colsample_bynode": [1.0, 0.5]}),
    "xgboost exact": (
        xgboost.XGBClassifier(**XGB, tree_method="exact"),
        {"gamma": [0, 0.5], "random_state": [4]},
    ),
    "xgboost regression": (xgboost.XGBRegressor(**XGB, objective="reg:absoluteerror"), {"num_parallel_tree": [1, 3]}),
    "lightgbm": (lightgbm.LGBMClassifier(**LIGHT), {"colsample_bytree": [1.0, 0.5], "extra_trees": [False, True]}),
    "lightgbm bagged": (lightgbm.LGBMClassifier(**LIGHT, subsample_freq=2), {"subsample": [0.6], "random_state": [5]}),
    "lightgbm regression": (lightgbm.LGBMRegressor(**LIGHT), {"num_leaves": [2, 31], "objective": ["l1", "l2"]}),
    "catboost": (catboost.CatBoostClassifier(**CAT), {"subsample": [0.6], "bootstrap_type": ["Bernoulli"]}),
    "catboost ordered": (catboost.CatBoostClassifier(**CAT, boosting_type="Ordered"), {"rsm": [0.5, 1.0]}),
    "catboost regression": (catboost.CatBoostRegressor(**CAT), {"random_strength": [0.5, 2.0], "random_seed": [1, 3]}),
}


def step(estimator, **changes):
    return PipelineStep((), tuple(changes.items()), estimator, changes, own_params(estimator))


@st.composite
def tables(draw, labels):
    """Rows with ties, gaps, features at scales from 1e-6 to 1e6, equal rows, and a rare class."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    X = rng.normal(size=(80, 4)) * 10.0 ** rng.integers(-6, 7, 4)
    X[:, 0] = rng.integers(0, 3, 80)
    X[rng.random(X.shape) < draw(st.sampled_from([0, 0.2]))] = np.nan
    X[:10] = X[10:20]
    y = rng.integers(0, draw(st.sampled_from([2, 3])), 80) if labels else rng.normal(size=80)
    if labels and draw(st.booleans()):
        y = (np.arange(80) % 10 == 0).astype(int)
    X = X.astype(np.float32) if draw(st.booleans()) else X
    return (pd.DataFrame(X, columns=list("abcd")) if draw(st.booleans()) else X), y


@pytest.mark.parametrize("name", BOOSTERS)
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.data())
def test_the_first_rounds_are_the_smaller_booster_to_the_last_bit(name, data):
    booster, options = BOOSTERS[name]
    chosen = {param: data.draw(st.sampled_from(values)) for param, values in options.items()}
    X, y = data.draw(tables(labels=is_classifier(booster)))
    weights = data.draw(st.sampled_from([{}, {"sample_weight": np.arange(1.0, 81)}]))
    steps = [step(booster, n_estimators=n, **chosen) for n in (7, 1, 12)]
    assert len({BoosterFamily().group_key(each) for each in steps} - {None}) == 1
    fits = FittedBoosters(steps, X, y, weights)
    for i, each in enumerate(steps):
        reference, actual = each.build().fit(X, y, **weights), fits.estimator(i)
        params, expected = (sorted(map(repr, each.get_params().items())) for each in (actual, reference))  # nan
        assert params == expected
        for method in ("predict", "predict_proba"):
            if hasattr(reference, method):
                np.testing.assert_array_equal(getattr(actual, method)(X), getattr(reference, method)(X))


@pytest.mark.parametrize("name", ["xgboost", "lightgbm", "catboost"])
def test_a_search_over_the_number_of_rounds_fits_once_for_each_fold(name, monkeypatch):
    booster, _ = BOOSTERS[name]
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(120, 4)), columns=list("abcd"))
    y = (X["a"] + rng.normal(size=120) > 0).to_numpy().astype(int)
    chain = make_pipeline(StandardScaler().set_output(transform="pandas"), booster)
    prefix = type(booster).__name__.lower()
    grid = {f"{prefix}__n_estimators": [2, 5, 9], f"{prefix}__learning_rate": [0.1, 0.5]}
    search = GridSearchCV(chain, grid, cv=3, scoring=["neg_log_loss", "accuracy"], refit=False, return_train_score=True)
    same(search, X, y)
    fitted, fit = [], type(booster).fit
    monkeypatch.setattr(type(booster), "fit", lambda self, *a, **k: fitted.append(self) or fit(self, *a, **k))
    tune(search, X, y)
    assert len(fitted) == 3 * 2


def test_lightgbm_with_categories_and_without_further_splits_is_truncated_too():
    rng = np.random.default_rng(1)
    X = pd.DataFrame({"kind": pd.Categorical(rng.choice(list("xyz"), 60)), "n": rng.normal(size=60)})
    y = (X["kind"] == "x").to_numpy().astype(int)
    booster = lightgbm.LGBMClassifier(n_jobs=1, verbose=-1, min_split_gain=1.0, learning_rate=0.5)
    same(GridSearchCV(booster, {"n_estimators": [1, 5, 200]}, cv=2, scoring="neg_log_loss"), X, y)


@pytest.mark.parametrize(
    "booster",
    [
        xgboost.XGBClassifier(booster="dart"),
        xgboost.XGBClassifier(booster="gblinear"),
        xgboost.XGBClassifier(early_stopping_rounds=3),
        xgboost.XGBClassifier(process_type="update"),
        xgboost.XGBRegressor(random_state=np.random.RandomState(0)),
        xgboost.XGBRFClassifier(),
        lightgbm.LGBMClassifier(boosting_type="dart"),
        lightgbm.LGBMClassifier(boosting_type="rf"),
        lightgbm.LGBMClassifier(early_stopping_round=3),
        lightgbm.LGBMClassifier(linear_tree=True),
        catboost.CatBoostClassifier(),  # the learning rate follows from the number of rounds
        catboost.CatBoostClassifier(learning_rate=0.1, grow_policy="Lossguide"),
        catboost.CatBoostClassifier(learning_rate=0.1, od_type="Iter"),
        catboost.CatBoostClassifier(learning_rate=0.1, posterior_sampling=True),
    ],
    ids=repr,
)
def test_a_booster_whose_rounds_depend_on_their_number_is_fitted_as_it_is(booster):
    assert BoosterFamily().group_key(step(booster, n_estimators=3)) is None
    assert BoosterFamily().group_key(step(BOOSTERS["xgboost"][0], n_estimators=None)) is None
