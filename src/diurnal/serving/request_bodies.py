"""Limits of the bodies of requests: the size of each, that of all at a time, and that of a compressed one."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

import numpy as np

from diurnal.serving.request_errors import RequestError

Body: TypeAlias = bytes | memoryview
COMPRESSIONS = ("gzip", "deflate")
CLOSE = {"connection": "close"}  # of an answer to a body that is not read to its end
_SHARES = 4  # bodies of the maximal size that are held at a time
_SMALL = 2**16  # bytes that are not counted, so that large bodies do not keep small requests waiting
_ANY_HEADER = 32 + zlib.MAX_WBITS  # of gzip or of zlib, which HTTP calls deflate


class BodyBudget:
    """The bytes of all bodies that are held at a time.

    Parameters
    ----------
    max_bytes : int
        The maximal size of a body; all together have at most four times as much.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self.free = max_bytes, _SHARES * max_bytes

    @contextmanager
    def hold(self) -> Iterator[HeldBody]:
        """Hold a body until the end of the block."""
        held = HeldBody(self)
        try:
            yield held
        finally:
            self.free += held.n_counted


class HeldBody:
    """The bytes of a body that have arrived."""

    def __init__(self, budget: BodyBudget) -> None:
        self._budget, self.n_bytes, self.n_counted = budget, 0, 0
        self._n_expected = 0
        self._parts: list[bytes] = []
        self._whole: memoryview | None = None  # a large body of a known size: its parts are copied once

    def expect(self, n_bytes: int) -> None:
        """Expect a body of a size.

        Raises
        ------
        RequestError
            As :meth:`check`.
        """
        self.check(n_bytes)
        self._n_expected = n_bytes

    def check(self, n_bytes: int) -> None:
        """Reject a body that will be too large.

        Raises
        ------
        RequestError
            With status 413 if it is larger than a body may be, and 503 if all bodies together are.
        """
        if n_bytes > self._budget.max_bytes:
            raise too_large(self._budget.max_bytes)
        if n_bytes - _SMALL - self.n_counted > self._budget.free:
            raise RequestError(
                "too many large requests at a time", status=503, hint="try it again later", retry_after=1
            )

    def add(self, part: bytes) -> None:
        """Hold further bytes."""
        start = self.n_bytes
        self.n_bytes += len(part)
        if self.n_bytes > _SMALL:
            self.check(self.n_bytes)
            further = self.n_bytes - _SMALL - self.n_counted
            self.n_counted += further
            self._budget.free -= further
        elif self.n_bytes > self._budget.max_bytes:
            raise too_large(self._budget.max_bytes)
        if self.n_bytes <= _SMALL or not self._n_expected:
            self._parts.append(part)
            return
        if self._whole is None:
            self._whole = np.empty(self._n_expected, dtype=np.uint8).data
            part, start = b"".join([*self._parts, part]), 0
            self._parts.clear()
        self._whole[start : self.n_bytes] = part

    @property
    def content(self) -> Body:
        """The body, after all of it has arrived."""
        return b"".join(self._parts) if self._whole is None else self._whole


def decompress(body: Body, max_bytes: int) -> bytes:
    """Decompress a body of gzip or deflate.

    Raises
    ------
    RequestError
        With status 413 if it is larger than `max_bytes` when decompressed, and 400 if it is not valid.
    """
    stream = zlib.decompressobj(_ANY_HEADER)
    try:
        content = stream.decompress(body, max_bytes + 1)
    except zlib.error:
        content = b""
    if len(content) > max_bytes:
        raise too_large(max_bytes)
    if not stream.eof or stream.unused_data:
        raise RequestError("the body is not compressed as its Content-Encoding says", hint="send it uncompressed")
    return content


def too_large(limit: int) -> RequestError:
    """Return the error of a body that is too large."""
    return RequestError(
        f"the body is larger than {limit} bytes", status=413, hint="send fewer rows at a time", headers=CLOSE
    )
