"""States as nodes of skops' format: how its writer and its reader come to know them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from skops.io import _general as general
from skops.io._audit import NODE_TYPE_MAPPING, Node, get_tree
from skops.io._protocol import PROTOCOL
from skops.io._utils import LoadContext, SaveContext, _get_state, get_state

from diurnal.storage.models.states import KINDS, LOADER, State, dict_states, imported, state_for

_ours: ContextVar[bool] = ContextVar("_ours", default=False)
_known: set[type] = set()


@contextmanager
def states_known() -> Iterator[None]:
    """Let skops write and read states, here: what other code of this process does with skops stays as it is."""
    for state in imported():
        for kind in state.types:
            _register(kind, state)
    if dict not in _known:
        _known.add(dict)
        _get_state.register(dict)(_take_dict)
    NODE_TYPE_MAPPING[LOADER, PROTOCOL] = StateNode
    token = _ours.set(True)
    try:
        yield
    finally:
        _ours.reset(token)


def _register(kind: type, state: State) -> None:
    if kind in _known:
        return
    usual: Callable[[Any, SaveContext], dict[str, Any]] = _get_state.dispatch(kind)

    def written(obj: Any, save_context: SaveContext) -> dict[str, Any]:
        return _write(obj, state, save_context) if _ours.get() and type(obj) is kind else usual(obj, save_context)

    _known.add(kind)
    _get_state.register(kind)(written)


def _take_dict(given: Any, save_context: SaveContext) -> dict[str, Any]:
    if _ours.get() and type(given) is dict and dict_states.is_odd(given):
        return _write(given, dict_states.STATES[0], save_context)
    written: dict[str, Any] = general.dict_get_state(given, save_context)
    return written


def _write(obj: Any, state: State, save_context: SaveContext) -> dict[str, Any]:
    module, _, name = state.name.rpartition(".")
    content = get_state(state.take(obj), save_context)
    return {"__class__": name, "__module__": module, "__loader__": LOADER, "content": content}


class StateNode(Node):  # type: ignore[misc] # skops has no types
    """An object whose state is read and checked by :mod:`diurnal.storage.models.states`."""

    def __init__(self, state: dict[str, Any], load_context: LoadContext, trusted: Any = None) -> None:
        super().__init__(state, load_context, trusted)
        if not _ours.get():
            raise TypeError("this file is read by diurnal.load_model only")
        self.content = get_tree(state["content"], load_context, trusted=trusted)
        self.children = {"content": self.content}

    def is_self_safe(self) -> bool:
        """Return whether the kind is one that has a state."""
        return f"{self.module_name}.{self.class_name}" in KINDS

    def _construct(self) -> Any:
        return state_for(f"{self.module_name}.{self.class_name}").make(self.content.construct())
