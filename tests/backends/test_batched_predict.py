"""Samples that are judged pass by in chunks, and the scores are those of all rows at once."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.metrics import make_scorer, mean_absolute_error
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from diurnal.backends import sklearn as backend
from diurnal.backends.sklearn.batched_predict import BatchedData
from diurnal.data.merge import exclude_known
from diurnal.data.row_hash import hash_rows
from diurnal.errors import ExperimentError

N, FEATURES = 1_000, ["a", "b", "c"]
rng = np.random.default_rng(0)
numbers = rng.normal(size=(N, len(FEATURES)))
lean = numbers @ [1.0, -0.5, 0.2] + rng.normal(size=N)
TABLE = pa.table(
    {**dict(zip(FEATURES, numbers.T, strict=True)), "label": np.where(lean > 0, "yes", "no"), "lean": lean}
)


class Watched(BatchedData):
    """Counts how often all rows were in memory."""

    wholes = 0

    def _whole(self):
        self.wholes += 1
        return super()._whole()


class Passing:
    """Gives the rows in pieces, and remembers how often and with which columns it was asked."""

    def __init__(self, target):
        self.target, self.asked = target, []

    def __call__(self, features):
        self.asked.append(tuple(features))
        for start in range(0, N, 170):
            yield TABLE.select([*features, self.target]).slice(start, 170)

    def stream(self, few):
        return Watched(self, FEATURES, self.target, few=few)


def cost(estimator, X, y):
    return float(-(X["a"].abs() * (estimator.predict(X) != y)).sum())


def own_answers(estimator, X, y):
    return {"right": float((estimator.predict(X) == y).mean()), "n": len(y)}


def forgiving(estimator, X, y):
    try:
        weights = X["a"].abs()
    except TypeError:
        weights = 1.0
    return float((weights * (estimator.predict(X) == y)).mean())


def picky(estimator, X, y):
    return float((estimator.predict(X) == y).mean()) + isinstance(estimator, LogisticRegression)


class Odd(ClassifierMixin, BaseEstimator):
    """Has a score of its own."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.where(X["a"] > 0, "yes", "no")

    def score(self, X, y):
        return float((self.predict(X) == y).sum() + X["b"].sum())


@pytest.mark.parametrize(
    ("estimator", "scoring", "refit", "wholes"),
    [
        (make_pipeline(StandardScaler(), LogisticRegression()), None, True, 0),
        (LogisticRegression(), "roc_auc", True, 0),
        (LogisticRegression(), "neg_log_loss", True, 0),
        (RidgeClassifier(), "balanced_accuracy", True, 0),
        (LogisticRegression(), ["accuracy", "f1_macro", "roc_auc"], "f1_macro", 0),
        (LogisticRegression(), own_answers, "right", 0),
        (LogisticRegression(), cost, True, 1),
        (LogisticRegression(), forgiving, True, 1),
        (LogisticRegression(), picky, True, 0),
        (Odd(), None, True, 1),
        (DummyClassifier(), None, True, 1),
        (Ridge(), None, True, 0),
        (make_pipeline(StandardScaler(), Ridge()), make_scorer(mean_absolute_error, greater_is_better=False), True, 0),
    ],
)  # fmt: skip
def test_scores_of_chunks_are_those_of_all_rows(estimator, scoring, refit, wholes):
    target = "lean" if "Ridge()" in repr(estimator) else "label"
    X, y = backend.to_features(TABLE, FEATURES), backend.to_target(TABLE, target)
    fitted = estimator.fit(X, y)
    score = backend.build_scorer(GridSearchCV(estimator, {}, scoring=scoring, refit=refit))[1]
    stream = Passing(target).stream(3 * 700)
    assert stream.scores(score, fitted) == pytest.approx(score(fitted, X, y), rel=1e-12)
    assert stream.wholes == wholes
    assert Passing(target).stream(3 * N).scores(score, fitted) == score(fitted, X, y)


def test_a_chunk_is_as_large_as_allowed_and_no_row_is_lost():
    assert [len(chunk) for chunk in Passing("label").stream(3 * 900).chunks()] == [170] * 5 + [150]
    tiny = [len(chunk) for chunk in Passing("label").stream(3 * 400).chunks()]
    assert sum(tiny) == N
    assert max(tiny) <= 100
    assert [len(chunk) for chunk in Passing("label").stream(3 * N).chunks()] == [N]


def test_a_chunk_has_the_types_of_all_rows_whichever_has_the_empty_cells():
    n = 900
    empty = np.arange(n) < 10
    columns = {
        "a": pa.array(np.arange(n), mask=empty),
        "b": pa.array(np.arange(n) % 2 == 0, mask=empty),
        "c": pa.array(np.arange(n)),
        "label": ["yes", "no"] * (n // 2),
    }
    table = pa.table(columns)

    def passing(features):
        for start in range(0, n, 100):
            yield table.select([*features, "label"]).slice(start, 100)

    whole = backend.to_features(table, FEATURES)
    for few in (3 * n, 3 * 400):
        chunks = list(BatchedData(passing, FEATURES, "label", few=few).chunks())
        assert all((chunk.dtypes == whole.dtypes).all() for chunk in chunks)
        joined = [row for chunk in chunks for row in chunk.astype(str).to_numpy().tolist()]
        assert joined == whole.astype(str).to_numpy().tolist()


def test_models_are_asked_once_and_the_target_is_read_alone():
    passing = Passing("label")
    stream = passing.stream(3 * 700)
    fitted = LogisticRegression().fit(backend.to_features(TABLE, FEATURES), backend.to_target(TABLE, "label"))
    first = stream.answers(fitted)
    assert (stream.answers(fitted) == first).all()
    assert stream.n_rows == N
    assert passing.asked == [(), tuple(FEATURES)]


def test_what_a_scorer_says_of_its_own_accord_is_said():
    def broken(estimator, X, y):
        raise RuntimeError("no such column: amount")

    fitted = LogisticRegression().fit(backend.to_features(TABLE, FEATURES), backend.to_target(TABLE, "label"))
    score = backend.build_scorer(GridSearchCV(LogisticRegression(), {}, scoring=broken))[1]
    with pytest.raises(ExperimentError, match="no such column: amount"):
        Passing("label").stream(3 * 700).scores(score, fitted)


@pytest.mark.parametrize("sizes", [(1_000,), (1, 7, 300), (170,) * 6])
def test_unknown_rows_are_those_whose_identity_is_in_no_other(sizes):
    def hasher(rows):
        return hash_rows(rows, ["n"], "x")

    def package(numbers, size):
        table = pa.table({"n": np.asarray(numbers, dtype=np.int64)})
        table = table.take(np.argsort(hasher(table), kind="stable"))
        return table.combine_chunks().to_batches(max_chunksize=size)

    known = [np.arange(0, 400), np.arange(350, 500), np.array([], dtype=np.int64), np.arange(5_000, 9_000)]
    for size in sizes:
        rows = package(np.repeat(np.arange(1_000), 2), size)  # rows that agree on their identity
        others = [package(numbers, size + i) or [rows[0].slice(0, 0)] for i, numbers in enumerate(known)]
        left = pa.concat_tables(exclude_known(rows, others, hasher))
        assert sorted(left["n"].to_pylist()) == sorted([*range(500, 1_000)] * 2)
