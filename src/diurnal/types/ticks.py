"""The ticks of a schedule: the instants at which its data intervals start, in a timezone.

They are equal to the ticks of Airflow's ``CronDataIntervalTimetable``. An expression with ``*`` in its field of hours
ticks by elapsed time, also in the hour that is repeated when clocks are set back. Any other expression ticks at local
times, each once, as :mod:`diurnal.types.timezones` defines them. A timedelta is elapsed time from its anchor.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, cast

from diurnal.errors import ExperimentError
from diurnal.types import timezones
from diurnal.types.schedule import PRESETS, Schedule, cron_expression

if TYPE_CHECKING:
    from croniter import croniter

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
_HINT = 'declare timezone="UTC", or a schedule of every hour of every day, or of one tick an hour'


def last_tick(schedule: Schedule, moment: datetime, anchor: datetime | None, timezone: str) -> datetime:
    """Return the last tick that is not after a moment, in UTC."""
    if isinstance(schedule, timedelta):
        origin = anchor or _EPOCH
        return origin + (moment - origin) // schedule * schedule
    # croniter searches strictly before a time, and ticks are whole minutes
    minute = moment.replace(second=0, microsecond=0) + _MINUTE
    return _adjacent_tick(_cron_of_schedule(schedule), minute, timezone, "get_prev")


def next_tick(schedule: Schedule, tick: datetime, timezone: str) -> datetime:
    """Return the tick after another one, in UTC."""
    if isinstance(schedule, timedelta):
        return tick + schedule
    return _adjacent_tick(_cron_of_schedule(schedule), tick, timezone, "get_next")


def _cron_of_schedule(schedule: str | None) -> str:
    """Return the cron expression of a schedule; without a schedule, a data interval is a calendar day."""
    return cron_expression(schedule or PRESETS["@daily"])


def _adjacent_tick(cron: str, moment: datetime, timezone: str, direction: Literal["get_prev", "get_next"]) -> datetime:
    """Return the tick of an expression that is strictly before or after a moment."""
    if timezone == "UTC":
        return next(_local_ticks(cron, timezones.instant_to_local(moment, timezone), direction)).replace(tzinfo=UTC)
    if _is_hourly(cron):
        shown = timezones.instant_to_local(moment, timezone)
        return moment + (next(_local_ticks(cron, shown, direction)) - shown)
    forward = direction == "get_next"
    offsets = [timezones.utc_offset(moment + days * _DAY, timezone) for days in (-1, 0, 1)]
    # start early enough: a local time before a change may be an instant after it
    begin = moment.replace(tzinfo=None) + (min(offsets) if forward else max(offsets))
    ticks = (timezones.local_to_instant(tick, timezone) for tick in _local_ticks(cron, begin, direction))
    return next(tick for tick in ticks if (tick > moment if forward else tick < moment))


def _local_ticks(cron: str, begin: datetime, direction: Literal["get_prev", "get_next"]) -> Iterator[datetime]:
    """Yield the ticks before or after a local time, nearest first."""
    ticks = _start_croniter(cron, begin)
    while True:
        yield getattr(ticks, direction)()


def _start_croniter(cron: str, begin: datetime) -> croniter:
    from croniter import croniter

    return croniter(cron, start_time=begin, ret_type=datetime)


@lru_cache(maxsize=256)
def _expanded_fields(cron: str) -> tuple[frozenset[object], ...]:
    return tuple(map(frozenset, _start_croniter(cron, datetime(2000, 1, 1)).expanded))  # noqa: DTZ001 - only the fields are used


def _is_hourly(cron: str) -> bool:
    """Return whether an expression ticks in every hour of its days; Airflow uses the same test."""
    return _expanded_fields(cron)[1] == {"*"}


@lru_cache(maxsize=256)
def check_clock_changes(schedule: Schedule, timezone: str) -> None:
    """Reject a schedule whose data intervals Airflow's timetable loses or repeats at a clock change.

    Raises
    ------
    ExperimentError
        With the date of such a change.
    """
    if isinstance(schedule, timedelta) or timezone == "UTC":
        return
    cron = _cron_of_schedule(schedule)
    is_lost = _is_lost_hourly if _is_hourly(cron) else _is_lost
    lost = [change for change in timezones.offset_changes(timezone) if is_lost(cron, change)]
    if lost:
        day = timezones.instant_to_local(lost[-1].instant, timezone).date()
        raise ExperimentError(
            f"schedule={schedule!r} and timezone={timezone!r} cannot be combined: at a clock change (as on {day}), "
            "Airflow's timetable loses or repeats a data interval",
            hint=_HINT,
        )


def _is_lost_hourly(cron: str, change: timezones.OffsetChange) -> bool:
    """Return whether a change moves the minutes of an hourly schedule, or is in one of its pauses."""
    minutes = _expanded_fields(cron)[0]
    moved = (change.after - change.before) // _MINUTE % 60
    if minutes != {"*"} and {(cast("int", minute) + moved) % 60 for minute in minutes} != minutes:
        return True
    shown = (change.instant + change.before).replace(tzinfo=None)
    before = next(_local_ticks(cron, shown + _MINUTE, "get_prev"))
    return next(_local_ticks(cron, shown, "get_next")) - before > _HOUR


def _is_lost(cron: str, change: timezones.OffsetChange) -> bool:
    """Return whether a change skips a tick, and another tick precedes the replacement of the skipped one."""
    gap = change.after - change.before
    shown = (change.instant + change.before).replace(tzinfo=None)
    ticks = _local_ticks(cron, shown - _MINUTE, "get_next")
    first, second = next(ticks), next(ticks)
    return first < shown + gap and second < first + gap
