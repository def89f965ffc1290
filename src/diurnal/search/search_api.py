"""The search itself: scikit-learn's own `fit`, with another hand at its loop over candidates and folds."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sklearn.base import clone

from diurnal.search import sklearn_private
from diurnal.search.cache_keys import is_estimator
from diurnal.search.executor import run
from diurnal.search.sklearn_private import Call, Moved, Runner
from diurnal.search.tree import NotUnderstood, flatten, plan

Progress = Callable[[int, int], None]


def tune(search: Any, X: Any, y: Any = None, *, progress: Progress | None = None, **fit_params: Any) -> Any:
    """Fit a search as scikit-learn does, with the same numbers, and each shared beginning fitted once.

    Parameters
    ----------
    search : estimator
        A scikit-learn search; it is cloned. What is not understood is fitted by its own `fit`.
    X : matrix, shape (n_samples, n_features)
    y : vector, shape (n_samples,), optional
    progress : callable, optional
        Told ``(done, total)``, in candidates times folds, now and then.
    **fit_params
        What the search's own `fit` takes.

    Returns
    -------
    estimator
        The fitted clone: with `cv_results_`, `best_params_` and all else that its `fit` leaves.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.svm import SVC
    >>> X, y = load_iris(return_X_y=True)
    >>> tuned = tune(GridSearchCV(make_pipeline(PCA(2), SVC()), {"svc__C": [0.01, 1, 100]}), X, y)
    >>> tuned.best_params_
    {'svc__C': 100}
    """
    fitted = clone(search)
    with in_our_hands(fitted, progress):
        return fitted.fit(X, y, **fit_params)


def understands(search: Any) -> str | None:
    """Tell why a search goes to scikit-learn unchanged; None if it does not.

    Returns
    -------
    str or None
        The reason. That a search is understood does not promise that it has anything to share.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> understands(Ridge())
    'Ridge is no search of scikit-learn'
    """
    if not sklearn_private.is_search(search):
        return f"{type(search).__name__} is no search of scikit-learn"
    if search.verbose > 1:
        return "it prints a line for each fit"
    if not is_estimator(search.estimator):
        return "what it tunes is no estimator"
    if sklearn_private.has_callbacks(search) or any(map(sklearn_private.has_callbacks, _within(search.estimator))):
        return "somebody listens to its fits"
    try:
        flatten(search.estimator)
    except NotUnderstood as reason:
        return str(reason)
    return None


@contextmanager
def in_our_hands(search: Any, progress: Progress | None = None) -> Iterator[None]:
    """Let the next `fit` of this very search be ours, if it is understood."""
    counted = _Counted(progress)
    if understands(search) is not None:
        yield
        return
    with in_hands_of(search, lambda calls: _attempt(calls, counted), counted.add):
        yield


@contextmanager
def in_hands_of(search: Any, run: Runner, done: Callable[[int], None] = lambda _: None) -> Iterator[None]:
    """Let `run` make the calls of the next `fit` of this very search; `done` hears of those that it leaves."""
    theirs = search._run_search

    def ours(evaluate: Callable[..., Any], **words: Any) -> None:
        vars(search).pop("_run_search", None)  # it has been called, and must not travel to other processes
        with suppress(Moved):  # if scikit-learn has changed its loop, it runs it itself
            evaluate = sklearn_private.redirect(evaluate, run, done)
        theirs(evaluate, **words)

    ours.__signature__ = inspect.signature(theirs)  # type: ignore[attr-defined]  # scikit-learn looks at it
    search._run_search = ours
    try:
        yield
    finally:
        vars(search).pop("_run_search", None)


def evaluate(calls: list[Call]) -> list[dict[str, Any]]:
    """Make the calls of one round, by scikit-learn where they are not understood."""
    results = _attempt(calls, _Counted(None))
    return [call.make() for call in calls] if results is None else results


def _attempt(calls: list[Call], counted: _Counted) -> list[dict[str, Any]] | None:
    """Make the calls of one round; None leaves them to scikit-learn."""
    if not calls:
        return None
    results, before = None, counted.done
    counted.total += len(calls)
    with suppress(NotUnderstood, Moved):
        results = run(plan(calls), calls, counted.add)
    if results is None:
        counted.done = before
    return results


class _Counted:
    """Candidates times folds: how many are done, of how many that are known of."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress, self.done, self.total = progress, 0, 0

    def add(self, n: int) -> None:
        self.done += n
        if self.progress is not None:
            self.progress(self.done, self.total)


def _within(estimator: Any) -> list[Any]:
    return [estimator, *(v for v in estimator.get_params(deep=True).values() if is_estimator(v))]
