"""Moments and spans of pandas, and its two kinds of nothing."""

from __future__ import annotations

import re
from datetime import timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from diurnal.storage.models.states import State
from diurnal.storage.models.states.state_checks import fields, require

_UNITS = ("s", "ms", "us", "ns")
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,3}", re.ASCII)


def zone_state(zone: tzinfo | None) -> str | int | None:
    """Return the name of a time zone, or the seconds of a fixed offset."""
    if zone is None:
        return None
    offset = zone.utcoffset(None)
    if offset is not None:
        return "UTC" if not offset else int(offset.total_seconds())
    return str(zone)


def zone_of(state: Any) -> tzinfo | None:
    """Return the time zone again."""
    if state is None:
        return None
    if type(state) is int:
        require(abs(state) < 86_400, "an offset from UTC is more than a day")
        return timezone(timedelta(seconds=state))
    require(isinstance(state, str) and _ZONE.fullmatch(state), "a time zone has no name")
    return timezone.utc if state == "UTC" else ZoneInfo(state)  # noqa: UP017 - what pandas has for UTC


def _count(moment: pd.Timestamp | pd.Timedelta) -> dict[str, Any]:
    return {"count": int(moment.to_numpy().astype("int64")), "unit": moment.unit}


def _checked(state: Any, *more: str) -> dict[str, Any]:
    given = fields(state, ("count", "unit", *more), "moment")
    require(given["unit"] in _UNITS and type(given["count"]) is int, "a moment is counted in no known unit")
    return given


def _take_timestamp(moment: pd.Timestamp) -> dict[str, Any]:
    return {**_count(moment), "zone": zone_state(moment.tz)}


def _make_timestamp(state: Any) -> pd.Timestamp:
    given, zone = _checked(state, "zone"), zone_of(state.get("zone"))
    moment = pd.Timestamp(np.datetime64(given["count"], given["unit"]))
    return moment if zone is None else moment.tz_localize("UTC").tz_convert(zone)


def _make_timedelta(state: Any) -> pd.Timedelta:
    given = _checked(state)
    return pd.Timedelta(np.timedelta64(given["count"], given["unit"]))


def _nothing(_: Any) -> None:
    return None


STATES = (
    State("pandas.Timestamp", (pd.Timestamp,), _take_timestamp, _make_timestamp),
    State("pandas.Timedelta", (pd.Timedelta,), _count, _make_timedelta),
    State("pandas.NaT", (type(pd.NaT),), _nothing, lambda _: pd.NaT),
    State("pandas.NA", (type(pd.NA),), _nothing, lambda _: pd.NA),
)
