"""The progress of a run or a backfill: a bar on a terminal, a line for each step elsewhere, nothing with --json."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import click

from diurnal.pipeline.flow import step_names

if TYPE_CHECKING:
    from rich.progress import Progress

    from diurnal.types import DataInterval


class NoProgress:
    """Print nothing; the base class of the others."""

    def on_step_start(self, name: str) -> None:
        """Report that a step starts."""

    def on_step_end(self, name: str, seconds: float) -> None:
        """Report that a step has ended, and its duration in seconds."""

    def on_fits(self, done: int, total: int) -> None:
        """Report the number of fits that `tune` has done."""


class LineProgress(NoProgress):
    """Print a line for each step."""

    def on_step_end(self, name: str, seconds: float) -> None:
        """Print the duration of the step."""
        click.echo(f"{name:<12}{seconds:8.2f} s", err=True)


class BarProgress(NoProgress):
    """Show a bar of steps, with the number of fits beside it.

    Parameters
    ----------
    bar : rich.progress.Progress
        The bar.
    intervals : sequence of DataInterval
        The data intervals to run, in their order.
    """

    def __init__(self, bar: Any, intervals: Sequence[DataInterval]) -> None:
        self._bar = bar
        self._intervals = intervals
        self._n_started = 0  # data intervals
        self._task = bar.add_task("", total=len(intervals) * len(step_names()))

    def on_step_end(self, name: str, seconds: float) -> None:  # noqa: ARG002 - the bar shows steps, not seconds
        """Advance by one step."""
        self._bar.advance(self._task)

    def on_step_start(self, name: str) -> None:
        """Show the step; `fetch` starts the next data interval, even after a run that ended early."""
        if name == step_names()[0]:
            self._bar.update(self._task, completed=self._n_started * len(step_names()))
            self._n_started += 1
        self._describe(name)

    def on_fits(self, done: int, total: int) -> None:
        """Show how many fits are done."""
        self._describe(f"tune {done}/{total}")

    def _describe(self, text: str) -> None:
        self._bar.update(self._task, description=f"{self._intervals[self._n_started - 1]} {text}")


def show_fits(json_: bool) -> AbstractContextManager[Callable[[int, int], None] | None]:
    """Show on a terminal how many fits of a single search are done."""
    return show_count("tune", json_)


@contextmanager
def show_count(description: str, json_: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Show on a terminal how many of a number of things are done."""
    if json_ or not sys.stderr.isatty():
        yield None
        return
    with _make_bar() as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def show_progress(intervals: Sequence[DataInterval], json_: bool) -> Iterator[NoProgress]:
    """Show the progress of the runs of some data intervals."""
    if json_ or not sys.stderr.isatty():
        yield NoProgress() if json_ else LineProgress()
        return
    with _make_bar() as bar:
        yield BarProgress(bar, intervals)


def _make_bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = [TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
    return Progress(*columns, console=Console(stderr=True), transient=True)
