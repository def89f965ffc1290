"""Warning filters for each thread, as Python 3.14 has them.

`warnings.catch_warnings` changes the filters of the whole process. scikit-learn enters it for each task of its
`Parallel`: in a column transformer, a forest, a classifier for each class. Where fits run on several threads, the
filters of one fit would suppress the warnings of another one, or let those appear that the other one suppresses.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_module: Any = warnings  # with its private functions, which use its global variable `filters`, and not the attribute
_ADD, _RESET = _module._add_filter, _module.resetwarnings


class _WarningsModule(ModuleType):
    """The module `warnings`, where the filters that a thread sets are seen by this thread alone."""

    n_blocks = 0
    lock = threading.Lock()
    of_thread = threading.local()

    @property
    def filters(self) -> list[tuple[Any, ...]]:
        own: list[tuple[Any, ...]] = getattr(self.of_thread, "filters", vars(self)["filters"])
        return own

    @filters.setter
    def filters(self, filters: list[tuple[Any, ...]]) -> None:
        self.of_thread.filters = filters


@contextmanager
def filters_for_each_thread() -> Iterator[None]:
    """Give each thread filters of its own within the block; they are those of the process until the thread sets others.

    Blocks may be nested, also in several threads.
    """
    blocks = _WarningsModule
    with blocks.lock:
        blocks.n_blocks += 1
        if blocks.n_blocks == 1:
            blocks.of_thread = threading.local()
            _module.__class__, _module._add_filter, _module.resetwarnings = blocks, _add, _reset
    try:
        yield
    finally:
        with blocks.lock:
            blocks.n_blocks -= 1
            if not blocks.n_blocks:
                _module.__class__, _module._add_filter, _module.resetwarnings = ModuleType, _ADD, _RESET


def _add(*item: Any, append: bool) -> None:
    """Add a filter: the first one, unless `append`."""
    filters = _module.filters
    if not append:
        filters[:] = [item, *(other for other in filters if other != item)]
    elif item not in filters:
        filters.append(item)
    _module._filters_mutated()


def _reset() -> None:
    """Remove all filters."""
    _module.filters[:] = []
    _module._filters_mutated()
