"""The order of the steps of a run, defined once.

:func:`define_flow` calls a function for each step, in order. :func:`~diurnal.pipeline.local_run.run` passes a function
that executes the step; Airflow passes one that makes a task; :func:`dependencies` passes one that records which step
needs which.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Step = Callable[..., Any]

REPEATED_STEPS = ("save_batch", "split")
"""Steps that a finished run executes again: after corrections, its batch may be the batch of the interval again."""


def define_flow(step: Step) -> Any:
    """Call `step` for each step of a run, with its name and the results that it needs."""
    batch = step("fetch")
    step("save_batch", batch)
    samples = step("split", batch)
    search = step("tune", samples)
    evaluation = step("evaluate", samples, search)
    recorded = step("record", search, evaluation)
    model = step("refit", samples, search)
    version = step("publish", recorded, model)
    return step("promote", version, evaluation)


def dependencies() -> list[tuple[str, str]]:
    """Return each step with a step that needs its result.

    Examples
    --------
    >>> dependencies()[:3]
    [('fetch', 'save_batch'), ('fetch', 'split'), ('split', 'tune')]
    """
    pairs: list[tuple[str, str]] = []

    def step(name: str, *inputs: str) -> str:
        pairs.extend((earlier, name) for earlier in inputs)
        return name

    define_flow(step)
    return pairs


def step_names() -> list[str]:
    """Return the names of the steps, in order."""
    names: list[str] = []
    define_flow(lambda name, *_: names.append(name))
    return names
