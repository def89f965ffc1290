"""Reading ahead: the next item of a stream is prepared in a thread while the current one is in use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")

_END = object()


def read_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items of a stream; at most one more than the current one is in memory.

    Parameters
    ----------
    items : iterable
        The stream. It is read in one other thread; its error is raised here, after the items before it.

    Examples
    --------
    >>> list(read_ahead(range(3)))
    [0, 1, 2]
    """
    stream = iter(items)
    with ThreadPoolExecutor(1, thread_name_prefix="diurnal-read-ahead") as thread:
        following = thread.submit(next, stream, _END)
        while (item := following.result()) is not _END:
            following = thread.submit(next, stream, _END)
            yield item  # type: ignore[misc]
