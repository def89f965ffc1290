"""Sees what a fit does beside its fit: the warnings it gives, and the random numbers it draws from NumPy's one stream.

scikit-learn would fit a shared prefix once for each candidate and warn each time; so do we, by saying again what was
said. A fit that draws from the global stream has another draw each time; nothing can be shared then, and
:class:`Drawn` calls the whole round off, with the stream put back to where it was.
"""

from __future__ import annotations

import threading
import warnings
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.svm import SVC, SVR, NuSVC, NuSVR, OneClassSVM

Note = tuple[Any, type[Warning], str, int]


class Drawn(BaseException):
    """A fit has drawn from the global stream. No `Exception`, so that nobody who catches failures stops it."""


class Witness:
    """Watches one round of a search, in all of its threads."""

    def __init__(self) -> None:
        self._before = np.random.get_state()
        self._mark = _mark(self._before)
        self._here = threading.local()
        self.warned: dict[int, list[Note]] = defaultdict(list)

    def check_draws(self) -> None:
        """Raise :class:`Drawn` if anybody has drawn from the global stream since the beginning."""
        if _mark(np.random.get_state()) != self._mark:
            raise Drawn

    def put_back(self) -> None:
        """Put the global stream back to where it was."""
        np.random.set_state(self._before)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Take down all warnings instead of showing them, until the end of the block."""
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = self._take_down  # type: ignore[assignment]  # it takes more than it needs to
            yield

    @contextmanager
    def watch(self, calls: list[int]) -> Iterator[None]:
        """Take warnings down for these calls; what fails is forgotten, for it will be called again."""
        outer = getattr(self._here, "calls", None)
        mine: list[Note] = []
        outer_notes = getattr(self._here, "notes", None)
        self._here.calls, self._here.notes = calls, mine
        try:
            yield
        except Exception:  # noqa: BLE001 - whatever fails is called again by scikit-learn, and fails there
            mine.clear()
        finally:
            self._here.calls, self._here.notes = outer, outer_notes
            for call in calls:
                self.warned[call][:0] = mine  # what is further out was said before

    @contextmanager
    def listening(self) -> Iterator[list[Note]]:
        """Give what is warned of in the block, once it is over; it is taken down as ever."""
        notes, heard = getattr(self._here, "notes", []), list[Note]()
        before = len(notes)
        yield heard
        heard.extend(notes[before:])

    def hear_again(self, heard: list[Note]) -> None:
        """Take warnings down as if they were given now."""
        getattr(self._here, "notes", []).extend(heard)

    def _take_down(self, message: Any, category: Any, filename: str, lineno: int, *_: Any) -> None:
        notes = getattr(self._here, "notes", None)
        if notes is not None:
            notes.append((message, category, filename, lineno))


@contextmanager
def spared(estimator: Any) -> Iterator[None]:
    """Spare the global stream the seed that a support vector machine draws and, without probabilities, never uses."""
    params = estimator.get_params(deep=False) if type(estimator) in {SVC, NuSVC, SVR, NuSVR, OneClassSVM} else None
    unused = params is not None and params.get("probability", False) in (False, "deprecated")
    if not unused or estimator.random_state is not None:
        yield
        return
    estimator.random_state = 0
    try:
        yield
    finally:
        estimator.random_state = None


def strict() -> bool:
    """Tell whether any warning may be turned into an error."""
    for action, message, category, module, line in warnings.filters:
        if action == "error":
            return True
        if message is None and module is None and category is Warning and not line:
            return False  # whatever is below is never reached
    return False


def say_again(notes: list[Note]) -> None:
    """Give warnings that were taken down, through the filters as they are now."""
    for message, category, filename, lineno in notes:
        warnings.warn_explicit(message, category, filename, lineno)


def _mark(state: Any) -> tuple[int, int]:
    return int(state[2]), int(state[1][0])
