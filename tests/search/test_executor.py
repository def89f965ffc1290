import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from diurnal.search import executor
from searching import same

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40_000, 8))
Y = (X[:, 0] + X[:, 1] + RNG.normal(size=len(X)) > 0).astype(int)


def kinds(monkeypatch):
    """Record the chosen workers without changing them."""
    chosen, choose = [], executor.choose_workers
    monkeypatch.setattr(executor, "choose_workers", lambda *a: chosen.append(choose(*a)) or chosen[-1])
    return chosen


def test_large_data_and_scikit_learns_own_estimators_run_on_threads(monkeypatch):
    chosen = kinds(monkeypatch)
    chain = make_pipeline(StandardScaler(), PCA(), LogisticRegression())
    grid = {"pca__n_components": [2, 5, 8], "logisticregression__C": [0.01, 1.0]}
    same(GridSearchCV(chain, grid, cv=3, n_jobs=2, return_train_score=True), X, Y)
    assert chosen == [("threads", 2)]


def test_estimators_that_hold_the_interpreter_lock_run_in_processes_if_n_jobs_is_set(monkeypatch):
    class Slow(TransformerMixin, BaseEstimator):
        def fit(self, X, y=None):
            import warnings

            warnings.warn("slow", UserWarning, stacklevel=1)
            return self

        def transform(self, X):
            return X * 2

    chosen = kinds(monkeypatch)
    chain = make_pipeline(Slow(), DecisionTreeClassifier(max_depth=2, random_state=0))
    grid = {"decisiontreeclassifier__min_samples_leaf": [1, 10]}
    same(GridSearchCV(chain, grid, cv=2), X, Y)
    # warned=False: scikit-learn warns in its worker processes, where the warnings are not seen.
    same(GridSearchCV(chain, grid, cv=2, n_jobs=2, refit=False), X, Y, warned=False)
    assert chosen == [("one", 1), ("processes", 2)]


def test_small_data_stay_on_one_thread(monkeypatch):
    chosen = kinds(monkeypatch)
    chain = make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=0))
    same(GridSearchCV(chain, {"decisiontreeclassifier__max_depth": [1, 2]}, cv=2), X[:200], Y[:200])
    assert chosen == [("one", 1)]
