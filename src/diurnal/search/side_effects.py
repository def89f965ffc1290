"""Side effects of fits: warnings, and random numbers drawn from NumPy's global generator.

Warnings
    scikit-learn fits a shared prefix once per candidate, and warns each time. A shared fit warns once. So warnings are
    recorded per call, and issued again for each call that the fit stands for, in scikit-learn's order.
Random numbers
    A fit that draws from the global generator draws other numbers each time, so it cannot be shared.
    :class:`GlobalRngUsed` ends the whole round then; the generator is set back to its state before the round, and
    scikit-learn makes all calls.
"""

from __future__ import annotations

import threading
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC, SVR, NuSVC, NuSVR, OneClassSVM

from diurnal.search.warning_filters import own_warning_filters

RecordedWarning = tuple[Any, type[Warning], str, int]  # message, category, file name and line


_SVMS = {SVC, NuSVC, SVR, NuSVR, OneClassSVM}


class GlobalRngUsed(BaseException):
    """A fit has drawn from NumPy's global generator.

    It derives from BaseException so that code which catches the failure of a single fit does not catch it.
    """


class SideEffectMonitor:
    """Records the side effects of all fits in one round of a search, in all of its threads.

    Attributes
    ----------
    warned : dict of int to list
        The recorded warnings of each call, in their order.
    """

    def __init__(self) -> None:
        self._rng_state = np.random.get_state()
        self._rng_position = _rng_position(self._rng_state)
        self._local = threading.local()
        self.warned: dict[int, list[RecordedWarning]] = defaultdict(list)

    def check_rng(self) -> None:
        """Raise :class:`GlobalRngUsed` if the global generator has been used since the monitor was created."""
        if _rng_position(np.random.get_state()) != self._rng_position:
            raise GlobalRngUsed

    def restore_rng(self) -> None:
        """Set the global generator back to its state when the monitor was created."""
        np.random.set_state(self._rng_state)

    @contextmanager
    def capture_warnings(self) -> Iterator[None]:
        """Record all warnings of the calling thread in the block instead of showing them."""
        with own_warning_filters():
            warnings.simplefilter("always")
            warnings.showwarning = self._record  # type: ignore[assignment]  # it takes more than it needs to
            yield

    @contextmanager
    def attribute_warnings(self, calls: list[int]) -> Iterator[None]:
        """Attribute the warnings of the block to these calls, and suppress its exceptions.

        If the block fails, its warnings are dropped: scikit-learn repeats the calls and warns itself. Blocks are nested
        as the nodes of the tree are. A warning of an outer block (the fit of a prefix) comes before the warnings of the
        inner blocks (the fits behind it), although the outer block ends last.
        """
        outer_calls, outer_notes = getattr(self._local, "calls", None), getattr(self._local, "notes", None)
        own: list[RecordedWarning] = []
        self._local.calls, self._local.notes = calls, own
        try:
            yield
        except Exception:  # noqa: BLE001 - scikit-learn repeats the call, and reports the failure
            own.clear()
        finally:
            self._local.calls, self._local.notes = outer_calls, outer_notes
            for call in calls:
                self.warned[call][:0] = own

    @contextmanager
    def collect_warnings(self) -> Iterator[list[RecordedWarning]]:
        """Yield a list that receives the warnings of the block when it ends; they are recorded as usual, too."""
        notes, collected = getattr(self._local, "notes", []), list[RecordedWarning]()
        before = len(notes)
        yield collected
        collected.extend(notes[before:])

    def replay_warnings(self, collected: list[RecordedWarning]) -> None:
        """Record collected warnings once more, as if they were issued now."""
        getattr(self._local, "notes", []).extend(collected)

    def _record(self, message: Any, category: Any, filename: str, lineno: int, *_: Any) -> None:
        notes = getattr(self._local, "notes", None)
        if notes is not None:
            notes.append((message, category, filename, lineno))


@contextmanager
def preserve_rng_for_svm(estimator: Any) -> Iterator[None]:
    """Prevent a support vector machine from drawing a seed that it does not use.

    `BaseLibSVM.fit` draws a seed from `random_state` in any case, and uses it for the estimation of probabilities only.
    Within the block `random_state` is 0 where it is None and probabilities are off, so the global generator is not
    used, and the fit can be shared.
    """
    params = estimator.get_params(deep=False) if type(estimator) in _SVMS else None
    seed_unused = params is not None and params.get("probability", False) in (False, "deprecated")
    if not seed_unused or estimator.random_state is not None:
        yield
        return
    estimator.random_state = 0
    try:
        yield
    finally:
        estimator.random_state = None


def is_unseeded(params: Mapping[str, Any], estimator: Any) -> bool:
    """Return whether an estimator has a `random_state` that is None, and may use it.

    Parameters
    ----------
    params : Mapping of str to Any
        The parameters of the estimator, and those of estimators within it.
    estimator : estimator
    """
    if all(value is not None for name, value in params.items() if name.rpartition("__")[2] == "random_state"):
        return False
    is_lbfgs = type(estimator) is LogisticRegression and params.get("solver") == "lbfgs"
    is_svm = type(estimator) in _SVMS and params.get("probability", False) in (False, "deprecated")
    return not is_lbfgs and not is_svm


def warnings_are_errors() -> bool:
    """Return whether the current filters can turn a warning into an error."""
    for action, message, category, module, line in warnings.filters:
        if action == "error":
            return True
        if message is None and module is None and category is Warning and not line:
            return False  # this filter matches every warning, so the filters after it have no effect
    return False


def reissue_warnings(recorded: list[RecordedWarning]) -> None:
    """Issue recorded warnings through the current filters."""
    for message, category, filename, lineno in recorded:
        warnings.warn_explicit(message, category, filename, lineno)


def _rng_position(state: Any) -> tuple[int, int]:
    """Return what changes with every draw: the position in the generator's block, and the first number of the block."""
    return int(state[2]), int(state[1][0])
