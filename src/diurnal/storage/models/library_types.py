"""Types of other libraries that a model may hold: lists that were read through, class by class.

What was read: what ``__setstate__`` and ``predict`` of each class do with attributes that an attacker has chosen
(``docs/models.md`` has the findings). A class is on the list by its own name, and where the library keeps it is found
by walking the library as it is installed; so a class that a later release adds is not trusted before it has been read.

These types are only ever made without a call, by ``__new__`` and their attributes. Their constructors, which may open
files, are out of reach. Left out are those whose attributes can do more than compute:

- ``skrub``: data ops and learners (they evaluate expressions), ``LLMEncoder`` and ``TextEncoder`` (they load a model
  by its name), joiners (they keep whole tables);
- ``feature_engine``: nothing. Those that hand names to ``DataFrame.agg`` are checked in
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

# The modules whose import makes all of a library's listed classes known, beside the library itself.
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

# What is no estimator: selectors of columns, of which skrub's are trees, and dicts of its own.
_PARTS = {
    "skrub": """
        skrub._table_vectorizer.ShortReprDict skrub._utils.LRUDict skrub.selectors._base.All skrub.selectors._base.And
        skrub.selectors._base.Cols skrub.selectors._base.Filter skrub.selectors._base.Inv
        skrub.selectors._base.NameFilter skrub.selectors._base.Or skrub.selectors._base.Sub skrub.selectors._base.XOr
    """,
}

# Pure functions of a column or its name, by which skrub's selectors choose.
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
KNOWN = LIBRARIES | {"catboost"}  # of which only states are kept


def mentioned(names: Iterable[str]) -> frozenset[str]:
    """Return the libraries of the lists that some full names are of."""
    return LIBRARIES & {name.partition(".")[0] for name in names}


def is_installed(name: str) -> bool:
    """Return whether a library of the lists is installed; of another one, nothing is asked."""
    return name not in KNOWN or find_spec(name) is not None


def types_of(libraries: Iterable[str]) -> frozenset[str]:
    """Return the full names of all listed types of some libraries; of one that is not installed there are none."""
    return frozenset(name for library in libraries for name in (*_listed(library), *_PARTS.get(library, "").split()))


def functions_of(libraries: Iterable[str]) -> frozenset[str]:
    """Return the full names of all listed functions of some libraries."""
    return frozenset(name for library in libraries for name in _FUNCTIONS.get(library, "").split())


@functools.cache
def _listed(library: str) -> frozenset[str]:
    from sklearn.base import BaseEstimator

    try:
        for module in ("", *_MODULES.get(library, "").split()):
            import_module(f"{library}.{module}".rstrip("."))
    except ImportError:
        return frozenset()
    _import_lazily(library)
    wanted = set(_CLASSES[library].split())
    found = {cls for cls in _descendants(BaseEstimator) if cls.__name__ in wanted}
    return frozenset(
        f"{cls.__module__}.{cls.__qualname__}" for cls in found if f"{cls.__module__}.".startswith(f"{library}.")
    )


def _import_lazily(library: str) -> None:
    """Ask a library for its listed names: some import what they are asked for, and no more."""
    package = import_module(library)
    for name in _CLASSES[library].split():
        getattr(package, name, None)


def _descendants(cls: Any) -> Iterator[Any]:
    yield cls
    for child in cls.__subclasses__():
        yield from _descendants(child)
