import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris, make_classification
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_selection import SelectKBest, SelectPercentile, chi2, f_classif, r_regression
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, StandardScaler
from sklearn.tree import DecisionTreeClassifier, ExtraTreeRegressor
from threadpoolctl import threadpool_limits

from diurnal.search import fork_join, sklearn_private, tune
from diurnal.search.families import FINAL_FAMILIES, TRANSFORMER_FAMILIES
from diurnal.search.families.ensembles import EnsembleFamily
from diurnal.search.families.family_protocol import DesignMatrix, UnsupportedData
from diurnal.search.families.logistic_regression import MAX_CERTAIN_ITERATIONS, BatchedLogistic
from diurnal.search.families.pca import PCAFamily
from diurnal.search.families.select_k_best import SelectionFamily
from diurnal.search.tree import PipelineStep, own_params
from searching import same

CANCER, IRIS = load_breast_cancer(return_X_y=True), load_iris(return_X_y=True)
MANY = make_classification(2500, 60, n_informative=20, random_state=0)


@pytest.fixture(autouse=True)
def _one_blas_thread():
    with threadpool_limits(1):
        yield


def step(estimator, **changes):
    return PipelineStep((), tuple(changes.items()), estimator, changes, own_params(estimator))


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize(
    ("X", "options"),
    [
        (CANCER[0], {"svd_solver": "full"}),
        (CANCER[0], {"svd_solver": "covariance_eigh"}),
        (CANCER[0], {}),
        (CANCER[0][:200], {}),
        (CANCER[0][:20], {}),
        (CANCER[0].astype(np.float32), {"svd_solver": "covariance_eigh"}),
    ],
)
def test_one_pca_gives_every_smaller_one_to_the_last_bit(X, options, whiten):
    pca = PCA(whiten=whiten, **options)
    steps = [step(pca, n_components=n) for n in (1, 2, 7, 13, min(X.shape))]
    sizes = PCAFamily().fit(steps, X, None, {})
    for each in steps:
        reference = each.build()
        expected = reference.fit_transform(X)
        actual = sizes.fitted_step(each)
        np.testing.assert_array_equal(sizes.fit_transform_output(each, X), expected)
        np.testing.assert_array_equal(actual.transform(X), reference.transform(X))
        assert vars(actual).keys() == vars(reference).keys()
        for name, value in vars(reference).items():
            np.testing.assert_array_equal(vars(actual)[name], value, err_msg=name)


def test_a_pca_that_is_not_exact_is_fitted_as_it_is():
    X = np.random.default_rng(0).normal(size=(600, 100))
    steps = [step(PCA(random_state=0), n_components=n) for n in (3, 90, 95)]  # auto: the first is randomized
    assert [PCAFamily().supports(each, X.shape) for each in steps] == [False, True, True]
    sizes = PCAFamily().fit(steps[1:], X, None, {})
    np.testing.assert_array_equal(sizes.fitted_step(steps[1]).components_, steps[1].build().fit(X).components_)
    assert PCAFamily().group_key(step(PCA(0.9))) is None
    assert PCAFamily().group_key(step(PCA(3, svd_solver="randomized"))) is None


def same_matrix(value, expected):
    assert type(value) is type(expected)
    if sparse.issparse(expected):
        value, expected = value.toarray(), expected.toarray()
    np.testing.assert_array_equal(value, expected)


TIED = np.hstack([CANCER[0], CANCER[0][:, ::-3], np.ones((len(CANCER[0]), 2))])  # features that score the same, or nan


@pytest.mark.parametrize(
    ("selector", "name", "sizes"),
    [
        (SelectKBest(), "k", [1, 2, 5, 31, "all", TIED.shape[1]]),
        (SelectKBest(chi2), "k", [np.int64(1), 11, 12]),
        (SelectPercentile(), "percentile", [0.5, 10, 33.3, 100]),
        (SelectPercentile(r_regression), "percentile", [np.float32(7), 50]),
    ],
)
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix, pd.DataFrame])
@pytest.mark.filterwarnings("ignore:Features .* are constant", "ignore:invalid value", "ignore:No features were")
def test_one_scoring_of_features_gives_every_number_of_the_best(selector, name, sizes, kind):
    if selector.score_func is r_regression and kind is sparse.csr_matrix:
        pytest.skip("it cannot center a sparse matrix")
    X = kind(TIED)
    if kind is pd.DataFrame:
        selector = clone(selector).set_output(transform="pandas")
        X.columns = [f"x{i}" for i in range(X.shape[1])]
    steps, family = members(selector, name, sizes), SelectionFamily()
    assert len({family.group_key(each) for each in steps} - {None}) == 1
    assert all(family.supports(each, X.shape) for each in steps)
    fits = family.fit(steps, X, CANCER[1], {})
    for each in steps:
        reference, actual = each.build(), fits.fitted_step(each)
        same_matrix(fits.fit_transform_output(each, X), reference.fit_transform(X, CANCER[1]))
        same_matrix(actual.transform(X), reference.transform(X))
        assert fits.n_columns(each) == reference.get_support().sum()
        assert vars(actual).keys() == vars(reference).keys()
        np.testing.assert_array_equal(actual.scores_, reference.scores_)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning", "ignore:One or more of the test")
def test_tune_scores_the_features_once_for_every_number_of_them():
    calls = []

    def scored(X, y):
        calls.append(len(X))
        warnings.warn("scored", UserWarning, stacklevel=1)
        return f_classif(X, y)

    grid = {"selectkbest__k": [2, 5, "all", 99], "logisticregression__C": [0.1, 1.0]}  # 99: warned of, and kept
    search = GridSearchCV(make_pipeline(StandardScaler(), SelectKBest(scored), LogisticRegression()), grid, cv=3)
    same(search, *CANCER)
    calls.clear()
    _quietly(tune, search.set_params(refit=False), *CANCER)
    assert len(calls) == 6  # on each fold once, and once for 99
    few = {"selectpercentile__percentile": [0.1, 50, 150], "logisticregression__C": [0.1, 1.0]}
    same(GridSearchCV(make_pipeline(SelectPercentile(), LogisticRegression(max_iter=5)), few, cv=3), *CANCER)


@pytest.mark.parametrize("algorithm", ["arpack", "randomized"])
def test_no_truncated_svd_is_the_leading_columns_of_a_larger_one(algorithm):
    def leading(X, size, largest):
        small, large = (TruncatedSVD(n, algorithm=algorithm, random_state=0).fit_transform(X) for n in (size, largest))
        return np.abs(small - large[:, :size]).max()

    repeated = np.tile(np.eye(12), (5, 1))  # equal singular values: each size turns them as it likes
    assert leading(repeated, 3, 8) > 0.1
    noise = np.random.default_rng(0).normal(size=(300, 40))
    assert leading(noise, 5, 30) > (0 if algorithm == "arpack" else 0.01)  # last digits, or all of them
    assert not any(
        f.group_key(step(TruncatedSVD(3, algorithm=algorithm, random_state=0))) for f in TRANSFORMER_FAMILIES
    )


@pytest.mark.parametrize("strategy", ["quantile", "uniform", "kmeans"])
def test_no_number_of_bins_is_part_of_a_larger_one(strategy):
    X = CANCER[0][:, :1]
    few, many = (
        KBinsDiscretizer(n, strategy=strategy, random_state=0, quantile_method="linear").fit(X).bin_edges_[0]
        for n in (4, 7)
    )
    assert not set(few[1:-1]) & set(many)
    assert not any(f.group_key(step(KBinsDiscretizer(4, strategy=strategy))) for f in TRANSFORMER_FAMILIES)


@pytest.mark.parametrize("options", [{}, {"fit_intercept": False}, {"class_weight": "balanced"}, {"tol": 1e-7}])
@pytest.mark.parametrize("scaled", [True, False])
def test_small_logistic_batch_gives_scikit_learns_coefficients_to_the_last_bit(options, scaled):
    X, y = CANCER
    X = StandardScaler().fit_transform(X) if scaled else X
    weights = np.random.default_rng(0).uniform(0.5, 2, len(y))
    logistic = LogisticRegression(**options)
    steps = [step(logistic, C=C, max_iter=n) for C in (1e-3, 1.0, 1e4) for n in (5, 300)]
    designs = [DesignMatrix(X)] * 3 + [DesignMatrix(np.ascontiguousarray(X[:, :5]))] * 3
    fits = BatchedLogistic(steps, designs, y, {"sample_weight": weights})
    assert fits.exact
    for i, each in enumerate(steps):
        reference, actual = _quietly(each.build().fit, designs[i].matrix, y, weights), _quietly(fits.estimator, i)
        assert vars(actual).keys() == vars(reference).keys()
        for name in ("coef_", "intercept_", "n_iter_", "classes_"):
            value, expected = getattr(actual, name), getattr(reference, name)
            assert (value.dtype, value.shape) == (expected.dtype, expected.shape), name
            np.testing.assert_array_equal(value, expected, err_msg=name)


@pytest.mark.parametrize(("X", "y"), [IRIS, MANY, (MANY[0], MANY[1] + (MANY[0][:, 0] > 0))])
def test_large_logistic_batch_serves_short_fits_only(X, y):
    logistic = LogisticRegression(max_iter=500)
    X = np.tile(X, (3, 1)) if len(X) > 1000 else X
    y = np.tile(y, 3) if len(y) > 1000 else y
    steps = [step(logistic, C=C) for C in (1e-3, 1.0, 1e4)]
    fits = BatchedLogistic(steps, [DesignMatrix(X)] * 3, y, {})
    assert not fits.exact
    for i, each in enumerate(steps):
        reference = each.build().fit(X, y)
        if reference.n_iter_[0] > MAX_CERTAIN_ITERATIONS:
            with pytest.raises(UnsupportedData):
                fits.estimator(i)
        else:
            actual = fits.estimator(i)
            assert actual.n_iter_ == reference.n_iter_
            np.testing.assert_allclose(
                actual.coef_, reference.coef_, rtol=1e-6, atol=1e-8 * np.abs(reference.coef_).max()
            )
            labels = fits.predict_labels([X] * 3)[i]
            assert labels is None or np.array_equal(labels, reference.predict(X))


def test_large_logistic_batch_leaves_large_columns_to_scikit_learn():
    X, y = IRIS[0] * [1, 1000, 1, 1], IRIS[1]  # of one more iteration or one less, depending on the order of sums
    steps = [step(LogisticRegression(), C=C) for C in (1e-3, 1.0, 100.0)]
    with pytest.raises(UnsupportedData, match="far from standardized"):
        BatchedLogistic(steps, [DesignMatrix(X)] * 3, y, {})
    same(GridSearchCV(LogisticRegression(), {"C": np.logspace(-3, 3, 7)}, cv=3, return_train_score=True), X, y)


@pytest.mark.parametrize("scoring", [None, "f1_macro", "neg_log_loss", ["accuracy", "roc_auc_ovr"]])
@pytest.mark.parametrize(("X", "y"), [CANCER, IRIS, MANY])
def test_tune_of_pca_before_logistic_regression_is_the_same(X, y, scoring):
    chain = make_pipeline(StandardScaler(), PCA(svd_solver="full"), LogisticRegression())
    grid = {"pca__n_components": [1, 2, 4], "logisticregression__C": [0.01, 1, 100]}
    refit = "accuracy" if isinstance(scoring, list) else True
    same(GridSearchCV(chain, grid, cv=3, scoring=scoring, refit=refit, return_train_score=True), X, y)


def test_rows_behind_a_pca_are_transformed_once_for_several_groups_of_logistic_regressions(monkeypatch):
    transformed, transform = [], PCA.transform
    monkeypatch.setattr(PCA, "transform", lambda self, X: transformed.append(len(X)) or transform(self, X))
    chain = make_pipeline(StandardScaler(), PCA(svd_solver="full"), LogisticRegression())
    grid = {
        "pca__n_components": [2, 3],
        "logisticregression__fit_intercept": [True, False],  # two groups: one batch has one kind of intercept
        "logisticregression__C": [0.1, 1.0],
    }
    search = GridSearchCV(chain, grid, cv=3, refit=False, scoring="neg_log_loss")
    tune(search, CANCER[0][:150, :6], CANCER[1][:150])
    assert transformed == [50] * 2 * 3  # the test rows of each size on each fold
    transformed.clear()
    tune(search.set_params(scoring=["accuracy", "f1"]), CANCER[0][:150, :6], CANCER[1][:150])
    assert transformed == [50] * 3  # labels are certain by the leading columns of the largest


@pytest.mark.parametrize("kind", [GridSearchCV, HalvingGridSearchCV])
@pytest.mark.parametrize("scoring", [["accuracy", "f1_macro", "recall_macro"], "precision_macro", None])
def test_halving_and_several_scores_of_labels_are_served_by_batches(kind, scoring, monkeypatch):
    chain = make_pipeline(StandardScaler(), PCA(), LogisticRegression())
    grid = {"pca__n_components": [1, 2, 4], "logisticregression__C": [0.1, 1.0, 10.0]}
    if kind is HalvingGridSearchCV and isinstance(scoring, list):
        pytest.skip("halving takes one score")
    options = {"random_state": 0} if kind is HalvingGridSearchCV else {}
    search = kind(chain, grid, cv=2, scoring=scoring, refit=False, return_train_score=True, **options)
    for X, y in (CANCER, IRIS):
        same(search, X, y)
    fitted, fit = [], LogisticRegression.fit
    monkeypatch.setattr(LogisticRegression, "fit", lambda self, *a, **k: fitted.append(self) or fit(self, *a, **k))
    tune(search, *CANCER)
    assert len(fitted) == (2 if kind is HalvingGridSearchCV else 0)  # the last candidate has no group


def test_parts_of_a_large_logistic_batch_are_served_by_idle_threads(monkeypatch):
    monkeypatch.setattr(fork_join, "START_SECONDS", 0)
    X, y = np.tile(MANY[0], (3, 1)) + np.random.default_rng(0).normal(size=(7500, 60)), np.tile(MANY[1], 3)
    grid = {"pca__n_components": [20, 30, 40, 50], "logisticregression__C": np.logspace(-4, 1, 8)}
    search = GridSearchCV(make_pipeline(PCA(), LogisticRegression()), grid, cv=2, refit=False)
    same(search, X, y, max_cores=2)
    scores = [tune(search, X, y, max_cores=n).cv_results_["mean_test_score"].tolist() for n in (1, 2)]
    assert scores[0] == scores[1]


@pytest.mark.parametrize("scoring", ["roc_auc", ["accuracy", "roc_auc"], "neg_log_loss"])
def test_large_logistic_batch_serves_the_area_under_the_curve_but_no_log_loss(scoring, monkeypatch):
    X, y = np.tile(MANY[0], (3, 1)) + np.random.default_rng(0).normal(size=(7500, 60)), np.tile(MANY[1], 3)
    chain, grid = make_pipeline(PCA(), LogisticRegression()), {"pca__n_components": [40, 50]}
    grid["logisticregression__C"] = [1e-3, 1e-2, 1.0]
    search = GridSearchCV(chain, grid, cv=2, scoring=scoring, refit=False)
    same(search, X, y)
    fitted, fit = [], LogisticRegression.fit
    monkeypatch.setattr(LogisticRegression, "fit", lambda self, *a, **k: fitted.append(self) or fit(self, *a, **k))
    tune(search, X, y)
    assert len(fitted) == (12 if scoring == "neg_log_loss" else 0)


def test_large_logistic_batch_is_not_certain_of_rows_of_two_classes_at_one_place():
    X, y = np.tile(MANY[0], (3, 1)), np.tile(MANY[1], 3)
    fits = BatchedLogistic([step(LogisticRegression(), C=1e-3)], [DesignMatrix(X)], y, {})
    assert fits.predict_labels([X], y)[0] is not None  # rows of one class may be at one place
    y = np.r_[y[:-1], 1 - y[-1]]
    assert fits.predict_labels([X], y) == [None]


def test_tune_warns_of_every_logistic_regression_that_does_not_converge():
    grid = {"max_iter": [1, 2, 300], "C": [1.0, 10.0], "class_weight": [None, "balanced"]}
    same(GridSearchCV(LogisticRegression(), grid, cv=3), *CANCER)


def test_a_family_whose_private_names_have_changed_is_not_used(monkeypatch):
    real = sklearn_private.private_attr

    def moved(module, name):
        if name in {"setulb", "HalfBinomialLoss"}:
            raise sklearn_private.PrivateApiChanged(name)
        return real(module, name)

    monkeypatch.setattr(sklearn_private, "private_attr", moved)  # as after a minor release of SciPy or scikit-learn
    same(GridSearchCV(LogisticRegression(), {"C": [0.1, 1]}, cv=3), StandardScaler().fit_transform(IRIS[0]), IRIS[1])
    same(GridSearchCV(LogisticRegression(), {"C": [0.1, 1]}, cv=3), IRIS[0][:100], IRIS[1][:100])


def members(estimator, name, values):
    return [step(estimator, **{name: value}) for value in values]


MEMBERS = {
    "ridge": members(Ridge(), "alpha", [1e-3, 1.0, 100]),
    "ridge without intercept": members(Ridge(fit_intercept=False), "alpha", [0.5, 50.0]),
    "ridge classifier": members(RidgeClassifier(class_weight="balanced"), "alpha", [1e-3, 1.0, 100]),
    "neighbors": members(KNeighborsClassifier(), "n_neighbors", [1, 2, 5, 30]),
    "cosine neighbors": members(KNeighborsClassifier(metric="cosine"), "n_neighbors", [2, 9]),
    "distant neighbors": members(KNeighborsRegressor(weights="distance"), "n_neighbors", [2, 5]),
    "forest": members(RandomForestClassifier(random_state=1, max_samples=0.7), "n_estimators", [1, 4, 9]),
    "extra trees": members(ExtraTreesRegressor(random_state=1, bootstrap=True), "n_estimators", [1, 4, 9]),
    "boosting": members(GradientBoostingClassifier(random_state=1, subsample=0.6), "n_estimators", [1, 4, 9]),
    "boosted regression": members(GradientBoostingRegressor(random_state=1, max_features=2), "n_estimators", [2, 5]),
    "bagging": members(BaggingClassifier(random_state=1, max_features=0.7), "n_estimators", [1, 4, 9]),
    "bagged regression": members(BaggingRegressor(random_state=1, max_samples=0.5), "n_estimators", [2, 5]),
    "adaboost": members(AdaBoostClassifier(random_state=1), "n_estimators", [1, 4, 9]),
    "adaboost regression": members(AdaBoostRegressor(random_state=1), "n_estimators", [2, 5]),
    "pruned trees": members(DecisionTreeClassifier(random_state=1), "ccp_alpha", [0.0, 0.005, 0.02, 0.3]),
    "pruned regression": members(ExtraTreeRegressor(random_state=1, max_features=2), "ccp_alpha", [0.001, 0.01]),
    "histograms": members(HistGradientBoostingClassifier(random_state=1, max_features=0.5), "max_iter", [1, 4, 9]),
}


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize(("X", "y"), [(CANCER[0][:300, :9], CANCER[1][:300]), IRIS, (MANY[0][:40], MANY[1][:40])])
def test_a_family_of_final_fits_gives_what_each_gives_alone(name, X, y):
    steps = MEMBERS[name]
    (family,) = [
        f for f in FINAL_FAMILIES if len({f.group_key(s) for s in steps}) == 1 and f.group_key(steps[0]) is not None
    ]
    fits = family.fit(steps, [DesignMatrix(X)] * len(steps), y, {})
    labels = fits.predict_labels([X] * len(steps))
    for i, each in enumerate(steps):
        reference = each.build().fit(X, y)
        try:
            actual = fits.estimator(i)
        except UnsupportedData:
            assert name == "neighbors"
            continue
        assert vars(actual).keys() == vars(reference).keys()
        for ask in ("predict", "predict_proba", "decision_function"):
            if hasattr(reference, ask):
                np.testing.assert_array_equal(getattr(actual, ask)(X), getattr(reference, ask)(X), err_msg=ask)
        if labels is not None and labels[i] is not None:
            np.testing.assert_array_equal(labels[i], reference.predict(X))


@pytest.mark.parametrize("name", MEMBERS)
def test_tune_of_a_family_of_final_fits_is_the_same(name):
    steps = MEMBERS[name]
    grid = {param: [s.changes[param] for s in steps] for param in steps[0].changes}
    chain = make_pipeline(StandardScaler(), steps[0].template)
    grid = {f"{chain.steps[1][0]}__{param}": values for param, values in grid.items()}
    same(GridSearchCV(chain, grid, cv=3, return_train_score=True), CANCER[0][:150, :6], CANCER[1][:150])


def test_a_tree_with_max_depth_is_not_always_a_truncated_deeper_one():
    """Each node draws the order of the features, and equal splits are common: so each depth is fitted separately."""
    shallow, deep = (DecisionTreeClassifier(max_depth=d, random_state=0).fit(*CANCER).tree_ for d in (4, 6))
    features = {(depth, *path) for depth, path in _splits(deep) if depth < 4}
    assert features != {(depth, *path) for depth, path in _splits(shallow)}
    assert not any(f.group_key(step(DecisionTreeClassifier(), max_depth=4)) for f in FINAL_FAMILIES)


def _splits(tree, node=0, depth=0, path=()):
    """Yield the depth and the features and thresholds on the path of each split."""
    if tree.children_left[node] >= 0:
        path = (*path, tree.feature[node], tree.threshold[node])
        yield depth, path
        yield from _splits(tree, tree.children_left[node], depth + 1, path)
        yield from _splits(tree, tree.children_right[node], depth + 1, path)


def test_members_of_an_ensemble_may_be_tuned_too():
    bagging = BaggingClassifier(DecisionTreeClassifier(), random_state=0)
    grid = {"n_estimators": [2, 5], "estimator__max_depth": [1, 3]}
    same(GridSearchCV(bagging, grid, cv=2, scoring="neg_log_loss"), CANCER[0][:200, :5], CANCER[1][:200])
    steps = [step(bagging, n_estimators=n, estimator__max_depth=depth) for n in (2, 5) for depth in (1, 3)]
    keys = {EnsembleFamily().group_key(each) for each in steps}
    assert len(keys - {None}) == 2
    warning = BaggingRegressor(LogisticRegression(max_iter=1), random_state=0)
    assert EnsembleFamily().group_key(step(warning, n_estimators=2)) is None


@pytest.mark.parametrize("metric", ["minkowski", "cosine"])
def test_neighbors_are_searched_once_for_every_number_of_them(metric, monkeypatch):
    queries, kneighbors = [], KNeighborsClassifier.kneighbors
    monkeypatch.setattr(
        KNeighborsClassifier, "kneighbors", lambda self, X, k=None, **_: queries.append(k) or kneighbors(self, X, k)
    )
    search = GridSearchCV(KNeighborsClassifier(metric=metric), {"n_neighbors": [1, 5, 9]}, cv=3, refit=False)
    tune(search, CANCER[0][:150], CANCER[1][:150])
    assert queries == [10] * 3


def test_neighbors_at_the_same_distance_are_left_to_scikit_learn():
    X = np.repeat(np.arange(12.0), 4)[:, None]
    y = np.tile([0, 1, 1], 16)
    steps = members(KNeighborsClassifier(), "n_neighbors", [1, 3, 4])
    (family,) = [f for f in FINAL_FAMILIES if f.group_key(steps[0]) is not None]
    assert family.fit(steps, [DesignMatrix(X)] * 3, y, {}).predict_labels([X] * 3)[:2] == [None, None]
    same(GridSearchCV(KNeighborsClassifier(), {"n_neighbors": [1, 3, 4]}, cv=3), X, y)


def test_no_pipeline_step_is_of_a_family_that_it_only_resembles():
    class Own(LogisticRegression):
        pass

    for estimator in (
        RandomForestClassifier(),
        Own(),
        LogisticRegression(solver="newton-cg"),
        LogisticRegression(C=np.inf),
        PCA("mle"),
    ):
        assert all(family.group_key(step(estimator)) is None for family in (*FINAL_FAMILIES, *TRANSFORMER_FAMILIES))


def _quietly(call, *args):
    with warnings.catch_warnings(action="ignore"):
        return call(*args)
