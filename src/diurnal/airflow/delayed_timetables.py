"""Timetables that start the run of a data interval a while after its end, when the labels of its rows are complete.

The data interval stays what it is, and a run that has not started holds no slot. Airflow loads such a timetable by the
plugin of this package wherever it reads the Dag: in the scheduler, the API server and the Dag processor.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow._shared.timezones.timezone import coerce_datetime, utcnow
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable, DeltaDataIntervalTimetable

if TYPE_CHECKING:
    from pendulum import DateTime


class DelayedCronTimetable(CronDataIntervalTimetable):
    """Data intervals of a cron expression, whose runs start `delay` after their end.

    Parameters
    ----------
    cron : str
        The expression.
    timezone : str
        On whose clocks it ticks.
    delay : timedelta
        How long after the end of its data interval a run starts.
    """

    def __init__(self, cron: str, timezone: Any, delay: timedelta) -> None:
        super().__init__(cron, timezone)
        self._delay = delay

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> DelayedCronTimetable:
        """Return the timetable of what :meth:`serialize` gave."""
        plain: Any = CronDataIntervalTimetable.deserialize(data)
        return cls(plain._expression, plain._timezone, timedelta(seconds=data["delay"]))

    def serialize(self) -> dict[str, Any]:
        """Return it in JSON's types."""
        return {**super().serialize(), "delay": self._delay.total_seconds()}

    def _skip_to_latest(self, earliest: DateTime | None) -> DateTime:
        """Return the start of the newest data interval whose labels are complete, as ``catchup=False`` begins there."""
        start = self._get_prev(self._align_to_prev(coerce_datetime(utcnow() - self._delay)))
        return start if earliest is None else max(start, self._align_to_next(earliest))

    def infer_manual_data_interval(self, *, run_after: DateTime) -> DataInterval:
        """Return the newest data interval whose labels are complete when a run is triggered."""
        return super().infer_manual_data_interval(run_after=coerce_datetime(run_after - self._delay))

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """Return the data interval of the next run, and when it starts."""
        info = super().next_dagrun_info(
            last_automated_data_interval=last_automated_data_interval, restriction=restriction
        )
        return None if info is None else info._replace(run_after=info.run_after + self._delay)


class DelayedDeltaTimetable(DeltaDataIntervalTimetable):
    """Data intervals of one length, whose runs start `delay` after their end.

    Parameters
    ----------
    length : timedelta
        Of a data interval.
    delay : timedelta
        How long after the end of its data interval a run starts.
    """

    def __init__(self, length: timedelta, delay: timedelta) -> None:
        super().__init__(length)
        self._delay = delay

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> DelayedDeltaTimetable:
        """Return the timetable of what :meth:`serialize` gave."""
        return cls(timedelta(seconds=data["delta"]), timedelta(seconds=data["delay"]))

    def serialize(self) -> dict[str, Any]:
        """Return it in JSON's types."""
        return {**super().serialize(), "delay": self._delay.total_seconds()}

    def _skip_to_latest(self, earliest: DateTime | None) -> DateTime:
        """Return the start of the newest data interval whose labels are complete, as ``catchup=False`` begins there."""
        now = coerce_datetime(utcnow() - self._delay)
        start = self._get_prev(self._round(now, earliest or now))
        return start if earliest is None else max(start, earliest)

    def infer_manual_data_interval(self, run_after: DateTime) -> DataInterval:
        """Return the newest data interval whose labels are complete when a run is triggered."""
        return super().infer_manual_data_interval(coerce_datetime(run_after - self._delay))

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """Return the data interval of the next run, and when it starts."""
        info = super().next_dagrun_info(
            last_automated_data_interval=last_automated_data_interval, restriction=restriction
        )
        return None if info is None else info._replace(run_after=info.run_after + self._delay)
