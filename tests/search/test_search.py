import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.ensemble import RandomForestClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - it makes the two names below
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    HalvingRandomSearchCV,
    RandomizedSearchCV,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from diurnal.search import sklearn_private, tune, unsupported_reason
from searching import FITS, Counting, oracle, same

RNG = np.random.default_rng(7)
X = RNG.normal(size=(90, 6))
Y = (X[:, 0] + X[:, 1] ** 2 + RNG.normal(size=90) > 0.8).astype(int)
TREES = {"tree__max_depth": [1, 3], "tree__min_samples_leaf": [1, 4]}


@pytest.fixture(autouse=True)
def _count_anew():
    FITS.clear()


def pipeline(*between):
    return Pipeline([("count", Counting()), *between, ("tree", DecisionTreeClassifier(random_state=0))])


def test_tune_fits_each_prefix_once():
    tune(GridSearchCV(pipeline(), {"count__by": [0.0, 1.0], **TREES}, cv=3, refit=False), X, Y)
    assert FITS == {"Counting(0.0)": 3, "Counting(1.0)": 3}


@pytest.mark.parametrize(
    "search",
    [
        GridSearchCV(pipeline(("scale", StandardScaler())), TREES, cv=3),
        GridSearchCV(pipeline(("scale", StandardScaler())), {"scale": [MinMaxScaler(), "passthrough", None], **TREES}),
        GridSearchCV(pipeline(), [{"tree": [GaussianNB(), KNeighborsClassifier()]}, TREES], return_train_score=True),
        GridSearchCV(pipeline(("pca", PCA())), {"pca__n_components": [1, 2, 5], **TREES}, return_train_score=True),
        GridSearchCV(pipeline(), TREES, scoring=["roc_auc", "accuracy"], refit="roc_auc"),
        GridSearchCV(pipeline(), TREES, scoring={"f": "f1", "l": "neg_log_loss"}, refit=False),
        GridSearchCV(pipeline(), TREES, refit=lambda results: int(np.argmin(results["mean_fit_time"] >= 0))),
        GridSearchCV(pipeline(), TREES, scoring=lambda e, X, y: float(len(e.named_steps) + e.score(X, y))),
        GridSearchCV(pipeline(), TREES, scoring=lambda e, X, y: {"a": e.score(X, y), "b": 1.0}, refit="b"),
        RandomizedSearchCV(pipeline(), {**TREES, "count__by": [0, 1, 2]}, n_iter=9, random_state=3),
        HalvingGridSearchCV(pipeline(), {**TREES, "count__by": [0, 1, 2]}, random_state=3),
        HalvingRandomSearchCV(pipeline(), {**TREES, "count__by": [0, 1, 2]}, random_state=3),
        HalvingGridSearchCV(
            make_pipeline(StandardScaler(), RandomForestClassifier(random_state=0)),
            {"randomforestclassifier__max_depth": [1, 2, 3]},
            resource="randomforestclassifier__n_estimators",
            max_resources=9,
        ),
        GridSearchCV(
            make_pipeline(make_pipeline(Counting(), PCA(random_state=0)), SVC()),
            {"pipeline__pca__n_components": [2, 3], "svc__C": [1, 10]},
        ),
        GridSearchCV(
            make_pipeline(
                FeatureUnion([("a", PCA(2)), ("b", SelectKBest(k=2))]), DecisionTreeClassifier(random_state=0)
            ),
            {"featureunion__a__n_components": [1, 2], "decisiontreeclassifier__max_depth": [1, 2]},
        ),
        GridSearchCV(pipeline(), {"steps": [pipeline().steps, pipeline(("s", StandardScaler())).steps], **TREES}),
        GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [1, 2, 2]}),
    ],
)
def test_tune_gives_the_same_as_scikit_learn(search):
    same(search, X, Y)


def test_tune_takes_frames_and_columns():
    frame = pd.DataFrame(X, columns=list("abcdef")).assign(town=RNG.choice(["x", "y", "z"], 90))
    columns = ColumnTransformer(
        [("town", OneHotEncoder(sparse_output=False), ["town"]), ("rest", StandardScaler(), list("abcd"))]
    )
    chain = Pipeline([("columns", columns), ("scale", StandardScaler()), ("svc", SVC())])
    chain.set_params(columns__sparse_threshold=0).set_output(transform="pandas")
    grid = {"columns__rest__with_mean": [True, False], "svc__C": [1, 5], "svc__gamma": ["scale", 0.1]}
    same(GridSearchCV(chain, {**grid, "columns__town__drop": [None, "first"]}), frame, Y)


def test_tune_takes_sparse_matrices():
    grid = {"truncatedsvd__n_components": [2, 3], "logisticregression__C": [0.1, 10]}
    chain = make_pipeline(TruncatedSVD(algorithm="arpack", random_state=0), LogisticRegression())
    same(GridSearchCV(chain, grid), sparse.csr_matrix(X * (X > 0)), Y)


def test_tune_passes_groups_and_weights_on():
    grid = {"std__with_mean": [True, False], "tree__max_depth": [1, 2]}
    chain = Pipeline([("std", StandardScaler()), ("tree", DecisionTreeClassifier(random_state=0))])
    weights = RNG.uniform(0.1, 1, 90)
    fit_params = {"groups": np.arange(90) % 4, "tree__sample_weight": weights, "std__sample_weight": weights}
    same(GridSearchCV(chain, grid, cv=GroupKFold(4)), X, Y, **fit_params)
    same(GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [2, 2]}), X, Y, sample_weight=weights)


def test_tune_reports_failed_fits_and_scores_as_scikit_learn_does():
    failing = {"pca__n_components": [2, 50], "tree__max_depth": [1, 2]}
    same(GridSearchCV(pipeline(("pca", PCA())), failing, error_score=-1.0, return_train_score=True), X, Y)
    same(GridSearchCV(pipeline(), TREES, scoring=lambda e, X, y: 1 / 0), X, Y)
    for use in (oracle, lambda *a: (tune(*a),)):
        with pytest.raises(ValueError, match="n_components=50 must be between 0 and"):
            use(GridSearchCV(pipeline(("pca", PCA())), failing, error_score="raise"), X, Y)


def test_tune_warns_as_often_as_scikit_learn():
    class Warns(Counting):
        def fit(self, X, y=None):
            import warnings

            warnings.warn(f"by {self.by}", UserWarning, stacklevel=1)
            return super().fit(X, y)

    chain = Pipeline([("count", Warns()), ("tree", DecisionTreeClassifier(random_state=0))])
    same(GridSearchCV(chain, {"count__by": [0.0, 1.0], **TREES}, cv=3), X, Y)


def test_tune_shares_nothing_if_the_global_generator_is_used():
    class Noisy(Counting):
        def transform(self, X):
            return X + np.random.normal(size=X.shape)

    chain = Pipeline([("count", Noisy()), ("tree", DecisionTreeClassifier(random_state=0))])
    results = []
    for use in (lambda s: oracle(s, X, Y)[0], lambda s: tune(s, X, Y)):
        np.random.seed(5)
        results.append(use(GridSearchCV(chain, TREES, cv=3)).cv_results_["mean_test_score"])
    np.testing.assert_array_equal(*results)


def test_tune_shares_before_support_vector_machines():
    chain = make_pipeline(Counting(), SVC())  # they draw a seed and do not use it
    same(GridSearchCV(chain, {"svc__C": [0.1, 1, 10]}, cv=3), X, Y)
    FITS.clear()
    tune(GridSearchCV(chain, {"svc__C": [0.1, 1, 10]}, cv=3, refit=False), X, Y)
    assert FITS == {"Counting(0.0)": 3}


def test_tune_isolates_candidates_that_write_into_their_input():
    class Writing(Counting):
        def fit(self, X, y=None):
            if self.by:
                X[:] = 0
            return super().fit(X, y)

    chain = Pipeline([("count", Writing()), ("tree", DecisionTreeClassifier(random_state=0))])
    grid = {"count__by": [1.0, 0.0], **TREES}
    same(GridSearchCV(chain, grid, cv=3), X, Y)
    same(GridSearchCV(chain, grid, cv=3), pd.DataFrame(X).astype(float), Y)
    inplace = make_pipeline(StandardScaler(copy=False), StandardScaler(), Ridge())
    same(GridSearchCV(inplace, {"ridge__alpha": [1, 2]}, return_train_score=True, refit=False), X, Y)


def test_unsupported_reason_gives_the_reason():
    assert unsupported_reason(GridSearchCV(pipeline(), TREES)) is None
    assert "prints" in unsupported_reason(GridSearchCV(pipeline(), TREES, verbose=2))
    assert "not a scikit-learn search" in unsupported_reason(pipeline())


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize("shared", [True, False])
def test_tune_counts_progress(shared, n_jobs):
    seen = []
    grid = TREES if shared else {name.removeprefix("tree__"): values for name, values in TREES.items()}
    search = GridSearchCV(pipeline() if shared else pipeline()[-1], grid, cv=3, n_jobs=n_jobs)
    tune(search, X, Y, progress=lambda *counts: seen.append(counts))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert len(seen) > 3
    assert seen[-1] == (12, 12)


@pytest.mark.parametrize("listens", ["to the search", "to what it tunes", "to a candidate"])
def test_tune_leaves_a_search_with_callbacks_to_scikit_learn(listens):
    class Recorder:
        """A callback of scikit-learn's protocol, which records every candidate on every fold."""

        def setup(self, estimator, context):
            events.append("setup")

        def teardown(self, estimator, context):
            events.append("teardown")

        def on_fit_task_begin(self, estimator, context, **_):
            events.append(f"begin {context.task_name}")

        def on_fit_task_end(self, estimator, context, **_):
            events.append(f"end {context.task_name}")

    events = []
    search = GridSearchCV(pipeline(), TREES, cv=3)
    if listens == "to a candidate":  # two equal candidates
        final = LogisticRegression().set_callbacks(Recorder())
        search.param_grid = {"tree": [final, clone(final)]}
    else:
        (search if listens == "to the search" else search.estimator).set_callbacks(Recorder())
        assert unsupported_reason(search) == "it has callbacks, or an estimator in it has"
    search.fit(X, Y)
    reference = sorted(events)
    events.clear()
    tune(search, X, Y)
    assert sorted(events) == reference
    assert len(reference) >= 2 * 6


def test_tune_uses_the_public_api_where_private_names_have_changed(monkeypatch):
    # as after a minor release of scikit-learn
    monkeypatch.setattr(sklearn_private, "_GLOBALS_OF_LOOP", {"a name that scikit-learn does not have"})
    same(GridSearchCV(pipeline(), TREES, cv=3), X, Y)
    monkeypatch.undo()
    monkeypatch.setattr(sklearn_private, "_FIT_AND_SCORE_KWARGS", frozenset())
    same(GridSearchCV(pipeline(), TREES, cv=3), X, Y)


def test_tune_leaves_no_object_of_diurnal_in_the_search():
    import pickle

    search = GridSearchCV(make_pipeline(StandardScaler(), Ridge()), {"ridge__alpha": [1, 2]}, n_jobs=2)
    fitted = tune(search, X, Y)
    assert "diurnal" not in str(pickle.dumps(fitted))
    assert not hasattr(search, "best_params_")
