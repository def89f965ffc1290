"""Arguments of ``@experiment`` that depend on each other: columns that a fit needs beside X and y, and the split."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from diurnal.errors import ExperimentError

NEEDS = ("groups", "sample_weight", "order_by")
SPLITS = ("hash", "time")
DEFAULT_TEST_SIZE = 0.3
_SHORTEST = {
    None: timedelta(days=1), "@hourly": timedelta(hours=1), "@daily": timedelta(days=1), "@weekly": timedelta(weeks=1),
    "@monthly": timedelta(days=28), "@quarterly": timedelta(days=90), "@yearly": timedelta(days=365),
}  # fmt: skip


def check_row_arguments(arguments: Mapping[str, Any]) -> None:
    """Reject arguments that contradict each other.

    Parameters
    ----------
    arguments : Mapping of str to Any
        All arguments, checked each by itself.

    Raises
    ------
    ExperimentError
        On the first contradiction.
    """
    for name in NEEDS:
        if arguments[name] == arguments["target"]:
            raise ExperimentError(
                f"the target {arguments['target']!r} is also the column of {name}",
                hint=f"name another column in {name}",
            )
    if arguments["split"] == "time":
        _check_time_split(arguments)


def _check_time_split(arguments: Mapping[str, Any]) -> None:
    if _has_one_interval(arguments["window"], arguments["schedule"]):
        raise ExperimentError(
            'split="time" tests on the newest data interval of the window and trains on the earlier ones, and '
            f"window={arguments['window']!r} has one interval",
            hint='write, for example, window="30d", window=7 or window="all"',
        )
    if arguments["groups"] is not None:
        raise ExperimentError(
            f'split="time" decides the role of a row by its interval, and groups={arguments["groups"]!r} by its group',
            hint='leave out split="time" if no group may be in train and test, else leave out groups',
        )
    if arguments["test_size"] != DEFAULT_TEST_SIZE:
        raise ExperimentError(
            f'test_size={arguments["test_size"]!r} has no meaning with split="time": the newest interval is the test',
            hint="leave out test_size",
        )


def _has_one_interval(window: int | str, schedule: Any) -> bool:
    """Return whether a window contains one data interval only; False for cron expressions, whose interval varies."""
    if window == "all" or isinstance(window, int):
        return window == 1
    unit = {"h": "hours", "d": "days", "w": "weeks"}[window[-1]]
    length = schedule if isinstance(schedule, timedelta) else _SHORTEST.get(schedule)
    return length is not None and timedelta(**{unit: int(window[:-1])}) < 2 * length


def non_default_arguments(experiment: Any) -> dict[str, Any]:
    """Return the arguments without default values: only these count in the digest of an experiment's code."""
    columns = {name: getattr(experiment, name) for name in NEEDS if getattr(experiment, name) is not None}
    return columns | ({} if experiment.split == "hash" else {"split": experiment.split})
