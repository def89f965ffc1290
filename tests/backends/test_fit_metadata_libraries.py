"""Groups and weights in estimators, pipelines and searches of other libraries."""

from __future__ import annotations

import numpy as np
import optuna
import pandas as pd
import pytest
import sklearn
from catboost import CatBoostClassifier
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline as imbalanced
from lightgbm import LGBMClassifier
from optuna.distributions import FloatDistribution
from optuna_integration import OptunaSearchCV
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from xgboost import XGBClassifier

from diurnal.backends import sklearn as backend
from diurnal.backends.sklearn import FitMetadata, unused_metadata
from diurnal.errors import ExperimentError

N = 160
rng = np.random.default_rng(0)
X = pd.DataFrame(rng.normal(size=(N, 4)), columns=list("abcd"))
y = (X["a"] + rng.normal(size=N) > 0).astype(int).to_numpy()
WEIGHT, GROUP = rng.uniform(0, 3, N), rng.integers(0, 8, N)
NEEDS = FitMetadata(groups=GROUP, sample_weight=WEIGHT, columns={"groups": "patient", "sample_weight": "w"})

BOOSTERS = {
    "xgboost": lambda: XGBClassifier(n_estimators=4, n_jobs=1),
    "lightgbm": lambda: LGBMClassifier(n_estimators=4, verbose=-1, n_jobs=1),
    "catboost": lambda: CatBoostClassifier(n_estimators=4, verbose=0, allow_writing_files=False, thread_count=1),
}


@pytest.mark.parametrize("piped", [False, True])
@pytest.mark.parametrize("library", BOOSTERS)
def test_boosters_are_fitted_with_weights_on_folds_of_groups(library, piped):
    made, name = BOOSTERS[library](), "max_depth"
    if piped:
        made = make_pipeline(StandardScaler(), made)
        name = f"{made.steps[-1][0]}__max_depth"
    search = GridSearchCV(made, {name: [1, 3]}, cv=GroupKFold(3))
    with threadpool_limits(1):
        tuned = backend.tune_estimator(search, X, y, needs=NEEDS)
    direct = f"{made.steps[-1][0]}__sample_weight" if piped else "sample_weight"
    best = sklearn.clone(made).set_params(**tuned.best_params).fit(X, y, **{direct: WEIGHT})
    np.testing.assert_array_equal(tuned.twin.predict_proba(X), best.predict_proba(X))
    if not piped and library != "catboost":  # scikit-learn without routing weighs the scores of folds here, too
        plain = sklearn.clone(search).fit(X, y, groups=GROUP, sample_weight=WEIGHT)
        np.testing.assert_array_equal(tuned.table["mean_test_score"], plain.cv_results_["mean_test_score"])


def test_a_pipeline_of_imbalanced_learn_routes_weights_and_refuses_them_where_it_makes_rows():
    search = GridSearchCV(imbalanced(StandardScaler(), LogisticRegression()), {}, cv=GroupKFold(3))
    plain = GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), {}, cv=GroupKFold(3))
    theirs, ours = (backend.tune_estimator(one, X, y, needs=NEEDS) for one in (search, plain))
    assert theirs.table["mean_test_score"] == ours.table["mean_test_score"]
    more = imbalanced(RandomOverSampler(random_state=0), LogisticRegression())
    with pytest.raises(ExperimentError, match=r"RandomOverSampler .* changes which rows there are"):
        unused_metadata.check_metadata_use(more, groups=False, sample_weight=True)
    assert unused_metadata.check_metadata_use(more, groups=True, sample_weight=False) == []


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_search_of_optuna_is_given_groups_and_weights():
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = {"logisticregression__C": FloatDistribution(0.1, 1.0)}
    made = make_pipeline(StandardScaler(), LogisticRegression())
    search = OptunaSearchCV(made, space, cv=GroupKFold(3), n_trials=2, random_state=0)
    tuned = backend.tune_estimator(search, X, y, needs=NEEDS)
    best = sklearn.clone(made).set_params(**tuned.best_params).fit(X, y, logisticregression__sample_weight=WEIGHT)
    np.testing.assert_array_equal(tuned.twin.predict_proba(X), best.predict_proba(X))
    assert unused_metadata.check_metadata_use(search, groups=True, sample_weight=True) == [
        "the scores of the folds count each row once: weights cannot be routed through OptunaSearchCV"
    ]
