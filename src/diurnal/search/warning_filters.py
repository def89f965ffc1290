"""Warning filters of a thread, as Python 3.14 has them.

`warnings.catch_warnings` changes the filters of the whole process. scikit-learn enters it for each task of its
`Parallel`: in a column transformer, a forest, a classifier for each class. Where fits run on several threads, the
filters of one fit would suppress the warnings of another one, or let those appear that the other one suppresses, and
two of them that overlap would leave the filters of one in place.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_module: Any = warnings  # with its private functions, which use its global variables, and not the attributes
_ATTRIBUTES = ("filters", "showwarning", "_showwarnmsg_impl")  # that `catch_warnings` sets and restores


class _ThreadState(threading.local):
    """The attributes of the module as the current thread sees them; None: those of the process."""

    attributes: dict[str, Any] | None = None


class _WarningsModule(ModuleType):
    """The module `warnings` while there are threads with filters of their own.

    They are those in a block, and those that have started since the first block and set filters: threads of a fit.
    """

    n_blocks = 0
    lock = threading.Lock()
    thread = _ThreadState()
    earlier_threads: frozenset[int | None] = frozenset()

    def get(self, name: str) -> Any:
        """Return an attribute as the current thread sees it."""
        own = self.thread.attributes
        return (vars(self) if own is None else own)[name]

    def set(self, name: str, value: Any) -> None:
        """Set an attribute for the current thread, or for all that have none of their own."""
        own = self.thread.attributes
        if own is None and threading.get_ident() not in self.earlier_threads:
            own = self.thread.attributes = {each: vars(self)[each] for each in _ATTRIBUTES}
        (vars(self) if own is None else own)[name] = value

    filters = property(lambda self: self.get("filters"), lambda self, value: self.set("filters", value))
    showwarning = property(lambda self: self.get("showwarning"), lambda self, value: self.set("showwarning", value))
    _showwarnmsg_impl = property(
        lambda self: self.get("_showwarnmsg_impl"), lambda self, value: self.set("_showwarnmsg_impl", value)
    )


def _add_filter(*item: Any, append: bool) -> None:
    """Add a filter: the first one, unless `append`."""
    filters = _module.filters
    if not append:
        filters[:] = [item, *(other for other in filters if other != item)]
    elif item not in filters:
        filters.append(item)
    _module._filters_mutated()


def _reset_filters() -> None:
    """Remove all filters."""
    _module.filters[:] = []
    _module._filters_mutated()


def _show_message(message: warnings.WarningMessage) -> None:
    """Show a warning that the filters let through."""
    show = _module.showwarning
    if show is _module._showwarning_orig:
        _module._showwarnmsg_impl(message)
    else:
        show(message.message, message.category, message.filename, message.lineno, message.file, message.line)


_REPLACED = {"_add_filter": _add_filter, "resetwarnings": _reset_filters, "_showwarnmsg": _show_message}
_ORIGINALS = {name: getattr(_module, name) for name in _REPLACED}


@contextmanager
def own_warning_filters() -> Iterator[None]:
    """Give the calling thread filters and a `showwarning` of its own within the block, at first those that it sees.

    Blocks can be nested, and overlap in several threads.
    """
    blocks = _WarningsModule
    with blocks.lock:
        blocks.n_blocks += 1
        if blocks.n_blocks == 1:
            blocks.thread = _ThreadState()
            blocks.earlier_threads = frozenset(thread.ident for thread in threading.enumerate())
            _module.__class__ = blocks
            vars(_module).update(_REPLACED)
    outer = blocks.thread.attributes
    seen = {name: getattr(_module, name) for name in _ATTRIBUTES}
    blocks.thread.attributes = seen | {"filters": list(_module.filters)}
    try:
        yield
    finally:
        blocks.thread.attributes = outer
        _module._filters_mutated()
        with blocks.lock:
            blocks.n_blocks -= 1
            if not blocks.n_blocks:
                _module.__class__ = ModuleType
                vars(_module).update(_ORIGINALS)
