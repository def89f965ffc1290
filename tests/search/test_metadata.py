"""Groups and weights reach fits, scores and folds as scikit-learn routes them, and fast tuning gives its numbers."""

import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - makes the next import work
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import get_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    LeaveOneGroupOut,
    RandomizedSearchCV,
    StratifiedGroupKFold,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from diurnal.search import combine_scores, executor, score_shard, split_search
from searching import FITS, Counting, oracle, same, same_results

N = 240
rng = np.random.default_rng(1)
X = rng.normal(size=(N, 6))
LEAN = X @ rng.normal(size=6) + rng.normal(size=N)
Y, NUMBER = np.where(LEAN > 0, "yes", "no"), LEAN
WEIGHTS, OTHERS, GROUPS = rng.uniform(0, 3, N), rng.uniform(0, 3, N), rng.integers(0, 8, N)


@pytest.fixture(autouse=True)
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def weighted(estimator, alias=True):
    return estimator.set_fit_request(sample_weight=alias).set_score_request(sample_weight=alias)


def scaler(**request):
    return StandardScaler().set_fit_request(**(request or {"sample_weight": False}))


def logistic(**params):
    return weighted(LogisticRegression(**params))


def scoring(name):
    return get_scorer(name).set_score_request(sample_weight=True)


def chain(*steps):
    return Pipeline([(f"s{i}", step) for i, step in enumerate(steps)])


def by_ours(monkeypatch):
    """Count the candidates times folds that are made without scikit-learn's own call."""
    made = []
    run = executor.FitAndScoreCall.run
    monkeypatch.setattr(executor.FitAndScoreCall, "run", lambda call: made.append(call) or run(call))
    return made


LOGISTIC_GRID = {"s0": [PCA(), "passthrough"], "s2__C": [0.01, 1.0, 100.0]}


@pytest.mark.parametrize(
    "scored",
    [None, "accuracy", "f1_macro", "roc_auc", "neg_log_loss", "several"],
)
def test_weights_reach_the_fit_and_the_score_of_a_pipeline(monkeypatch, scored):
    left = by_ours(monkeypatch)
    plain = get_scorer("f1_macro").set_score_request(sample_weight=False)
    several = {"auc": scoring("roc_auc"), "acc": scoring("accuracy"), "plain": plain}
    judge = {None: None, "several": several}[scored] if scored in (None, "several") else scoring(scored)
    search = GridSearchCV(
        chain(PCA(), scaler(), logistic()),
        LOGISTIC_GRID,
        scoring=judge,
        refit="auc" if scored == "several" else True,
        return_train_score=True,
    )
    found = same(search, X, Y, sample_weight=WEIGHTS)
    unweighted, _ = oracle(search, X, Y)
    column = "mean_test_auc" if scored == "several" else "mean_test_score"
    assert (found.cv_results_[column] != unweighted.cv_results_[column]).any()
    assert not left


@pytest.mark.parametrize(
    ("estimator", "grid"),
    [
        (Ridge(), {"s0__n_components": [2, 3, 5], "s1__alpha": [0.1, 1.0, 10.0]}),
        (RandomForestClassifier(random_state=0), {"s1__n_estimators": [3, 9]}),
        (DecisionTreeClassifier(random_state=0), {"s0__n_components": [2, 3], "s1__max_depth": [1, 2]}),
        (LogisticRegression(), {"s0__n_components": [2, 5], "s1__C": [0.1, 1.0]}),
    ],
)
def test_families_are_fitted_with_the_weights_that_they_request(monkeypatch, estimator, grid):
    left = by_ours(monkeypatch)
    target = NUMBER if isinstance(estimator, Ridge) else Y
    same(GridSearchCV(chain(PCA(), weighted(estimator)), grid), X, target, sample_weight=WEIGHTS)
    assert not left


def test_a_step_may_request_weights_by_another_name():
    base = chain(scaler(sample_weight="others"), weighted(LogisticRegression(), "weights"))
    grid = {"s0__with_mean": [True, False], "s1__C": [0.1, 1.0]}
    found = same(GridSearchCV(base, grid, return_train_score=True), X, Y, weights=WEIGHTS, others=OTHERS)
    other, _ = oracle(GridSearchCV(base, grid), X, Y, weights=WEIGHTS, others=WEIGHTS)
    assert (found.cv_results_["mean_test_score"] != other.cv_results_["mean_test_score"]).any()
    same(GridSearchCV(weighted(LogisticRegression(), "weights"), {"C": [0.1, 1.0, 10.0]}), X, Y, weights=WEIGHTS)


def test_candidates_that_replace_a_step_have_requests_of_their_own():
    plain = LogisticRegression(C=0.1).set_fit_request(sample_weight=False).set_score_request(sample_weight=True)
    grid = {"s1": [logistic(C=0.1), plain, weighted(GaussianNB())], "s0__with_mean": [True, False]}
    first = scaler(sample_weight=True)
    found = same(GridSearchCV(chain(first, logistic()), grid), X, Y, sample_weight=WEIGHTS)
    assert len(set(found.cv_results_["mean_test_score"])) > 2
    found = same(GridSearchCV(chain(scaler(), logistic()), grid), X, Y, sample_weight=WEIGHTS)
    assert np.isnan(found.cv_results_["mean_test_score"]).sum() == 2  # where nothing takes the weights of the fit


def test_candidates_without_a_request_fail_as_they_do_in_scikit_learn():
    grid = {"s1": [logistic(), LogisticRegression()], "s0__with_mean": [True, False]}
    found = same(GridSearchCV(chain(scaler(), logistic()), grid), X, Y, sample_weight=WEIGHTS)
    assert np.isnan(found.cv_results_["mean_test_score"]).sum() == 2


@pytest.mark.parametrize("splitter", [GroupKFold(4), StratifiedGroupKFold(3), LeaveOneGroupOut()], ids=str)
def test_groups_reach_the_folds(splitter):
    search = GridSearchCV(chain(PCA(), scaler(), logistic()), LOGISTIC_GRID, cv=splitter)
    same(search, X, Y, groups=GROUPS, sample_weight=WEIGHTS)
    same(search, X, Y, groups=GROUPS)


def test_shards_combine_to_the_whole_search():
    search = GridSearchCV(chain(PCA(), scaler(), logistic()), LOGISTIC_GRID, cv=GroupKFold(4))
    fit_params = {"groups": GROUPS, "sample_weight": WEIGHTS}
    shards = split_search(search, X, Y, 3, **fit_params)
    assert len(shards) == 3
    parts = [score_shard(search, X, Y, shard, **fit_params) for shard in shards]
    found, reference = combine_scores(search, X, Y, parts, **fit_params), oracle(search, X, Y, **fit_params)[0]
    same_results(found.cv_results_, reference.cv_results_)
    np.testing.assert_array_equal(found.predict_proba(X), reference.predict_proba(X))


@pytest.mark.parametrize(
    "estimator",
    [
        lambda: CalibratedClassifierCV(weighted(GaussianNB())).set_fit_request(sample_weight=True),
        lambda: VotingClassifier([("a", weighted(GaussianNB())), ("b", logistic())], voting="soft"),
    ],
)
def test_an_estimator_of_estimators_routes_further(estimator):
    search = GridSearchCV(chain(PCA(), estimator()), {"s0__n_components": [2, 4]}, scoring=scoring("accuracy"))
    same(search, X, Y, sample_weight=WEIGHTS)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_a_pipeline_whose_last_step_has_no_request_for_its_score_fails_as_in_scikit_learn(weights):
    last = VotingClassifier([("a", weighted(GaussianNB()))])
    search = GridSearchCV(chain(PCA(), last), {"s0__n_components": [2, 4]})
    found = same(search, X, Y, sample_weight=weights)
    assert np.isnan(found.cv_results_["mean_test_score"]).all()


def test_branches_are_shared_with_the_weights_that_they_request():
    side = ColumnTransformer([("a", scaler(sample_weight=True), [0, 1, 2]), ("b", MinMaxScaler(), [3, 4])])
    both = FeatureUnion([("a", scaler(sample_weight=True)), ("k", SelectKBest(k=2))])
    for base, grid in (
        (chain(side, logistic()), {"s0__b__clip": [True, False], "s1__C": [0.1, 1.0]}),
        (chain(both, logistic()), {"s0__k__k": [1, 3], "s1__C": [0.1, 1.0]}),
    ):
        same(GridSearchCV(base, grid), X, Y, sample_weight=WEIGHTS)


class Noted(Counting):
    """Wants weights where it transforms, too."""

    def fit(self, X, y=None, sample_weight=None):
        return super().fit(X)

    def transform(self, X, sample_weight=None):
        return X * (1.0 if sample_weight is None else np.mean(sample_weight))


def test_a_step_that_transforms_with_weights_is_left_to_scikit_learn():
    noted = Noted().set_fit_request(sample_weight=True).set_transform_request(sample_weight=True)
    search = GridSearchCV(chain(noted, logistic()), {"s0__by": [1.0, 2.0], "s1__C": [0.1, 1.0]})
    found = same(search, X, Y, sample_weight=WEIGHTS)
    assert np.isfinite(found.cv_results_["mean_test_score"]).all()


def test_a_shared_step_is_fitted_once_a_fold():
    class Mine(Counting):
        pass

    FITS.clear()
    search = GridSearchCV(chain(Mine(), logistic()), {"s1__C": [0.1, 1.0, 10.0]}, refit=False)
    same(search, X, Y, sample_weight=WEIGHTS)
    assert FITS["Mine(0.0)"] == 3 * 5 + 5


@pytest.mark.parametrize("kind", [RandomizedSearchCV, HalvingGridSearchCV])
def test_other_searches_route_as_well(kind):
    kwargs = {"random_state": 0} if kind is RandomizedSearchCV else {"random_state": 0, "min_resources": 80}
    search = kind(chain(PCA(), scaler(), logistic()), {"s2__C": [0.01, 0.1, 1.0, 10.0]}, cv=GroupKFold(3), **kwargs)
    same(search, X, Y, groups=GROUPS, sample_weight=WEIGHTS)


def test_processes_route_as_this_one_does(monkeypatch):
    monkeypatch.setattr(executor, "choose_workers", lambda *_: ("processes", 2))
    search = GridSearchCV(chain(PCA(), scaler(), logistic()), LOGISTIC_GRID, cv=GroupKFold(4), n_jobs=2)
    same(search, X, Y, groups=GROUPS, sample_weight=WEIGHTS)


def test_threads_route_as_this_one_does(monkeypatch):
    monkeypatch.setattr(executor, "choose_workers", lambda *_: ("threads", 2))
    search = GridSearchCV(chain(PCA(), scaler(), logistic()), LOGISTIC_GRID, cv=GroupKFold(4))
    same(search, X, Y, groups=GROUPS, sample_weight=WEIGHTS)


def test_a_weighted_area_under_the_curve_adds_weights_up_in_scikit_learns_order():
    """Rows of one class whose decisions differ in the last digits only: their weights are added up in that order."""
    centres = rng.normal(size=(8, 24))
    target = np.tile(["yes", "no"], 4)
    places = rng.integers(0, 8, 12_000)
    nearly = centres[places] + rng.normal(size=(12_000, 24)) * 1e-15
    weights = rng.uniform(0.1, 5, len(places))
    with sklearn.config_context(enable_metadata_routing=False):
        search = GridSearchCV(LogisticRegression(), {"C": [1e-4, 1e-3, 1e-2]}, scoring="roc_auc", cv=2)
        same(search, nearly, target[places], sample_weight=weights)


class Unrouted(ClassifierMixin, BaseEstimator):
    """Takes no weights."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.where(X[:, 0] > 0, *self.classes_[::-1])


class Passing(BaseEstimator):
    """Has a fit and a transform, and no fit_transform."""

    def fit(self, X, y=None, sample_weight=None):
        self.mean_ = np.average(X, axis=0, weights=sample_weight)
        return self

    def transform(self, X):
        return X - self.mean_


def test_a_score_may_be_weighted_where_the_fit_takes_no_weights():
    search = GridSearchCV(chain(PCA(), Unrouted()), {"s0__n_components": [2, 3]}, scoring=scoring("accuracy"))
    found = same(search, X, Y, sample_weight=WEIGHTS)
    assert (found.cv_results_["mean_test_score"] != oracle(search, X, Y)[0].cv_results_["mean_test_score"]).any()


def test_a_step_without_fit_transform_receives_weights():
    base = chain(Passing().set_fit_request(sample_weight=True), logistic())
    same(GridSearchCV(base, {"s1__C": [0.1, 1.0]}), X, Y, sample_weight=WEIGHTS)
