"""States: what is kept of objects that skops cannot save, or would hand to compiled code as they come.

Each kind of object has two functions: ``take`` gives its state in plain values (numbers, texts, lists, dicts, arrays),
and ``make`` checks such a state and gives the object again. So what a file holds of a booster or a pandas table is data
that this package reads and checks; no ``__setstate__``, no ``__reduce__`` and no native loader of another library sees
bytes of the file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

LOADER = "StateNode"


@dataclass(frozen=True)
class State:
    """How objects of one kind are taken apart and made again.

    Attributes
    ----------
    name : str
        What a file calls the kind.
    types : tuple of type
        The types that it covers, without their subclasses.
    take, make : callable
        From the object to its state, and back; `make` refuses what no `take` gives.
    """

    name: str
    types: tuple[type, ...]
    take: Callable[[Any], Any]
    make: Callable[[Any], Any]


# From what a file calls a kind to the module here that knows it, and the library that the module imports.
_KINDS = {
    "builtins.dict": ("dict_states", "builtins"),
    "catboost.CatBoostClassifier": ("catboost", "catboost"),
    "catboost.CatBoostRegressor": ("catboost", "catboost"),
    "lightgbm.Booster": ("lightgbm", "lightgbm"),
    "pandas.CategoricalDtype": ("pandas_tables", "pandas"),
    "pandas.DataFrame": ("pandas_tables", "pandas"),
    "pandas.ExtensionDtype": ("pandas_tables", "pandas"),
    "pandas.Index": ("pandas_tables", "pandas"),
    "pandas.NA": ("pandas_times", "pandas"),
    "pandas.NaT": ("pandas_times", "pandas"),
    "pandas.Series": ("pandas_tables", "pandas"),
    "pandas.Timedelta": ("pandas_times", "pandas"),
    "pandas.Timestamp": ("pandas_times", "pandas"),
    "sklearn.MetadataRequest": ("sklearn_requests", "sklearn"),
    "xgboost.Booster": ("xgboost", "xgboost"),
}
KINDS = frozenset(_KINDS)


def state_for(name: str) -> State:
    """Return the functions of a kind, by what a file calls it."""
    return {state.name: state for state in _states(_KINDS[name][0])}[name]


def imported() -> Iterator[State]:
    """Return the kinds whose library is imported: an object of another one cannot be here."""
    for module, library in dict.fromkeys(_KINDS.values()):
        if library in sys.modules:
            yield from _states(module)


def _states(module: str) -> tuple[State, ...]:
    states: tuple[State, ...] = import_module(f"{__name__}.{module}").STATES
    return states
