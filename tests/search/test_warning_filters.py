"""Warnings of fits on several threads: the filters of one are not those of another."""

import threading
import warnings
from types import ModuleType

import pytest

from diurnal.search.side_effects import SideEffectMonitor
from diurnal.search.warning_filters import filters_for_each_thread

WAIT = 30


def ignore_while(entered, left):
    """Suppress warnings from one event until another."""
    with warnings.catch_warnings():
        warnings.resetwarnings()
        warnings.simplefilter("ignore")
        entered.set()
        assert left.wait(WAIT)
        warnings.warn("suppressed", stacklevel=1)


@pytest.mark.parametrize("n_blocks", [1, 2])
def test_a_fit_that_suppresses_warnings_leaves_those_of_another_thread(n_blocks):
    monitor, entered, left = SideEffectMonitor(), threading.Event(), threading.Event()

    def suppress():
        with monitor.attribute_warnings([0]):
            if n_blocks == 2:
                with filters_for_each_thread():
                    ignore_while(entered, left)
            else:
                ignore_while(entered, left)
            warnings.warn("after", stacklevel=1)

    with monitor.capture_warnings():
        thread = threading.Thread(target=suppress)
        thread.start()
        assert entered.wait(WAIT)
        with monitor.attribute_warnings([1]):
            warnings.warn("seen", stacklevel=1)
        left.set()
        thread.join()
    assert [str(message) for message, *_ in monitor.warned[0]] == ["after"]
    assert [str(message) for message, *_ in monitor.warned[1]] == ["seen"]


def test_the_module_is_as_before_after_the_last_block():
    filters, before = list(warnings.filters), dict(vars(warnings))
    with filters_for_each_thread():
        with filters_for_each_thread():
            warnings.filterwarnings("ignore", "a", append=True)
        with warnings.catch_warnings():
            warnings.simplefilter("error", BytesWarning)
            warnings.simplefilter("error", BytesWarning)
            assert len(warnings.filters) == len(filters) + 2
            with pytest.raises(BytesWarning, match="b"):
                warnings.warn("b", BytesWarning, stacklevel=1)
        assert warnings.filters[:-1] == filters
    assert type(warnings) is ModuleType
    assert all(vars(warnings)[name] is value for name, value in before.items() if name != "_filters_version")
    assert warnings.filters[:-1] == filters  # a filter that is set without `catch_warnings` stays, as before
    warnings.filters.pop()
