"""Fitting a search: scikit-learn's own `fit`, with its loop over candidates and folds replaced."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sklearn.base import clone

from diurnal.search import sklearn_private
from diurnal.search.cache_keys import is_estimator, nested_estimators
from diurnal.search.executor import ignore_progress, run_round
from diurnal.search.kept_folds import FoldStore
from diurnal.search.sklearn_private import FitAndScoreCall, PrivateApiChanged, Runner
from diurnal.search.tree import UnsupportedSearch, build_tree, flatten_pipeline

ProgressCallback = Callable[[int, int], None]


def tune(
    search: Any,
    X: Any,
    y: Any = None,
    *,
    progress: ProgressCallback | None = None,
    max_cores: int | None = None,
    fold_store: FoldStore | None = None,
    **fit_params: Any,
) -> Any:
    """Fit a search as scikit-learn does, with the same numbers; common first steps are fitted once.

    Parameters
    ----------
    search : estimator
        A scikit-learn search. It is cloned. An unsupported search is fitted by its own `fit`.
    X : matrix, shape (n_samples, n_features)
    y : vector, shape (n_samples,), optional
    progress : callable, optional
        Called with ``(n_done, n_total)``, in candidates times folds, from time to time.
    max_cores : int, optional
        The greatest number of cores. None: those that this process may use (its affinity and its cgroup's quota). Fewer
        are used if the search has an `n_jobs`, or is too small to gain. The scores do not depend on it.
    fold_store : FoldStore, optional
        Keeps the results of finished folds, for a search that is killed and started again.
    **fit_params
        The other parameters of the search's `fit`.

    Returns
    -------
    estimator
        The fitted clone, with `cv_results_`, `best_params_` and all other attributes that its `fit` sets.

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
    with use_fast_search(fitted, progress, max_cores, fold_store):
        return fitted.fit(X, y, **fit_params)


def unsupported_reason(search: Any) -> str | None:
    """Return why a search is left to scikit-learn unchanged; None if it is supported.

    Returns
    -------
    str or None
        The reason. A supported search does not necessarily have fits to share.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> unsupported_reason(Ridge())
    'Ridge is not a scikit-learn search'
    """
    if not sklearn_private.is_sklearn_search(search):
        return f"{type(search).__name__} is not a scikit-learn search"
    if search.verbose > 1:
        return "it prints a line for each fit (verbose > 1)"
    if not is_estimator(search.estimator):
        return "it does not tune an estimator"
    if any(map(sklearn_private.has_callbacks, (search, *nested_estimators(search.estimator)))):
        return "it has callbacks, or an estimator in it has"
    try:
        flatten_pipeline(search.estimator)
    except UnsupportedSearch as reason:
        return str(reason)
    return None


@contextmanager
def use_fast_search(
    search: Any,
    progress: ProgressCallback | None = None,
    max_cores: int | None = None,
    fold_store: FoldStore | None = None,
) -> Iterator[None]:
    """Make the next `fit` of this search object the fast one, if the search is supported."""
    counter = _ProgressCounter(progress)
    if unsupported_reason(search) is not None:
        yield
        return
    with use_runner(search, lambda calls: _try_fast(calls, counter, max_cores, fold_store), counter.add):
        yield


@contextmanager
def use_runner(search: Any, run: Runner, on_progress: Callable[[int], None] = ignore_progress) -> Iterator[None]:
    """Make the next `fit` of this search object delegate its fits and scores to `run`.

    `_run_search` is the public hook of `BaseSearchCV` for subclasses. It is replaced on the object for one call, and
    receives `evaluate_candidates`; see :func:`~diurnal.search.sklearn_private.redirect_fit_and_score`.
    """
    run_search = search._run_search

    def redirected(evaluate: Callable[..., Any], **kwargs: Any) -> None:
        # Undo the replacement first: `fit` pickles the search for processes, and a closure cannot be pickled.
        vars(search).pop("_run_search", None)
        with suppress(PrivateApiChanged):  # scikit-learn's loop has another form: it runs unchanged
            evaluate = sklearn_private.redirect_fit_and_score(evaluate, run, on_progress)
        run_search(evaluate, **kwargs)

    # scikit-learn inspects the signature to decide whether it passes callback_ctx.
    redirected.__signature__ = inspect.signature(run_search)  # type: ignore[attr-defined]
    search._run_search = redirected
    try:
        yield
    finally:
        vars(search).pop("_run_search", None)


def evaluate_calls(calls: list[FitAndScoreCall], max_cores: int | None = None) -> list[dict[str, Any]]:
    """Make the calls of one round, by scikit-learn if they are not supported."""
    results = _try_fast(calls, _ProgressCounter(None), max_cores)
    return [call.run() for call in calls] if results is None else results


def _try_fast(
    calls: list[FitAndScoreCall],
    counter: _ProgressCounter,
    max_cores: int | None,
    fold_store: FoldStore | None = None,
) -> list[dict[str, Any]] | None:
    """Make the calls of one round; None leaves them to scikit-learn."""
    if not calls:
        return None
    results, n_done_before = None, counter.n_done
    counter.n_total += len(calls)
    with suppress(UnsupportedSearch, PrivateApiChanged):
        results = run_round(build_tree(calls), calls, counter.add, max_cores, fold_store)
    if results is None:
        counter.n_done = n_done_before
    return results


class _ProgressCounter:
    """Counts candidates times folds: those that are done, and those of all rounds so far."""

    def __init__(self, progress: ProgressCallback | None) -> None:
        self.progress, self.n_done, self.n_total = progress, 0, 0

    def add(self, n: int) -> None:
        self.n_done += n
        if self.progress is not None:
            self.progress(self.n_done, self.n_total)
