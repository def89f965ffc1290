"""Types of other libraries that a model may contain. The code of each class on these lists was reviewed.

The review asked what ``__setstate__`` and ``predict`` of each class do with attributes that an attacker chooses
(``docs/models.md`` has the findings). A class is listed by its name, and its module is looked up in the installed
library. A class that a later release adds is therefore not allowed before it has been reviewed.

Objects of these types are created without a call, by ``__new__`` and their attributes. Their constructors, which may
open files, are never called. Classes whose attributes can do more than compute are not listed:

- ``skrub``: data ops and learners (they evaluate expressions), ``LLMEncoder`` and ``TextEncoder`` (they load a model
  by its name), joiners (they store whole tables);
- ``feature_engine``: all are listed. Those that pass names to ``DataFrame.agg`` are checked in
  :mod:`~diurnal.storage.models.tree_checks`;
- ``imblearn``: samplers for Keras and TensorFlow.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

_CLASSES = {
    "category_encoders": """
        BackwardDifferenceEncoder BaseNEncoder BinaryEncoder CatBoostEncoder CountEncoder CountTargetEncoder GLMMEncoder
        GrayEncoder HashingEncoder HelmertEncoder JamesSteinEncoder LeaveOneOutEncoder MEstimateEncoder MultiHotEncoder
        NestedCVWrapper OneHotEncoder OrdinalEncoder PolynomialEncoder PolynomialWrapper QuantileEncoder RankHotEncoder
        SumEncoder SummaryEncoder TargetEncoder WOEEncoder
    """,
    "feature_engine": """
        AddMissingIndicator ArbitraryDiscretiser ArbitraryNumberImputer ArbitraryOutlierCapper ArcSinhTransformer
        ArcsinTransformer BoxCoxTransformer CategoricalImputer CountFrequencyEncoder CyclicalFeatures DatetimeFeatures
        DatetimeOrdinal DatetimeSubtraction DecisionTreeDiscretiser DecisionTreeEncoder DecisionTreeFeatures
        DropConstantFeatures DropCorrelatedFeatures DropDuplicateFeatures DropFeatures DropHighPSIFeatures
        DropMissingData EndTailImputer EqualFrequencyDiscretiser EqualWidthDiscretiser ExpandingWindowFeatures
        GeoDistanceFeatures GeometricWidthDiscretiser LagFeatures LogCpTransformer LogTransformer MRMR MatchCategories
        MatchVariables MathFeatures MeanEncoder MeanMedianImputer MeanNormalizationScaler OneHotEncoder OrdinalEncoder
        OutlierTrimmer Pipeline PowerTransformer ProbeFeatureSelection RandomSampleImputer RareLabelEncoder
        ReciprocalTransformer RecursiveFeatureAddition RecursiveFeatureElimination RelativeFeatures
        SelectByInformationValue SelectByShuffling SelectBySingleFeaturePerformance SelectByTargetMeanPerformance
        SklearnTransformerWrapper SmartCorrelatedSelection StringSimilarityEncoder TargetMeanClassifier
        TargetMeanRegressor TextFeatures Winsorizer WindowFeatures WoEEncoder YeoJohnsonTransformer
    """,
    "imblearn": """
        ADASYN AllKNN BalancedBaggingClassifier BalancedRandomForestClassifier BorderlineSMOTE ClusterCentroids
        CondensedNearestNeighbour EasyEnsembleClassifier EditedNearestNeighbours FunctionSampler
        InstanceHardnessThreshold KMeansSMOTE NearMiss NeighbourhoodCleaningRule OneSidedSelection Pipeline
        RUSBoostClassifier RandomOverSampler RandomUnderSampler RepeatedEditedNearestNeighbours SMOTE SMOTEENN SMOTEN
        SMOTENC SMOTETomek SVMSMOTE TomekLinks ValueDifferenceMetric
    """,
    "lightgbm": "LGBMClassifier LGBMRegressor",
    "skrub": """
        ApplyToCols ApplyToEachCol ApplyToSubFrame CatEncoder CheckInputDataFrame CleanCategories CleanNullStrings
        Cleaner DatetimeEncoder Drop DropCols DropSimilar DropUninformative DurationToFloat GapEncoder MinHashEncoder
        PassThrough SelectCols SimilarityEncoder SquashingScaler StringEncoder TableVectorizer ToCategorical ToDatetime
        ToFloat ToStr _CircularEncoder _MinMaxScaler _SplineEncoder
    """,
    "xgboost": "XGBClassifier XGBRFClassifier XGBRFRegressor XGBRegressor",
}

# The modules that define the listed classes, beside the library itself.
_MODULES = {
    "category_encoders": "wrapper",
    "feature_engine": """
        creation datetime discretisation encoding imputation outliers pipeline preprocessing scaling selection text
        timeseries.forecasting transformation wrappers
    """,
    "imblearn": "combine ensemble metrics.pairwise over_sampling pipeline under_sampling",
    "lightgbm": "sklearn",
    "xgboost": "sklearn",
}

# Types that are not estimators: skrub's column selectors, which are trees, and its dicts.
_PARTS = {
    "skrub": """
        skrub._table_vectorizer.ShortReprDict skrub._utils.LRUDict skrub.selectors._base.All skrub.selectors._base.And
        skrub.selectors._base.Cols skrub.selectors._base.Filter skrub.selectors._base.Inv
        skrub.selectors._base.NameFilter skrub.selectors._base.Or skrub.selectors._base.Sub skrub.selectors._base.XOr
    """,
}

# Pure functions of a column or its name, which skrub's selectors call.
_FUNCTIONS = {
    "skrub": """
        fnmatch.fnmatchcase skrub._dataframe._common.is_any_date skrub._dataframe._common.is_bool
        skrub._dataframe._common.is_categorical skrub._dataframe._common.is_float skrub._dataframe._common.is_integer
        skrub._dataframe._common.is_numeric skrub._dataframe._common.is_object skrub._dataframe._common.is_string
        skrub._table_vectorizer._created_by_predicate skrub.selectors._selectors._cardinality_below
        skrub.selectors._selectors._has_dtype skrub.selectors._selectors._null_count_check
        skrub.selectors._selectors._regex
    """,
}

LIBRARIES = frozenset(_CLASSES)
KNOWN = LIBRARIES | {"catboost"}  # whose models are stored as states only


def libraries_of(names: Iterable[str]) -> frozenset[str]:
    """Return the listed libraries to which some full names belong."""
    return LIBRARIES & {name.partition(".")[0] for name in names}


def is_installed(name: str) -> bool:
    """Return whether a known library is installed; for any other name, return True."""
    return name not in KNOWN or find_spec(name) is not None


def types_of(libraries: Iterable[str]) -> frozenset[str]:
    """Return the full names of all listed types of some libraries; one that is not installed has none."""
    return frozenset(
        name for library in libraries for name in (*_listed_classes(library), *_PARTS.get(library, "").split())
    )


def functions_of(libraries: Iterable[str]) -> frozenset[str]:
    """Return the full names of all listed functions of some libraries."""
    return frozenset(name for library in libraries for name in _FUNCTIONS.get(library, "").split())


@functools.cache
def _listed_classes(library: str) -> frozenset[str]:
    from sklearn.base import BaseEstimator

    try:
        for module in ("", *_MODULES.get(library, "").split()):
            import_module(f"{library}.{module}".rstrip("."))
    except ImportError:
        return frozenset()
    _load_lazy_names(library)
    names = set(_CLASSES[library].split())
    classes = {cls for cls in iter_subclasses(BaseEstimator) if cls.__name__ in names}
    return frozenset(
        f"{cls.__module__}.{cls.__qualname__}" for cls in classes if f"{cls.__module__}.".startswith(f"{library}.")
    )


def _load_lazy_names(library: str) -> None:
    """Access the listed names of a library: some import a class when it is accessed."""
    package = import_module(library)
    for name in _CLASSES[library].split():
        getattr(package, name, None)


def iter_subclasses(cls: Any) -> Iterator[Any]:
    """Yield a class and all its direct and indirect subclasses."""
    yield cls
    for child in cls.__subclasses__():
        yield from iter_subclasses(child)
