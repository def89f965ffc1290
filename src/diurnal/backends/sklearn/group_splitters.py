"""Splitters of other libraries that use groups without metadata routing, bound to the groups."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.utils.metadata_routing import get_routing_for_object


class GroupBoundSplitter:
    """A splitter with its groups, which ignores the groups that are passed to it.

    Parameters
    ----------
    splitter : splitter
        Its `split` takes `groups`.
    groups : numpy.ndarray of shape (n_samples,)
    """

    def __init__(self, splitter: Any, groups: np.ndarray) -> None:
        self.splitter, self.groups = splitter, groups
        for name in ("shuffle", "random_state"):  # a search reads these to see whether folds repeat
            if hasattr(splitter, name):
                setattr(self, name, getattr(splitter, name))

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[Any]:  # noqa: ARG002 - it has its own
        """Return an iterator of (train, test) pairs."""
        return iter(self.splitter.split(X, y, self.groups))

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:  # noqa: ARG002
        """Return the number of pairs."""
        return int(self.splitter.get_n_splits(X, y, self.groups))

    def __repr__(self) -> str:
        return repr(self.splitter)


def needs_bound_groups(splitter: Any) -> bool:
    """Return whether a splitter uses groups that scikit-learn does not route to it."""
    if not hasattr(splitter, "split") or isinstance(splitter, str):
        return False
    if type(splitter).__module__.startswith("sklearn.") or "groups" not in inspect.signature(splitter.split).parameters:
        return False
    return not get_routing_for_object(splitter).consumes("split", ["groups"])
