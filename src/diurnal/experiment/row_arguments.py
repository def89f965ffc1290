"""What a fit needs beside X and y, and how train and test are told apart: what these arguments say together."""

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


def refuse_contradictions(arguments: Mapping[str, Any]) -> None:
    """Refuse arguments that contradict each other.

    Parameters
    ----------
    arguments : Mapping of str to Any
        All of them, in their checked form.

    Raises
    ------
    ExperimentError
        On the first contradiction.
    """
    for name in NEEDS:
        if arguments[name] == arguments["target"]:
            raise ExperimentError(
                f"the target {arguments['target']!r} is given as {name} too", hint=f"name another column in {name}"
            )
    if arguments["split"] == "time":
        _refuse_contradictions_of_time(arguments)


def _refuse_contradictions_of_time(arguments: Mapping[str, Any]) -> None:
    if _holds_one(arguments["window"], arguments["schedule"]):
        raise ExperimentError(
            'split="time" tests on the newest data interval of the window and trains on the earlier ones, and '
            f"window={arguments['window']!r} holds one",
            hint='write, say, window="30d", window=7 or window="all"',
        )
    if arguments["groups"] is not None:
        raise ExperimentError(
            f'split="time" decides the role of a row by its interval, and groups={arguments["groups"]!r} by its group',
            hint='leave out split="time" where no group may be in train and test, or else groups',
        )
    if arguments["test_size"] != DEFAULT_TEST_SIZE:
        raise ExperimentError(
            f'test_size={arguments["test_size"]!r} has no meaning with split="time": the newest interval is the test',
            hint="leave out test_size",
        )


def _holds_one(window: int | str, schedule: Any) -> bool:
    """Tell whether a window can hold one data interval only; of cron expressions this is not known here."""
    if window == "all" or isinstance(window, int):
        return window == 1
    unit = {"h": "hours", "d": "days", "w": "weeks"}[window[-1]]
    length = schedule if isinstance(schedule, timedelta) else _SHORTEST.get(schedule)
    return length is not None and timedelta(**{unit: int(window[:-1])}) < 2 * length


def given(experiment: Any) -> dict[str, Any]:
    """Give the arguments that are not at their defaults: only these count in the digest of an experiment's code."""
    named = {name: getattr(experiment, name) for name in NEEDS if getattr(experiment, name) is not None}
    return named | ({} if experiment.split == "hash" else {"split": experiment.split})
