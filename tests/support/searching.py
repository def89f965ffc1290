"""scikit-learn's own search as the reference for diurnal.search."""

from __future__ import annotations

import warnings
from collections import Counter

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, clone
from threadpoolctl import threadpool_limits

from diurnal.search import tune

FITS: Counter[str] = Counter()


class Counting(TransformerMixin, BaseEstimator):
    """A transformer that counts its fits, and shifts its input."""

    def __init__(self, by=0.0):
        self.by = by

    def fit(self, X, y=None):
        FITS[f"{type(self).__name__}({self.by})"] += 1
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return X + self.by


def oracle(search, X, y, **fit_params):
    """Return the fitted search of scikit-learn, and its warnings."""
    with threadpool_limits(1), warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        fitted = clone(search).fit(X, y, **fit_params)
    return fitted, seen


def tuned(search, X, y, **fit_params):
    with threadpool_limits(1), warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        fitted = tune(search, X, y, **fit_params)
    return fitted, seen


def same(search, X, y, *, within=0.0, warned=True, max_cores=None, expected=None, **fit_params):
    """Assert that diurnal.search and scikit-learn give equal results; return the search.

    `expected` is what :func:`oracle` has returned, if it is known.
    """
    reference, reference_warnings = expected or oracle(search, X, y, **fit_params)
    actual, actual_warnings = tuned(search, X, y, max_cores=max_cores, **fit_params)
    assert type(actual) is type(reference)
    assert vars(actual).keys() == vars(reference).keys()
    same_results(actual.cv_results_, reference.cv_results_, within)
    for name in ("best_index_", "best_params_", "n_splits_", "multimetric_"):
        assert repr(getattr(actual, name, None)) == repr(getattr(reference, name, None)), name
    if hasattr(reference, "best_estimator_") and hasattr(reference, "predict"):
        np.testing.assert_array_equal(actual.predict(X), reference.predict(X))
    if warned:
        assert first_lines(actual_warnings) == first_lines(reference_warnings)
    return actual


def same_results(actual, reference, within=0.0):
    assert list(actual) == list(reference)
    for name, expected in reference.items():
        value = actual[name]
        assert type(value) is type(expected), name
        if isinstance(expected, np.ndarray):
            assert (value.dtype, value.shape) == (expected.dtype, expected.shape), name
        if "_time" in name:
            assert np.all(np.asarray(value) >= 0), name
        elif "_test_" in name or "_train_" in name:
            np.testing.assert_allclose(value, expected, rtol=0, atol=within, err_msg=name)
        else:
            assert repr(value) == repr(expected), name


def first_lines(seen):
    return sorted((w.category.__name__, str(w.message).splitlines()[0]) for w in seen)
