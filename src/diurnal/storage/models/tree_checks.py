"""Checks of the indices that compiled code uses without a bounds check: of children, features and samples.

scikit-learn traverses trees in C. A crafted index makes it read, or for categories write, outside of the arrays, and a
crafted cycle makes it run forever. Every fitted model satisfies the rules here: a child exists and has a greater index
than its parent, so there is no cycle; a feature is below the number of features of the estimator.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils import check_array

from diurnal.errors import InvalidModelError
from diurnal.storage.models.object_graph import iter_parts

_LEAF = -1


def check_structure(estimator: Any) -> None:
    """Check every tree, forest, neighbour index, spline and sparse matrix in a model.

    Raises
    ------
    InvalidModelError
        If an index in one of them is out of bounds.
    """
    parts = list(iter_parts(estimator))
    # Trees before ensembles: the check of an ensemble may predict a row of zeros, which traverses its trees.
    for checks in (_PART_CHECKS, _ENSEMBLE_CHECKS):
        for part in parts:
            for applies, check in checks:
                if applies(part):
                    check(part)


def _check_that(condition: Any, problem: str) -> None:
    if not condition:
        raise InvalidModelError(
            f"the structure of the model is invalid: {problem}; predicting with it would access memory outside of its "
            "arrays",
            hint="no fit creates such a model: find out who wrote the file, and run its data interval again",
        )


@functools.cache
def _ancestor_names(cls: Any) -> frozenset[str]:
    return frozenset(f"{ancestor.__module__}.{ancestor.__qualname__}" for ancestor in cls.__mro__)


def _is_instance(name: str) -> Callable[[Any], bool]:
    """Return a test for instances of a class by its full name, which needs no import of a library."""
    return lambda part: name in _ancestor_names(type(part))  # type: ignore[arg-type]  # mypy doubts that a type can be hashed


def _check_children(left: Any, right: Any, inner: Any, subject: str) -> None:
    """Check the children of inner nodes; those of leaves are not used.

    The children ``[1, -1, -1]`` and ``[2, -1, -1]`` of three nodes, of which the first is an inner one, are valid.
    """
    n = len(inner)
    index = np.flatnonzero(inner)
    for children in (left[index].astype(np.int64), right[index].astype(np.int64)):
        _check_that(np.all((children > index) & (children < n)), f"{subject} has a child that is not after its parent")


def _check_tree_arrays(tree: Any) -> None:
    # the arrays are views of `node_count` nodes, but only `capacity` nodes are allocated
    _check_that(0 < tree.node_count <= tree.capacity, f"a tree claims {tree.node_count} nodes and has {tree.capacity}")
    inner = tree.children_left != _LEAF
    _check_children(tree.children_left, tree.children_right, inner, "a tree")
    features = tree.feature[inner]
    _check_that(
        np.all((features >= 0) & (features < tree.n_features)), "a tree splits on a feature that does not exist"
    )


def _check_tree_owner(owner: Any) -> None:
    tree, n_features = owner.tree_, owner.n_features_in_
    _check_that(
        tree.n_features == n_features, f"a tree of {tree.n_features} features belongs to an estimator of {n_features}"
    )


def _check_n_features(trees: Any, n_features: int) -> None:
    counts = {tree.tree_.n_features for tree in trees}
    _check_that(counts == {n_features}, f"trees of {sorted(counts)} features belong to an ensemble of {n_features}")


def _is_fitted(name: str) -> Callable[[Any], bool]:
    """Return a test for fitted ensembles; an ensemble that is not fitted has no trees."""
    return lambda part: _is_instance(name)(part) and "estimators_" in vars(part)


def _check_forest(forest: Any) -> None:
    _check_n_features(forest.estimators_, forest.n_features_in_)


def _check_isolation_forest(forest: Any) -> None:
    _check_n_features(forest.estimators_, forest._max_features)
    counts = {len(features) for features in forest.estimators_features_}
    _check_that(counts == {forest._max_features}, "an isolation forest passes another number of features to its trees")


def _check_boosting(boosting: Any) -> None:
    trees = boosting.estimators_
    _check_n_features(trees.ravel(), boosting.n_features_in_)
    # The sums are written without a bounds check to an array of this shape, which a crafted `init` determines.
    start = boosting._raw_predict_init(np.zeros((1, boosting.n_features_in_), dtype=np.float32))
    _check_that(
        start.shape == (1, trees.shape[1]),
        f"{trees.shape[1]} trees of a stage write to sums of the shape {start.shape[1:]}",
    )


def _check_hist_boosting(boosting: Any) -> None:
    mapper, n_features = boosting._bin_mapper, boosting.n_features_in_
    categorical = np.asarray(mapper.is_categorical_)
    _check_that(categorical.shape == (n_features,), "a gradient boosting has bins of other features than its own")
    if boosting._preprocessor is not None:
        _check_preprocessor(boosting._preprocessor, n_features)
    for feature in np.flatnonzero(categorical):
        categories = np.asarray(mapper.bin_thresholds_[feature])
        _check_that(
            np.all((categories >= 0) & (categories < 256)), "a gradient boosting has a category outside of 0-255"
        )
    for predictor in (predictor for stage in boosting._predictors for predictor in stage):
        _check_predictor(predictor, categorical)


def _check_preprocessor(preprocessor: Any, n_features: int) -> None:
    """Check that the encoder of categories returns as many columns as it takes: the number is not checked later."""
    (_, encoder, encoded), (_, passthrough, plain), *rest = preprocessor.transformers_
    types = (type(preprocessor).__name__, type(encoder).__name__, type(passthrough).__name__)
    expected = ("ColumnTransformer", "OrdinalEncoder", "FunctionTransformer")
    _check_that(types == expected, f"a gradient boosting has a preprocessor of {', '.join(types)}")
    _check_that(getattr(passthrough.func, "func", None) is check_array, "a gradient boosting transforms its numbers")
    _check_that(all(transformer == "drop" for _, transformer, _ in rest), "a gradient boosting adds columns")
    _check_that(
        encoded.shape == (n_features,) and np.array_equal(plain, ~encoded),
        "a gradient boosting uses some columns twice",
    )


def _check_predictor(predictor: Any, categorical: Any) -> None:
    nodes, bits = predictor.nodes, predictor.raw_left_cat_bitsets
    _check_that(nodes.ndim == 1 and len(nodes), "a gradient boosting has an empty tree")
    inner = nodes["is_leaf"] == 0
    _check_children(nodes["left"], nodes["right"], inner, "a tree of a gradient boosting")
    features = nodes["feature_idx"][inner]
    _check_that(
        np.all((features >= 0) & (features < len(categorical))),
        "a gradient boosting splits on a feature that does not exist",
    )
    by_category = inner & (nodes["is_categorical"] != 0)
    _check_that(bits.ndim == 2 and bits.shape[1] == 8, "a gradient boosting has sets of categories without 256 bits")
    _check_that(
        np.all(nodes["bitset_idx"][by_category] < len(bits)),
        "a gradient boosting uses a set of categories that does not exist",
    )
    _check_that(
        np.all(categorical[nodes["feature_idx"][by_category]]), "a gradient boosting splits a number by categories"
    )


def _check_neighbours(tree: Any) -> None:
    # the tuple of scikit-learn's BinaryTree: data, idx_array, node_data and node_bounds come first, 6 is n_nodes, 11 is
    # dist_metric, and 12 is sample_weight
    state = tree.__getstate__()
    data, index, nodes, bounds = state[:4]
    n_nodes, metric, sample_weight = state[6], state[11], state[12]
    n_samples, n_features = data.shape
    _check_that(n_nodes == len(nodes) > 0, "a neighbour tree claims more nodes than it has")
    _check_that(bounds.shape[1:] == (n_nodes, n_features), "a neighbour tree has bounds of other nodes")
    _check_that(bounds.shape[0] == (2 if type(tree).__name__ == "KDTree" else 1), "a neighbour tree has missing bounds")
    _check_that(
        index.shape == (n_samples,) and np.all((index >= 0) & (index < n_samples)),
        "a neighbour tree refers to a sample that does not exist",
    )
    start, end = nodes["idx_start"], nodes["idx_end"]
    _check_that(
        np.all((start >= 0) & (start <= end) & (end <= n_samples)),
        "a node of a neighbour tree has samples that do not exist",
    )
    inner = np.flatnonzero(nodes["is_leaf"] == 0)
    # the children of node i are 2i + 1 and 2i + 2
    _check_that(np.all(2 * inner + 2 < n_nodes), "a node of a neighbour tree has no children")
    weights = metric.__getstate__()[1]
    allowed = (0, n_features) if type(metric).__name__ == "MinkowskiDistance64" else (len(weights),)
    _check_that(len(weights) in allowed, "the number of a metric's weights is not that of its features")
    _check_that(
        sample_weight is None or sample_weight.shape == (n_samples,),
        "a neighbour tree has weights of other samples",
    )


def _check_spline(spline: Any) -> None:
    knots, coefficients, degree = spline.t, spline.c, spline.k
    _check_that(
        knots.ndim == 1 and np.all(np.diff(knots) >= 0) and np.all(np.isfinite(knots)),
        "the knots of a spline are not sorted",
    )
    n = len(knots) - degree - 1
    _check_that(
        degree >= 0 and n > degree and len(coefficients) >= n,
        "the number of a spline's coefficients does not fit its knots",
    )


def _check_vectorizer(vectorizer: Any) -> None:
    if vectorizer.input != "content":
        raise InvalidModelError(
            f"a {type(vectorizer).__name__} opens its samples as files (input={vectorizer.input!r}); only "
            "input='content' is allowed",
            hint="use input='content', and read files in the source",
        )


# The methods of pandas with these names compute one number of several; any other name may be any method.
_REDUCTIONS = frozenset(
    ("count", "kurt", "max", "mean", "median", "min", "nunique", "prod", "product", "sem", "skew", "std", "sum", "var")
)


def _check_aggregations(part: Any) -> None:
    """Check the names that Feature-engine passes to pandas, which calls the method of that name."""
    for functions in (vars(part).get("func"), vars(part).get("functions")):
        for function in functions if isinstance(functions, list | tuple | set) else [functions]:
            if isinstance(function, str) and function not in _REDUCTIONS:
                raise InvalidModelError(
                    f"{type(part).__name__} aggregates by {function!r}; allowed are {', '.join(sorted(_REDUCTIONS))}",
                    hint="use one of these, or a function of the project's own",
                )


_WORKER_PARAMETERS = ("max_process", "n_jobs", "nthread", "num_threads", "thread_count")
_MAX_WORKERS = 1024


def _check_workers(part: Any) -> None:
    """Check the number of threads or processes with which a part predicts."""
    attributes = part if isinstance(part, dict) else getattr(part, "__dict__", {})
    for name in _WORKER_PARAMETERS:
        n = attributes.get(name)
        if isinstance(n, int | float) and abs(n) > _MAX_WORKERS:
            raise InvalidModelError(
                f"a {type(part).__name__} uses {n} workers ({name}); up to {_MAX_WORKERS} are allowed",
                hint=f"set {name} to the number of cores, or to -1",
            )


def _owns_tree(part: Any) -> bool:
    return _is_instance("sklearn.tree._tree.Tree")(getattr(part, "__dict__", {}).get("tree_"))


def _is_fitted_hist(part: Any) -> bool:
    name = "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.BaseHistGradientBoosting"
    return _is_instance(name)(part) and "_predictors" in vars(part)


_AGGREGATING = (
    "creation.math_features.MathFeatures",
    "timeseries.forecasting.expanding_window_features.ExpandingWindowFeatures",
    "timeseries.forecasting.window_features.WindowFeatures",
)
_Checks = list[tuple[Callable[[Any], bool], Callable[[Any], None]]]

_PART_CHECKS: _Checks = [
    (lambda _: True, _check_workers),
    (_is_instance("sklearn.tree._tree.Tree"), _check_tree_arrays),
    (_owns_tree, _check_tree_owner),
    (_is_instance("sklearn.neighbors._kd_tree.BinaryTree64"), _check_neighbours),
    (_is_instance("sklearn.neighbors._ball_tree.BinaryTree64"), _check_neighbours),
    (_is_instance("scipy.interpolate._bsplines.BSpline"), _check_spline),
    (_is_instance("scipy.sparse._compressed._cs_matrix"), lambda matrix: matrix.check_format(full_check=True)),
    (_is_instance("sklearn.feature_extraction.text._VectorizerMixin"), _check_vectorizer),
    *((_is_instance(f"feature_engine.{name}"), _check_aggregations) for name in _AGGREGATING),
]

_ENSEMBLE_CHECKS: _Checks = [
    (_is_fitted("sklearn.ensemble._forest.BaseForest"), _check_forest),
    (_is_fitted("sklearn.ensemble._iforest.IsolationForest"), _check_isolation_forest),
    (_is_fitted("sklearn.ensemble._gb.BaseGradientBoosting"), _check_boosting),
    (_is_fitted_hist, _check_hist_boosting),
]
