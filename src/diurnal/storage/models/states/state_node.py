"""States as nodes of a skops file: extensions of the writer and the reader of skops."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from zipfile import ZipFile

import skops
from skops.io import _general as general
from skops.io._audit import NODE_TYPE_MAPPING, Node, get_tree
from skops.io._protocol import PROTOCOL
from skops.io._utils import LoadContext, SaveContext, _get_state, get_state

from diurnal.storage.models.states import (
    LOADER,
    STATE_NAMES,
    State,
    dict_states,
    find_state,
    states_of_imported_libraries,
)

_enabled: ContextVar[bool] = ContextVar("_enabled", default=False)
_registered: set[type] = set()


@contextmanager
def enable_states() -> Iterator[None]:
    """Make skops write and read states in this context; its other uses in this process do not change."""
    for state in states_of_imported_libraries():
        for cls in state.types:
            _register_writer(cls, state)
    if dict not in _registered:
        _registered.add(dict)
        _get_state.register(dict)(_write_dict)
    NODE_TYPE_MAPPING[LOADER, PROTOCOL] = StateNode
    token = _enabled.set(True)
    try:
        yield
    finally:
        _enabled.reset(token)


def write_skops(estimator: Any) -> bytes:
    """Return what ``skops.io.dumps`` returns, with JSON that is not indented.

    Python's json indents by nested generators, whose time grows with the depth of the schema: of a model of skrub, the
    indented schema took most of the time of writing it, and the canonical form has no indents.
    """
    buffer = io.BytesIO()
    with ZipFile(buffer, "w") as archive:
        save_context = SaveContext(zip_file=archive)
        schema = get_state(estimator, save_context)
        save_context.clear_memo()
        schema |= {"protocol": save_context.protocol, "_skops_version": skops.__version__}
        archive.writestr("schema.json", json.dumps(schema))
    return buffer.getvalue()


def _register_writer(cls: type, state: State) -> None:
    """Register a writer with skops that falls back to its own one outside of :func:`enable_states`."""
    if cls in _registered:
        return
    default: Callable[[Any, SaveContext], dict[str, Any]] = _get_state.dispatch(cls)

    def write(obj: Any, save_context: SaveContext) -> dict[str, Any]:
        is_enabled = _enabled.get() and type(obj) is cls
        return _write_state(obj, state, save_context) if is_enabled else default(obj, save_context)

    _registered.add(cls)
    _get_state.register(cls)(write)


def _write_dict(obj: Any, save_context: SaveContext) -> dict[str, Any]:
    if _enabled.get() and type(obj) is dict and dict_states.needs_state(obj):
        return _write_state(obj, dict_states.STATES[0], save_context)
    node: dict[str, Any] = general.dict_get_state(obj, save_context)
    return node


def _write_state(obj: Any, state: State, save_context: SaveContext) -> dict[str, Any]:
    module, _, name = state.name.rpartition(".")
    content = get_state(state.to_state(obj), save_context)
    return {"__class__": name, "__module__": module, "__loader__": LOADER, "content": content}


class StateNode(Node):  # type: ignore[misc] # skops has no types
    """A node of an object with a state (:mod:`diurnal.storage.models.states`)."""

    def __init__(self, state: dict[str, Any], load_context: LoadContext, trusted: Any = None) -> None:
        super().__init__(state, load_context, trusted)
        if not _enabled.get():
            raise TypeError("only diurnal.load_model can read this file")
        self.content = get_tree(state["content"], load_context, trusted=trusted)
        self.children = {"content": self.content}

    def is_self_safe(self) -> bool:
        """Return whether the type has a state."""
        return f"{self.module_name}.{self.class_name}" in STATE_NAMES

    def _construct(self) -> Any:
        return find_state(f"{self.module_name}.{self.class_name}").from_state(self.content.construct())
