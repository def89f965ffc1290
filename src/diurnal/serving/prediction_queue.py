"""Joins the requests that wait at the same time into one call of the model.

A call of a model on 64 rows takes hardly longer than on one. The requests that the event loop has read in one turn are
answered together, so that nothing waits for others to come. A model that is slow is called in a thread, and the
requests that come meanwhile are joined in the next call.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np

from diurnal.serving.request_errors import RequestError

if TYPE_CHECKING:
    from diurnal.serving.model_inputs import Rows
    from diurnal.serving.served_model import Predictions, ServedModel

SLOW = 0.002  # seconds of a call; a slower one does not run in the thread of the event loop
MAX_ROWS = 8192  # of a joined call
_MANY = 256  # rows of a call that runs in a thread
DISCONNECTED = "disconnected"  # a key of the state in the scope of a request
_BIG = 2048  # rows of a request that is not joined


class ClientGoneError(Exception):
    """The client has closed the connection, so that an answer has no receiver."""


Result: TypeAlias = "Predictions | RequestError | ClientGoneError"


@dataclass(eq=False, slots=True)
class _Call:
    """A request that waits for a call of its model."""

    queue: PredictionQueue
    rows: Rows
    connection: Mapping[str, Any]
    receive: Callable[[Result], object]
    timer: asyncio.TimerHandle | None = None  # a call in the thread of the event loop needs none
    is_done: bool = False

    def limit(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        """Start the time limit, if it is not started yet."""
        if self.timer is None:
            self.timer = loop.call_later(seconds, self._expire)

    def finish(self, result: Result) -> None:
        """Answer the request, if its time is not over."""
        if self.timer is not None:
            self.timer.cancel()
        if not self.is_done:
            self.drop()
            self.receive(result)

    def drop(self) -> None:
        """Let the request wait no longer; it is not predicted any more."""
        if not self.is_done:
            self.is_done = True
            self.queue.n_waiting -= 1

    def _expire(self) -> None:
        self.finish(RequestError("the model did not answer in time", status=503, retry_after=5))

    @property
    def is_wanted(self) -> bool:
        """Whether the time of the request is not over, and its client has not gone."""
        return not self.is_done and DISCONNECTED not in self.connection


@dataclass(eq=False, slots=True)
class _Waiting:
    """The requests that wait for one model."""

    calls: list[_Call] = field(default_factory=list)
    is_scheduled: bool = False
    is_running: bool = False  # in a thread
    seconds: float = 0.0  # of recent calls, on average


class PredictionQueue:
    """Calls models for requests.

    Parameters
    ----------
    join : bool
        Whether requests are joined. If false, each is predicted by itself.
    max_waiting : int
        The maximal number of waiting requests; further ones are rejected with status 503.
    threads : int
        The maximal number of calls of slow models at a time.
    seconds : float
        The time in which a slow model must answer.

    Attributes
    ----------
    n_waiting : int
        The number of requests that wait.
    """

    def __init__(self, *, join: bool = True, max_waiting: int = 1000, threads: int = 1, seconds: float = 60.0) -> None:
        self._join, self._max_waiting, self._seconds = join, max_waiting, seconds
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="diurnal-predict")
        self._waiting: WeakKeyDictionary[ServedModel, _Waiting] = WeakKeyDictionary()  # frees a replaced version
        self.n_waiting = self._n_running = 0

    async def predict(self, model: ServedModel, rows: Rows, connection: Mapping[str, Any] | None = None) -> Predictions:
        """Predict the rows of a request; the parameters are those of :meth:`submit`.

        Raises
        ------
        RequestError
            With status 503 if too many requests wait or the model takes too long, and 422 if it fails on the rows.
        ClientGoneError
            If the client has gone before the model was called.
        """
        future: asyncio.Future[Predictions] = asyncio.get_running_loop().create_future()

        def receive(result: Result) -> None:
            if future.done():  # the task that waits was cancelled
                return
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

        call = self.submit(model, rows, {} if connection is None else connection, receive)
        try:
            return await future
        finally:
            call.drop()

    def submit(
        self, model: ServedModel, rows: Rows, connection: Mapping[str, Any], receive: Callable[[Result], object]
    ) -> _Call:
        """Let the rows of a request be predicted, in the thread of the event loop.

        Parameters
        ----------
        model : ServedModel
            The model.
        rows : ndarray or Table
            The rows.
        connection : Mapping of str to Any
            The state of the request. It gets the key :data:`DISCONNECTED` when the client closes the connection: the
            model is then not called for it any more.
        receive : callable
            Called once, later, with the predictions or the error.

        Raises
        ------
        RequestError
            With status 503 if too many requests wait.
        """
        if self.n_waiting >= self._max_waiting:
            raise RequestError("too many requests wait", status=503, hint="try it again later", retry_after=1)
        loop = asyncio.get_running_loop()
        # A big request waits by itself: its call may be longer than those of all others together.
        waiting = self._waiting.get(model) if len(rows) <= _BIG else _Waiting(seconds=SLOW)
        if waiting is None:
            waiting = self._waiting[model] = _Waiting()
        call = _Call(self, rows, connection, receive)
        waiting.calls.append(call)
        if waiting.is_running:
            call.limit(loop, self._seconds)
        if not waiting.is_scheduled:
            waiting.is_scheduled = True
            loop.call_soon(self._start, loop, model, waiting)
        self.n_waiting += 1
        return call

    def close(self) -> bool:
        """End the threads after their present calls; return whether there are none."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        return not self._n_running

    def _start(self, loop: asyncio.AbstractEventLoop, model: ServedModel, waiting: _Waiting) -> None:
        """Call the model for the waiting requests, in this thread if it is fast."""
        turn_ends = time.perf_counter() + SLOW  # other connections are read then; joined requests are one call
        while waiting.calls:
            calls = self._take(model, waiting)
            requests = [call.rows for call in calls]
            is_slow = model.path == "frame" or waiting.seconds >= SLOW or sum(map(len, requests)) > _MANY
            if is_slow and calls:
                self._start_in_thread(loop, model, waiting, calls)
                return
            _finish(waiting, calls, *_predict_batch(model, requests))
            if time.perf_counter() > turn_ends:
                break
        self._schedule(loop, model, waiting)

    def _start_in_thread(
        self, loop: asyncio.AbstractEventLoop, model: ServedModel, waiting: _Waiting, calls: Sequence[_Call]
    ) -> None:
        for call in (*calls, *waiting.calls):
            call.limit(loop, self._seconds)
        waiting.is_running = True
        self._n_running += 1

        def finish(done: asyncio.Future[tuple[list[Predictions | RequestError], float]]) -> None:
            self._n_running -= 1
            waiting.is_running = False
            _finish(waiting, calls, *done.result())
            self._schedule(loop, model, waiting)

        requests = [call.rows for call in calls]
        loop.run_in_executor(self._threads, _predict_batch, model, requests).add_done_callback(finish)

    def _schedule(self, loop: asyncio.AbstractEventLoop, model: ServedModel, waiting: _Waiting) -> None:
        waiting.is_scheduled = bool(waiting.calls)
        if waiting.calls:
            loop.call_soon(self._start, loop, model, waiting)

    def _take(self, model: ServedModel, waiting: _Waiting) -> list[_Call]:
        """Take the requests of the next call, and drop those that are not wanted any more."""
        taken: list[_Call] = []
        n_rows = n_seen = 0
        for call in waiting.calls:
            if taken and (n_rows + len(call.rows) > MAX_ROWS or not (self._join and model.is_joinable)):
                break
            n_seen += 1
            if call.is_wanted:
                taken.append(call)
                n_rows += len(call.rows)
            else:
                call.finish(ClientGoneError())
        del waiting.calls[:n_seen]
        return taken


def _finish(
    waiting: _Waiting, calls: Sequence[_Call], results: Sequence[Predictions | RequestError], seconds: float
) -> None:
    if calls:
        waiting.seconds = 0.8 * waiting.seconds + 0.2 * seconds if waiting.seconds else seconds
    for call, result in zip(calls, results, strict=True):
        call.finish(result)


def _predict_batch(model: ServedModel, requests: Sequence[Rows]) -> tuple[list[Predictions | RequestError], float]:
    """Predict requests in one call; if that fails, each by itself, so that one request does not spoil the others."""
    started = time.perf_counter()
    if len(requests) <= 1:
        return [_predict_or_error(model, rows) for rows in requests], time.perf_counter() - started
    try:
        predictions = model.predict(_concatenate(requests))
    except Exception:  # noqa: BLE001 - the requests are predicted one by one
        return [_predict_or_error(model, rows) for rows in requests], time.perf_counter() - started
    results: list[Predictions | RequestError] = []
    start = 0
    for rows in requests:
        results.append(predictions.slice(start, start + len(rows)))
        start += len(rows)
    return results, time.perf_counter() - started


def _predict_or_error(model: ServedModel, rows: Rows) -> Predictions | RequestError:
    try:
        return _predict_one(model, rows)
    except RequestError as error:
        return error


def _predict_one(model: ServedModel, rows: Rows) -> Predictions:
    try:
        return model.predict(rows)
    except Exception as error:
        raise RequestError(
            f"the model fails on these rows with {type(error).__name__}",
            status=422,
            hint="compare the values with those that it was trained on: missing values, categories and ranges",
        ) from error


def _concatenate(requests: Sequence[Rows]) -> Rows:
    if isinstance(requests[0], np.ndarray):
        return np.concatenate([rows for rows in requests if isinstance(rows, np.ndarray)])
    import pyarrow as pa

    return pa.concat_tables([rows for rows in requests if not isinstance(rows, np.ndarray)])
