"""Which requests are answered without a task: small ones that come as a whole, and no others."""

import asyncio
import gzip
import json
from collections import Counter
from contextlib import asynccontextmanager

import pandas as pd
import pytest
import uvicorn
from sklearn.linear_model import LinearRegression
from uvicorn.server import ServerState

from diurnal.serving.prediction_queue import PredictionQueue
from diurnal.serving.served_model import ServedModel
from diurnal.serving.served_models import ServedModels
from diurnal.serving.serving_app import ServingApp
from diurnal.serving.serving_metrics import ServingMetrics
from diurnal.serving.whole_requests import WholeRequestProtocol
from diurnal.storage.models import make_signature

BODY = b'[{"age": 3}]'
PATH = "/experiments/clinic/predict"


class CountingApp(ServingApp):
    """The application, which counts the ways by which requests come."""

    def __init__(self, *args):
        super().__init__(*args)
        self.ways = Counter()

    async def __call__(self, scope, receive, send):
        self.ways["task"] += 1
        await super().__call__(scope, receive, send)

    def answer_whole(self, *args):
        self.ways["whole"] += 1
        super().answer_whole(*args)


@pytest.fixture(scope="module")
def doubling():
    frame = pd.DataFrame({"age": [0.0, 1.0, 2.0]})
    model = LinearRegression().fit(frame, 2 * frame["age"])
    signature = make_signature(model, frame, target="ill", schema_columns=[{"name": "age", "kind": "float"}])
    return ServedModel({"experiment": "clinic", "version": 1, "digest": "d" * 64, "signature": signature}, model)


@asynccontextmanager
async def connected(model):
    """Serve a model in this process; give the application and a connection."""
    served = ServedModels()
    served.swap("clinic", model)
    app = CountingApp(served, PredictionQueue(), ServingMetrics(served))
    config = uvicorn.Config(app, http=WholeRequestProtocol, ws="none", lifespan="off", log_level="error")
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: WholeRequestProtocol(config, state, {}), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        yield app, reader, writer
        writer.close()
        await writer.wait_closed()


def post(*headers, path=PATH, body=BODY, method="POST"):
    length = [] if any("Transfer-Encoding" in header for header in headers) else [f"Content-Length: {len(body)}"]
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *length, *headers, "", ""]).encode() + body


async def read_answer(reader):
    """Return the status and the content of the next answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 100"):
        return await read_answer(reader)
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return int(head.split()[1]), await reader.readexactly(length)


def ask(model, *parts, n_answers=1):
    """Send parts of requests one after another; return the answers and the ways by which they came."""

    async def run():
        async with connected(model) as (app, reader, writer), asyncio.timeout(20):
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0.02 if len(parts) > 1 else 0)
            answers = [await read_answer(reader) for _ in range(n_answers)]
        return answers, dict(app.ways)

    return asyncio.run(run())


@pytest.mark.parametrize("path", [PATH, "/invocations", "/experiments/clinic/invocations"])
def test_a_small_request_that_comes_as_a_whole_is_answered_without_a_task(doubling, path):
    body = BODY if path == PATH else b'{"inputs": [[3]]}'
    [(status, content)], ways = ask(doubling, post(path=path, body=body))
    assert (status, ways) == (200, {"whole": 1})
    assert json.loads(content)["predictions"] == pytest.approx([6.0])


def test_so_is_each_request_of_a_connection_and_one_that_fails(doubling):
    answers, ways = ask(doubling, post(), post(body=b"["), post(), n_answers=3)
    assert ([status for status, _ in answers], ways) == ([200, 400, 200], {"whole": 3})


OTHERS = {
    "in two parts": [post()[:-1], post()[-1:]],
    "a large body": [post(body=b"[" + b",".join(2000 * [BODY[1:-1]]) + b"]")],
    "compressed": [post("Content-Encoding: gzip", body=gzip.compress(BODY))],
    "in chunks": [post("Transfer-Encoding: chunked", body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY))],
    "behind a proxy": [post("X-Forwarded-For: 10.0.0.1")],
    "waits for 100 Continue": [post("Expect: 100-continue")],
    "another method": [post(method="GET", body=b"")],
    "another path": [post(path="/experiments/clinic")],
}


@pytest.mark.parametrize("name", OTHERS)
def test_others_are_answered_by_a_task(doubling, name):
    [(status, _)], ways = ask(doubling, *OTHERS[name])
    assert ways == {"task": 1}
    assert status == (405 if name.startswith("another") else 200)


def test_of_requests_that_are_sent_at_once_the_first_one_is_answered_without_a_task(doubling):
    bodies = [b'[{"age": %d}]' % age for age in range(3)]
    answers, ways = ask(doubling, b"".join(post(body=body) for body in bodies), n_answers=3)
    assert [json.loads(content)["predictions"] for _, content in answers] == [pytest.approx([2 * i]) for i in range(3)]
    assert ways == {"whole": 1, "task": 2}
