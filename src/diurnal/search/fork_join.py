"""Threads that share the fits of a search, and that stop where they gain nothing.

The pool begins with the calling thread alone: most small searches end before a second thread would help. Later it
starts the other threads, and measures how long they can run. A thread that waits for the interpreter lock cannot run;
one that waits for a processor can. So the pool keeps as many threads as can run at the same time.

A task may divide itself: it calls :meth:`ForkJoinPool.map` again, and idle threads take parts of it. They take the
outermost tasks first, the folds, so that each thread has its own matrices for as long as possible:

    thread 0 (the caller)   fold 0 ────────┐ fold 2 ───┬─ svc(C=1) ─┐
    thread 1                fold 1 ──────────────┐ idle └─ svc(C=10) ┴─ ...
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

T = TypeVar("T")

START_SECONDS = 0.03  # of work, before a second thread starts, unless a pool has another value
WINDOW_SECONDS = 0.15  # between two measurements of the threads
SPIN_SECONDS = 0.15  # threads of OpenBLAS wait actively for 0.1 s after a computation, which may be before the search
MAX_OWN_CORES = 1.2  # fits that use more processors than this have threads of their own


class CoreUsage:
    """The processors that this process uses, without other Python threads that run already: they are not the search's.

    A service or a monitor of memory may run beside a search. A fit with threads of its own starts them later.
    """

    def __init__(self) -> None:
        here = threading.get_native_id()
        ids = (thread.native_id for thread in threading.enumerate())
        self._others = [thread for thread in ids if thread is not None and thread != here]
        self.restart()

    def restart(self) -> None:
        """Begin a measurement."""
        self._start = self._cpu_seconds(), time.perf_counter()

    def n_cores(self, min_seconds: float = 0.01) -> float:
        """Return the mean number of processors in use since the measurement began."""
        cpu, wall = self._start
        return (self._cpu_seconds() - cpu) / max(time.perf_counter() - wall, min_seconds)

    def _cpu_seconds(self) -> float:
        others = map(_thread_times, self._others)
        return time.process_time() - sum(times[0] for times in others if times)


@dataclass(eq=False, slots=True)
class _Group:
    """The tasks of one call of `map`."""

    function: Callable[[Any], Any]
    items: Sequence[Any]
    depth: int
    stops: Callable[[], bool]
    pending: deque[int] = field(default_factory=deque)
    results: list[Any] = field(default_factory=list)
    n_running: int = 0
    error: BaseException | None = None

    def __post_init__(self) -> None:
        self.pending, self.results = deque(range(len(self.items))), [None] * len(self.items)

    def take(self) -> int | None:
        """Return the next task; None if there is none, or no further one is to begin."""
        if self.pending and (self.error is not None or self.stops()):
            self.pending.clear()
        if not self.pending:
            return None
        self.n_running += 1
        return self.pending.popleft()


class ForkJoinPool:
    """Runs tasks on the calling thread, and on further threads while they gain.

    Parameters
    ----------
    n_threads : int
        The greatest number of threads, including the calling one.
    thread_context : callable, optional
        Returns a context manager in which each thread works.
    start_seconds : float, optional
        The seconds of work before a second thread starts.

    Attributes
    ----------
    n_allowed : int
        The number of threads that may take tasks now.
    is_limited : bool
        Whether threads were stopped because they waited for the interpreter lock.

    Examples
    --------
    >>> with ForkJoinPool(2) as pool:
    ...     pool.map(abs, [-1, 2, -3])
    [1, 2, 3]
    """

    def __init__(
        self,
        n_threads: int,
        thread_context: Callable[[], AbstractContextManager[Any]] = nullcontext,
        start_seconds: float | None = None,
    ) -> None:
        self.n_threads, self._thread_context = n_threads, thread_context
        self._start_seconds = START_SECONDS if start_seconds is None else start_seconds
        self.n_allowed, self.is_limited = 1, False
        self._changed, self._closed = threading.Condition(), threading.Event()
        self._groups: list[_Group] = []  # the outermost first
        self._threads: list[threading.Thread] = []
        self._busy: set[int] = set()  # native ids of the threads that have a task
        self._local, self._usage = threading.local(), CoreUsage()

    def __enter__(self) -> Self:
        self._context = self._thread_context()
        self._context.__enter__()
        if self.n_threads > 1:
            self._start_thread(self._adapt)
        return self

    def __exit__(self, *error: object) -> None:
        self._closed.set()
        with self._changed:
            for group in self._groups:
                group.pending.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._context.__exit__(None, None, None)

    def map(
        self, function: Callable[[T], Any], items: Sequence[T], *, stops: Callable[[], bool] = lambda: False
    ) -> list[Any]:
        """Call a function for each item; return the results in the order of the items.

        Parameters
        ----------
        function : callable
        items : sequence
        stops : callable, optional
            If it returns True, no further item begins; the results of those that have not begun are None.

        Raises
        ------
        BaseException
            The first error of a call. Calls that run are completed, and no further one begins.
        """
        group = _Group(function, items, getattr(self._local, "depth", 0), stops)
        with self._changed:
            self._groups.append(group)
            if len(items) > 1:
                self._changed.notify_all()
        try:
            while self._run_next([group]):
                pass
            self._help_until_done(group)
        finally:
            with self._changed:
                self._groups.remove(group)
        if group.error is not None:
            raise group.error
        return group.results

    def _help_until_done(self, group: _Group) -> None:
        """Wait for the tasks of a group that other threads run; meanwhile run tasks into which they divide."""
        while True:
            with self._changed:
                if not group.n_running:
                    return
                inner = [other for other in self._groups if other.depth > group.depth]
                if not any(other.pending for other in inner):
                    self._busy.discard(threading.get_native_id())
                    self._changed.wait()
                    continue
            self._run_next(inner)

    def _run_next(self, groups: Sequence[_Group]) -> bool:
        """Run the next task of these groups; return whether there was one."""
        with self._changed:
            taken = next(((group, task) for group in groups if (task := group.take()) is not None), None)
            if taken is None:
                return False
            self._busy.add(threading.get_native_id())
        group, task = taken
        depth, self._local.depth = getattr(self._local, "depth", 0), group.depth + 1
        try:
            group.results[task] = group.function(group.items[task])
        except BaseException as error:  # noqa: BLE001 - `map` raises it in the thread that has called it
            group.error = group.error or error
        finally:
            self._local.depth = depth
            with self._changed:
                group.n_running -= 1
                if not group.n_running and not group.pending:
                    self._changed.notify_all()
        return True

    def _start_thread(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=contextvars.copy_context().run, args=(target, *args), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self, number: int) -> None:
        """Take tasks until the pool closes, while so many threads are allowed."""
        with self._thread_context():
            while not self._closed.is_set():
                if number < self.n_allowed and self._run_next(list(self._groups)):
                    continue
                with self._changed:
                    self._busy.discard(threading.get_native_id())
                    is_idle = number >= self.n_allowed or not any(group.pending for group in self._groups)
                    if is_idle and not self._closed.is_set():
                        self._changed.wait()

    def _adapt(self) -> None:
        """Start the other threads if the search is long enough, and stop those that gain nothing."""
        begin, seconds = time.perf_counter(), self._start_seconds
        while True:
            self._usage.restart()
            if self._closed.wait(seconds):
                return
            if self._usage.n_cores() <= MAX_OWN_CORES:
                break
            if time.perf_counter() - begin > SPIN_SECONDS:
                seconds = WINDOW_SECONDS  # the fits have threads of their own, at least now
        self.n_allowed = self.n_threads
        for number in range(1, self.n_threads):
            self._start_thread(self._work, number)
        before, n_short = self._runnable_seconds(), 0
        while not self._closed.wait(WINDOW_SECONDS):
            after = self._runnable_seconds()
            busy = before.keys() & after.keys()
            n_runnable = sum((after[i][0] - before[i][0]) / (after[i][1] - before[i][1]) for i in busy)
            before = after
            n_short = n_short + 1 if len(busy) > 1 and n_runnable < len(busy) - 0.5 else 0
            if n_short == 2:  # one window can fall on a pause of the machine
                self.n_allowed, self.is_limited = max(1, round(n_runnable)), True

    def _runnable_seconds(self) -> dict[int, tuple[float, float]]:
        """Return how long each busy thread has run, or waited for a processor, and the time of the measurement."""
        seconds = {}
        for thread in list(self._busy):
            if times := _thread_times(thread):  # without statistics, all threads are kept
                seconds[thread] = sum(times), time.perf_counter()
        return seconds


def _thread_times(thread: int) -> tuple[float, float] | None:
    """Return how long a thread has run, and has waited for a processor; None if it has ended, or not on Linux."""
    try:
        running, waiting, _ = Path(f"/proc/self/task/{thread}/schedstat").read_text().split()
    except (OSError, ValueError):
        return None
    return int(running) / 1e9, int(waiting) / 1e9
