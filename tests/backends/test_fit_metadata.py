"""Groups and weights in fits, folds and scores: plain scikit-learn, asked as its pages say, is the oracle."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.ensemble import AdaBoostRegressor, RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LassoCV, LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, get_scorer, make_scorer, r2_score
from sklearn.model_selection import (
    BaseCrossValidator,
    GridSearchCV,
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    StratifiedGroupKFold,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from diurnal.backends import sklearn as backend
from diurnal.backends.sklearn import FitMetadata, tuning, unused_metadata
from diurnal.backends.sklearn.batched_predict import BatchedData
from diurnal.backends.sklearn.fit_metadata import MetadataCollector
from diurnal.data import Column, Metadata, Schema
from diurnal.errors import ExperimentError

N, CUT = 300, 200
rng = np.random.default_rng(3)
FRAME = pd.DataFrame(rng.normal(size=(N, 5)), columns=list("abcde"))
LEAN = FRAME.to_numpy() @ [1.0, -0.5, 0.3, 0.0, 0.1] + rng.normal(size=N)
LABEL, WEIGHT, GROUP = np.where(LEAN > 0, "yes", "no"), rng.uniform(0, 4, N), rng.integers(0, 9, N)
WEIGHT[::17] = 0.0
BOTH = {"groups": GROUP, "sample_weight": WEIGHT}


def part(rows, *names):
    """Give the needs of some rows."""
    given = {name: BOTH[name][rows] for name in names}
    return FitMetadata(**given, columns={"groups": "patient", "sample_weight": "w"})


def tuned(search, y, *names):
    """Tune on the train rows and score the twin on the others."""
    found = backend.tune_estimator(search, FRAME[:CUT], y[:CUT], needs=part(slice(CUT), *names))
    scores = backend.build_scorer(search)[1](found.twin, FRAME[CUT:], y[CUT:], part(slice(CUT, None), *names))
    return found, scores


def asked(step, *, fit=True, score=True):
    return step.set_fit_request(sample_weight=fit).set_score_request(sample_weight=score)


def oracle(search, y, names):
    """What scikit-learn gives: the fitted search, and its score on the other rows."""
    with sklearn.config_context(enable_metadata_routing=True), threadpool_limits(1):
        fitted = search().fit(FRAME[:CUT], y[:CUT], **{name: BOTH[name][:CUT] for name in names})
        weights = {"sample_weight": WEIGHT[CUT:]} if "sample_weight" in names else {}
        return fitted, fitted.score(FRAME[CUT:], y[CUT:], **weights)


def same(found, fitted):
    for name in (name for name in fitted.cv_results_ if "_test_" in name):
        np.testing.assert_array_equal(found.table[name].to_numpy(), fitted.cv_results_[name], err_msg=name)
    np.testing.assert_array_equal(found.twin.predict(FRAME), fitted.predict(FRAME))


GRID = {"pca__n_components": [2, 5], "last__C": [0.01, 1.0]}


def chain(last, scaler=None):
    return Pipeline([("scale", scaler or StandardScaler()), ("pca", PCA()), ("last", last)])


def scorer(name):
    return get_scorer(name).set_score_request(sample_weight=True)


@pytest.mark.parametrize("scored", [None, "roc_auc", "neg_log_loss"])
@pytest.mark.parametrize("cv", [3, GroupKFold(3), StratifiedGroupKFold(3), LeaveOneGroupOut()], ids=str)
def test_a_classifiers_search_is_scikit_learns(scored, cv):
    names = ["sample_weight"] if cv == 3 else ["groups", "sample_weight"]
    found, scores = tuned(GridSearchCV(chain(LogisticRegression()), GRID, cv=cv, scoring=scored), LABEL, *names)

    def plain():
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        judge = None if scored is None else scorer(scored)
        return GridSearchCV(chain(asked(LogisticRegression()), scaler), GRID, cv=cv, scoring=judge)

    fitted, score = oracle(plain, LABEL, names)
    same(found, fitted)
    assert scores == {scored or "accuracy": score}


@pytest.mark.parametrize("scored", [None, "neg_mean_absolute_error", ["r2", "neg_mean_absolute_error"]], ids=str)
def test_a_regressions_search_is_scikit_learns(scored):
    grid = {"pca__n_components": [2, 5], "last__alpha": [0.1, 1.0, 100.0]}
    several = isinstance(scored, list)
    words = {"cv": GroupKFold(4), "refit": "r2" if several else True}
    found, scores = tuned(GridSearchCV(chain(Ridge()), grid, scoring=scored, **words), LEAN, *BOTH)

    def plain():
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        judge = {name: scorer(name) for name in scored} if several else scored and scorer(scored)
        return GridSearchCV(chain(asked(Ridge()), scaler), grid, scoring=judge, **words)

    fitted, score = oracle(plain, LEAN, BOTH)
    same(found, fitted)
    assert scores["r2" if several or scored is None else scored] == score
    unweighted, _ = tuned(GridSearchCV(chain(Ridge()), grid, scoring=scored, **words), LEAN, "groups")
    assert unweighted.mean != found.mean


def test_shards_and_the_refit_are_given_the_same():
    search = GridSearchCV(chain(LogisticRegression()), GRID, cv=GroupKFold(3))
    X, y, needs = FRAME[:CUT], LABEL[:CUT], part(slice(CUT), *BOTH)
    shards = tuning.split_into_shards(search, X, y, 3, needs)
    tables = [tuning.score_search_shard(search, X, y, shard, needs)[0] for shard in shards]
    parts = [{name: np.array(table[name].to_pylist()) for name in table.column_names} for table in tables]
    whole, pieces = (backend.tune_estimator(search, X, y, needs=needs, parts=parts) for parts in (None, parts))
    assert len(parts) == 3
    assert whole.table["mean_test_score"] == pieces.table["mean_test_score"]
    model = backend.refit_estimator(whole.twin, FRAME, LABEL, part(slice(None), *BOTH))
    weighted = Pipeline(whole.twin.steps).fit(FRAME, LABEL, last__sample_weight=WEIGHT)
    np.testing.assert_array_equal(model.predict_proba(FRAME), weighted.predict_proba(FRAME))


def test_a_bare_estimator_is_fitted_and_scored_with_weights():
    found, scores = tuned(LogisticRegression(), LABEL, *BOTH)
    plain = LogisticRegression().fit(FRAME[:CUT], LABEL[:CUT], sample_weight=WEIGHT[:CUT])
    np.testing.assert_array_equal(found.twin.coef_, plain.coef_)
    assert scores == {"accuracy": plain.score(FRAME[CUT:], LABEL[CUT:], sample_weight=WEIGHT[CUT:])}


def test_folds_within_an_estimator_get_the_groups():
    inner = LassoCV(cv=GroupKFold(3))
    found, _ = tuned(inner, LEAN, "groups")
    with sklearn.config_context(enable_metadata_routing=True):
        plain = LassoCV(cv=GroupKFold(3)).fit(FRAME[:CUT], LEAN[:CUT], groups=GROUP[:CUT])
    assert found.twin.alpha_ == plain.alpha_
    search = GridSearchCV(make_pipeline(StandardScaler(), inner), {"lassocv__eps": [1e-3, 1e-2]}, cv=GroupKFold(3))
    found, _ = tuned(search, LEAN, "groups")
    fitted, _ = oracle(lambda: search, LEAN, ["groups"])
    same(found, fitted)


def test_what_scikit_learn_cannot_route_through_is_given_weights_directly():
    for search in (
        GridSearchCV(AdaBoostRegressor(random_state=0), {"n_estimators": [2, 5]}, cv=GroupKFold(3)),
        GridSearchCV(TransformedTargetRegressor(AdaBoostRegressor(random_state=0)), {}, cv=GroupKFold(3)),
    ):
        found, scores = tuned(search, LEAN, *BOTH)
        fitted = search.fit(FRAME[:CUT], LEAN[:CUT], **{name: BOTH[name][:CUT] for name in BOTH})
        same(found, fitted)
        assert scores == {"r2": r2_score(LEAN[CUT:], fitted.predict(FRAME[CUT:]), sample_weight=WEIGHT[CUT:])}


def test_an_ensemble_at_the_end_of_a_pipeline_has_weighted_scores():
    members = [("nb", GaussianNB()), ("lr", LogisticRegression())]
    grid = {"pca__n_components": [2, 4]}
    found, scores = tuned(GridSearchCV(chain(VotingClassifier(members)), grid), LABEL, *BOTH)

    def plain():
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        asking = [(name, asked(member)) for name, member in members]
        return GridSearchCV(chain(VotingClassifier(asking), scaler), grid, scoring=scorer("accuracy"))

    fitted, score = oracle(plain, LABEL, ["sample_weight"])
    same(found, fitted)
    assert scores == {"accuracy": score}


def test_estimators_in_the_grid_get_weights_too():
    grid = {"last": [LogisticRegression(), RandomForestClassifier(5, random_state=0)], "pca": [PCA(2), "passthrough"]}
    found, _ = tuned(GridSearchCV(chain(GaussianNB()), grid), LABEL, "sample_weight")

    def plain():
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        asking = {**grid, "last": [asked(one) for one in sklearn.clone(grid["last"])]}
        return GridSearchCV(chain(asked(GaussianNB()), scaler), asking)

    fitted, _ = oracle(plain, LABEL, ["sample_weight"])
    same(found, fitted)


def test_what_the_notebook_requests_is_kept():
    def made(scoring=None):
        scaler = StandardScaler().set_fit_request(sample_weight=True)
        return GridSearchCV(chain(asked(LogisticRegression(), score=False), scaler), GRID, scoring=scoring)

    with sklearn.config_context(enable_metadata_routing=True):
        search = made()
        unweighted = get_scorer("accuracy").set_score_request(sample_weight=False)
        fitted = made(unweighted).fit(FRAME[:CUT], LABEL[:CUT], sample_weight=WEIGHT[:CUT])
    found, scores = tuned(search, LABEL, "sample_weight")
    same(found, fitted)
    assert scores == {"accuracy": accuracy_score(LABEL[CUT:], fitted.predict(FRAME[CUT:]))}


def test_weights_may_be_requested_by_the_name_of_their_column():
    with sklearn.config_context(enable_metadata_routing=True):
        alias = asked(LogisticRegression(), fit="w", score="w")
    found, scores = tuned(GridSearchCV(chain(alias), GRID), LABEL, "sample_weight")
    plain, expected = tuned(GridSearchCV(chain(LogisticRegression()), GRID), LABEL, "sample_weight")
    assert found.table["mean_test_score"] == plain.table["mean_test_score"]
    assert scores == expected
    bare, expected = tuned(alias, LABEL, "sample_weight")[0], tuned(LogisticRegression(), LABEL, "sample_weight")[0]
    np.testing.assert_array_equal(bare.twin.coef_, expected.twin.coef_)


class Blocks(BaseCrossValidator):
    """A splitter of another library, which takes groups and knows no routing."""

    def _iter_test_indices(self, X=None, y=None, groups=None):
        for group in np.unique(groups)[:3]:
            yield np.flatnonzero(groups == group)

    def get_n_splits(self, X=None, y=None, groups=None):
        return min(3, len(np.unique(groups)))


def test_a_splitter_without_routing_gets_the_groups():
    search = GridSearchCV(chain(LogisticRegression()), GRID, cv=Blocks())
    found, _ = tuned(search, LABEL, "groups")
    fitted = GridSearchCV(chain(LogisticRegression()), GRID, cv=Blocks()).fit(
        FRAME[:CUT], LABEL[:CUT], groups=GROUP[:CUT]
    )
    same(found, fitted)
    weighted, _ = tuned(search, LABEL, *BOTH)
    assert weighted.mean != found.mean


def test_nothing_changes_where_nothing_is_needed():
    search = GridSearchCV(chain(LogisticRegression()), GRID, cv=3)
    found, _ = tuned(search, LABEL)
    same(found, search.fit(FRAME[:CUT], LABEL[:CUT]))
    assert not hasattr(found.twin[-1], "_metadata_request")
    assert not sklearn.get_config()["enable_metadata_routing"]


class Plain(ClassifierMixin, BaseEstimator):
    """Takes weights, and knows no routing."""

    def __getattribute__(self, name):
        if name in ("get_metadata_routing", "_get_metadata_request"):
            raise AttributeError(name)
        return super().__getattribute__(name)

    def fit(self, X, y, sample_weight=None):
        self.classes_, self.weights_ = np.unique(y), sample_weight
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


def test_an_estimator_of_a_library_without_routing_is_given_weights_directly():
    found, scores = tuned(GridSearchCV(Plain(), {}, cv=2), LABEL, "sample_weight")
    np.testing.assert_array_equal(found.twin.weights_, WEIGHT[:CUT])
    expected = accuracy_score(LABEL[CUT:], np.full(N - CUT, "no"), sample_weight=WEIGHT[CUT:])
    assert scores == {"accuracy": expected}
    search = GridSearchCV(chain(Plain()), {}, cv=2)
    found, scores = tuned(search, LABEL, "sample_weight")
    np.testing.assert_array_equal(found.twin[-1].weights_, WEIGHT[:CUT])
    assert scores == {"accuracy": expected}
    (said,) = unused_metadata.check_metadata_use(search, groups=False, sample_weight=True)
    assert said == "the scores of the folds count each row once: weights cannot be routed through Plain"


class Scoring(Plain):
    """Has a score of its own, which takes no weights."""

    def score(self, X, y):
        return float(np.mean(self.predict(X) == y))


@pytest.mark.parametrize("names", [["groups"], ["sample_weight"], list(BOTH)], ids=str)
def test_a_score_of_its_own_that_takes_no_weights_counts_each_row_once(names):
    for inner in (Scoring(), chain(Scoring())):
        search = GridSearchCV(inner, {}, cv=GroupKFold(2) if "groups" in names else 2)
        _, scores = tuned(search, LABEL, *names)
        assert scores == {"accuracy": np.mean(LABEL[CUT:] == "no")}
        if "sample_weight" in names:
            said = unused_metadata.check_metadata_use(search, groups="groups" in names, sample_weight=True)
            assert "the score takes no weights: it counts each row once" in said


class Resampling(BaseEstimator):
    """As imbalanced-learn has them."""

    def fit_resample(self, X, y):
        return X, y


def test_a_step_that_makes_rows_is_refused_where_rows_have_weights():
    with pytest.raises(ExperimentError, match=r"Resampling \(more\) changes which rows there are"):
        unused_metadata.check_metadata_use(
            Pipeline([("more", Resampling()), ("last", Ridge())]), groups=False, sample_weight=True
        )


class Elsewhere(BaseEstimator):
    """A search of another library: it passes on what it is given, and routes nothing."""

    best_params_ = None

    def __init__(self, estimator, cv):
        self.estimator, self.cv = estimator, cv

    def fit(self, X, y, groups=None, **fit_params):
        folds = list(self.cv.split(X, y, groups))
        self.best_score_ = float(np.mean([len(train) for train, _ in folds]))
        self.cv_results_ = {"params": [{}], "mean_test_score": [self.best_score_], "std_test_score": [0.0]}
        self.best_index_, self.best_params_ = 0, {}
        self.best_estimator_ = sklearn.clone(self.estimator).fit(X, y, **fit_params)
        return self


def test_a_search_of_a_library_without_routing_is_given_groups_and_weights_directly():
    search = Elsewhere(chain(LogisticRegression()), GroupKFold(3))
    found, _ = tuned(search, LABEL, *BOTH)
    plain = chain(LogisticRegression()).fit(FRAME[:CUT], LABEL[:CUT], last__sample_weight=WEIGHT[:CUT])
    np.testing.assert_array_equal(found.twin.predict_proba(FRAME), plain.predict_proba(FRAME))
    assert unused_metadata.check_metadata_use(search, groups=True, sample_weight=True)[-1].endswith(
        "routed through Elsewhere"
    )


@pytest.mark.parametrize(
    "made", [KNeighborsClassifier(), GridSearchCV(chain(KNeighborsClassifier()), {"pca__n_components": [2]})]
)
def test_weights_that_reach_no_fit_are_refused(made):
    with pytest.raises(ExperimentError, match="KNeighborsClassifier takes no weights in its fit"):
        unused_metadata.check_metadata_use(made, groups=False, sample_weight=True)


def rough(y, predicted):
    return float(np.mean(y == predicted))


@pytest.mark.parametrize(
    ("made", "needs", "warned"),
    [
        (GridSearchCV(Ridge(), {}, cv=KFold(3)), "groups", "the folds are made without the groups: cv=KFold"),
        (GridSearchCV(Ridge(), {}), "groups", "the folds are made without the groups: cv=None"),
        (GridSearchCV(Ridge(), {}, cv=GroupKFold()), "groups", None),
        (GridSearchCV(Ridge(), {}, cv=Blocks()), "groups", None),
        (Ridge(), "groups", None),
        (GridSearchCV(Ridge(), {}, scoring="r2"), "sample_weight", None),
        (GridSearchCV(Ridge(), {}), "sample_weight", None),
        (GridSearchCV(Ridge(), {}, scoring="neg_max_error"), "sample_weight", "the score takes no weights"),
        (GridSearchCV(Ridge(), {}, scoring=make_scorer(rough)), "sample_weight", "the score takes no weights"),
        (
            GridSearchCV(Ridge(), {}, scoring=["r2", "neg_max_error"], refit="r2"),
            "sample_weight",
            "neg_max_error takes no weights",
        ),
        (GridSearchCV(AdaBoostRegressor(), {}), "sample_weight", None),
    ],
)
def test_what_does_not_use_groups_or_weights_is_warned_of(made, needs, warned):
    found = unused_metadata.check_metadata_use(made, groups=needs == "groups", sample_weight=needs == "sample_weight")
    assert [text[: len(warned or "")] for text in found] == ([] if warned is None else [warned])


METADATA = Metadata(groups="patient", sample_weight="w", order_by="at")
BESIDE = {"patient": [f"p{group}" for group in GROUP], "w": WEIGHT, "at": rng.permutation(N) // 3}
TABLE = pa.table({name: FRAME[name].to_numpy() for name in FRAME} | BESIDE | {"label": LABEL, "lean": LEAN})
COLUMNS = tuple(
    Column(field.name, {"string": "text", "double": "float", "int64": "int"}[str(field.type)]) for field in TABLE.schema
)


def streamed(target, few):
    schema = Schema(COLUMNS, target, drop=tuple({"label", "lean"} - {target}), metadata=METADATA)

    def tables(features):
        for start in range(0, N, 70):
            yield TABLE.select([*features, target, *METADATA.columns]).slice(start, 70)

    return BatchedData(tables, schema.features, target, beside=lambda: MetadataCollector(schema), few=few)


@pytest.mark.parametrize("few", [10**6, 100])
@pytest.mark.parametrize("scoring", [None, "f1_macro", "roc_auc", ["accuracy", "roc_auc"]], ids=str)
def test_rows_that_pass_by_are_scored_with_their_weights(few, scoring):
    search = GridSearchCV(chain(LogisticRegression()), GRID, scoring=scoring, refit="roc_auc")
    model = chain(LogisticRegression()).fit(FRAME, LABEL)
    stream = streamed("label", few)
    scores = stream.scores(backend.build_scorer(search)[1], model)
    names = [scoring or "roc_auc"] if not isinstance(scoring, list) else scoring
    expected = [scorer_of("accuracy" if scoring is None else name, model) for name in names]
    np.testing.assert_allclose(list(scores.values()), expected, rtol=1e-12)
    assert stream.is_small == (few > N)


def scorer_of(name, model):
    with sklearn.config_context(enable_metadata_routing=True):
        return scorer(name)(model, FRAME, LABEL, sample_weight=WEIGHT)


def in_order(estimator, X, y):
    """See the rows one after the other, as a score of a series does."""
    return float(np.sum(np.arange(len(y)) * (y - estimator.predict(X))))


@pytest.mark.parametrize("few", [10**6, 100])
def test_rows_that_pass_by_are_judged_in_their_order(few):
    search = GridSearchCV(Ridge(), {}, scoring=in_order)
    model = Ridge().fit(FRAME, LEAN)
    stream = streamed("lean", few)
    places = np.argsort(TABLE["at"].to_numpy(), kind="stable")
    ordered = FRAME.iloc[places]
    np.testing.assert_array_equal(stream.y, LEAN[places])
    np.testing.assert_allclose(stream.answers(model), model.predict(ordered))
    assert stream.scores(backend.build_scorer(search)[1], model) == {
        "in_order": pytest.approx(in_order(model, ordered, LEAN[places]))
    }
