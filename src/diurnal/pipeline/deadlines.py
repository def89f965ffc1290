"""When the next result of an experiment is expected: by its calendar, or by the rhythm of its data intervals.

A result is late if it is not there some time after its data are complete (`label_delay` after the end of the data
interval). That tolerance is computed from recorded results: how long runs take, and how long after their data were
complete they ended. An experiment that a timer starts at eight in the morning is therefore not late at one o'clock.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from diurnal.pipeline.history import Answer, History
from diurnal.types import DataInterval
from diurnal.types.recorded_declaration import RecordedDeclaration, Scheduled

LEAST_TOLERANCE = timedelta(hours=1)
_RETIRED_AFTER = timedelta(days=30)
_N_LATENESSES = 14
_DURATION_FACTOR = 3


@dataclass(frozen=True)
class Deadline:
    """The first data interval that has no result yet.

    Attributes
    ----------
    interval : DataInterval
        The data interval; estimated if the schedule is unknown.
    usual_at : datetime
        When its result is usually there, in UTC.
    expected_at : datetime
        When its result is expected at the latest, in UTC.
    """

    interval: DataInterval
    usual_at: datetime
    expected_at: datetime


def next_deadline(
    history: History, experiment: Scheduled | None, now: datetime, *, least: timedelta = LEAST_TOLERANCE
) -> Deadline | None:
    """Return the first data interval after the newest result, and when its result is expected.

    Parameters
    ----------
    history : History
        The recorded results of the experiment.
    experiment : Scheduled, optional
        Its declaration, in the project or as it was recorded. None: the schedule is estimated from the last 30 data
        intervals.
    now : datetime
        The present time.
    least : datetime.timedelta
        The smallest tolerance; it is at most one data interval.

    Returns
    -------
    Deadline or None
        None if no result is expected: without a schedule; if the schedule is unknown, with less than three data
        intervals; and, if the declaration is not that of the project, 30 days after a result was expected and the last
        one was stored, as the experiment may be retired.
    """
    if experiment is None:
        deadline = _deadline_by_rhythm(history, least)
    elif experiment.schedule is None:
        return None
    else:
        deadline = _deadline_by_calendar(history, experiment, now, least)
    may_be_retired = experiment is None or isinstance(experiment, RecordedDeclaration)
    return None if deadline is None or (may_be_retired and _is_long_ago(history, deadline, now)) else deadline


def count_intervals(experiment: Scheduled | None, deadline: Deadline, now: datetime, *, most: int = 100) -> int:
    """Return the number of data intervals whose result is overdue, at most `most`."""
    tolerance = deadline.expected_at - deadline.interval.end
    interval, n = deadline.interval, 0
    while n < most and interval.end + tolerance <= now:
        n += 1
        length = interval.end - interval.start
        following = DataInterval(interval.end, interval.end + length, interval.timezone)
        interval = following if experiment is None else experiment.calendar.next_interval(interval)
    return n


def _deadline_by_calendar(history: History, experiment: Scheduled, now: datetime, least: timedelta) -> Deadline:
    calendar, delay = experiment.calendar, experiment.label_delay
    begin = history.answered_until or experiment.start_date
    interval = calendar.last_complete_interval(now - delay) if begin is None else calendar.first_interval_from(begin)
    length = interval.end - interval.start
    tolerance = _tolerance(history, length, delay, least)
    if begin is None:  # it has never run, and may be new: its newest data interval that is due
        interval = calendar.last_complete_interval(now - delay - tolerance)
    complete_at = experiment.complete_at(interval)
    lateness = _quantile(_usual_latenesses(history, length, delay), 0.5, timedelta(0))
    return Deadline(interval, complete_at + lateness, complete_at + tolerance)


def _tolerance(history: History, length: timedelta, label_delay: timedelta, least: timedelta) -> timedelta:
    """Return how much later than its complete data a result may be."""
    usual = _usual_latenesses(history, length, label_delay)
    longest = max((run.seconds for run in history.runs), default=0.0)
    seen = max(timedelta(seconds=_DURATION_FACTOR * longest), _quantile(usual, 0.9, timedelta(0)))
    return min(least, length) + seen


def _usual_latenesses(history: History, length: timedelta, label_delay: timedelta) -> list[timedelta]:
    """Return how much later than their complete data recent results were.

    A result that is later than one data interval was made by a backfill, and is no example.
    """
    latenesses = [answer.at - answer.interval.end - label_delay for answer in history.answers]
    return [lateness for lateness in latenesses if timedelta(0) <= lateness < length][:_N_LATENESSES]


def _deadline_by_rhythm(history: History, least: timedelta) -> Deadline | None:
    """Return the deadline by the distances of recorded data intervals; a long one is usual, as after weekends."""
    answers = _first_answers(history.answers)
    if len(answers) < 3:
        return None
    starts = [answer.interval.start for answer in answers]
    distance = _quantile([later - earlier for later, earlier in pairwise(starts)], 0.9, least)
    lateness = _quantile(
        [max(timedelta(0), answer.at - answer.interval.end) for answer in answers[:7]], 0.5, timedelta(0)
    )
    interval = DataInterval(answers[0].interval.end, answers[0].interval.end + distance)
    usual_at = interval.end + lateness
    return Deadline(interval, usual_at, usual_at + _tolerance(history, distance, lateness, least))


def _is_long_ago(history: History, deadline: Deadline, now: datetime) -> bool:
    """Return whether a result was expected, and the last one stored, at least 30 days ago."""
    length = deadline.interval.end - deadline.interval.start
    last = max((answer.at for answer in history.answers), default=deadline.expected_at)
    return now - max(deadline.expected_at, last) > max(_RETIRED_AFTER, 10 * length)


def _first_answers(answers: Sequence[Answer]) -> list[Answer]:
    """Return one answer for each data interval, newest first: the earliest, as a correction is no example."""
    first: dict[datetime, Answer] = {}
    for answer in answers:
        known = first.get(answer.interval.start)
        first[answer.interval.start] = answer if known is None or answer.at < known.at else known
    return [first[start] for start in sorted(first, reverse=True)]


def _quantile(values: Sequence[timedelta], share: float, default: timedelta) -> timedelta:
    """Return the smallest of some values that at least a share of them do not exceed."""
    return sorted(values)[math.ceil(share * len(values)) - 1] if values else default
