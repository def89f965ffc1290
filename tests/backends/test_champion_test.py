"""The gate goes by the declared score: which test is asked, and the difference of scikit-learn's scores."""

from contextlib import suppress

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier
from sklearn.metrics import (
    f1_score,
    fbeta_score,
    make_scorer,
    mean_absolute_error,
    roc_auc_score,
)
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from diurnal.backends import sklearn as backend
from diurnal.backends.sklearn import champion_test
from diurnal.backends.sklearn.batched_predict import BatchedData
from diurnal.backends.sklearn.fit_metadata import FitMetadata


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr("diurnal.backends.paired_tests.bootstrap.N_DRAWS", 40)


N, FEATURES = 400, ["a", "b", "c"]
rng = np.random.default_rng(3)
numbers = rng.normal(size=(N, len(FEATURES)))
lean = numbers @ [1.0, -0.5, 0.2] + rng.normal(size=N)
TABLE = pa.table(
    {
        **dict(zip(FEATURES, numbers.T, strict=True)),
        "label": np.where(lean > 0, "yes", "no"),
        "kind": np.array(["x", "y", "z"])[np.digitize(lean, [-0.6, 0.6])],
        "flag": (lean > 0).astype(int),
        "lean": lean,
        "amount": np.exp(lean / 2),
    }
)
WEIGHTS = rng.integers(0, 4, N).astype(float)


class Weighted(BatchedData):
    """Samples with weights beside them."""

    needs = FitMetadata(sample_weight=WEIGHTS, columns={"sample_weight": "w"})


def stream(target, *, few=None, kind=BatchedData):
    def tables(features):
        for start in range(0, N, 130):
            yield TABLE.select([*features, target]).slice(start, 130)

    return kind(tables, FEATURES, target, few=few)


def fitted(one, two, target):
    """Fit one model well and one on a few rows without a feature."""
    X, y = backend.to_features(TABLE, FEATURES), backend.to_target(TABLE, target)
    poor = X.copy()
    poor["a"] = 0.0
    return clone(one).fit(X, y), clone(two).fit(poor, y)


def cost(estimator, X, y):
    return float(-(X["a"].abs() * (estimator.predict(X) != y)).mean())


def of_some(estimator, X, y):
    chosen = X["b"] > 0
    return float((estimator.predict(X[chosen]) == y[chosen.to_numpy()]).mean())


def renumbered(estimator, X, y):
    chosen = (X["b"] > 0).to_numpy()
    return float((estimator.predict(X[chosen].reset_index(drop=True)) == y[chosen]).mean())


CLASSIFIER, REGRESSOR = LogisticRegression(), Ridge()
CASES = [
    ("label", CLASSIFIER, None, True, "exact McNemar"),
    ("label", CLASSIFIER, "accuracy", True, "exact McNemar"),
    ("kind", CLASSIFIER, "accuracy", True, "exact McNemar"),
    ("label", make_pipeline(StandardScaler(), LogisticRegression()), "roc_auc", True, "DeLong"),
    ("label", RidgeClassifier(), "roc_auc", True, "DeLong"),
    ("label", CLASSIFIER, make_scorer(roc_auc_score, response_method="predict_proba"), True, "DeLong"),
    ("label", CLASSIFIER, ["accuracy", "roc_auc", "f1_macro"], "roc_auc", "DeLong"),
    ("label", CLASSIFIER, {"a": "neg_log_loss", "b": "roc_auc"}, "a", "sign flips"),
    ("label", CLASSIFIER, "neg_log_loss", True, "sign flips"),
    ("kind", CLASSIFIER, "neg_log_loss", True, "sign flips"),
    ("flag", CLASSIFIER, "neg_brier_score", True, "sign flips"),
    ("kind", CLASSIFIER, "neg_brier_score", True, "sign flips"),
    ("lean", REGRESSOR, None, True, "sign flips"),
    ("lean", REGRESSOR, "r2", True, "sign flips"),
    ("lean", REGRESSOR, "neg_mean_absolute_error", True, "sign flips"),
    ("lean", REGRESSOR, make_scorer(mean_absolute_error, greater_is_better=False), True, "sign flips"),
    ("lean", REGRESSOR, "neg_mean_squared_error", True, "sign flips"),
    ("lean", REGRESSOR, "neg_root_mean_squared_error", True, "sign flips"),
    ("amount", REGRESSOR, "neg_mean_absolute_percentage_error", True, "sign flips"),
    ("lean", REGRESSOR, "neg_median_absolute_error", True, "paired bootstrap"),
    ("lean", REGRESSOR, make_scorer(mean_absolute_error), True, "paired bootstrap"),
    ("label", CLASSIFIER, "f1_macro", True, "stratified paired bootstrap"),
    ("label", CLASSIFIER, "balanced_accuracy", True, "stratified paired bootstrap"),
    ("label", CLASSIFIER, make_scorer(f1_score, pos_label="no"), True, "stratified paired bootstrap"),
    ("label", CLASSIFIER, make_scorer(roc_auc_score, response_method="decision_function", max_fpr=0.5), True,
     "stratified paired bootstrap"),
    ("kind", CLASSIFIER, "roc_auc_ovr", True, "stratified paired bootstrap"),
    ("label", CLASSIFIER, cost, True, "stratified paired bootstrap"),
    ("label", CLASSIFIER, of_some, True, "stratified paired bootstrap"),
    ("label", CLASSIFIER, renumbered, True, "stratified paired bootstrap"),
]  # fmt: skip


def search_of(estimator, scoring, refit):
    return GridSearchCV(estimator, {}, scoring=scoring, refit=refit)


@pytest.mark.parametrize(("target", "estimator", "scoring", "refit", "test"), CASES)
def test_each_score_has_its_test_and_the_difference_of_scikit_learn(target, estimator, scoring, refit, test):
    twin, champion = fitted(estimator, estimator, target)
    made, data = search_of(estimator, scoring, refit), stream(target)
    name, score = backend.build_scorer(made)
    found = champion_test.compare_models(made, twin, champion, data)
    scores = [data.scores(score, model)[name] for model in (twin, champion)]
    assert found.test == test
    assert found.n_tested == N
    assert found.difference == pytest.approx(scores[0] - scores[1], abs=1e-9)
    assert found.low < found.difference < found.high
    better = scores[0] > scores[1]  # but for the scorer that takes errors for gains
    assert (found.p_better if better else found.p_worse) < 0.01
    assert (found.p_worse if better else found.p_better) > 0.9
    back = champion_test.compare_models(made, champion, twin, data)
    assert back.difference == pytest.approx(-found.difference, abs=1e-9)
    assert back.p_worse == pytest.approx(found.p_better, abs=0.01)


@pytest.mark.parametrize(
    ("target", "estimator", "scoring", "test"),
    [
        ("label", CLASSIFIER, "accuracy", "sign flips"),
        ("label", CLASSIFIER, None, "sign flips"),
        ("label", CLASSIFIER, "roc_auc", "DeLong"),
        ("label", CLASSIFIER, "neg_log_loss", "sign flips"),
        ("lean", REGRESSOR, None, "sign flips"),
        ("lean", REGRESSOR, "neg_root_mean_squared_error", "sign flips"),
        ("label", CLASSIFIER, "f1_macro", "stratified paired bootstrap"),
    ],
)
def test_weights_count_as_they_do_in_the_score(target, estimator, scoring, test):
    twin, champion = fitted(estimator, estimator, target)
    made, data = search_of(estimator, scoring, True), stream(target, kind=Weighted)
    name, score = backend.build_scorer(made)
    found = champion_test.compare_models(made, twin, champion, data)
    scores = [data.scores(score, model)[name] for model in (twin, champion)]
    plain = champion_test.compare_models(made, twin, champion, stream(target))
    assert found.test == test
    assert found.difference == pytest.approx(scores[0] - scores[1], abs=1e-9)
    assert found.difference != pytest.approx(plain.difference, abs=1e-9)


@pytest.mark.parametrize(("target", "estimator", "scoring", "refit", "test"), CASES[3::4])
def test_rows_that_pass_by_give_the_same(target, estimator, scoring, refit, test):
    twin, champion = fitted(estimator, estimator, target)
    made = search_of(estimator, scoring, refit)
    whole = champion_test.compare_models(made, twin, champion, stream(target))
    passing = champion_test.compare_models(made, twin, champion, stream(target, few=300))
    assert passing.test == whole.test
    assert passing.difference == pytest.approx(whole.difference, abs=1e-9)
    assert passing.p_better == pytest.approx(whole.p_better, abs=1e-6)


def test_of_many_rows_a_score_without_a_formula_sees_a_sample_and_says_so(monkeypatch):
    monkeypatch.setattr(champion_test, "MOST_RESAMPLED", 150)
    twin, champion = fitted(LogisticRegression(), LogisticRegression(), "label")
    for scoring in (cost, "f1_macro"):
        data = stream("label", few=300)
        found = champion_test.compare_models(search_of(CLASSIFIER, scoring, True), twin, champion, data)
        assert found.test == "stratified paired bootstrap of a sample of 150 rows"
        assert found.n_tested == 150


def test_a_sample_of_rows_is_the_rows_at_its_places():
    places = np.array([399, 3, 3, 130, 129, 0])
    want = backend.to_features(TABLE, FEATURES).iloc[places].to_numpy()
    for few in (None, 300):
        assert (stream("label", few=few).rows(places).to_numpy() == want).all()


def test_a_function_that_changes_rows_is_compared_without_swaps():
    twin, champion = fitted(LogisticRegression(), LogisticRegression(), "label")
    found = champion_test.compare_models(search_of(CLASSIFIER, renumbered, True), twin, champion, stream("label"))
    same = champion_test.compare_models(search_of(CLASSIFIER, of_some, True), twin, champion, stream("label"))
    assert found.difference == same.difference
    assert found.p_better < 0.01


def test_models_that_give_the_same_answers_are_no_evidence():
    one = LogisticRegression().fit(backend.to_features(TABLE, FEATURES), backend.to_target(TABLE, "label"))
    for scoring in ("accuracy", "roc_auc", "neg_log_loss", "f1_macro", "average_precision"):
        scorer = make_scorer(fbeta_score, beta=2, pos_label="yes") if scoring == "average_precision" else scoring
        found = champion_test.compare_models(search_of(CLASSIFIER, scorer, True), one, one, stream("label"))
        assert (found.p_worse, found.p_better, found.difference) == (1.0, 1.0, 0.0)


def test_models_of_other_kinds_are_compared():
    twin, champion = fitted(LogisticRegression(), RandomForestClassifier(5, random_state=0), "label")
    for scoring in ("roc_auc", "average_precision", "neg_log_loss"):
        made = search_of(CLASSIFIER, scoring, True)
        if scoring == "average_precision":
            made = search_of(CLASSIFIER, make_scorer(roc_auc_score, response_method=(
                "decision_function", "predict_proba"), max_fpr=0.3), True)  # fmt: skip
        assert champion_test.compare_models(made, twin, champion, stream("label")).p_worse is not None


def test_one_class_in_the_rows_leaves_the_area_undefined():
    twin, champion = fitted(LogisticRegression(), DecisionTreeClassifier(max_depth=2), "label")

    class OneClass(BatchedData):
        y = np.array(["yes"] * N)

    for scoring in ("roc_auc", make_scorer(roc_auc_score, response_method="predict_proba", max_fpr=0.5)):
        with suppress(Exception):
            found = champion_test.compare_models(
                search_of(CLASSIFIER, scoring, True), twin, champion, stream("label", kind=OneClass)
            )
            assert found.p_worse is None
            assert found.difference is None
    found = champion_test.compare_models(
        search_of(CLASSIFIER, "roc_auc", True), twin, champion, stream("label", kind=OneClass)
    )
    assert found.p_worse is None


def test_a_bare_estimator_is_compared_by_its_own_score():
    X = pd.DataFrame({"a": numbers[:, 0], "b": numbers[:, 1], "c": numbers[:, 2]})
    twin, champion = LinearRegression().fit(X, lean), LinearRegression().fit(X.assign(a=0.0), lean)
    found = champion_test.compare_models(LinearRegression(), twin, champion, stream("lean"))
    assert found.difference == pytest.approx(twin.score(X, lean) - champion.score(X, lean))
