"""The reader's own list of types that an honest scikit-learn model is made of.

A file may ask for any listed type to be made with any state, and for any listed function to be called on plain data. So
what is on it does nothing but compute: estimators (their constructors store, their state is a dict), kernels, losses,
splitters, and named pure functions that scikit-learn takes as parameters. What reads, writes, imports or evaluates is
not. ``FunctionTransformer`` is; its function must be a ufunc (which skops knows), the project's own, or named by the
experiment.

The list is made by walking the classes of the installed scikit-learn by family, not by the names in the file,
so that no file decides what is imported. Other libraries have lists of their own
(:mod:`~diurnal.storage.models.library_types`), and how each name may be used is in
:mod:`~diurnal.storage.models.skops_nodes`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

# Compiled or helper types without a family. Trees of all kinds are here because structure.py checks them.
_SINGLE = {
    "builtins.frozenset",
    "builtins.range",
    "datetime.date",
    "datetime.datetime",
    "datetime.time",
    "datetime.timedelta",
    "datetime.timezone",
    "decimal.Decimal",
    "functools.partial",
    "numpy.dtype",
    "scipy.interpolate._bsplines.BSpline",
    "scipy.interpolate._bsplines._BSpline",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.cluster._bisect_k_means._BisectingTree",
    "sklearn.compose._column_transformer.make_column_selector",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.impute._iterative._ImputerTriplet",
    "sklearn.metrics._dist_metrics.ChebyshevDistance64",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._dist_metrics.ManhattanDistance64",
    "sklearn.metrics._dist_metrics.MinkowskiDistance64",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
    "sklearn.utils._metadata_requests.MetadataRequest",
    "sklearn.utils._metadata_requests.MethodMetadataRequest",
    "zoneinfo.ZoneInfo",
}

# Pure functions that estimators take as parameters, or keep from their fit.
_FUNCTIONS = {
    *(f"numpy.{name}" for name in ("clip", "max", "mean", "median", "min", "nan_to_num", "round", "std", "sum", "var")),
    *(f"numpy.{name}" for name in ("nanmax", "nanmean", "nanmedian", "nanmin", "nanstd", "nansum", "nanvar")),
    "scipy._lib.array_api_compat.numpy._aliases.asarray",  # a spline of SciPy 1.17 holds it
    "sklearn.cluster._kmeans._kmeans_single_elkan",
    "sklearn.cluster._kmeans._kmeans_single_lloyd",
    "sklearn.feature_selection._mutual_info.mutual_info_classif",
    "sklearn.feature_selection._mutual_info.mutual_info_regression",
    "sklearn.feature_selection._univariate_selection.chi2",
    "sklearn.feature_selection._univariate_selection.f_classif",
    "sklearn.feature_selection._univariate_selection.f_regression",
    "sklearn.feature_selection._univariate_selection.r_regression",
    "sklearn.utils.validation.check_array",
}


@functools.cache
def allowed_types() -> frozenset[str]:
    """Give the full names of all types and functions that a model may hold without being asked about."""
    classes = {f"{cls.__module__}.{cls.__qualname__}" for family in _families() for cls in _descendants(family)}
    own = {name for name in classes if name.startswith("sklearn.") and ".tests." not in name}
    return frozenset(own | _SINGLE | _FUNCTIONS | _sparse() | _scored())


def _families() -> list[type]:
    from sklearn._loss.loss import BaseLoss
    from sklearn.base import BaseEstimator
    from sklearn.gaussian_process.kernels import Kernel
    from sklearn.metrics._scorer import _BaseScorer, _PassthroughScorer
    from sklearn.model_selection import BaseCrossValidator, BaseShuffleSplit
    from sklearn.neural_network._stochastic_optimizers import BaseOptimizer
    from sklearn.utils import all_estimators

    all_estimators()  # imports every module of scikit-learn, so that each family is complete
    return [
        BaseEstimator,
        BaseLoss,
        BaseCrossValidator,
        BaseShuffleSplit,
        BaseOptimizer,
        Kernel,
        _BaseScorer,
        _PassthroughScorer,
    ]


def _descendants(cls: Any) -> Iterator[Any]:
    yield cls
    for child in cls.__subclasses__():
        yield from _descendants(child)


def _sparse() -> set[str]:
    import scipy.sparse

    kinds = [getattr(scipy.sparse, f"{form}_{kind}") for form in ("csr", "csc") for kind in ("matrix", "array")]
    return {f"{kind.__module__}.{kind.__qualname__}" for kind in kinds}


def _scored() -> set[str]:
    """Give the metrics behind scikit-learn's named scorers: a search inside a model keeps them."""
    from sklearn.metrics import get_scorer, get_scorer_names

    metrics = [get_scorer(name)._score_func for name in get_scorer_names()]
    return {f"{metric.__module__}.{metric.__qualname__}" for metric in metrics}
