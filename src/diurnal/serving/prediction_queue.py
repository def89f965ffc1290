"""Joins the requests that wait at the same time into one call of the model.

A call of a model on 64 rows takes hardly longer than on one. The requests that the event loop has read in one turn are
answered together, so that nothing waits for others to come. A model that is slow is called in a thread, and the
requests that come meanwhile are joined in the next call.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from diurnal.serving.request_errors import RequestError

if TYPE_CHECKING:
    from diurnal.serving.model_inputs import Rows
    from diurnal.serving.served_model import Predictions, ServedModel

SLOW = 0.002  # seconds of a call; a slower one does not run in the thread of the event loop
MAX_ROWS = 8192  # of a joined call
_BIG = 2048  # rows of a request that is not joined, and runs in a thread


@dataclass
class _Waiting:
    """The requests that wait for one model."""

    requests: list[tuple[Rows, asyncio.Future[Predictions]]] = field(default_factory=list)
    n_rows: int = 0
    is_scheduled: bool = False
    seconds: float = 0.0  # of a recent call


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
    """

    def __init__(self, *, join: bool = True, max_waiting: int = 1000, threads: int = 1, seconds: float = 60.0) -> None:
        self._join, self._max_waiting, self._seconds = join, max_waiting, seconds
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="diurnal-predict")
        self._waiting: dict[int, tuple[ServedModel, _Waiting]] = {}
        self._n_waiting = 0

    async def predict(self, model: ServedModel, rows: Rows) -> Predictions:
        """Predict the rows of a request.

        Raises
        ------
        RequestError
            With status 503 if too many requests wait or the model takes too long, and 422 if it fails on the rows.
        """
        if self._n_waiting >= self._max_waiting:
            raise RequestError("too many requests wait", status=503, hint="try it again later", retry_after=1)
        loop = asyncio.get_running_loop()
        if len(rows) > _BIG:
            return await self._wait(loop.run_in_executor(self._threads, _predict_one, model, rows))
        waiting = self._waiting.setdefault(id(model), (model, _Waiting()))[1]
        future: asyncio.Future[Predictions] = loop.create_future()
        waiting.requests.append((rows, future))
        if not waiting.is_scheduled:
            waiting.is_scheduled = True
            loop.call_soon(self._start, loop, model, waiting)
        return await self._wait(future, limited=_is_slow(model, waiting))

    def close(self) -> None:
        """End the threads after their present calls."""
        self._threads.shutdown(wait=False)

    async def _wait(self, future: asyncio.Future[Predictions], *, limited: bool = True) -> Predictions:
        self._n_waiting += 1
        try:
            if not limited:  # it is predicted in this turn of the event loop
                return await future
            async with asyncio.timeout(self._seconds):
                return await future
        except TimeoutError:
            raise RequestError("the model did not answer in time", status=503, retry_after=5) from None
        finally:
            self._n_waiting -= 1

    def _start(self, loop: asyncio.AbstractEventLoop, model: ServedModel, waiting: _Waiting) -> None:
        """Call the model for the waiting requests, in this thread if it is fast."""
        if not _is_slow(model, waiting):
            self._finish(loop, model, waiting, *self._call(model, waiting))
            return
        batch = self._take(waiting)

        def finish(done: asyncio.Future[tuple[list[Predictions | RequestError], float]]) -> None:
            self._finish(loop, model, waiting, batch, *done.result())

        loop.run_in_executor(self._threads, _predict_batch, model, [rows for rows, _ in batch]).add_done_callback(
            finish
        )

    def _call(
        self, model: ServedModel, waiting: _Waiting
    ) -> tuple[list[tuple[Rows, asyncio.Future[Predictions]]], list[Predictions | RequestError], float]:
        batch = self._take(waiting)
        return batch, *_predict_batch(model, [rows for rows, _ in batch])

    def _take(self, waiting: _Waiting) -> list[tuple[Rows, asyncio.Future[Predictions]]]:
        """Take the requests of the next call."""
        n_rows, n_requests = 0, 0
        for rows, _ in waiting.requests:
            if n_requests and (n_rows + len(rows) > MAX_ROWS or not self._join):
                break
            n_rows, n_requests = n_rows + len(rows), n_requests + 1
        batch, waiting.requests = waiting.requests[:n_requests], waiting.requests[n_requests:]
        return batch

    def _finish(
        self,
        loop: asyncio.AbstractEventLoop,
        model: ServedModel,
        waiting: _Waiting,
        batch: list[tuple[Rows, asyncio.Future[Predictions]]],
        results: Sequence[Predictions | RequestError],
        seconds: float,
    ) -> None:
        waiting.seconds = 0.8 * waiting.seconds + 0.2 * seconds if waiting.seconds else seconds
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():  # the client has gone
                continue
            if isinstance(result, RequestError):
                future.set_exception(result)
            else:
                future.set_result(result)
        if waiting.requests:
            loop.call_soon(self._start, loop, model, waiting)
        else:
            waiting.is_scheduled = False
            if self._waiting.get(id(model), (None, None))[1] is waiting:
                self._forget_old_models(model)

    def _forget_old_models(self, model: ServedModel) -> None:
        """Forget versions that were replaced, so that their memory is freed."""
        for key, (other, waiting) in list(self._waiting.items()):
            if other is not model and other.experiment == model.experiment and not waiting.is_scheduled:
                del self._waiting[key]


def _is_slow(model: ServedModel, waiting: _Waiting) -> bool:
    """Return whether the model is called in a thread."""
    return model.path == "frame" or waiting.seconds >= SLOW


def _predict_batch(model: ServedModel, requests: Sequence[Rows]) -> tuple[list[Predictions | RequestError], float]:
    """Predict requests in one call; if that fails, each by itself, so that one request does not spoil the others."""
    started = time.perf_counter()
    if len(requests) == 1:
        return [_predict_or_error(model, requests[0])], time.perf_counter() - started
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
