import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectKBest
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from diurnal.search import tune
from searching import FITS, Counting, oracle, same

RNG = np.random.default_rng(7)
X = RNG.normal(size=(90, 5))
Y = (X[:, 0] + X[:, 1] ** 2 > 0.8).astype(int)
FRAME = pd.DataFrame(X, columns=list("abcde")).assign(town=RNG.choice(["x", "y", "z"], 90))
COLUMNS = ColumnTransformer(
    [("left", Counting(), [0, 1]), ("right", PCA(), slice(1, 4)), ("none", Counting(by=5.0), [])],
    remainder=Counting(by=7.0),
)
UNION = FeatureUnion([("left", Counting()), ("right", PCA()), ("off", "drop")], transformer_weights={"left": 2.0})


def chain(first):
    return Pipeline([("first", first), ("tree", DecisionTreeClassifier(random_state=0))])


@pytest.mark.parametrize("first", [COLUMNS, UNION])
def test_tune_fits_each_branch_once(first):
    grid = {"first__left__by": [0.0, 1.0], "first__right__n_components": [1, 2, 3], "tree__max_depth": [1, 2]}
    same(GridSearchCV(chain(first), grid, cv=3, return_train_score=True), X, Y)
    FITS.clear()
    tune(GridSearchCV(chain(first), grid, cv=3, refit=False), X, Y)
    remainder = {"Counting(7.0)": 3} if first is COLUMNS else {}
    assert {"Counting(0.0)": 3, "Counting(1.0)": 3, **remainder} == FITS


@pytest.mark.parametrize("scoring", [None, lambda e, X, y: float(e.score(X, y) + len(e[0].transform(X)[0]))])
@pytest.mark.parametrize(
    ("first", "grid"),
    [
        (COLUMNS, {"first__left": [StandardScaler(), "drop", "passthrough", Counting()]}),
        (COLUMNS, {"first__remainder": ["drop", StandardScaler()], "first__left__by": [1.0, 2.0]}),
        (COLUMNS, {"first__remainder__by": [1.0, 2.0], "first__sparse_threshold": [0.0, 0.9]}),
        (COLUMNS, {"first__transformers": [[("a", Counting(), [0])], [("a", Counting(), [0, 1])]]}),
        (COLUMNS, {"first__transformer_weights": [None, {"left": 2.0}], "first__right__n_components": [1, 9]}),
        (UNION, {"first__left": ["drop", "passthrough"], "first__right__n_components": [1, 2]}),
        (FeatureUnion([("p", make_pipeline(Counting(), PCA())), ("q", SelectKBest(k=1))]),
         {"first__p__pca__n_components": [1, 2], "first__q__k": [1, 3]}),
        (make_pipeline(StandardScaler(), COLUMNS), {"first__columntransformer__right__n_components": [1, 2]}),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning")
def test_tune_of_branches_gives_the_same_as_scikit_learn(first, grid, scoring):
    same(GridSearchCV(chain(first), grid, cv=3, scoring=scoring), X, Y)


@pytest.mark.parametrize("output", ["default", "pandas"])
@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_tune_of_branches_keeps_names_and_sparseness(output, threshold):
    columns = ColumnTransformer(
        [("town", OneHotEncoder(sparse_output=output == "default"), ["town"]),
         ("some", StandardScaler(), make_column_selector(dtype_include=float))],
        remainder="drop", sparse_threshold=threshold,
    ).set_output(transform=output)  # fmt: skip
    grid = {"first__town__drop": [None, "first"], "first__some__with_mean": [True, False]}
    same(GridSearchCV(chain(columns), grid, cv=3), FRAME, Y)

    seen = []

    def look(fitted, X, y):
        first = fitted[0]
        kinds = [type(step).__name__ for _, step, _ in (*first.transformers, *first.transformers_)]
        seen.append((first.get_feature_names_out().tolist(), type(first.transform(X)).__name__, kinds))
        return 0.0

    search = GridSearchCV(chain(columns), grid, cv=2, scoring=look, refit=False)
    oracle(search, FRAME, Y)
    reference, seen = seen, []
    tune(search, FRAME, Y)
    assert sorted(seen) == sorted(reference)


def test_tune_warns_of_a_shared_branch_for_each_candidate():
    class Warns(Counting):
        def fit(self, X, y=None):
            warnings.warn(f"by {self.by}", UserWarning, stacklevel=1)
            return super().fit(X, y)

    union = FeatureUnion([("left", Warns()), ("right", PCA())])
    same(GridSearchCV(chain(union), {"first__right__n_components": [1, 2], "tree__max_depth": [1, 2]}, cv=3), X, Y)


def test_tune_protects_shared_data_from_functions_that_write():
    def shift(X, by=1.0):
        X += by
        X *= X > 0
        return X

    grid = {"first__kw_args": [{"by": 1.0}, {"by": -2.0}, {"by": 0.0}], "tree__max_depth": [1, 2]}
    search = GridSearchCV(chain(FunctionTransformer(shift)), grid, cv=3, refit=False)
    same(search, X.copy(), Y)


def test_tune_reports_the_time_of_a_branch_for_each_candidate_with_it():
    class Slow(Counting):
        def fit(self, X, y=None):
            import time

            time.sleep(0.02)
            return super().fit(X, y)

    union = FeatureUnion([("left", Slow()), ("right", PCA())])
    tuned = tune(GridSearchCV(chain(union), {"first__right__n_components": [1, 2, 3]}, cv=2, refit=False), X, Y)
    assert tuned.cv_results_["mean_fit_time"].min() > 0.02
