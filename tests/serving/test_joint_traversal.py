"""Forests whose trees are traversed at once: the bits of scikit-learn, and when it is done."""

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor

from diurnal.serving.compiled_predictors import compile_model
from diurnal.serving.joint_traversal import MAX_ROWS, join_trees

N_TREES = 60


@pytest.fixture(scope="module")
def rows():
    return np.asfortranarray(np.random.default_rng(0).normal(size=(300, 4)) * [1, 10, 0.1, 1e6])


def trees_of(forest):
    return [tree.tree_ for tree in forest.estimators_]


@pytest.mark.parametrize("n_rows", [1, 2, MAX_ROWS, MAX_ROWS + 1])
@pytest.mark.parametrize("n_classes", [1, 2, 5])
@pytest.mark.parametrize("forest", [RandomForestClassifier, ExtraTreesClassifier])
def test_probabilities_have_the_bits_of_the_forest(forest, n_classes, n_rows, rows):
    target = np.digitize(rows[:, 0], np.linspace(-1, 1, n_classes - 1))
    model = forest(N_TREES, random_state=0, max_depth=8).fit(rows, target)
    assert join_trees(trees_of(model)) is not None
    labels, probabilities = compile_model(model)(rows[:n_rows])
    np.testing.assert_array_equal(labels, model.predict(rows[:n_rows]))
    np.testing.assert_array_equal(probabilities, model.predict_proba(rows[:n_rows]))


@pytest.mark.parametrize("n_rows", [1, 2, MAX_ROWS, MAX_ROWS + 1])
@pytest.mark.parametrize("forest", [RandomForestRegressor, ExtraTreesRegressor])
def test_numbers_have_the_bits_of_the_forest(forest, n_rows, rows):
    model = forest(N_TREES, random_state=0).fit(rows, rows[:, 0] * np.pi + rows[:, 1])
    assert join_trees(trees_of(model)) is not None
    numbers, _ = compile_model(model)(rows[:n_rows])
    np.testing.assert_array_equal(numbers, model.predict(rows[:n_rows]))


def test_few_trees_are_called_one_by_one(rows):
    model = RandomForestRegressor(5, random_state=0).fit(rows, rows[:, 0])
    assert join_trees(trees_of(model)) is None
    numbers, _ = compile_model(model)(rows[:1])
    np.testing.assert_array_equal(numbers, model.predict(rows[:1]))
