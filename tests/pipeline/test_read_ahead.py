"""A stream that is read ahead: the same items, the same error, and one item more in memory."""

import threading

import pytest

from diurnal.pipeline.read_ahead import read_ahead


def numbers(prepared, fails_at=None):
    for number in range(4):
        if number == fails_at:
            raise ValueError("damaged")
        prepared[number].set()
        yield number


def test_one_item_is_prepared_while_another_is_in_use():
    prepared = [threading.Event() for _ in range(4)]
    stream = read_ahead(numbers(prepared))
    assert next(stream) == 0
    assert prepared[1].wait(10)
    assert not prepared[2].is_set()
    assert list(stream) == [1, 2, 3]


def test_error_comes_after_the_items_before_it():
    stream = read_ahead(numbers([threading.Event() for _ in range(4)], fails_at=2))
    assert [next(stream), next(stream)] == [0, 1]
    with pytest.raises(ValueError, match="damaged"):
        next(stream)


def test_thread_ends_with_a_stream_that_is_not_read_to_its_end():
    stream = read_ahead(numbers([threading.Event() for _ in range(4)]))
    next(stream)
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("diurnal-read-ahead")]
