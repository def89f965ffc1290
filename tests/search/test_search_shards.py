import json

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - it makes the name below
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, KFold, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier

import diurnal.search as search_package
from diurnal.errors import UsageError
from diurnal.search import combine_scores, score_shard, split_search
from searching import FITS, Counting, oracle, same_results

X = np.random.default_rng(3).normal(size=(80, 5))
Y = (X[:, 0] * X[:, 1] > 0).astype(int)
CHAIN = make_pipeline(Counting(), PCA(), DecisionTreeClassifier(random_state=0))
GRID = {"counting__by": [0.0, 1.0], "pca__n_components": [2, 4, 9], "decisiontreeclassifier__max_depth": [1, 3]}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning", "ignore:One or more of the test")
@pytest.mark.parametrize("n", [1, 2, 3, 5, 100])
def test_any_number_of_shards_gives_the_same_results(n):
    search = GridSearchCV(CHAIN, GRID, cv=3, scoring=["accuracy", "f1"], refit="f1")
    shards = json.loads(json.dumps(split_search(search, X, Y, n)))
    assert len(shards) == min(n, 36)
    parts = [score_shard(search, X, Y, shard) for shard in reversed(shards)]
    fitted, reference = combine_scores(search, X, Y, parts), oracle(search, X, Y)[0]
    same_results(fitted.cv_results_, reference.cv_results_)
    assert fitted.best_params_ == reference.best_params_
    np.testing.assert_array_equal(fitted.predict(X), reference.predict(X))


def test_shards_keep_prefixes_together():
    search = GridSearchCV(CHAIN, GRID | {"pca__n_components": [2, 4]}, cv=3, refit=False)
    shards = split_search(search, X, Y, 6)
    FITS.clear()
    for shard in shards:
        score_shard(search, X, Y, shard)
    assert sum(FITS.values()) == 6  # two prefixes on three folds, none fitted twice


def test_a_search_that_draws_or_selects_as_it_runs_has_one_shard():
    logistic, grid = LogisticRegression(), {"C": [0.1, 1.0, 10.0]}
    whole = [
        HalvingGridSearchCV(logistic, grid, random_state=0),
        RandomizedSearchCV(logistic, grid, n_iter=2),
        GridSearchCV(logistic, grid, cv=KFold(3, shuffle=True)),
    ]
    for search in whole:
        (shard,) = split_search(search, X, Y, 4)
        assert combine_scores(search, X, Y, [score_shard(search, X, Y, shard)]).best_params_["C"] in grid["C"]
    seeded = RandomizedSearchCV(logistic, grid, n_iter=2, random_state=0, cv=KFold(3, shuffle=True, random_state=1))
    parts = [score_shard(seeded, X, Y, shard) for shard in split_search(seeded, X, Y, 4)]
    same_results(combine_scores(seeded, X, Y, parts).cv_results_, oracle(seeded, X, Y)[0].cv_results_)


def test_combine_scores_refuses_missing_and_repeated_fits():
    search = GridSearchCV(CHAIN, GRID | {"pca__n_components": [2, 4]}, cv=3)
    first, second = (score_shard(search, X, Y, shard) for shard in split_search(search, X, Y, 2))
    with pytest.raises(UsageError, match="12 fits of 24; the first that is missing"):
        combine_scores(search, X, Y, [first])
    with pytest.raises(UsageError, match="occurs twice"):
        combine_scores(search, X, Y, [first, second, first])
    with pytest.raises(UsageError, match="does not belong to this search"):
        score_shard(search, X, Y, {"start": 0, "stop": 1, "n_candidates": 3, "n_splits": 3})
    with pytest.raises(UsageError, match="whole number"):
        split_search(search, X, Y, 0)


def test_former_names_of_public_functions_still_work():
    assert search_package.shards is split_search
    assert search_package.combine is combine_scores
    assert search_package.understands is search_package.unsupported_reason
    assert set(search_package.__all__) > {"combine", "score_shard", "shards", "tune", "understands"}
