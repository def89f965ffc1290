"""Warnings of fits on several threads: the filters of one are not those of another."""

import threading
import warnings
from types import ModuleType

import pytest

from diurnal.search.side_effects import SideEffectMonitor
from diurnal.search.warning_filters import own_warning_filters

WAIT = 30


def ignore_while(entered, left):
    """Suppress warnings from one event until another."""
    with warnings.catch_warnings():
        warnings.resetwarnings()
        warnings.simplefilter("ignore")
        entered.set()
        assert left.wait(WAIT)
        warnings.warn("suppressed", stacklevel=1)


def warn_beside(work, message, monitor, entered, left):
    """Emit a warning of fit 1 while `work` is between two events in another thread."""
    with monitor.capture_warnings():
        thread = threading.Thread(target=work)
        thread.start()
        assert entered.wait(WAIT)
        with monitor.attribute_warnings([1]):
            warnings.warn(message, stacklevel=1)
        left.set()
        thread.join()


def messages_of(recorded):
    return [str(message) for message, *_ in recorded]


@pytest.mark.parametrize("n_blocks", [1, 2])
def test_a_fit_that_suppresses_warnings_leaves_those_of_another_thread(n_blocks):
    monitor, entered, left = SideEffectMonitor(), threading.Event(), threading.Event()

    def suppress():
        with monitor.capture_warnings(), monitor.attribute_warnings([0]):
            if n_blocks == 2:
                with own_warning_filters():
                    ignore_while(entered, left)
            else:
                ignore_while(entered, left)
            warnings.warn("after", stacklevel=1)

    warn_beside(suppress, "seen", monitor, entered, left)
    assert messages_of(monitor.warned[0]) == ["after"]
    assert messages_of(monitor.warned[1]) == ["seen"]


def test_a_fit_that_records_warnings_gets_its_own_only():
    monitor, entered, left = SideEffectMonitor(), threading.Event(), threading.Event()
    recorded = []

    def record():
        with monitor.capture_warnings(), monitor.attribute_warnings([0]), warnings.catch_warnings(record=True) as own:
            entered.set()
            assert left.wait(WAIT)
            warnings.warn("its own", stacklevel=1)
            recorded.extend(own)

    warn_beside(record, "of another fit", monitor, entered, left)
    assert [str(one.message) for one in recorded] == ["its own"]
    assert (monitor.warned[0], messages_of(monitor.warned[1])) == ([], ["of another fit"])


def test_two_searches_that_overlap_record_their_own_warnings_and_leave_the_module_as_before():
    before = dict(vars(warnings))
    first, second, inside, over = SideEffectMonitor(), SideEffectMonitor(), threading.Event(), threading.Event()

    def search():
        with second.capture_warnings():
            inside.set()
            assert over.wait(WAIT)
            with second.attribute_warnings([0]):
                warnings.warn("second", stacklevel=1)

    thread = threading.Thread(target=search)
    with first.capture_warnings():
        thread.start()
        assert inside.wait(WAIT)
        with first.attribute_warnings([0]):
            warnings.warn("first", stacklevel=1)
    over.set()
    thread.join()
    assert messages_of(first.warned[0]) == ["first"]
    assert messages_of(second.warned[0]) == ["second"]
    assert_as_before(before)


def test_a_thread_beside_a_search_has_the_filters_of_the_process():
    before, entered, begun, left = dict(vars(warnings)), threading.Event(), threading.Event(), threading.Event()
    recorded = []

    def serve():
        with warnings.catch_warnings(record=True) as own:  # it begins before the search, and ends in it
            warnings.simplefilter("always")
            entered.set()
            assert begun.wait(WAIT)
            warnings.warn("of a service", stacklevel=1)
            recorded.extend(own)
        left.set()

    thread = threading.Thread(target=serve)
    thread.start()
    assert entered.wait(WAIT)
    monitor = SideEffectMonitor()
    with monitor.capture_warnings():
        begun.set()
        assert left.wait(WAIT)
    thread.join()
    assert [str(one.message) for one in recorded] == ["of a service"]
    assert_as_before(before)


def test_threads_of_a_fit_leave_the_filters_of_the_process():
    before, monitor = dict(vars(warnings)), SideEffectMonitor()
    entered, left = [threading.Event(), threading.Event()], [threading.Event(), threading.Event()]

    def work(i):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            entered[i].set()
            assert left[i].wait(WAIT)

    with monitor.capture_warnings():
        threads = [threading.Thread(target=work, args=[i]) for i in range(2)]
        for i in range(2):  # both enter, and the first one leaves first
            threads[i].start()
            assert entered[i].wait(WAIT)
        for i in range(2):
            left[i].set()
            threads[i].join()
    assert_as_before(before)


def test_the_module_is_as_before_after_the_last_block():
    filters, before = list(warnings.filters), dict(vars(warnings))
    with own_warning_filters():
        with own_warning_filters():
            warnings.filterwarnings("ignore", "a", append=True)
        assert warnings.filters == filters
        with warnings.catch_warnings():
            warnings.simplefilter("error", BytesWarning)
            warnings.simplefilter("error", BytesWarning)
            assert len(warnings.filters) == len(filters) + 1
            with pytest.raises(BytesWarning, match="b"):
                warnings.warn("b", BytesWarning, stacklevel=1)
        assert warnings.filters == filters
    assert_as_before(before)


def assert_as_before(before):
    """Check that the module is as it was."""
    assert type(warnings) is ModuleType
    after = dict(vars(warnings))
    assert all(after[name] is value for name, value in before.items() if name != "_filters_version")
