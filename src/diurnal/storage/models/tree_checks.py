"""Checks on what compiled code follows without a look: indices of children, features and samples.

scikit-learn's trees are walked in C without bounds checks. A crafted index reads, or for categories writes,
beyond the arrays, and a crafted cycle never ends. Each rule is one that every honest model keeps: a child comes
after its parent, and is there; a feature is one of those that the estimator says it takes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils import check_array

from diurnal.errors import InvalidModelError
from diurnal.storage.models.object_graph import parts as all_parts

_LEAF = -1


def refuse_bad_structure(estimator: Any) -> None:
    """Check every tree, forest, neighbour index, spline and sparse matrix within a model.

    Raises
    ------
    InvalidModelError
        If one of them would be walked out of its bounds.
    """
    parts = list(all_parts(estimator))
    # Single parts first: what holds them may be called on a zero row to learn the shape that it works with.
    for checks in (_PARTS, _HOLDERS):
        for part in parts:
            for holds, check in checks:
                if holds(part):
                    check(part)


def _require(ok: Any, what: str) -> None:
    if not ok:
        raise InvalidModelError(
            f"the structure of the model is broken: {what}; following it would leave its arrays",
            hint="no fit gives such a model: find out who wrote the file, and run its data interval again",
        )


@functools.cache
def _lineage(cls: Any) -> frozenset[str]:
    return frozenset(f"{ancestor.__module__}.{ancestor.__qualname__}" for ancestor in cls.__mro__)


def _is(name: str) -> Callable[[Any], bool]:
    """Tell by the full name of a type, so that no module is imported that the model does not use."""
    return lambda part: name in _lineage(type(part))  # type: ignore[arg-type]  # mypy doubts that a type can be hashed


def _check_children(left: Any, right: Any, inner: Any, what: str) -> None:
    n = len(inner)
    index = np.flatnonzero(inner)
    for children in (left[index].astype(np.int64), right[index].astype(np.int64)):
        _require(np.all((children > index) & (children < n)), f"{what} has a child that is not after its parent")


def _check_tree(tree: Any) -> None:
    # the arrays are views of `node_count` nodes, of which only `capacity` were read
    _require(0 < tree.node_count <= tree.capacity, f"a tree claims {tree.node_count} nodes and has {tree.capacity}")
    inner = tree.children_left != _LEAF
    _check_children(tree.children_left, tree.children_right, inner, "a tree")
    features = tree.feature[inner]
    _require(np.all((features >= 0) & (features < tree.n_features)), "a tree splits on a feature that is not there")


def _check_tree_owner(owner: Any) -> None:
    tree, n_features = owner.tree_, owner.n_features_in_
    _require(tree.n_features == n_features, f"a tree of {tree.n_features} features stands for one of {n_features}")


def _check_widths(trees: Any, n_features: int) -> None:
    widths = {tree.tree_.n_features for tree in trees}
    _require(widths == {n_features}, f"trees of {sorted(widths)} features stand in one of {n_features}")


def _fitted(name: str) -> Callable[[Any], bool]:
    """Tell an ensemble that has been fitted; what an ensemble keeps unfitted is only parameters."""
    return lambda part: _is(name)(part) and "estimators_" in vars(part)


def _check_forest(forest: Any) -> None:
    _check_widths(forest.estimators_, forest.n_features_in_)


def _check_isolation_forest(forest: Any) -> None:
    _check_widths(forest.estimators_, forest._max_features)
    widths = {len(features) for features in forest.estimators_features_}
    _require(widths == {forest._max_features}, "an isolation forest feeds its trees other features than they take")


def _check_boosting(boosting: Any) -> None:
    trees = boosting.estimators_
    _check_widths(trees.ravel(), boosting.n_features_in_)
    # The sum is written without a look into an array of this shape, which a chosen `init` may give.
    start = boosting._raw_predict_init(np.zeros((1, boosting.n_features_in_), dtype=np.float32))
    _require(start.shape == (1, trees.shape[1]), f"{trees.shape[1]} trees a stage write into {start.shape[1:]} sums")


def _check_hist_boosting(boosting: Any) -> None:
    mapper, n_features = boosting._bin_mapper, boosting.n_features_in_
    categorical = np.asarray(mapper.is_categorical_)
    _require(categorical.shape == (n_features,), "a boosting's bins are of other features than it takes")
    if boosting._preprocessor is not None:
        _check_preprocessor(boosting._preprocessor, n_features)
    for feature in np.flatnonzero(categorical):
        known = np.asarray(mapper.bin_thresholds_[feature])
        _require(np.all((known >= 0) & (known < 256)), "a boosting knows a category beyond its 256")
    for predictor in (predictor for stage in boosting._predictors for predictor in stage):
        _check_predictor(predictor, categorical)


def _check_preprocessor(preprocessor: Any, n_features: int) -> None:
    """Check that what sorts the categories first gives as many columns as it takes: nobody looks again."""
    (_, encoder, coded), (_, passing, plain), *rest = preprocessor.transformers_
    kinds = (type(preprocessor).__name__, type(encoder).__name__, type(passing).__name__)
    _require(kinds == ("ColumnTransformer", "OrdinalEncoder", "FunctionTransformer"), "a boosting prepares otherwise")
    _require(getattr(passing.func, "func", None) is check_array, "a boosting changes its numbers before it takes them")
    _require(all(how == "drop" for _, how, _ in rest), "a boosting keeps more columns than it takes")
    _require(coded.shape == (n_features,) and np.array_equal(plain, ~coded), "a boosting takes some columns twice")


def _check_predictor(predictor: Any, categorical: Any) -> None:
    nodes, bits = predictor.nodes, predictor.raw_left_cat_bitsets
    _require(nodes.ndim == 1 and len(nodes), "a boosting's tree is empty")
    inner = nodes["is_leaf"] == 0
    _check_children(nodes["left"], nodes["right"], inner, "a boosting's tree")
    features = nodes["feature_idx"][inner]
    _require(
        np.all((features >= 0) & (features < len(categorical))), "a boosting splits on a feature that is not there"
    )
    by_category = inner & (nodes["is_categorical"] != 0)
    _require(bits.ndim == 2 and bits.shape[1] == 8, "a boosting's sets of categories are no 256 bits")
    _require(
        np.all(nodes["bitset_idx"][by_category] < len(bits)), "a boosting uses a set of categories that is not there"
    )
    _require(np.all(categorical[nodes["feature_idx"][by_category]]), "a boosting takes a number for a category")


def _check_neighbours(tree: Any) -> None:
    state = tree.__getstate__()
    data, index, nodes, bounds = state[:4]
    n_nodes, metric, sample_weight = state[6], state[11], state[12]
    n_samples, n_features = data.shape
    _require(n_nodes == len(nodes) > 0, "a neighbour tree claims nodes that it has not")
    _require(bounds.shape[1:] == (n_nodes, n_features), "a neighbour tree's bounds are not those of its nodes")
    _require(bounds.shape[0] == (2 if type(tree).__name__ == "KDTree" else 1), "a neighbour tree lacks bounds")
    _require(index.shape == (n_samples,) and np.all((index >= 0) & (index < n_samples)), "a neighbour is not there")
    start, end = nodes["idx_start"], nodes["idx_end"]
    _require(np.all((start >= 0) & (start <= end) & (end <= n_samples)), "a neighbour tree's node leaves its samples")
    inner = np.flatnonzero(nodes["is_leaf"] == 0)
    _require(np.all(2 * inner + 2 < n_nodes), "a neighbour tree's node has no children")
    weights = metric.__getstate__()[1]
    needed = (0, n_features) if type(metric).__name__ == "MinkowskiDistance64" else (len(weights),)
    _require(len(weights) in needed, "a metric has other weights than there are features")
    _require(
        sample_weight is None or sample_weight.shape == (n_samples,),
        "a neighbour tree weighs other samples than it has",
    )


def _check_spline(spline: Any) -> None:
    knots, coefficients, degree = spline.t, spline.c, spline.k
    _require(
        knots.ndim == 1 and np.all(np.diff(knots) >= 0) and np.all(np.isfinite(knots)), "a spline's knots are unsorted"
    )
    n = len(knots) - degree - 1
    _require(degree >= 0 and n > degree and len(coefficients) >= n, "a spline has other coefficients than knots")


def _check_vectorizer(vectorizer: Any) -> None:
    if vectorizer.input != "content":
        raise InvalidModelError(
            f"a {type(vectorizer).__name__} takes its samples for names of files (input={vectorizer.input!r})",
            hint="use input='content', and read files in the source",
        )


# What pandas knows by these names computes one number of several; other names are any method of a table.
_REDUCTIONS = frozenset(
    ("count", "kurt", "max", "mean", "median", "min", "nunique", "prod", "product", "sem", "skew", "std", "sum", "var")
)


def _check_aggregations(part: Any) -> None:
    """Check the names that Feature-engine hands to pandas: what it finds under any other one is called as well."""
    for given in (vars(part).get("func"), vars(part).get("functions")):
        for one in given if isinstance(given, list | tuple | set) else [given]:
            if isinstance(one, str) and one not in _REDUCTIONS:
                raise InvalidModelError(
                    f"{type(part).__name__} aggregates by {one!r}; allowed are {', '.join(sorted(_REDUCTIONS))}",
                    hint="use one of these, or a function of the project's own",
                )


_WORKERS = ("max_process", "n_jobs", "nthread", "num_threads", "thread_count")
_MOST_WORKERS = 1024


def _check_workers(part: Any) -> None:
    """Check how many threads or processes a part would start to predict."""
    given = part if isinstance(part, dict) else getattr(part, "__dict__", {})
    for name in _WORKERS:
        n = given.get(name)
        if isinstance(n, int | float) and abs(n) > _MOST_WORKERS:
            raise InvalidModelError(
                f"a {type(part).__name__} asks for {n} workers ({name}); up to {_MOST_WORKERS} are allowed",
                hint=f"set {name} to what a machine has, or to -1",
            )


def _has_own_tree(part: Any) -> bool:
    return _is("sklearn.tree._tree.Tree")(getattr(part, "__dict__", {}).get("tree_"))


def _is_fitted_hist(part: Any) -> bool:
    kind = "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.BaseHistGradientBoosting"
    return _is(kind)(part) and "_predictors" in vars(part)


_AGGREGATING = (
    "creation.math_features.MathFeatures",
    "timeseries.forecasting.expanding_window_features.ExpandingWindowFeatures",
    "timeseries.forecasting.window_features.WindowFeatures",
)
_Checks = list[tuple[Callable[[Any], bool], Callable[[Any], None]]]

_PARTS: _Checks = [
    (lambda _: True, _check_workers),
    (_is("sklearn.tree._tree.Tree"), _check_tree),
    (_has_own_tree, _check_tree_owner),
    (_is("sklearn.neighbors._kd_tree.BinaryTree64"), _check_neighbours),
    (_is("sklearn.neighbors._ball_tree.BinaryTree64"), _check_neighbours),
    (_is("scipy.interpolate._bsplines.BSpline"), _check_spline),
    (_is("scipy.sparse._compressed._cs_matrix"), lambda matrix: matrix.check_format(full_check=True)),
    (_is("sklearn.feature_extraction.text._VectorizerMixin"), _check_vectorizer),
    *((_is(f"feature_engine.{name}"), _check_aggregations) for name in _AGGREGATING),
]

_HOLDERS: _Checks = [
    (_fitted("sklearn.ensemble._forest.BaseForest"), _check_forest),
    (_fitted("sklearn.ensemble._iforest.IsolationForest"), _check_isolation_forest),
    (_fitted("sklearn.ensemble._gb.BaseGradientBoosting"), _check_boosting),
    (_is_fitted_hist, _check_hist_boosting),
]
