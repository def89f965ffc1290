"""Random pipelines and grids, with scikit-learn's own search as the oracle."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.feature_selection import SelectKBest, SelectPercentile, VarianceThreshold
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import MinMaxScaler, PolynomialFeatures, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from diurnal.search import fork_join, tune
from searching import Counting, oracle, same

# for each: how it is made, and what may be tuned
STEPS = {
    "scale": (StandardScaler, {"with_mean": [True, False], "with_std": [True, False]}),
    "span": (MinMaxScaler, {"clip": [True, False]}),
    "pca": (PCA, {"n_components": [1, 2, 3, 0.9, None, 7], "whiten": [False, True], "svd_solver": ["full", "auto"]}),
    "svd": (lambda: TruncatedSVD(random_state=0), {"n_components": [1, 2, 3]}),
    "best": (SelectKBest, {"k": [1, 2, 9, "all"]}),
    "share": (SelectPercentile, {"percentile": [1, 40, 100]}),
    "vary": (VarianceThreshold, {"threshold": [0.0, 0.1]}),
    "poly": (lambda: PolynomialFeatures(2), {"interaction_only": [True, False]}),
    "shift": (Counting, {"by": [0.0, 0.5]}),
    "columns": (
        lambda: ColumnTransformer([("a", StandardScaler(), [0, 1]), ("b", PCA(), [1, 2])], remainder="passthrough"),
        {"a__with_mean": [True, False], "b__n_components": [1, 2], "a": ["drop", MinMaxScaler()]},
    ),
    "both": (lambda: FeatureUnion([("a", PCA(1)), ("b", SelectKBest(k=1))]), {"a__n_components": [1, 2]}),
    "chain": (lambda: Pipeline([("x", Counting()), ("y", PCA())]), {"x__by": [0.0, 1.0], "y__n_components": [1, 2]}),
}
FINALS = {
    "logistic": (
        LogisticRegression,
        {"C": [0.01, 1.0, 100.0], "class_weight": [None, "balanced"], "max_iter": [3, 200]},
    ),
    "tree": (lambda: DecisionTreeClassifier(random_state=0), {"max_depth": [1, None], "ccp_alpha": [0.0, 0.01, 0.1]}),
    "bayes": (GaussianNB, {"var_smoothing": [1e-9, 0.1]}),
    "near": (
        KNeighborsClassifier,
        {"n_neighbors": [1, 4, 60], "weights": ["uniform", "distance"], "metric": ["cosine", "minkowski"]},
    ),
    "ridge": (RidgeClassifier, {"alpha": [0.1, 1.0, 10.0]}),
    "lda": (LinearDiscriminantAnalysis, {"solver": ["svd", "lsqr"]}),
    "forest": (lambda: RandomForestClassifier(5, random_state=0), {"n_estimators": [1, 3], "max_depth": [2, None]}),
    "boost": (lambda: GradientBoostingClassifier(random_state=0), {"n_estimators": [1, 3], "learning_rate": [0.1, 1]}),
    "bag": (lambda: BaggingClassifier(random_state=0), {"n_estimators": [1, 3], "max_samples": [0.5, 1.0]}),
    "ada": (lambda: AdaBoostClassifier(random_state=0), {"n_estimators": [1, 3], "learning_rate": [0.5, 1.0]}),
    "hist": (lambda: HistGradientBoostingClassifier(random_state=0), {"max_iter": [1, 3]}),
}


@st.composite
def searches(draw):
    names = draw(st.lists(st.sampled_from(sorted(STEPS)), max_size=3, unique=True))
    final = draw(st.sampled_from(sorted(FINALS)))
    known = {**STEPS, final: FINALS[final]}
    chain = Pipeline([(name, known[name][0]()) for name in (*names, final)])
    grid = {}
    for name in (*names, final):
        for param, values in known[name][1].items():
            if draw(st.booleans()):
                grid[f"{name}__{param}"] = draw(st.lists(st.sampled_from(values), min_size=1, max_size=2, unique=True))
    if names and draw(st.booleans()):
        grid = {k: v for k, v in grid.items() if not k.startswith(f"{names[0]}__")}
        grid[names[0]] = ["passthrough", STEPS[names[0]][0](), MinMaxScaler()]
    scoring = draw(st.sampled_from([None, "accuracy", "f1_macro", "neg_log_loss", ("accuracy", "recall_macro")]))
    return GridSearchCV(
        chain,
        grid or {f"{names[0] if names else final}": [chain.steps[0][1]]},
        cv=draw(st.sampled_from([2, KFold(3, shuffle=True, random_state=1), StratifiedKFold(2)])),
        scoring=scoring,
        refit="accuracy" if isinstance(scoring, tuple) else True,
        return_train_score=draw(st.booleans()),
        error_score=draw(st.sampled_from([np.nan, 0.5])),
    )


@st.composite
def samples(draw):
    seed, classes = draw(st.integers(0, 50)), draw(st.sampled_from([2, 3]))
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(60, 5)) * draw(st.sampled_from([1.0, np.array([1, 10, 100, 0.1, 1])]))
    y = np.digitize(X[:, 0] / np.ptp(X[:, 0]) + rng.normal(size=60) / 3, np.linspace(-0.3, 0.3, classes - 1))
    y = np.array(["a", "b", "c"])[y] if draw(st.booleans()) else y
    return (pd.DataFrame(X, columns=list("vwxyz")) if draw(st.booleans()) else X), y


@pytest.fixture(autouse=True, scope="module")
def _start_at_once():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fork_join, "START_SECONDS", 0)  # the other threads take part from the first fit on
        yield


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(searches(), samples(), st.sampled_from([1, 3]))
def test_tune_gives_the_same_as_scikit_learn_on_anything_with_any_number_of_cores(search, data, max_cores):
    try:
        expected = oracle(search, *data)
    except ValueError as error:  # every fit has failed, or the refit
        with pytest.raises(ValueError, match=re.escape(str(error).strip().splitlines()[0])):
            tune(search, *data, max_cores=max_cores)
    else:
        same(search, *data, max_cores=max_cores, expected=expected)
