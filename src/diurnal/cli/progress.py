"""How far a run or a backfill is: a bar on a terminal, a line for each step elsewhere, nothing for machines."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from diurnal.pipeline.flow import step_names

if TYPE_CHECKING:
    from rich.progress import Progress

    from diurnal.types import DataInterval


class Watch:
    """Watches, and says nothing: a machine reads."""

    def step_starts(self, name: str) -> None:
        """Report that a step starts."""

    def step_ends(self, name: str, seconds: float) -> None:
        """Report that a step has ended, and its duration in seconds."""

    def fits(self, done: int, total: int) -> None:
        """Take note of the fits that `tune` has done."""


class Lines(Watch):
    """Says a line for each step."""

    def step_ends(self, name: str, seconds: float) -> None:
        """Print the duration of the step."""
        click.echo(f"{name:<12}{seconds:8.2f} s", err=True)


class Bar(Watch):
    """Moves a bar of steps, and counts the fits beside it."""

    def __init__(self, bar: Any, intervals: Sequence[DataInterval]) -> None:
        self._bar = bar
        self._intervals = intervals
        self._done = 0  # data intervals, whole ones
        self._task = bar.add_task("", total=len(intervals) * len(step_names()))

    def step_ends(self, name: str, seconds: float) -> None:  # noqa: ARG002 - the bar shows steps, not seconds
        """Advance by one step."""
        self._bar.advance(self._task)

    def step_starts(self, name: str) -> None:
        """Show the step; `fetch` starts the next data interval, even after a run that ended early."""
        if name == step_names()[0]:
            self._bar.update(self._task, completed=self._done * len(step_names()))
            self._done += 1
        self._say(name)

    def fits(self, done: int, total: int) -> None:
        """Say how many fits are done."""
        self._say(f"tune {done}/{total}")

    def _say(self, what: str) -> None:
        self._bar.update(self._task, description=f"{self._intervals[self._done - 1]} {what}")


@contextmanager
def fits(json_: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Show on a terminal how many fits of a single search are done."""
    if json_ or not sys.stderr.isatty():
        yield None
        return
    with _bar() as bar:
        task = bar.add_task("tune", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def progress(intervals: Sequence[DataInterval], json_: bool) -> Iterator[Watch]:
    """Show how far the runs of some data intervals are."""
    if json_ or not sys.stderr.isatty():
        yield Watch() if json_ else Lines()
        return
    with _bar() as bar:
        yield Bar(bar, intervals)


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = [TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
    return Progress(*columns, console=Console(stderr=True), transient=True)
