"""Run scikit-learn's own installed tests with diurnal.search in place of scikit-learn's loop.

Usage: ``python tests/sklearn_suite.py [pytest options]``. `BaseSearchCV.fit` is replaced during the run, so that every
search of those tests, including the halving ones, is a fast search.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import tempfile

import pytest
from sklearn.model_selection._search import BaseSearchCV

from diurnal.search import search_api

MODULES = (
    "sklearn.model_selection.tests.test_search",
    "sklearn.model_selection.tests.test_successive_halving",
    "sklearn.tests.test_pipeline",
    "sklearn.compose.tests.test_column_transformer",
    "sklearn.tests.test_metaestimators_metadata_routing",
    "sklearn.tests.test_metadata_routing",
)


class FastSearchPlugin:
    """A pytest plugin that replaces `BaseSearchCV.fit`, and counts all searches and the supported ones."""

    def __init__(self):
        self.n_searches, self.n_supported, self.sklearn_fit = 0, 0, BaseSearchCV.fit

    def pytest_configure(self):
        sklearn_fit = self.sklearn_fit

        @functools.wraps(sklearn_fit)
        def fit(search, X, y=None, **params):
            self.n_searches += 1
            self.n_supported += search_api.unsupported_reason(search) is None
            with search_api.use_fast_search(search):
                return sklearn_fit(search, X, y, **params)

        BaseSearchCV.fit = fit

    def pytest_unconfigure(self):
        BaseSearchCV.fit = self.sklearn_fit


def main(options):
    plugin = FastSearchPlugin()
    with tempfile.TemporaryDirectory() as empty, contextlib.chdir(empty):  # without the conftest.py of this project
        status = pytest.main(
            ["--pyargs", *MODULES, "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "-W", "ignore", *options],
            plugins=[plugin],
        )
    sys.stdout.write(f"{plugin.n_searches} searches, {plugin.n_supported} of them supported\n")
    return int(status) or (0 if plugin.n_supported else 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
