"""Validation of schedules: presets, cron expressions and timedeltas.

No cron library is imported, since Airflow parses every Dag file repeatedly.
"""

from __future__ import annotations

import re
from datetime import timedelta
from functools import lru_cache

from diurnal.errors import ExperimentError, did_you_mean

Schedule = str | timedelta | None

# Airflow's own table; "@once" and "@continuous" have no data intervals.
PRESETS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@quarterly": "0 0 1 */3 *",
    "@yearly": "0 0 1 1 *",
}

_MONTH_LENGTHS = dict.fromkeys(range(1, 13), 31) | {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
_MONTHS = {"jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6}
_MONTHS |= {"jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11, "dec": 12}
_WEEKDAYS = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 7, _WEEKDAYS),
)
_ITEM = re.compile(r"(?P<first>\*|\w+)(?:-(?P<last>\w+))?(?:/(?P<step>\d+))?")
_HINT = f"write {', '.join(PRESETS)}, a cron expression such as '30 6 * * mon-fri', a timedelta or None (manual runs)"


def check_schedule(schedule: Schedule) -> None:
    """Validate a schedule.

    Raises
    ------
    ExperimentError
        With the invalid field and its allowed values.
    """
    if schedule is None:
        return
    if isinstance(schedule, timedelta):
        if schedule < timedelta(minutes=1) or schedule % timedelta(minutes=1):
            raise ExperimentError(
                f"schedule={schedule!r} is not a whole number of minutes", hint="write timedelta(hours=6), for example"
            )
        return
    if not isinstance(schedule, str):
        raise ExperimentError(f"schedule={schedule!r} is a {type(schedule).__name__}", hint=_HINT)
    cron_expression(schedule)


@lru_cache(maxsize=256)
def cron_expression(schedule: str) -> str:
    """Return the five fields of a preset or an expression, validated."""
    if schedule.startswith("@"):
        if schedule not in PRESETS:
            raise ExperimentError(f"schedule={schedule!r} is no preset{did_you_mean(schedule, PRESETS)}", hint=_HINT)
        return PRESETS[schedule]
    fields = schedule.split()
    if len(fields) != len(_FIELDS):
        near = did_you_mean(f"@{schedule}", PRESETS)
        raise ExperimentError(
            f"schedule={schedule!r}: a cron expression has 5 fields, not {len(fields)}{near}", hint=_HINT
        )
    try:
        _, _, days, months, _ = (_parse_field(text, *field) for text, field in zip(fields, _FIELDS, strict=True))
    except ValueError as error:
        raise ExperimentError(f"schedule={schedule!r}: {error}", hint=_HINT) from None
    if fields[-1] == "*" and min(days) > max(_MONTH_LENGTHS[month] for month in months):
        raise ExperimentError(f"schedule={schedule!r} names a day that none of these months has", hint=_HINT)
    return schedule


def _parse_field(text: str, name: str, low: int, high: int, names: dict[str, int]) -> set[int]:
    """Return the numbers of one field of a cron expression."""
    if text == "L" and name == "day of the month":
        return {28}  # the last day: every month has one
    chosen: set[int] = set()
    for item in text.lower().split(","):
        match = _ITEM.fullmatch(item)
        if not match:
            raise ValueError(f"the {name}, {text!r}, is neither *, a number, a range, a step nor a list of them")
        first, last, step = match["first"], match["last"], int(match["step"] or 1)
        begin = low if first == "*" else _parse_number(first, name, low, high, names)
        # Only "*" and "5/10" reach up to the highest value; "5" is 5.
        open_ended = first == "*" or match["step"]
        end = _parse_number(last, name, low, high, names) if last else high if open_ended else begin
        if not 1 <= step <= high or end < begin or (last and first == "*"):
            raise ValueError(f"the {name}, {text!r}, holds a range or a step that selects nothing")
        chosen.update(range(begin, end + 1, step))
    return chosen


def _parse_number(text: str, name: str, low: int, high: int, names: dict[str, int]) -> int:
    number = names.get(text, int(text) if text.isdecimal() else -1)
    if not low <= number <= high:
        names_hint = f" or {', '.join(names)}" if names else ""
        raise ValueError(f"the {name} is {low} to {high}{names_hint}, not {text!r}")
    return number
