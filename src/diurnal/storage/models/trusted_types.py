"""The list of types that a scikit-learn model may contain.

A file can create an object of any listed type with any state, and have any listed function called on plain data. The
list therefore contains only types and functions that compute: estimators (their constructors store parameters, their
state is a dict), kernels, losses, splitters, and named pure functions that are parameters of scikit-learn. It excludes
everything that reads, writes, imports or evaluates. ``FunctionTransformer`` is listed; its function must be a ufunc
(which skops knows), one of the project's own, or trusted by the experiment.

The list is built from the classes of the installed scikit-learn, by base class, and not from the names in the file, so
that no file decides which types are allowed. Other libraries have lists of their own
(:mod:`~diurnal.storage.models.library_types`). The uses that are allowed for each name are in
:mod:`~diurnal.storage.models.skops_nodes`.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Iterable

from diurnal.storage.models.library_types import iter_subclasses

# Compiled or helper types without a common base class. Trees are listed because tree_checks.py checks them.
_SINGLE_TYPES = {
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
    *(f"sklearn._loss.link.{name}" for name in ("HalfLogitLink", "IdentityLink", "Interval", "LogLink", "LogitLink")),
    "sklearn._loss.link.MultinomialLogit",
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

# Pure functions that are parameters of estimators, or that a fit stores.
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
    """Return the full names of all types and functions that a model may contain."""
    from sklearn.utils import all_estimators

    all_estimators()  # imports every module of scikit-learn, so that all subclasses are known
    return _find_types() | _FUNCTIONS | _sparse_types() | _scorer_metrics()


def import_packages_of(names: Iterable[str]) -> None:
    """Import the public packages of scikit-learn that the names begin with, such as ``sklearn.linear_model``."""
    import sklearn

    named = {name.split(".")[1] for name in names if name.startswith("sklearn.")}
    for package in named.intersection(sklearn.__all__):
        if importlib.util.find_spec(f"sklearn.{package}"):  # `__all__` contains functions as well
            importlib.import_module(f"sklearn.{package}")


def imported_types() -> frozenset[str]:
    """Return the full names of the allowed types of a model's objects, of the modules imported so far."""
    return _find_types_of(len(sys.modules))


@functools.lru_cache(maxsize=1)
def _find_types_of(n_modules: int) -> frozenset[str]:  # noqa: ARG001 - an import can define further types
    return _find_types()


def _find_types() -> frozenset[str]:
    classes = {f"{cls.__module__}.{cls.__qualname__}" for base in _base_classes() for cls in iter_subclasses(base)}
    return frozenset(name for name in classes if name.startswith("sklearn.") and ".tests." not in name) | _SINGLE_TYPES


def _base_classes() -> list[type]:
    from sklearn._loss.loss import BaseLoss
    from sklearn.base import BaseEstimator
    from sklearn.gaussian_process.kernels import Kernel
    from sklearn.metrics._scorer import _BaseScorer, _PassthroughScorer
    from sklearn.model_selection import BaseCrossValidator, BaseShuffleSplit
    from sklearn.neural_network._stochastic_optimizers import BaseOptimizer

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


def _sparse_types() -> set[str]:
    import scipy.sparse

    types = [getattr(scipy.sparse, f"{form}_{shape}") for form in ("csr", "csc") for shape in ("matrix", "array")]
    return {f"{cls.__module__}.{cls.__qualname__}" for cls in types}


def _scorer_metrics() -> set[str]:
    """Return the metrics of scikit-learn's named scorers, which a search in a model stores."""
    from sklearn.metrics import get_scorer, get_scorer_names

    metrics = [get_scorer(name)._score_func for name in get_scorer_names()]
    return {f"{metric.__module__}.{metric.__qualname__}" for metric in metrics}
