"""Timestamps and durations of pandas, and its two missing values."""

from __future__ import annotations

import re
from datetime import timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from diurnal.storage.models.states import State
from diurnal.storage.models.states.state_checks import check_fields, check_that

_UNITS = ("s", "ms", "us", "ns")
_ZONE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,3}", re.ASCII)


def zone_to_state(zone: tzinfo | None) -> str | int | None:
    """Return the name of a time zone, or the seconds of a fixed offset."""
    if zone is None:
        return None
    offset = zone.utcoffset(None)
    if offset is not None:
        return "UTC" if not offset else int(offset.total_seconds())
    return str(zone)


def zone_from_state(state: Any) -> tzinfo | None:
    """Return the time zone again."""
    if state is None:
        return None
    if type(state) is int:
        check_that(abs(state) < 86_400, "an offset from UTC is more than a day")
        return timezone(timedelta(seconds=state))
    check_that(isinstance(state, str) and _ZONE_NAME.fullmatch(state), "a time zone has no name")
    return timezone.utc if state == "UTC" else ZoneInfo(state)  # noqa: UP017 - what pandas has for UTC


def _moment_to_state(moment: pd.Timestamp | pd.Timedelta) -> dict[str, Any]:
    return {"count": int(moment.to_numpy().astype("int64")), "unit": moment.unit}


def _check_moment(state: Any, *further: str) -> dict[str, Any]:
    content = check_fields(state, ("count", "unit", *further), "moment")
    check_that(content["unit"] in _UNITS and type(content["count"]) is int, "a timestamp has an unknown unit")
    return content


def _timestamp_to_state(moment: pd.Timestamp) -> dict[str, Any]:
    return {**_moment_to_state(moment), "zone": zone_to_state(moment.tz)}


def _timestamp_from_state(state: Any) -> pd.Timestamp:
    content, zone = _check_moment(state, "zone"), zone_from_state(state.get("zone"))
    moment = pd.Timestamp(np.datetime64(content["count"], content["unit"]))
    return moment if zone is None else moment.tz_localize("UTC").tz_convert(zone)


def _timedelta_from_state(state: Any) -> pd.Timedelta:
    content = _check_moment(state)
    return pd.Timedelta(np.timedelta64(content["count"], content["unit"]))


def _null_to_state(_: Any) -> None:
    return None


STATES = (
    State("pandas.Timestamp", (pd.Timestamp,), _timestamp_to_state, _timestamp_from_state),
    State("pandas.Timedelta", (pd.Timedelta,), _moment_to_state, _timedelta_from_state),
    State("pandas.NaT", (type(pd.NaT),), _null_to_state, lambda _: pd.NaT),
    State("pandas.NA", (type(pd.NA),), _null_to_state, lambda _: pd.NA),
)
