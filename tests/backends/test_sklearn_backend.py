"""What goes into scikit-learn, and what is said of it."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    RandomizedSearchCV,
    RepeatedStratifiedKFold,
    StratifiedShuffleSplit,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.svm import SVC

from diurnal.backends import sklearn as backend
from diurnal.backends.sklearn import scorers
from diurnal.errors import ExperimentError

rng = np.random.default_rng(0)
X = backend.to_features(pa.table({"a": rng.normal(size=80), "b": rng.normal(size=80)}), ["a", "b"])
y = np.where(X["a"] + 0.3 * rng.normal(size=80) > 0, "yes", "no")
GRID = {"C": [0.1, 1.0]}


def test_matrix_gives_null_as_nan_in_every_kind():
    table = pa.table({"f": [1.0, None], "i": [1, None], "b": [True, None], "t": ["x", None]})
    frame = backend.to_features(table, ["f", "i", "b", "t"])
    assert all(isinstance(frame[name][1], float) and np.isnan(frame[name][1]) for name in frame)


FOLDS = [
    (None, 5),
    (3, 3),
    (RepeatedStratifiedKFold(n_splits=3, n_repeats=20), 3),
    (StratifiedShuffleSplit(9), 2),
]


@pytest.mark.parametrize(("cv", "n"), FOLDS)
def test_classes_are_too_few_where_scikit_learn_raises_and_scarce_where_it_warns(cv, n):
    search = GridSearchCV(LogisticRegression(), GRID, cv=cv)
    assert scorers.find_size_problem(search, np.repeat(["a", "b"], [n - 1, 1])) is not None
    assert scorers.find_size_problem(search, np.repeat(["a", "b"], [30, n - 1])) is None
    assert f"'b' has {n - 1}" in scorers.find_rare_classes(search, np.repeat(["a", "b"], [30, n - 1]))
    assert scorers.find_rare_classes(search, np.repeat(["a", "b"], [30, n])) is None


def test_folds_that_are_not_stratified_need_samples_only():
    search = GridSearchCV(LogisticRegression(), GRID, cv=KFold(4))
    assert scorers.find_size_problem(search, np.repeat(["a", "b"], [3, 1])) is None
    assert "4 folds" in scorers.find_size_problem(search, np.repeat(["a", "b"], [2, 1]))
    assert scorers.find_rare_classes(search, np.repeat(["a", "b"], [30, 1])) is None
    assert "one value" in scorers.find_size_problem(search, np.repeat("a", 9))


@pytest.mark.parametrize(
    ("scoring", "refit", "main"),
    [
        (None, True, "accuracy"),
        ("recall_macro", True, "recall_macro"),
        (["accuracy", "f1_macro"], "f1_macro", "f1_macro"),
        (lambda estimator, X, y: {"acc": estimator.score(X, y), "n": len(y)}, "acc", "acc"),
    ],
)
def test_tune_takes_the_main_score_as_the_search_names_it(scoring, refit, main):
    search = GridSearchCV(LogisticRegression(), GRID, cv=3, scoring=scoring, refit=refit)
    tuned = backend.tune_estimator(search, X, y)
    name, score = backend.build_scorer(search)
    fitted = search.fit(X, y)
    column = "mean_test_score" if "mean_test_score" in fitted.cv_results_ else f"mean_test_{main}"
    assert name == main
    assert tuned.mean == fitted.cv_results_[column][fitted.best_index_]
    assert main in score(tuned.twin, X, y)


def test_scorer_of_a_bare_estimator_is_its_own_score():
    assert backend.build_scorer(HistGradientBoostingClassifier())[0] == "accuracy"


def test_tune_of_several_scores_without_a_main_one_is_refused():
    search = GridSearchCV(LogisticRegression(), GRID, scoring=["accuracy", "f1_macro"], refit=False)
    with pytest.raises(ExperimentError, match="does not name the main one"):
        backend.build_scorer(search)


def test_bare_estimator_has_nothing_to_tune():
    tuned = backend.tune_estimator(Ridge(), X, X["a"].to_numpy())
    assert (tuned.n_folds, tuned.mean, tuned.n_candidates) == (0, None, 1)


@pytest.mark.parametrize(
    ("search", "places"),
    [
        (GridSearchCV(LogisticRegression(), GRID), []),
        (GridSearchCV(make_pipeline(RandomForestClassifier()), {}), ["estimator__randomforestclassifier"]),
        (RandomizedSearchCV(SVC(), GRID), ["RandomizedSearchCV"]),
        (GridSearchCV(SVC(), GRID, cv=KFold(3, shuffle=True)), ["cv"]),
        (GridSearchCV(SVC(), GRID, cv=KFold(3)), []),
        (GridSearchCV(Pipeline([("a", SVC())]), {"a": [Ridge(), RandomForestClassifier()]}), ["estimator__a"]),
        (GridSearchCV(Pipeline([("a", SVC())]), [{"a": [make_pipeline(SVC())]}, {"a__C": [1]}]), []),
        (GridSearchCV(make_pipeline(Ridge()), {"ridge__solver": ["svd", "saga"]}), ["estimator__ridge"]),
        (GridSearchCV(Ridge(), {"solver": ["svd", "sag"]}), ["estimator"]),
        (GridSearchCV(Ridge(random_state=0), {"solver": ["svd", "sag"]}), []),
    ],
)
def test_unseeded_names_the_places_where_it_matters(search, places):
    assert [found.split(" ")[0] for found in backend.find_unseeded(search)] == places
