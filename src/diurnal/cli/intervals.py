"""The data intervals of a command: that of a date, the next one without a result, the last complete one."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from diurnal.cli.project_session import find_valid_experiment
from diurnal.errors import UsageError

if TYPE_CHECKING:
    from diurnal.experiment import Experiment
    from diurnal.runtime import Settings
    from diurnal.storage.stores import Stores
    from diurnal.types import DataInterval

_OFFSET = re.compile(r"-\d+T\d{6}[+-]\d{4}")  # in a run id: a data interval in another timezone than UTC


def resolve_interval(experiment: Experiment, stores: Stores, date: str | None, *, is_next: bool) -> DataInterval:
    """Return the data interval of a date, the next one without a result, or the last complete one."""
    if date and is_next:
        raise UsageError("--date and --next exclude each other", hint="use one of them")
    if date:
        return experiment.calendar.interval_on(date)
    return next_interval(experiment, stores) if is_next else last_complete_interval(experiment)


def last_complete_interval(experiment: Experiment) -> DataInterval:
    """Return the last complete data interval."""
    # The clock is read here, in the command line, and only to choose the interval of a command without a date.
    return experiment.calendar.last_complete_interval(datetime.now(UTC) - experiment.label_delay)


def next_interval(experiment: Experiment, stores: Stores) -> DataInterval:
    """Return the first data interval without a result; the last complete one if each has a result."""
    return first_without_result(experiment, stores) or last_complete_interval(experiment)


def first_without_result(experiment: Experiment, stores: Stores) -> DataInterval | None:
    """Return the first complete data interval without a result; None if each has one.

    They are counted from the start date, else from the first interval that has a result. An interval that ended for
    lack of data is skipped: its batch is part of later windows. So is one that overlaps an interval with a result, as
    after a change of schedule or timezone, since a run of it would be rejected.
    """
    ends = stores.warehouse.finished_intervals(experiment.name)
    moment = experiment.start_date or min(ends, default=None)
    if moment is None:
        return None
    while True:
        # Finished intervals mostly follow each other: the stored ends are followed, as a schedule is slow to evaluate.
        while moment in ends:
            moment = ends[moment]
        candidate = experiment.calendar.first_interval_from(moment)
        overlapping = [end for start, end in ends.items() if start < candidate.end and end > candidate.start]
        if not overlapping:
            return candidate if experiment.complete_at(candidate) <= datetime.now(UTC) else None
        moment = max(overlapping)


def describe_first_intervals(experiment: Experiment) -> list[str]:
    """Return a line for each of the first two data intervals, and for the next one in which clocks change."""
    from diurnal.types import timezones

    calendar, now = experiment.calendar, datetime.now(UTC)
    first = (
        calendar.first_interval_from(experiment.start_date)
        if experiment.start_date
        else calendar.last_complete_interval(now)
    )
    shown = [first, calendar.next_interval(first)]
    changes = (change.instant for change in timezones.offset_changes(experiment.timezone))
    shown += [calendar.interval_containing(change) for change in changes if change > max(now, shown[-1].end)][:1]
    return [_describe_interval(interval) for interval in shown]


def _describe_interval(interval: DataInterval) -> str:
    start, end = interval.local.start, interval.local.end
    hours = (interval.end - interval.start).total_seconds() / 3600
    return f"{interval}: {start:%Y-%m-%d %H:%M %Z} to {end:%Y-%m-%d %H:%M %Z}, {hours:g} h"


def localize_rows(rows: list[dict[str, Any]], settings: Settings, name: str) -> list[dict[str, Any]]:
    """Return rows with their data intervals in the timezone of the experiment; in UTC if the project has none.

    The experiment is looked up only if a run id has an offset, as the import of its file may take seconds.
    """
    has_offset = any(_OFFSET.search(row["run_id"]) for row in rows)
    experiment = find_valid_experiment(settings, name) if has_offset else None
    return rows if experiment is None else localize_intervals(rows, experiment.timezone)


def localize_intervals(rows: list[dict[str, Any]], timezone: str) -> list[dict[str, Any]]:
    """Return rows with the ends of data intervals and windows in a timezone."""
    from diurnal.types import timezones

    zone = timezones.get_timezone(timezone)
    return [
        row | {column: row[column].astimezone(zone) for column in _INTERVAL_COLUMNS if row.get(column) is not None}
        for row in rows
    ]


_INTERVAL_COLUMNS = ("data_interval_start", "data_interval_end", "truth_interval", "window_start", "window_end")
