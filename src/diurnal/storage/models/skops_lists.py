"""The lists of names that skops trusts by itself, built when something uses them.

When skops is imported, it imports all modules of scikit-learn, and looks for each function of SciPy in all modules of
the process: a third of a second for each process that reads or writes a model. diurnal checks the names of a file by
its own lists before skops reads it, and passes them all. So the lists of skops are needed only by other code of the
process that uses skops, and its module of them is replaced by one that reads it on first use.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any, overload

_MODULE = "skops.io._trusted_types"
_names_are_checked: ContextVar[bool] = ContextVar("_names_are_checked", default=False)


def defer_lists() -> None:
    """Replace the module of the lists, unless skops has been imported already."""
    sys.modules.setdefault(_MODULE, _DeferredModule(_MODULE))


@contextmanager
def trust_nothing_else() -> Iterator[None]:
    """Make the lists of skops empty for a file whose names are all checked, and passed to skops, in this context."""
    token = _names_are_checked.set(True)
    try:
        yield
    finally:
        _names_are_checked.reset(token)


class _DeferredModule(ModuleType):
    """A module whose attributes are lists of the real one."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return DeferredList(lambda: getattr(_read_lists(), name))


class DeferredList(Sequence[Any]):
    """A list that is built when it is used; its sum with another list is deferred as well.

    Parameters
    ----------
    build : callable
        Returns the list.
    """

    def __init__(self, build: Callable[[], Sequence[Any]]) -> None:
        self.build = build

    def __iter__(self) -> Iterator[Any]:
        return iter(() if _names_are_checked.get() else self.build())

    def __contains__(self, value: object) -> bool:  # by it skops also decides what it calls: it is the same in any file
        return value in self.build()

    def __len__(self) -> int:
        return len(self.build())

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...

    def __getitem__(self, index: int | slice) -> Any:
        return self.build()[index]

    def __bool__(self) -> bool:  # the default builds the list
        return True

    def __add__(self, other: Sequence[Any]) -> DeferredList:
        return DeferredList(lambda: [*self.build(), *_build(other)])

    def __radd__(self, other: Sequence[Any]) -> DeferredList:
        return DeferredList(lambda: [*_build(other), *self.build()])


def _build(values: Sequence[Any]) -> Sequence[Any]:
    return values.build() if isinstance(values, DeferredList) else values


@functools.cache
def _read_lists() -> ModuleType:
    import skops.io

    file = Path(skops.io.__file__).with_name("_trusted_types.py")
    spec = importlib.util.spec_from_file_location(_MODULE, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
