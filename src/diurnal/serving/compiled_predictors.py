"""Prediction with common estimators without what scikit-learn repeats in each call.

A call of a scikit-learn pipeline on one row takes 100 times as long as its arithmetic: each step checks parameters,
types and names of columns. Here the arithmetic of known steps is written down with the operations and the order of
scikit-learn. It is used only if it gives equal labels, and numbers within 1e-12, on the golden rows of the model and on
rows around them: see :mod:`diurnal.serving.prediction_checks`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from sklearn.base import is_classifier
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, LogisticRegression, Ridge, RidgeClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils.extmath import softmax

from diurnal.serving.joint_traversal import MAX_ROWS, join_trees

Matrix = npt.NDArray[np.float64]
Predictions = tuple[npt.NDArray[Any], Matrix | None]
"""Labels or numbers of shape (n_rows,), and probabilities of shape (n_rows, n_classes) or None."""
Predictor = Callable[[Matrix], Predictions]
_Transform = Callable[[Matrix], Matrix]
_CHUNK_CELLS = 2**15  # 256 kB, which stay in the cache of a processor from step to step
_MIN_CHUNK = 64  # rows


class NotFiniteError(ArithmeticError):
    """A step has made a number that is not finite, which scikit-learn rejects in most of the next steps."""


def compile_model(model: Any, *, in_chunks: bool = False) -> Predictor | None:
    """Return a function that predicts as a fitted model does; None if a part of the model is not known.

    Parameters
    ----------
    model : estimator
        A fitted estimator, or a pipeline of fitted estimators.
    in_chunks : bool
        Whether many rows are predicted in chunks, where this is faster: with linear models. A sum can then differ in
        the last bits, because its order depends on the number of rows.

    Returns
    -------
    callable or None
        It takes a matrix of shape (n_rows, n_features), and returns the predictions. It raises NotFiniteError if a
        number is not finite, or becomes so.

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression
    >>> predict = compile_model(LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0]))
    >>> predict(np.array([[2.0]]))
    (array([5.]), None)
    """
    *steps, last = model.steps if type(model) is Pipeline else [("", model)]
    transforms = [_compile_transform(step) for _, step in steps if step not in (None, "passthrough")]
    predict = _compile_last(last[1])
    if predict is None or None in transforms:
        return None
    known: Sequence[_Transform] = [transform for transform in transforms if transform is not None]

    def predict_all(X: Matrix) -> Predictions:
        with np.errstate(all="ignore"):
            X = np.asfortranarray(X)  # as the values of a frame are, so that sums have the same order
            for transform in known:
                X = transform(X)
            _check_finite(X)
            return predict(X)

    return _predict_in_chunks(predict_all) if in_chunks and type(last[1]) in _LINEAR else predict_all


def _predict_in_chunks(predict: Predictor) -> Predictor:
    def predict_chunks(X: Matrix) -> Predictions:
        size = max(_MIN_CHUNK, _CHUNK_CELLS // X.shape[1])
        if len(X) <= size:
            return predict(X)
        labels, probabilities = zip(*(predict(X[row : row + size]) for row in range(0, len(X), size)), strict=True)
        return np.concatenate(labels), None if probabilities[0] is None else np.concatenate(probabilities)

    return predict_chunks


def _check_finite(X: npt.NDArray[Any]) -> None:
    if not np.isfinite(X).all():
        raise NotFiniteError


def _compile_transform(step: Any) -> _Transform | None:
    if type(step) is StandardScaler:
        return _compile_standard_scaler(step)
    if type(step) is MinMaxScaler and not step.clip:
        return lambda X: X * step.scale_ + step.min_
    if type(step) is MaxAbsScaler and not getattr(step, "clip", False):
        return lambda X: X / step.scale_
    if type(step) is PCA:
        return _compile_pca(step)
    return None


def _compile_standard_scaler(step: StandardScaler) -> _Transform:
    def transform(X: Matrix) -> Matrix:
        if step.with_mean:
            X = X - step.mean_
        return X / step.scale_ if step.with_std else X

    return transform


def _compile_pca(step: PCA) -> _Transform:
    components = step.components_.T
    offset = step.mean_.reshape(1, -1) @ components
    if not step.whiten:
        return lambda X: X @ components - offset
    scale = np.sqrt(step.explained_variance_)
    scale[scale < np.finfo(scale.dtype).eps] = np.finfo(scale.dtype).eps
    return lambda X: (X @ components - offset) / scale


def _compile_last(step: Any) -> Predictor | None:
    for classes, compile_step in _LAST_STEPS.items():
        if type(step) in classes:
            return compile_step(step)
    return None


def _compile_linear_regressor(step: Any) -> Predictor | None:
    return None if step.coef_.ndim > 1 else lambda X: (X @ step.coef_ + step.intercept_, None)


def _compile_linear_classifier(step: Any) -> Predictor:
    coefficients, intercept, classes = step.coef_.T, step.intercept_, step.classes_  # of one dimension or of two
    has_probabilities = hasattr(step, "predict_proba")

    def predict(X: Matrix) -> Predictions:
        scores = X @ coefficients + intercept
        if scores.ndim == 1 or scores.shape[1] == 1:
            scores = scores.reshape(-1)
            places = (scores > 0).astype(np.intp)
        else:
            places = scores.argmax(axis=1)
        return classes.take(places), _probabilities_of(scores) if has_probabilities else None

    return predict


def _probabilities_of(scores: Matrix) -> Matrix:
    if scores.ndim == 1:
        positive = expit(scores)
        probabilities = np.empty((len(scores), 2))
        probabilities[:, 0], probabilities[:, 1] = 1 - positive, positive
        return probabilities
    result: Matrix = softmax(scores, copy=False)
    return result


def _compile_tree(step: Any) -> Predictor | None:
    return _compile_trees(step, [step])


def _compile_forest(step: Any) -> Predictor | None:
    return _compile_trees(step, step.estimators_)


def _compile_trees(step: Any, estimators: Sequence[Any]) -> Predictor | None:
    """Compile the mean of the predictions of trees, added in their order."""
    if step.n_outputs_ > 1:
        return None
    trees = [tree.tree_ for tree in estimators]
    return _compile_tree_classifier(step, trees) if is_classifier(step) else _compile_tree_regressor(trees)


def _compile_tree_classifier(step: Any, trees: Sequence[Any]) -> Predictor:
    add = _compile_sum(trees)

    def predict(X: Matrix) -> Predictions:
        mean = add(_to_float32(X))[:, : step.n_classes_] / len(trees)
        return step.classes_.take(np.argmax(mean, axis=1), axis=0), mean

    return predict


def _compile_tree_regressor(trees: Sequence[Any]) -> Predictor:
    add = _compile_sum(trees)
    return lambda X: (add(_to_float32(X))[:, 0] / len(trees), None)


def _compile_sum(trees: Sequence[Any]) -> Callable[[npt.NDArray[np.float32]], Matrix]:
    """Return a function that adds what the trees predict, in their order."""
    add_jointly = join_trees(trees)

    def add(rows: npt.NDArray[np.float32]) -> Matrix:
        if add_jointly is not None and len(rows) <= MAX_ROWS:
            return add_jointly(rows)
        total: Matrix = trees[0].predict(rows)
        for tree in trees[1:]:
            total += tree.predict(rows)
        return total

    return add


def _to_float32(X: Matrix) -> npt.NDArray[np.float32]:
    rows = np.ascontiguousarray(X, dtype=np.float32)
    _check_finite(rows)
    return rows


_LINEAR = (LinearRegression, Ridge, Lasso, ElasticNet, LogisticRegression, RidgeClassifier)
_LAST_STEPS: dict[tuple[type, ...], Callable[[Any], Predictor | None]] = {
    (LinearRegression, Ridge, Lasso, ElasticNet): _compile_linear_regressor,
    (LogisticRegression, RidgeClassifier): _compile_linear_classifier,
    (DecisionTreeClassifier, DecisionTreeRegressor): _compile_tree,
    (RandomForestClassifier, ExtraTreesClassifier, RandomForestRegressor, ExtraTreesRegressor): _compile_forest,
}
