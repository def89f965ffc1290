"""Evaluation data of scikit-learn's estimators: what is described, from which predictions, and what may fail."""

import json
import warnings
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from sklearn import metrics
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import RandomForestClassifier
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder
from sklearn.svm import SVC

from diurnal.backends.sklearn import importances
from diurnal.backends.sklearn.batched_predict import BatchedData
from diurnal.backends.sklearn.evaluation_curves import describe_evaluation
from diurnal.backends.sklearn.fit_metadata import MetadataCollector

N = 1_200
FEATURES = ["a", "b", "noise", "ward", "night"]
rng = np.random.default_rng(0)
a, b, noise = rng.normal(size=(3, N))
ward = rng.choice(["north", "south", "tiny"], N, p=[0.6, 0.39, 0.01])
night = rng.random(N) < 0.5
lean = a + 0.3 * b + rng.normal(0, 0.7, N)
COLUMNS = {"a": a, "b": b, "noise": noise, "ward": ward, "night": night, "w": rng.integers(0, 3, N).astype(float)}
NUMBERS = ["a", "b", "noise"]


def rows(target, n=N):
    return pa.table({**COLUMNS, "y": target}).slice(0, n)


def stream(target, *, n=N, features=NUMBERS, weights=False, few=None):
    table = rows(target, n)
    metadata = SimpleNamespace(columns=["w"], order_by=None, groups=None, sample_weight="w")
    schema = SimpleNamespace(metadata=metadata, keeps_duplicates=False)
    beside = (lambda: MetadataCollector(schema)) if weights else None

    def tables(names):
        for start in range(0, n, 500):
            yield table.select(dict.fromkeys([*names, "y", "w"])).slice(start, 500)

    return BatchedData(tables, features, "y", beside=beside, few=few)


def fit(estimator, data):
    return estimator.fit(*data._small)


def describe(estimator, data, *, models=None, seconds=5.0):
    """Describe; whatever is returned is JSON, and nothing is printed as a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = describe_evaluation(estimator, models or {"twin": fit(estimator, data)}, data, seconds=seconds)
    json.dumps([found.models, found.notes], allow_nan=False)
    return found


BINARY = np.where(lean > 0, "yes", "no")
THREE = np.digitize(lean, [-0.5, 0.5])


def test_binary_classifier_has_the_curves_of_its_positive_class():
    data, model = stream(BINARY), LogisticRegression()
    found = describe(model, data)
    assert (found.notes, found.problems) == ([], [])
    twin = found.models["twin"]
    y, p = data.y, model.predict_proba(data._small[0])[:, 1]
    assert list(twin["curves"]) == ["yes"]
    curves = twin["curves"]["yes"]
    assert curves["auc"] == pytest.approx(metrics.roc_auc_score(y == "yes", p), abs=1e-6)
    assert curves["average_precision"] == pytest.approx(metrics.average_precision_score(y == "yes", p), abs=1e-6)
    assert twin["confusion"] == metrics.confusion_matrix(y, model.predict(data._small[0])).tolist()
    assert twin["classes"] == ["no", "yes"]
    assert twin["n_rows"] == N
    sample = found.sample.to_pandas()
    assert (sample["true"] == y).all()
    np.testing.assert_allclose(sample["twin_probability"], p)


def test_weights_count_where_they_are_declared():
    data, model = stream(BINARY, weights=True), LogisticRegression()
    curves = describe(model, data).models["twin"]["curves"]["yes"]
    p = model.predict_proba(data._small[0])[:, 1]
    own = metrics.roc_auc_score(data.y == "yes", p, sample_weight=COLUMNS["w"])
    assert curves["auc"] == pytest.approx(own, abs=1e-6)
    confusion = describe(model, data).models["twin"]["confusion"]
    assert np.sum(confusion) == COLUMNS["w"].sum()


def test_several_classes_have_curves_each():
    data, model = stream(THREE), LogisticRegression()
    found = describe(model, data)
    twin, p = found.models["twin"], model.predict_proba(data._small[0])
    assert list(twin["curves"]) == twin["classes"] == ["0", "1", "2"]
    for i, label in enumerate(twin["classes"]):
        assert twin["curves"][label]["auc"] == pytest.approx(metrics.roc_auc_score(data.y == i, p[:, i]), abs=1e-6)
    np.testing.assert_allclose(found.sample["twin_probability"].to_numpy(), p.max(axis=1))


def test_regression_has_residuals_and_predicted_against_true():
    data = stream(lean)
    found = describe(LinearRegression(), data)
    assert (found.notes, found.problems) == ([], [])
    twin = found.models["twin"]
    assert np.sum(twin["predicted_true"]["counts"]) + twin["predicted_true"]["n_outside"] == N
    assert {"residuals", "prediction", "importances", "n_rows"} <= set(twin)
    assert found.sample.column_names == ["true", "twin", "twin_probability"]


def test_champion_is_described_on_the_same_rows_with_the_same_classes():
    data = stream(THREE)
    old = LogisticRegression().fit(data._small[0][THREE < 2], data.y[THREE < 2])
    twin = fit(LogisticRegression(), data)
    found = describe(LogisticRegression(), data, models={"twin": twin, "champion": old})
    assert found.models["twin"]["classes"] == found.models["champion"]["classes"]
    assert list(found.models["champion"]["curves"]) == ["0", "1"], "it does not know the third class"
    assert "importances" not in found.models["champion"]
    assert found.problems == []
    assert found.sample.column_names == ["true", "twin", "twin_probability", "champion", "champion_probability"]


def mixed(estimator):
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return make_pipeline(make_column_transformer((encoder, ["ward", "night"]), remainder="passthrough"), estimator)


@pytest.mark.parametrize("few", [None, 2_000], ids=["in memory", "in chunks"])
def test_slices_have_the_declared_score_of_each_category(few):
    data = stream(BINARY, features=FEATURES, few=few)
    search = GridSearchCV(mixed(LogisticRegression()), {}, scoring="roc_auc", cv=3)
    model = search.fit(*stream(BINARY, features=FEATURES)._small)
    found = describe(search, data, models={"twin": model})
    assert (found.notes, found.problems) == ([], [])
    slices = {(one["column"], one["category"]): one for one in found.models["twin"]["slices"]}
    assert set(slices) == {("ward", "north"), ("ward", "south"), ("night", "True"), ("night", "False")}
    north, X = ward == "north", rows(BINARY).select(FEATURES).to_pandas()
    own = metrics.roc_auc_score(BINARY[north] == "yes", model.predict_proba(X[north])[:, 1])
    assert slices["ward", "north"]["score"] == pytest.approx(own, abs=1e-6)
    assert slices["ward", "north"]["n"] == north.sum()


@pytest.mark.parametrize(
    ("scoring", "target", "estimator"),
    [
        ("accuracy", BINARY, LogisticRegression()),
        ("roc_auc", BINARY, LogisticRegression()),
        ("neg_log_loss", THREE, LogisticRegression()),
        ("f1_macro", THREE, LogisticRegression()),
        ("neg_root_mean_squared_error", lean, LinearRegression()),
        ("r2", lean, LinearRegression()),
        (None, lean, LinearRegression()),
        (["f1_macro", "accuracy"], THREE, LogisticRegression()),
    ],
    ids=str,
)
def test_importances_are_close_to_those_of_scikit_learn(scoring, target, estimator):
    data = stream(target)
    refit = scoring[0] if isinstance(scoring, list) else True
    search = GridSearchCV(estimator, {}, scoring=scoring, refit=refit, cv=3)
    model = fit(search, data)
    listed = describe(search, data, models={"twin": model}).models["twin"]["importances"]
    own = permutation_importance(model.best_estimator_, *data._small, scoring=refit if refit is not True else scoring)
    assert [one["feature"] for one in listed] == ["a", "b", "noise"], "the strongest first"
    for one, mean in zip(listed, own.importances_mean, strict=True):
        assert one["mean"] == pytest.approx(mean, abs=0.1 * own.importances_mean.max())


def test_importances_are_seeded_and_bounded_in_features():
    data = stream(BINARY)
    model = fit(LogisticRegression(), data)
    one, other = (describe(LogisticRegression(), data, models={"twin": model}) for _ in range(2))
    assert one.models == other.models
    assert one.sample.equals(other.sample)


class Slow(ClassifierMixin, BaseEstimator):
    """Needs a while for each row."""

    calls = 0

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        import time

        Slow.calls += len(X)
        time.sleep(0.0005 * len(X))
        return np.where(X["a"] > 0, self.classes_[1], self.classes_[0])


def test_importances_that_do_not_fit_in_the_budget_are_a_note(monkeypatch):
    monkeypatch.setattr(importances, "LEAST_SECONDS", 0.01)
    data, model = stream(BINARY), Slow()
    fit(model, data)
    data.answers(model)
    Slow.calls = 0
    found = describe(model, data, models={"twin": model}, seconds=0.01)
    assert "importances" not in found.models["twin"]
    assert any("do not fit in 0.01 seconds" in note for note in found.notes)
    assert Slow.calls <= 64, "predictions of the test rows are not computed again"


def test_a_small_problem_has_importances_with_any_budget():
    data, model = stream(BINARY), Slow()
    fit(model, data)
    data.answers(model)
    listed = describe(model, data, models={"twin": model}, seconds=1e-6).models["twin"]["importances"]
    assert listed[0]["feature"] == "a"


def test_fewer_rows_of_a_slower_model():
    data, model = stream(BINARY), Slow()
    fit(model, data)
    data.answers(model)
    Slow.calls = 0
    found = describe(model, data, models={"twin": model}, seconds=0.2)
    assert found.models["twin"]["importances"][0]["feature"] == "a"
    assert Slow.calls < 2 * 3 * 1_000, "few repeats of few rows, and the measurement"


class Odd(ClassifierMixin, BaseEstimator):
    """A classifier that answers with whatever it is made with."""

    def __init__(self, answer=None, proba=None):
        self.answer, self.proba = answer, proba

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0] if self.answer is None else self.answer)

    def predict_proba(self, X):
        return self.proba(self, X)


def raises(self, X):
    raise RuntimeError("no probabilities today")


def nothing_known(self, X):
    return np.full((len(X), len(self.classes_)), np.nan)


def test_probabilities_that_fail_are_a_problem_and_the_rest_is_described():
    found = describe(Odd(proba=raises), stream(BINARY))
    assert found.problems == ["twin: predict_proba fails: RuntimeError: no probabilities today"]
    assert found.models["twin"]["confusion"]
    assert "curves" not in found.models["twin"]
    assert found.sample["twin_probability"].null_count == N


def test_undefined_probabilities_give_no_curve():
    found = describe(Odd(proba=nothing_known), stream(BINARY))
    assert "curves" not in found.models["twin"]
    assert found.problems == []


class NanRegressor(DummyRegressor):
    def predict(self, X):
        return np.where(X["a"] > 1, np.nan, super().predict(X))


@pytest.mark.parametrize(
    ("estimator", "target", "n"),
    [
        (RidgeClassifier(), BINARY, N),
        (RidgeClassifier(), THREE, N),
        (SVC(decision_function_shape="ovo"), np.digitize(lean, [-1, 0, 1]), N),
        (LogisticRegression(), BINARY == "yes", N),
        (RandomForestClassifier(5, random_state=0), rng.integers(0, 200, N), N),
        (LogisticRegression(), BINARY, 7),
        (LinearRegression(), lean, 3),
        (LinearRegression(), np.append(lean[1:], 1e15), N),
        (DummyRegressor(), lean, N),
        (DummyRegressor(), np.zeros(N), N),
        (NanRegressor(), lean, N),
        (LogisticRegression(), np.array([f"{label} " + "x" * 500 for label in BINARY]), N),
    ],
    ids=lambda value: type(value).__name__,
)
def test_unusual_data_and_models_are_described(estimator, target, n):
    found = describe(estimator, stream(target, n=n))
    assert found.problems == []
    assert {"curves", "residuals", "confusion"} & set(found.models["twin"])
    assert found.sample.num_rows == n
    assert len(json.dumps(found.models)) < 300_000


def test_one_class_in_the_test_rows_is_a_note():
    data = stream(np.full(N, "yes"))
    model = LogisticRegression().fit(data._small[0], BINARY)
    found = describe(model, data, models={"twin": model})
    assert found.problems == []
    assert "curves" not in found.models["twin"]
    assert any("one class" in note for note in found.notes)


def reads(estimator, X, y):
    return float(-(X["a"].abs() * (estimator.predict(X) != y)).mean())


def test_scorer_that_reads_rows_has_curves_without_importances():
    search = GridSearchCV(LogisticRegression(), {}, scoring=reads, cv=3)
    data = stream(BINARY, features=NUMBERS)
    found = describe(search, data)
    assert found.problems == []
    assert found.models["twin"]["curves"]
    assert "no importances, as the scorer reads the rows" in found.notes


def test_decision_function_has_a_histogram_and_no_calibration():
    curves = describe(RidgeClassifier(), stream(BINARY)).models["twin"]["curves"]["yes"]
    assert "calibration" not in curves
    assert sum(curves["histogram"]["positive"]) > 0.9 * (BINARY == "yes").sum()
