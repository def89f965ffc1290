"""Labels and probabilities of one call equal those of two, bit for bit."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from diurnal.backends.sklearn.joint_predictions import predict_jointly

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(200, 5))
y = np.array(["a", "b", "c"])[RANDOM.integers(3, size=200)]
TWO_OUTPUTS = np.column_stack([y, y[::-1]])


class Counting(StandardScaler):
    """A scaler that counts its calls."""

    n_calls = 0

    def transform(self, X, copy=None):
        type(self).n_calls += 1
        return super().transform(X)


class Opposite(Pipeline):
    """A pipeline with labels of its own."""

    def predict(self, X):
        return super().predict(X)[::-1]


class Stateless(BaseEstimator):
    """A step that learns nothing, and has nothing that shows that it was fitted."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X * 2


MODELS = [
    make_pipeline(StandardScaler(), PCA(2), LogisticRegression()),
    make_pipeline(Stateless(), LogisticRegression()),
    make_pipeline(Stateless(), "passthrough", None, make_pipeline(StandardScaler(), RandomForestClassifier(9))),
    make_pipeline(ExtraTreesClassifier(9, max_depth=3, random_state=0)),
    Opposite([("scaler", StandardScaler()), ("forest", RandomForestClassifier(9, random_state=0))]),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: "-".join(str(name) for name, _ in model.steps))
def test_predictions_equal_those_of_two_calls(model):
    model.fit(X, y)
    labels, probabilities = predict_jointly(model, X)
    np.testing.assert_array_equal(labels, model.predict(X))
    assert labels.dtype == model.predict(X).dtype
    np.testing.assert_array_equal(probabilities, model.predict_proba(X))


def test_forest_of_several_outputs_predicts_as_before():
    model = RandomForestClassifier(3, random_state=0).fit(X, TWO_OUTPUTS)
    labels, probabilities = predict_jointly(model, X)
    np.testing.assert_array_equal(labels, model.predict(X))
    np.testing.assert_array_equal(probabilities, model.predict_proba(X))


def test_rows_are_transformed_once():
    model = make_pipeline(Counting(), LogisticRegression()).fit(X, y)
    Counting.n_calls = 0
    predict_jointly(model, X)
    assert Counting.n_calls == 1
