"""Estimators of other libraries: saved and loaded without `trusted`, with predictions of equal bits; tuned as ever."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import RandomForestClassifier, StackingClassifier, VotingClassifier
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from diurnal.backends.sklearn import build_scorer, detect_task, tune_estimator
from diurnal.backends.sklearn.tuning import clone_unfitted
from diurnal.errors import ExperimentError
from diurnal.storage.models import library_versions
from diurnal.storage.models.skops_format import FORMAT
from projects import Project, patients
from searching import same

rng = np.random.default_rng(11)
N = 160
NUMBERS = pd.DataFrame(rng.normal(size=(N, 3)), columns=list("abc"))
HOLES = NUMBERS.where(NUMBERS > -1)
TEXTS = NUMBERS.assign(
    city=pd.Series(rng.choice(["Rome", "Oslo", "Bern"], N)).astype(object),
    plan=pd.Series(rng.choice(["s", "m", "l", "xl"], N)).astype(object),
)
CODED = NUMBERS.assign(city=TEXTS["city"].astype("category"), size=pd.Categorical(rng.integers(0, 40, N)))
TABLE = TEXTS.assign(at=pd.date_range("2026-01-01", periods=N, freq="h"))
TWO = (NUMBERS["a"] + (TEXTS["city"] == "Rome") + 0.3 * rng.normal(size=N) > 0.5).astype(int).to_numpy()
YES = np.where(TWO, "yes", "no")
THREE = np.array(["p", "q", "r"])[pd.cut(NUMBERS["a"], 3, labels=False)]
AMOUNT = (NUMBERS["a"] * 3 + NUMBERS["b"]).to_numpy()


def check_round_trip(model, X, y, *, exact=True, seeded=False):
    """Fit, save and load a model: it answers with the same bits, and is the same file again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
        data = FORMAT.dumps(model)
        again = FORMAT.loads(data)
        for method in ("predict", "predict_proba", "transform"):
            if hasattr(model, method):
                output, before = getattr(again, method)(X.copy()), getattr(model, method)(X.copy())
                pd.testing.assert_frame_equal(_frame(output), _frame(before), check_exact=True)
        if exact:
            assert FORMAT.dumps(again) == data
        assert not seeded or FORMAT.dumps(clone_unfitted(model).fit(X, y)) == data, "the same fit gives the same bytes"


def _frame(output):
    return pd.DataFrame(output.toarray() if hasattr(output, "toarray") else output)


XGBOOST = {
    "two classes": ("XGBClassifier", {}, NUMBERS, TWO),
    "three classes": ("XGBClassifier", {}, HOLES, pd.factorize(THREE, sort=True)[0]),
    "softmax": ("XGBClassifier", {"objective": "multi:softmax"}, NUMBERS, pd.factorize(THREE, sort=True)[0]),
    "categories": ("XGBClassifier", {"enable_categorical": True, "max_cat_to_onehot": 2}, CODED, TWO),
    "linear": ("XGBRegressor", {"booster": "gblinear"}, NUMBERS, AMOUNT),
    "dart": ("XGBRegressor", {"booster": "dart", "rate_drop": 0.5}, NUMBERS, AMOUNT),
    "forest": ("XGBRFClassifier", {}, NUMBERS, TWO),
    "pruned": ("XGBRegressor", {"tree_method": "exact", "gamma": 8.0}, HOLES, AMOUNT),
    "by loss": ("XGBRegressor", {"grow_policy": "lossguide", "max_leaves": 5}, HOLES, AMOUNT),
    "counts": ("XGBRegressor", {"objective": "count:poisson"}, NUMBERS, np.abs(AMOUNT)),
    "quantile": ("XGBRegressor", {"objective": "reg:quantileerror", "quantile_alpha": 0.9}, NUMBERS, AMOUNT),
}


@pytest.mark.filterwarnings("ignore:.*deprecated")
@pytest.mark.parametrize("name", XGBOOST)
def test_xgboost(name):
    import xgboost

    cls, params, X, y = XGBOOST[name]
    check_round_trip(getattr(xgboost, cls)(n_estimators=6, n_jobs=1, **params), X, y, seeded=True)


LIGHTGBM = {
    "two classes": ("LGBMClassifier", {}, NUMBERS, YES),
    "three classes": ("LGBMClassifier", {}, HOLES, THREE),
    "one against all": ("LGBMClassifier", {"objective": "multiclassova"}, NUMBERS, THREE),
    "categories": ("LGBMClassifier", {"min_child_samples": 2, "max_cat_to_onehot": 2}, CODED, YES),
    "amounts": ("LGBMRegressor", {}, HOLES, AMOUNT),
    "linear leaves": ("LGBMRegressor", {"linear_tree": True}, NUMBERS, AMOUNT),
    "forest": ("LGBMRegressor", {"boosting_type": "rf", "subsample_freq": 1, "subsample": 0.5}, NUMBERS, AMOUNT),
    "dart": ("LGBMRegressor", {"boosting_type": "dart"}, NUMBERS, AMOUNT),
    "quantile": ("LGBMRegressor", {"objective": "quantile", "alpha": 0.9}, NUMBERS, AMOUNT),
    "no split": ("LGBMRegressor", {"min_child_samples": 1000}, NUMBERS, AMOUNT),
    "odd names": ("LGBMRegressor", {}, NUMBERS.set_axis(["growth_%", "Größe (cm)", "c"], axis=1), AMOUNT),
}


@pytest.mark.parametrize("name", LIGHTGBM)
def test_lightgbm(name):
    import lightgbm

    cls, params, X, y = LIGHTGBM[name]
    check_round_trip(
        getattr(lightgbm, cls)(n_estimators=6, n_jobs=1, random_state=0, verbose=-1, **params), X, y, seeded=True
    )


CITIES = {"cat_features": ["city", "plan"]}
CATBOOST = {
    "two classes": ("CatBoostClassifier", {}, HOLES, YES),
    "three classes": ("CatBoostClassifier", {}, NUMBERS, THREE),
    "categories": ("CatBoostClassifier", CITIES, TEXTS, YES),
    "combined categories": (
        "CatBoostClassifier",
        CITIES | {"max_ctr_complexity": 4, "one_hot_max_size": 3},
        TEXTS,
        THREE,
    ),
    "amounts": ("CatBoostRegressor", CITIES, TEXTS, AMOUNT),
    "uneven trees": ("CatBoostRegressor", CITIES | {"grow_policy": "Lossguide"}, TEXTS, AMOUNT),
    "counts": ("CatBoostRegressor", {"loss_function": "Poisson"}, NUMBERS, np.abs(AMOUNT)),
    "truth values": ("CatBoostClassifier", {}, NUMBERS, TWO == 1),
}


@pytest.mark.parametrize("name", CATBOOST)
def test_catboost(name):
    import catboost

    cls, params, X, y = CATBOOST[name]
    model = getattr(catboost, cls)(
        n_estimators=6, random_seed=0, thread_count=1, verbose=0, allow_writing_files=False, **params
    )
    # CatBoost gives the parameters of the training back with fewer digits, so a model read and saved is another file
    check_round_trip(model, X, y, exact=False, seeded=True)
    again = FORMAT.loads(FORMAT.dumps(model))
    assert again.get_params() == model.get_params()
    assert again.n_features_in_ == X.shape[1]
    assert list(again.classes_) == list(model.classes_)


def test_catboost_says_that_texts_are_kept_by_its_binary_form_only():
    import catboost

    X = TEXTS[["a"]].assign(said=[f"word{i % 7} and word{i % 3}" for i in range(N)])
    params = {"n_estimators": 2, "verbose": 0, "allow_writing_files": False, "text_features": ["said"]}
    model = catboost.CatBoostClassifier(**params).fit(X, YES)
    with pytest.raises(Exception, match=r"a CatBoostClassifier cannot be saved: .*text features only in cbm"):
        FORMAT.dumps(model)


def imbalanced():
    from imblearn import combine, ensemble, over_sampling, pipeline, under_sampling

    samplers = [
        over_sampling.SMOTE(random_state=0), over_sampling.SVMSMOTE(random_state=0),
        over_sampling.BorderlineSMOTE(random_state=0), over_sampling.RandomOverSampler(random_state=0),
        under_sampling.TomekLinks(), under_sampling.NearMiss(), combine.SMOTEENN(random_state=0),
    ]  # fmt: skip
    for sampler in samplers:
        yield pipeline.make_pipeline(StandardScaler(), sampler, LogisticRegression())
    for cls in (ensemble.BalancedRandomForestClassifier, ensemble.BalancedBaggingClassifier):
        yield cls(n_estimators=3, random_state=0)
    yield ensemble.EasyEnsembleClassifier(n_estimators=2, random_state=0, estimator=DecisionTreeClassifier(max_depth=2))
    yield ensemble.RUSBoostClassifier(n_estimators=3, random_state=0)


def test_imbalanced_learn(subtests):
    for model in imbalanced():
        with subtests.test(model=repr(model)):
            check_round_trip(model, NUMBERS, YES)


def skrubbed():
    import skrub
    from lightgbm import LGBMClassifier

    yield skrub.tabular_pipeline("classifier"), TABLE, YES
    yield skrub.tabular_pipeline(LogisticRegression()), TABLE, YES
    for encoder in (skrub.MinHashEncoder(n_components=4), skrub.GapEncoder(n_components=2, random_state=0)):
        yield make_pipeline(skrub.Cleaner(), skrub.TableVectorizer(low_cardinality=encoder), Ridge()), TABLE, AMOUNT
    yield make_pipeline(skrub.SelectCols(["a", "b"]), skrub.SquashingScaler(), LogisticRegression()), TABLE, YES
    lightgbm = LGBMClassifier(n_estimators=3, verbose=-1, random_state=0, n_jobs=1)
    yield make_pipeline(skrub.ApplyToCols(skrub.ToCategorical(), cols=skrub.selectors.string()), lightgbm), TEXTS, YES


def test_skrub(subtests):
    for model, X, y in skrubbed():
        with subtests.test(model=repr(model)):
            check_round_trip(model, X, y)


def test_category_encoders(subtests):
    import category_encoders

    for name in sorted(category_encoders.__all__):
        with subtests.test(name=name):
            encoder = getattr(category_encoders, name)(cols=["city", "plan"])
            check_round_trip(make_pipeline(encoder, LogisticRegression(max_iter=2000)), TEXTS, TWO)


def engineers():
    from feature_engine import (
        creation,
        datetime,
        discretisation,
        encoding,
        imputation,
        outliers,
        selection,
        transformation,
        wrappers,
    )

    texts, numbers = ["city", "plan"], ["a", "b", "c"]
    yield encoding.MeanEncoder(), TEXTS
    yield encoding.OrdinalEncoder(encoding_method="ordered"), TEXTS
    yield encoding.OneHotEncoder(), TEXTS
    yield encoding.CountFrequencyEncoder(), TEXTS
    yield make_pipeline(encoding.RareLabelEncoder(tol=0.2, n_categories=2), encoding.WoEEncoder(fill_value=0.1)), TEXTS
    yield encoding.DecisionTreeEncoder(regression=False, cv=2, random_state=0), TEXTS
    yield make_pipeline(imputation.MeanMedianImputer(), imputation.AddMissingIndicator()), HOLES
    yield imputation.RandomSampleImputer(random_state=0), HOLES
    yield discretisation.EqualFrequencyDiscretiser(q=4), NUMBERS
    yield discretisation.DecisionTreeDiscretiser(regression=False, cv=2, random_state=0), NUMBERS
    yield creation.MathFeatures(variables=numbers, func=["sum", "max"]), NUMBERS
    yield creation.CyclicalFeatures(), NUMBERS
    yield creation.RelativeFeatures(variables=["a"], reference=["b"], func=["sub"]), NUMBERS
    yield outliers.Winsorizer(), NUMBERS
    yield transformation.YeoJohnsonTransformer(), NUMBERS
    yield selection.DropCorrelatedFeatures(threshold=0.5), NUMBERS
    yield selection.SmartCorrelatedSelection(threshold=0.5), NUMBERS
    yield wrappers.SklearnTransformerWrapper(StandardScaler(), variables=numbers), NUMBERS
    yield make_pipeline(datetime.DatetimeFeatures(variables="at"), encoding.OneHotEncoder(variables=texts)), TABLE


def test_feature_engine(subtests):
    for transformer, X in engineers():
        with subtests.test(transformer=repr(transformer)):
            check_round_trip(make_pipeline(transformer, LogisticRegression(max_iter=2000)), X, TWO)


ZONED = TEXTS.assign(
    day=pd.Series([pd.Timestamp("2026-01-01").date()] * (N // 2) + [pd.Timestamp("2026-01-02").date()] * (N // 2)),
    at=pd.date_range("2026-01-01", periods=N, freq="D").floor("30D").tz_localize("Europe/Berlin"),
    seen=pd.to_datetime(["2026-01-01", "2026-02-01"] * (N // 2)),
    utc=pd.to_datetime(["2026-01-01", None] * (N // 2), utc=True),
)


OWN = {
    "selectors of columns": make_pipeline(
        make_column_transformer(
            (StandardScaler(), make_column_selector(dtype_include=np.number)),
            (OneHotEncoder(), make_column_selector(dtype_include=object)),
        ),
        LogisticRegression(),
    ),
    "an unfitted forest in a vote": make_pipeline(
        make_column_transformer(("passthrough", ["a", "b"])),
        VotingClassifier([("forest", RandomForestClassifier(2, random_state=0)), ("lr", LogisticRegression())]),
    ),
    "an unfitted forest in a stack": make_pipeline(
        make_column_transformer(("passthrough", ["a", "b"])),
        StackingClassifier([("forest", RandomForestClassifier(2, random_state=0)), ("svc", SVC())], cv=2),
    ),
    "imputed by turns": make_pipeline(
        make_column_transformer((IterativeImputer(max_iter=2, random_state=0), ["a", "b", "c"])), LogisticRegression()
    ),
}


@pytest.mark.parametrize("name", OWN)
def test_scikit_learn(name):
    check_round_trip(OWN[name], TEXTS, YES)


@pytest.mark.parametrize("columns", [["day"], ["at"], ["seen"], ["utc"], ["day", "at", "seen", "utc", "city"]])
def test_dates_and_times_are_categories(columns):
    check_round_trip(
        make_pipeline(make_column_transformer((OneHotEncoder(), columns)), LogisticRegression()), ZONED, YES
    )


def test_requests_for_metadata_are_kept():
    import sklearn

    with sklearn.config_context(enable_metadata_routing=True):
        asked = LogisticRegression().set_fit_request(sample_weight=True).set_score_request(sample_weight="weight")
        model = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), asked)
        check_round_trip(model, NUMBERS, YES)
        again = FORMAT.loads(FORMAT.dumps(model))
        for one, other in zip(again, model, strict=True):
            assert str(one.get_metadata_routing()) == str(other.get_metadata_routing())
            assert repr(one._metadata_request) == repr(other._metadata_request)


def grids():
    from catboost import CatBoostClassifier
    from category_encoders import TargetEncoder
    from feature_engine.imputation import MeanMedianImputer
    from imblearn.over_sampling import SMOTE
    from imblearn.pipeline import make_pipeline as imbalanced_pipeline
    from lightgbm import LGBMClassifier
    from skrub import tabular_pipeline
    from xgboost import XGBClassifier

    scaled = imbalanced_pipeline(StandardScaler(), SMOTE(random_state=0), LogisticRegression())
    yield "imbalanced-learn", scaled, {"smote__k_neighbors": [2, 4], "logisticregression__C": [0.1, 1.0]}, NUMBERS, YES
    encoded = make_pipeline(TargetEncoder(cols=["city", "plan"]), LogisticRegression(max_iter=500))
    yield (
        "category_encoders",
        encoded,
        {"targetencoder__smoothing": [1.0, 50.0], "logisticregression__C": [0.1, 1.0]},
        TEXTS,
        TWO,
    )
    filled = make_pipeline(MeanMedianImputer(), LogisticRegression())
    method = "meanmedianimputer__imputation_method"
    yield "feature-engine", filled, {method: ["mean", "median"], "logisticregression__C": [0.1, 1.0]}, HOLES, YES
    table = tabular_pipeline(LogisticRegression())
    yield "skrub", table, {"logisticregression__C": [0.1, 1.0]}, TEXTS, YES
    xgboost = make_pipeline(StandardScaler(), XGBClassifier(n_estimators=3, n_jobs=1))
    yield "xgboost", xgboost, {"xgbclassifier__max_depth": [1, 3]}, NUMBERS, TWO
    lightgbm = make_pipeline(
        StandardScaler().set_output(transform="pandas"), LGBMClassifier(n_estimators=3, n_jobs=1, verbose=-1)
    )
    yield "lightgbm", lightgbm, {"lgbmclassifier__num_leaves": [3, 7]}, NUMBERS, YES
    params = {"n_estimators": 3, "verbose": 0, "allow_writing_files": False, "thread_count": 1, "random_seed": 0}
    yield (
        "catboost",
        make_pipeline(StandardScaler(), CatBoostClassifier(**params)),
        {"catboostclassifier__depth": [1, 3]},
        NUMBERS,
        YES,
    )


@pytest.mark.filterwarnings("ignore")
def test_a_search_gives_scikit_learn_s_own_numbers(subtests):
    for name, estimator, grid, X, y in grids():
        with subtests.test(name=name):
            same(GridSearchCV(estimator, grid, cv=3, return_train_score=True), X, y, warned=False)


def optuna():
    from optuna.distributions import FloatDistribution
    from optuna_integration import OptunaSearchCV

    space = {"logisticregression__C": FloatDistribution(0.1, 10.0, log=True)}
    return OptunaSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression()), space, n_trials=3, random_state=0, cv=3
    )


def bayes():
    from skopt import BayesSearchCV

    spaces = {"logisticregression__C": (0.1, 10.0, "log-uniform")}
    return BayesSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), spaces, n_iter=3, cv=3, random_state=0)


@pytest.mark.parametrize("make", [optuna, bayes])
@pytest.mark.filterwarnings("ignore")
def test_another_library_s_search_is_one(make):
    assert detect_task(make()) == "classification"
    assert build_scorer(make())[0] == "accuracy"
    tuned, alone = tune_estimator(make(), NUMBERS, YES), make().fit(NUMBERS, YES)
    assert tuned.best_params == alone.best_params_
    assert tuned.mean == alone.best_score_
    assert (tuned.n_candidates, tuned.n_folds) == (3, getattr(alone, "n_splits_", 0))
    assert tuned.table.num_rows == 3
    again = FORMAT.loads(FORMAT.dumps(tuned.twin))
    assert again.predict(NUMBERS).tolist() == alone.best_estimator_.predict(NUMBERS).tolist()


class Picking:
    """A search that only shows after its fit that it is one, and keeps no table of candidates."""

    def __init__(self, first, second):
        self.first, self.second = first, second

    def get_params(self, deep=True):
        return {"first": self.first, "second": self.second}

    def set_params(self, **params):
        vars(self).update(params)
        return self

    @property
    def _estimator_type(self):
        return "classifier"

    def __sklearn_tags__(self):
        return self.first.__sklearn_tags__()

    def fit(self, X, y):
        scored = [(clone(one).fit(X, y).score(X, y), i) for i, one in enumerate((self.first, self.second))]
        self.best_score_, best = max(scored)
        self.best_params_ = {"which": best}
        self.best_estimator_ = clone((self.first, self.second)[best]).fit(X, y)
        return self


def test_any_object_with_a_best_estimator_is_a_search():
    tuned = tune_estimator(Picking(LogisticRegression(C=1e-6), DecisionTreeClassifier(max_depth=4)), NUMBERS, YES)
    assert (tuned.best_params, tuned.n_candidates, tuned.table) == ({"which": 1}, 1, None)
    assert tuned.mean > 0.8
    assert isinstance(tuned.twin, DecisionTreeClassifier)


def labelled():
    from sklearn.multiclass import OneVsRestClassifier
    from xgboost import XGBClassifier, XGBRFClassifier

    small = {"n_estimators": 2, "n_jobs": 1}
    yield XGBClassifier(**small), True
    yield (
        GridSearchCV(make_pipeline(StandardScaler(), XGBRFClassifier(**small)), {"xgbrfclassifier__max_depth": [1, 2]}),
        True,
    )
    yield (
        GridSearchCV(make_pipeline(LogisticRegression()), {"logisticregression": [SVC(), XGBClassifier(**small)]}),
        True,
    )
    yield OneVsRestClassifier(XGBClassifier(**small)), False
    yield VotingClassifier([("one", XGBClassifier(**small)), ("other", LogisticRegression())]), False


@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_labels_that_xgboost_refuses_are_refused_before_a_fit(subtests):
    for estimator, refused in labelled():
        with subtests.test(estimator=repr(estimator)):
            if not refused:
                assert set(tune_estimator(estimator, NUMBERS, YES).twin.predict(NUMBERS)) == {"yes", "no"}
                continue
            with pytest.raises(ExperimentError, match=r"takes the labels 0, 1, \.\.\. only") as caught:
                tune_estimator(estimator, NUMBERS, YES)
            assert "the target has 'no', 'yes'" in caught.value.message
            assert "OneVsRestClassifier(XGB" in caught.value.hint
            tune_estimator(estimator, NUMBERS, TWO)


def test_the_versions_of_what_a_model_is_made_of_are_known():
    import lightgbm
    from imblearn.pipeline import make_pipeline as imbalanced_pipeline

    estimator = GridSearchCV(imbalanced_pipeline(StandardScaler(), lightgbm.LGBMClassifier()), {})
    versions = library_versions(estimator)
    assert versions["lightgbm"] == lightgbm.__version__
    assert "imblearn" in versions
    assert "xgboost" not in versions


LIGHT = '''
from diurnal import experiment
from diurnal.sources import Files


@experiment(source=Files({pattern!r}), target="ill", key="patient")
def clinic():
    """Tell who is ill."""
    from lightgbm import LGBMClassifier
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    encode = OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")
    light = LGBMClassifier(n_estimators=5, verbose=-1, random_state=0, n_jobs=1)
    pipeline = make_pipeline(make_column_transformer(encode, remainder="passthrough"), light)
    return GridSearchCV(pipeline, {{"lgbmclassifier__num_leaves": [3, 7]}}, cv=2)
'''


@pytest.mark.filterwarnings("ignore")
def test_a_day_with_another_library_s_estimator_is_published_and_judged(tmp_path, warehouse_url):
    project = Project.make(tmp_path / "project", warehouse_url)
    pattern = str(project.folder / "incoming" / "{start:%Y-%m-%d}.csv")
    (project.folder / "experiments" / "clinic.py").write_text(LIGHT.format(pattern=pattern))
    stores = project.stores()
    for date in ("2026-03-01", "2026-03-02"):
        rows = patients(date)
        dates = np.array(["2026-01-01", "2026-02-01", "2026-03-01"])
        project.bring(date, rows.assign(admitted=dates[np.arange(len(rows)) % 3]))
        outcome = project.run(date, stores)
    assert outcome.run["comparison"]["n_compared"] > 50
    row = stores.warehouse.version("clinic", 2)
    assert row["library_versions"]["lightgbm"]
    assert (row["trusted"], row["signature"].get("own_code")) == ([], None)
    stores.warehouse.close()
