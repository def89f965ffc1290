"""Finished folds are kept outside of the process, and not fitted again."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from diurnal.search import tune

SHARED = make_pipeline(StandardScaler(), PCA(), LogisticRegression(max_iter=200))
GRID = {"pca__n_components": [2, 5, 8], "logisticregression__C": [0.1, 1.0]}


class Folds:
    """Keeps folds in memory; `loses` is the number of the fold before which the search is killed."""

    def __init__(self, killed_at=None):
        self.kept, self.saved, self.killed_at = {}, [], killed_at

    def load(self, round_id):
        return self.kept.get(round_id, {})

    def save(self, round_id, fold, results):
        if len(self.saved) == self.killed_at:
            raise KeyboardInterrupt
        self.saved.append(fold)
        self.kept.setdefault(round_id, {})[fold] = results


@pytest.fixture(scope="module")
def data():
    return load_breast_cancer(return_X_y=True)


def scores_of(fitted):
    return {name: values for name, values in fitted.cv_results_.items() if "score" in name and "time" not in name}


@pytest.mark.parametrize(
    ("estimator", "grid"),
    [(SHARED, GRID), (DecisionTreeClassifier(random_state=0), {"min_samples_leaf": [1, 5, 20]})],
    ids=["shared", "unshared"],
)
def test_a_search_that_was_killed_goes_on_with_the_fits_that_are_left(estimator, grid, data):
    search = GridSearchCV(
        estimator, grid, cv=4, return_train_score=True, scoring=["accuracy", "roc_auc"], refit="roc_auc"
    )
    store = Folds(killed_at=2)
    with pytest.raises(KeyboardInterrupt):
        tune(search, *data, max_cores=1, fold_store=store)
    assert store.saved == [0, 1]
    store.killed_at, fits = None, []
    again = tune(search, *data, max_cores=1, fold_store=store, progress=lambda done, _: fits.append(done))
    assert store.saved == [0, 1, 2, 3], "kept folds are not saved again, and so were not fitted"
    n_candidates = len(again.cv_results_["params"])
    assert (fits[0], fits[-1]) == (2 * n_candidates, 4 * n_candidates)
    whole = tune(search, *data)
    for name, values in scores_of(whole).items():
        np.testing.assert_array_equal(scores_of(again)[name], values, err_msg=name)
    assert again.best_params_ == whole.best_params_


def test_other_candidates_or_folds_are_fitted(data):
    store = Folds()
    tune(GridSearchCV(SHARED, GRID, cv=3), *data, fold_store=store)
    for search in (
        GridSearchCV(SHARED, {**GRID, "logisticregression__C": [0.1, 2.0]}, cv=3),
        GridSearchCV(SHARED, GRID, cv=KFold(3, shuffle=True, random_state=1)),
        RandomizedSearchCV(SHARED, GRID, n_iter=4, random_state=0, cv=3),
    ):
        n_before = len(store.saved)
        tune(search, *data, fold_store=store)
        assert len(store.saved) == n_before + 3
    assert len(store.kept) == 4


def test_a_fold_in_which_a_fit_fails_is_not_kept(data):
    store = Folds()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fits that failed, and of scores that are not finite
        tune(GridSearchCV(SHARED, {"pca__n_components": [2, 5, 1000]}, cv=3), *data, fold_store=store)
    assert store.saved == []
