"""The queue of requests: what it holds, joins, drops and frees."""

import asyncio
import gc
import threading
import time
import weakref

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from diurnal.serving.prediction_queue import DISCONNECTED, ClientGoneError, PredictionQueue
from diurnal.serving.request_errors import RequestError
from diurnal.serving.served_model import Predictions, ServedModel
from diurnal.storage.models import make_signature
from serving_projects import wait_until


class SlowModel:
    """A model in a thread, which waits for an event and records the rows of its calls."""

    path, is_joinable = "frame", True

    def __init__(self):
        self.released, self.calls = threading.Event(), []

    def predict(self, rows):
        self.calls.append(rows[:, 0].tolist())
        self.released.wait(5)
        return Predictions(rows[:, 0].copy(), None)


def row(number):
    return np.array([[float(number)]])


async def until(condition):
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen in time")


def test_requests_whose_time_is_over_are_neither_held_nor_predicted():
    async def ask():
        model, queue = SlowModel(), PredictionQueue(seconds=0.1)
        results = await asyncio.gather(*(queue.predict(model, row(i)) for i in range(3)), return_exceptions=True)
        late = await asyncio.gather(*(queue.predict(model, row(i)) for i in (7, 8)), return_exceptions=True)
        assert [one.status for one in (*results, *late)] == [503] * 5
        last = asyncio.create_task(queue.predict(model, row(9)))
        await asyncio.sleep(0)
        model.released.set()
        assert (await last).labels.tolist() == [9.0]
        assert model.calls == [[0.0, 1.0, 2.0], [9.0]]
        assert queue.close()

    asyncio.run(ask())


def test_a_request_whose_client_has_gone_is_not_predicted():
    async def ask():
        model, queue, connection = SlowModel(), PredictionQueue(), {}
        first = asyncio.create_task(queue.predict(model, row(0)))
        await until(lambda: model.calls)
        gone = asyncio.create_task(queue.predict(model, row(1), connection))
        third = asyncio.create_task(queue.predict(model, row(2), {}))
        await asyncio.sleep(0.01)
        connection[DISCONNECTED] = True
        model.released.set()
        results = await asyncio.gather(first, gone, third, return_exceptions=True)
        assert isinstance(results[1], ClientGoneError)
        assert model.calls == [[0.0], [2.0]]

    asyncio.run(ask())


def test_too_many_waiting_requests_are_rejected_and_a_big_one_waits_by_itself():
    async def ask():
        model, queue = SlowModel(), PredictionQueue(max_waiting=2)
        waiting = [asyncio.create_task(queue.predict(model, np.zeros((n, 1)))) for n in (1, 5000)]
        await until(lambda: model.calls)
        with pytest.raises(RequestError, match="too many requests wait") as error:
            await queue.predict(model, row(1))
        assert error.value.headers == {"retry-after": "1"}
        model.released.set()
        assert [len(one) for one in await asyncio.gather(*waiting)] == [1, 5000]

    asyncio.run(ask())


def test_a_replaced_version_is_freed_without_a_garbage_collection():
    frame = pd.DataFrame({"a": np.linspace(-1, 1, 50), "b": np.linspace(1, 3, 50) ** 2})
    models = [
        LogisticRegression().fit(frame, frame["a"] > 0),
        make_pipeline(FunctionTransformer(), LinearRegression()).fit(frame, frame["b"]),
    ]

    async def ask(served):
        queue = PredictionQueue()
        for _ in range(3):
            await queue.predict(served, frame.to_numpy()[:2])
        return queue

    gc.collect()
    gc.disable()
    try:
        for model in models:
            served = serve(model, frame)
            queue = asyncio.run(ask(served))
            alive = weakref.ref(served)
            del served
            wait_until(lambda: alive() is None, seconds=5)  # noqa: B023 - a thread may hold its last call for a moment
            assert not queue._waiting
    finally:
        gc.enable()


def serve(model, X):
    columns = [{"name": name, "kind": "float"} for name in X.columns]
    signature = make_signature(model, X, target="ill", schema_columns=columns)
    return ServedModel({"experiment": "clinic", "version": 1, "digest": "d" * 64, "signature": signature}, model)


def subtract_mean(X):
    return X - np.asarray(X).mean(axis=0)


def test_requests_are_not_joined_if_a_prediction_depends_on_the_rows_beside():
    frame = pd.DataFrame({"a": np.linspace(-1, 1, 50), "b": np.linspace(1, 3, 50) ** 2})
    served = serve(make_pipeline(FunctionTransformer(subtract_mean), LinearRegression()).fit(frame, frame["b"]), frame)
    assert not served.is_joinable
    assert serve(LinearRegression().fit(frame, frame["b"]), frame).is_joinable
    rows = frame.to_numpy()

    async def ask():
        queue = PredictionQueue()
        return await asyncio.gather(*(queue.predict(served, rows[i : i + 1]) for i in (3, 40)))

    answers = asyncio.run(ask())
    for i, answer in zip((3, 40), answers, strict=True):
        np.testing.assert_array_equal(answer.labels, served.predict(rows[i : i + 1]).labels)


def test_a_model_that_gives_too_few_predictions_does_not_spoil_joined_requests():
    frame = pd.DataFrame({"a": np.linspace(-1, 1, 50)})
    served = serve(LinearRegression().fit(frame, frame["a"]), frame)
    served._compiled = lambda X: (X[X[:, 0] > 0][:, 0], None)

    async def ask():
        queue = PredictionQueue()
        rows = [row(-1), row(0.5), row(0.7)]
        return await asyncio.gather(*(queue.predict(served, one) for one in rows), return_exceptions=True)

    failed, second, third = asyncio.run(ask())
    assert failed.status == 422
    assert (second.labels.tolist(), third.labels.tolist()) == ([0.5], [0.7])


def test_many_rows_do_not_stop_the_event_loop():
    class Model(SlowModel):
        path = "compiled"

        def predict(self, rows):
            time.sleep(0.0001 * len(rows))
            return Predictions(rows[:, 0], None)

    async def ask():
        model, queue, longest = Model(), PredictionQueue(), 0.0
        await queue.predict(model, row(1))
        many = asyncio.gather(*(queue.predict(model, np.zeros((1000, 1))) for _ in range(3)))
        while not many.done():
            started = time.monotonic()
            await asyncio.sleep(0.001)
            longest = max(longest, time.monotonic() - started)
        assert longest < 0.1

    asyncio.run(ask())
