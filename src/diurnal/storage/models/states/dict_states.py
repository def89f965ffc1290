"""Dicts with keys that JSON does not have: booleans, None, dates, tuples, or two keys with the same string form."""

from __future__ import annotations

from typing import Any

import numpy as np

from diurnal.storage.models.states import State
from diurnal.storage.models.states.state_checks import check_fields, check_that

_PLAIN_KEYS = (str, int, float, np.integer, np.floating)


def needs_state(items: dict[Any, Any]) -> bool:
    """Return whether skops would read a dict as another one than it wrote."""
    plain = all(isinstance(key, _PLAIN_KEYS) and not isinstance(key, bool) for key in items)
    return not plain or len({str(key) for key in items}) < len(items)


def _dict_to_state(items: dict[Any, Any]) -> dict[str, Any]:
    return {"keys": list(items), "values": list(items.values())}


def _dict_from_state(state: Any) -> dict[Any, Any]:
    content = check_fields(state, ("keys", "values"), "dict")
    check_that(isinstance(content["keys"], list) and isinstance(content["values"], list), "a dict has no keys")
    return dict(zip(content["keys"], content["values"], strict=True))


STATES = (State("builtins.dict", (), _dict_to_state, _dict_from_state),)
