"""scikit-learn's own search as the oracle of ours."""

from __future__ import annotations

import warnings
from collections import Counter

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, clone
from threadpoolctl import threadpool_limits

from diurnal.search import tune

FITS: Counter[str] = Counter()


class Counting(TransformerMixin, BaseEstimator):
    """A transformer that counts its fits, and shifts what it is given."""

    def __init__(self, by=0.0):
        self.by = by

    def fit(self, X, y=None):
        FITS[f"{type(self).__name__}({self.by})"] += 1
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return X + self.by


def oracle(search, X, y, **fit_params):
    """What scikit-learn's own fit gives, and what it warns of."""
    with threadpool_limits(1), warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        fitted = clone(search).fit(X, y, **fit_params)
    return fitted, seen


def ours(search, X, y, **fit_params):
    with threadpool_limits(1), warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        fitted = tune(search, X, y, **fit_params)
    return fitted, seen


def same(search, X, y, *, within=0.0, warned=True, **fit_params):
    """Assert that our search leaves what scikit-learn's leaves; give it."""
    (theirs, their_warnings), (mine, my_warnings) = (f(search, X, y, **fit_params) for f in (oracle, ours))
    assert type(mine) is type(theirs)
    assert vars(mine).keys() == vars(theirs).keys()
    same_results(mine.cv_results_, theirs.cv_results_, within)
    for name in ("best_index_", "best_params_", "n_splits_", "multimetric_"):
        assert repr(getattr(mine, name, None)) == repr(getattr(theirs, name, None)), name
    if hasattr(theirs, "best_estimator_") and hasattr(theirs, "predict"):
        np.testing.assert_array_equal(mine.predict(X), theirs.predict(X))
    if warned:
        assert said(my_warnings) == said(their_warnings)
    return mine


def same_results(mine, theirs, within=0.0):
    assert list(mine) == list(theirs)
    for name, expected in theirs.items():
        given = mine[name]
        assert type(given) is type(expected), name
        if isinstance(expected, np.ndarray):
            assert (given.dtype, given.shape) == (expected.dtype, expected.shape), name
        if "_time" in name:
            assert np.all(np.asarray(given) >= 0), name
        elif "_test_" in name or "_train_" in name:
            np.testing.assert_allclose(given, expected, rtol=0, atol=within, err_msg=name)
        else:
            assert repr(given) == repr(expected), name


def said(seen):
    return sorted((w.category.__name__, str(w.message).splitlines()[0]) for w in seen)
