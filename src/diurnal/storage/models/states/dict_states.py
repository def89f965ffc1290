"""Dicts whose keys JSON cannot hold: truth values, nothing, dates, tuples, or two keys of one text."""

from __future__ import annotations

from typing import Any

import numpy as np

from diurnal.storage.models.states import State
from diurnal.storage.models.states.state_checks import fields, require

_PLAIN = (str, int, float, np.integer, np.floating)


def is_odd(given: dict[Any, Any]) -> bool:
    """Return whether skops would not give a dict back as it was."""
    plain = all(isinstance(key, _PLAIN) and not isinstance(key, bool) for key in given)
    return not plain or len({str(key) for key in given}) < len(given)


def _take(given: dict[Any, Any]) -> dict[str, Any]:
    return {"keys": list(given), "values": list(given.values())}


def _make(state: Any) -> dict[Any, Any]:
    given = fields(state, ("keys", "values"), "dict")
    require(isinstance(given["keys"], list) and isinstance(given["values"], list), "a dict has no keys")
    return dict(zip(given["keys"], given["values"], strict=True))


STATES = (State("builtins.dict", (), _take, _make),)
