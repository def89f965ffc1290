"""What `check` accepts, and what it refuses before the night."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, RandomizedSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from diurnal import experiment
from diurnal.errors import ExperimentError
from diurnal.pipeline.check import check_experiment, check_for_dry_run


def rows(interval):
    """Stand for a source; `check` never reads it."""


def twice(X):
    return X * 2


def checked(estimator, **declared):
    @experiment(source=rows, target="y", **declared)
    def toy():
        return estimator

    return check_experiment(toy, {})


def pipeline(**steps):
    return Pipeline([*steps.items(), ("clf", LogisticRegression())])


@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestRegressor(random_state=0),
        GradientBoostingRegressor(random_state=0),
        GridSearchCV(HistGradientBoostingClassifier(random_state=0), {"max_depth": [1, 2]}),
        GridSearchCV(pipeline(scale=StandardScaler()), {"scale__with_mean": [True], "clf__C": [1.0]}),
        GridSearchCV(pipeline(), [{"clf": [SVC(random_state=0)], "clf__gamma": [0.1, 1.0]}, {"clf__C": [1.0]}]),
    ],
)
def test_check_takes_what_is_not_fitted(estimator):
    found = checked(estimator)
    assert found["warnings"] == []
    assert found["source"] == f"{__name__}:rows"


def test_check_names_the_types_to_trust():
    estimator = pipeline(flip=FunctionTransformer(np.flip), load=FunctionTransformer(np.load))
    with pytest.raises(ExperimentError, match=r"types that are not allowed: numpy\.flip, numpy\.load;") as refusal:
        checked(estimator)
    assert 'trusted_types=("numpy.flip", "numpy.load",)' in refusal.value.hint
    assert checked(estimator, trusted_types=("numpy.flip", "numpy.load"))["task"] == "classification"


def test_check_takes_the_project_s_own_functions():
    assert checked(pipeline(double=FunctionTransformer(twice)))["task"] == "classification"
    with pytest.raises(ExperimentError, match=r"a lambda \(line") as refusal:
        checked(pipeline(double=FunctionTransformer(lambda X: X * 2)))
    assert "at the top level of the experiment's file" in refusal.value.hint


def test_check_looks_at_candidates_too():
    search = GridSearchCV(pipeline(f=FunctionTransformer()), {"f__func": [None, np.flip], "clf": [SVC(kernel=len)]})
    with pytest.raises(ExperimentError, match=r"builtins\.len, numpy\.flip"):
        checked(search)


def test_check_refuses_what_cannot_be_saved():
    with pytest.raises(ExperimentError, match="cannot be saved"):
        checked(LogisticRegression(class_weight=(weight for weight in ())))


def test_check_refuses_a_scorer_that_is_not_there():
    with pytest.raises(ExperimentError, match="did you mean 'accuracy'"):
        checked(GridSearchCV(LogisticRegression(), {"C": [1.0]}, scoring="acuracy"))


@pytest.mark.parametrize(
    ("search", "said"),
    [
        (GridSearchCV(LogisticRegression(), {"CC": [1.0]}), "no parameter 'CC' to tune; did you mean 'C'"),
        (GridSearchCV(LogisticRegression(), [{"C": [1.0]}, {"penalti": [1.0]}]), "did you mean 'penalty'"),
        (RandomizedSearchCV(pipeline(), {"clf_C": [1.0]}, random_state=0), "did you mean 'clf__C'"),
        (GridSearchCV(pipeline(), {"C": [1.0]}), "Pipeline has no parameter 'C'"),
    ],
)
def test_check_refuses_a_parameter_that_is_not_there(search, said):
    with pytest.raises(ExperimentError, match=said):
        checked(search)


def test_faults_behind_a_splitter_are_found_with_it():
    @experiment(source=rows, target="y")
    def toy():
        pipeline = Pipeline([("same", FunctionTransformer(lambda X: X)), ("clf", LogisticRegression())])
        return GridSearchCV(pipeline, {}, cv=GroupKFold(3))

    _, faults, further = check_for_dry_run(toy, {})
    assert [type(fault) for fault in faults] == [ExperimentError] * 2
    assert "groups" in str(faults[0])
    assert "lambda" in str(faults[1])
    assert further.build().cv is None
    assert further.code_digest == toy.code_digest
