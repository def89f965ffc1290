"""The data interval that comes next: the first one without a result."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diurnal.experiment import Experiment
    from diurnal.storage.stores import Stores
    from diurnal.types import DataInterval


def following(experiment: Experiment, stores: Stores) -> DataInterval:
    """Give the first data interval without a result; the last complete one where each has a result."""
    return first_without_result(experiment, stores) or last_complete(experiment)


def last_complete(experiment: Experiment) -> DataInterval:
    """Give the last complete data interval."""
    # The clock is read here, at the edge, and only to choose which interval a person means who names none.
    return experiment.calendar.last_complete_interval(datetime.now(UTC))


def first_without_result(experiment: Experiment, stores: Stores) -> DataInterval | None:
    """Give the first complete data interval without a result; None where each has one.

    They count from the start date, else from the first interval that has a result. An interval that ended for lack of
    data is passed over: its batch is part of later windows. So is one that overlaps an interval with a result, as
    after a change of schedule or timezone: it would be refused.
    """
    ends = stores.warehouse.finished_intervals(experiment.name)
    moment = experiment.start_date or min(ends, default=None)
    if moment is None:
        return None
    while True:
        while moment in ends:  # what is stored is contiguous: no schedule has to be asked for each interval of years
            moment = ends[moment]
        found = experiment.calendar.first_interval_from(moment)
        overlapping = [end for start, end in ends.items() if start < found.end and end > found.start]
        if not overlapping:
            return found if found.end <= datetime.now(UTC) else None
        moment = max(overlapping)
