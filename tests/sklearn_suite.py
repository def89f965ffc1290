"""scikit-learn's own installed tests, with our search in place of theirs.

Run by ``python tests/sklearn_suite.py [pytest options]``. `BaseSearchCV.fit` is replaced for the length of the run, so
that every search of those tests, the halving ones included, goes through ours.
"""

from __future__ import annotations

import functools
import sys

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


class OurSearch:
    """A pytest plugin: our search under `BaseSearchCV.fit`, and a count of the searches that came, and that it took."""

    def __init__(self):
        self.ran, self.taken, self.theirs = 0, 0, BaseSearchCV.fit

    def pytest_configure(self):
        theirs = self.theirs

        @functools.wraps(theirs)
        def fit(search, X, y=None, **params):
            self.ran += 1
            self.taken += search_api.unsupported_reason(search) is None
            with search_api.use_fast_search(search):
                return theirs(search, X, y, **params)

        BaseSearchCV.fit = fit

    def pytest_unconfigure(self):
        BaseSearchCV.fit = self.theirs


def main(options):
    plugin = OurSearch()
    status = pytest.main(
        ["--pyargs", *MODULES, "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "-W", "ignore", *options],
        plugins=[plugin],
    )
    sys.stdout.write(f"{plugin.ran} searches ran with ours in place of theirs, {plugin.taken} of them in our hands\n")
    return int(status) or (0 if plugin.taken else 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
