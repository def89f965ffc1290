"""States of objects that skops cannot save, or would pass to compiled code unchecked.

Each type of object has two functions: ``to_state`` returns its state in plain values (numbers, strings, lists, dicts,
arrays), and ``from_state`` checks such a state and creates the object. A file therefore contains a booster or a pandas
table as data that this package reads and checks. No ``__setstate__``, no ``__reduce__`` and no native loader of another
library reads bytes of the file.
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
    """The conversion of objects of one type to a state and back.

    Attributes
    ----------
    name : str
        The name of the type in a file.
    types : tuple of type
        The types that it covers, without their subclasses.
    to_state, from_state : callable
        From the object to its state, and back; `from_state` rejects any state that `to_state` never returns.
    """

    name: str
    types: tuple[type, ...]
    to_state: Callable[[Any], Any]
    from_state: Callable[[Any], Any]


# From the name in a file to the module here that defines the state, and the library that the module imports.
_MODULES = {
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
STATE_NAMES = frozenset(_MODULES)


def find_state(name: str) -> State:
    """Return the state with a name."""
    return {state.name: state for state in _load_states(_MODULES[name][0])}[name]


def states_of_imported_libraries() -> Iterator[State]:
    """Yield the states whose library is imported: without the import, no object of the library can exist."""
    for module, library in dict.fromkeys(_MODULES.values()):
        if library in sys.modules:
            yield from _load_states(module)


def _load_states(module: str) -> tuple[State, ...]:
    states: tuple[State, ...] = import_module(f"{__name__}.{module}").STATES
    return states
