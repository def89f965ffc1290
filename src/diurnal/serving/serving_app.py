"""The web application of a server of predictions.

Requests for predictions take a short way through ASGI without a framework, which costs more than a prediction; the
other ones are routes of Starlette.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from diurnal.serving.access_tokens import AccessTokens
from diurnal.serving.input_monitor import InputMonitor
from diurnal.serving.prediction_queue import ClientGoneError
from diurnal.serving.protocol_exchanges import EXCHANGES, NO_SNIFF, Answer, Exchange, render_error
from diurnal.serving.request_bodies import CLOSE, COMPRESSIONS, BodyBudget, HeldBody, decompress
from diurnal.serving.request_errors import RequestError
from diurnal.serving.server_options import RequestLimits
from diurnal.serving.serving_pages import create_pages

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from diurnal.serving.access_log import AccessLog
    from diurnal.serving.model_inputs import Rows
    from diurnal.serving.prediction_queue import PredictionQueue, Result
    from diurnal.serving.request_bodies import Body
    from diurnal.serving.served_model import ServedModel
    from diurnal.serving.served_models import ServedModels
    from diurnal.serving.serving_metrics import ServingMetrics

_PATH = re.compile(
    r"/(?:(?P<single>invocations)|experiments/(?P<name>[a-z][a-z0-9_]{0,49})/(?P<action>predict|invocations)"
    r"|v2/models/(?P<model>[a-z][a-z0-9_]{0,49})(?:/versions/(?P<version>\d{1,9}))?/infer)"
)
_LARGE = 2**18  # bytes of a body that is decoded in a thread
_WHOLE = 2**14  # bytes of a body that is answered without a task
_log = logging.getLogger("diurnal.serving")


@dataclass(frozen=True)
class Target:
    """What the path of a request for predictions names."""

    protocol: str
    name: str | None
    version: int | None = None


@dataclass(slots=True)
class _Request:
    target: Target
    headers: dict[bytes, bytes]
    connection: Mapping[str, Any]
    address: str
    started: float = field(default_factory=time.perf_counter)
    name: str = ""
    client: str = ""


class ServingApp:
    """The ASGI application.

    Parameters
    ----------
    served : ServedModels
        The models.
    queue : PredictionQueue
        Calls the models.
    metrics : ServingMetrics
        Counts requests.
    access : AccessTokens
        The tokens of clients.
    limits : RequestLimits
        The limits of a request.
    access_log : AccessLog, optional
        Writes a line for each request.
    """

    def __init__(
        self,
        served: ServedModels,
        queue: PredictionQueue,
        metrics: ServingMetrics,
        *,
        access: AccessTokens | None = None,
        limits: RequestLimits | None = None,
        access_log: AccessLog | None = None,
    ) -> None:
        self._served, self._queue, self._metrics = served, queue, metrics
        self._access, self._limits, self._access_log = access or AccessTokens(), limits or RequestLimits(), access_log
        self._monitor = InputMonitor(metrics.add_inputs)
        self._pages = create_pages(served, metrics, self._access, self._monitor)
        self._bodies = BodyBudget(self._limits.max_bytes)
        self._decoder = ThreadPoolExecutor(1, thread_name_prefix="diurnal-decode")  # one large body at a time
        self._targets: dict[str, Target] = {}
        self.max_whole_bytes = min(_WHOLE, self._limits.max_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        target = self.find_target(scope["path"]) if scope["type"] == "http" else None
        if target is None:
            await self._pages(scope, receive, send)
        elif scope["method"] == "POST":
            await self._predict(target, scope, receive, send)
        else:
            error = RequestError(
                "this path takes POST only", status=405, hint="send the rows by POST", headers={"allow": "POST"}
            )
            await _send(send, render_error(target.protocol, error))

    def find_target(self, path: str) -> Target | None:
        """Return what a path names; None if it is not that of requests for predictions."""
        target = self._targets.get(path)
        if target is None and (match := _PATH.fullmatch(path)):
            protocol = "mlflow" if "invocations" in (match["single"], match["action"]) else "records"
            name, version = match["name"], None
            if match["model"]:
                protocol, name = "inference", match["model"]
                version = int(match["version"]) if match["version"] else None
            target = Target(protocol, name, version)
            if len(self._targets) < 1000:
                self._targets[path] = target
        return target

    def answer_whole(
        self,
        target: Target,
        headers: dict[bytes, bytes],
        body: bytes,
        connection: Mapping[str, Any],
        address: str,
        respond: Callable[[Answer], object],
    ) -> None:
        """Answer a small request that has arrived as a whole, without a task.

        Parameters
        ----------
        target : Target
            What its path names.
        headers : dict of bytes to bytes
            Its headers, with names in lower case, without ``Content-Encoding``.
        body : bytes
            Its body, of at most :attr:`max_whole_bytes` bytes.
        connection : Mapping of str to Any
            The state of the request, see :meth:`PredictionQueue.submit`.
        address : str
            The address of the client.
        respond : callable
            Called with the answer, now or later; not if the client has gone.
        """
        request = _Request(target, headers, connection, address)

        def finish(give: Callable[[], Answer]) -> None:
            try:
                answer = give()
            except ClientGoneError:
                return
            except Exception as error:  # noqa: BLE001 - it is logged, and other requests are answered
                answer = _answer_error(request, error)
            respond(answer)
            self._count(request, answer)

        try:
            self._admit(request)
            model = self._find_model(request)
            exchange = EXCHANGES[target.protocol](model, headers)
            rows = self._observe(model, *_decode(exchange, body))
            self._queue.submit(model, rows, connection, lambda result: finish(lambda: _encode(exchange, result)))
        except Exception as error:  # noqa: BLE001 - as above
            finish(partial(_answer_error, request, error))

    async def _predict(self, target: Target, scope: Scope, receive: Receive, send: Send) -> None:
        address = (scope.get("client") or ("",))[0]
        request = _Request(target, dict(scope["headers"]), scope.get("state", {}), address)
        try:
            answer = await self._handle(request, receive)
        except ClientGoneError:
            return
        except Exception as error:  # noqa: BLE001 - it is logged, and other requests are answered
            answer = _answer_error(request, error)
        await _send(send, answer)
        self._count(request, answer)

    def _count(self, request: _Request, answer: Answer) -> None:
        """Add a request that was answered to the metrics and the access log."""
        seconds = time.perf_counter() - request.started
        name = request.name if self._served.state(request.name).model is not None else ""
        self._metrics.add_request(name, request.target.protocol, answer.version, answer.status, answer.n_rows, seconds)
        if self._access_log is not None:
            self._access_log.add(time.time(), _describe_request(request, answer, name, seconds))

    async def _handle(self, request: _Request, receive: Receive) -> Answer:
        self._admit(request)
        encoding = _content_encoding(request.headers)
        self._find_model(request)  # before its body is read
        with self._bodies.hold() as held:
            body = await self._read_body(request.headers, receive, held)
            return await self._answer(self._find_model(request), request, body, encoding)

    def _admit(self, request: _Request) -> None:
        client = self._access.identify(request.headers.get(b"authorization"))
        request.client, request.name = client.name, self._resolve_name(request.target)
        if not client.may_use(request.name):
            raise RequestError("the token does not allow this experiment", status=403)

    def _find_model(self, request: _Request) -> ServedModel:
        model = self._served.get(request.name)
        if request.target.version not in (None, model.version):
            raise RequestError(f"version {model.version} is served here, and no other", status=404)
        return model

    def _resolve_name(self, target: Target) -> str:
        """Return the experiment; ``/invocations`` is that of the only one."""
        if target.name is not None:
            return target.name
        names = list(self._served)
        if len(names) != 1:
            raise RequestError(
                f"{len(names)} experiments are served", status=404, hint="use /experiments/NAME/invocations"
            )
        return names[0]

    async def _read_body(self, headers: dict[bytes, bytes], receive: Receive, held: HeldBody) -> Body:
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit():
            held.expect(int(declared[:20]))
        deadline = time.monotonic() + self._limits.body_seconds
        is_complete = False
        while not is_complete:
            message = await self._receive(receive, deadline - time.monotonic())
            held.add(message.get("body", b""))
            is_complete = not message.get("more_body")
        return held.content

    async def _receive(self, receive: Receive, seconds: float) -> Any:
        try:
            async with asyncio.timeout(seconds):
                message = await receive()
        except TimeoutError:
            raise RequestError(
                "the body did not arrive in time", status=408, hint="send it faster", headers=CLOSE
            ) from None
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        return message

    async def _answer(self, model: ServedModel, request: _Request, body: Body, encoding: str) -> Answer:
        exchange = EXCHANGES[request.target.protocol](model, request.headers)
        if len(body) > _LARGE or encoding:
            loop, limit = asyncio.get_running_loop(), self._limits.max_bytes
            decoded = await loop.run_in_executor(self._decoder, _decode, exchange, body, encoding, limit)
        else:
            decoded = _decode(exchange, body)
        rows = self._observe(model, *decoded)
        predictions = await self._queue.predict(model, rows, request.connection)
        if len(rows) > _LARGE // 64:
            return await asyncio.to_thread(exchange.encode, predictions)
        return exchange.encode(predictions)

    def _observe(self, model: ServedModel, rows: Rows, unseen: dict[str, int]) -> Rows:
        if unseen:
            self._metrics.add_unseen(model.experiment, unseen)
        self._monitor.observe(model, rows)
        return rows


def _decode(exchange: Exchange, body: Body, encoding: str = "", limit: int = 0) -> tuple[Rows, dict[str, int]]:
    """Decode rows, and count the categories that the contract does not have."""
    try:
        rows = exchange.decode(decompress(body, limit) if encoding else body)
    except RecursionError:
        raise RequestError("the request is nested too deeply", hint="send flat rows") from None
    except UnicodeDecodeError:
        raise RequestError("the request is not valid UTF-8", hint="send UTF-8") from None
    return rows, exchange.model.inputs.count_unseen(rows)


def _encode(exchange: Exchange, result: Result) -> Answer:
    if isinstance(result, Exception):
        raise result
    return exchange.encode(result)


def _answer_error(request: _Request, error: Exception) -> Answer:
    if not isinstance(error, RequestError):
        _log.error("a request failed", exc_info=error)
        error = RequestError(f"internal error: {type(error).__name__}", status=500, hint="read the server's log")
    return render_error(request.target.protocol, error)


def _content_encoding(headers: dict[bytes, bytes]) -> str:
    """Return the compression of the body; an empty text for none."""
    encoding = headers.get(b"content-encoding", b"").strip().lower().decode("latin-1")
    if encoding in ("", "identity"):
        return ""
    if encoding not in COMPRESSIONS:
        known = ", ".join(COMPRESSIONS)
        raise RequestError(
            "the body has an unknown Content-Encoding",
            status=415,
            hint=f"use {known}, or none",
            headers={"accept-encoding": known},
        )
    return encoding


def _describe_request(request: _Request, answer: Answer, name: str, seconds: float) -> dict[str, Any]:
    """Return what the access log has of a request."""
    return {
        "experiment": name,
        "version": answer.version,
        "protocol": request.target.protocol,
        "status": answer.status,
        "rows": answer.n_rows,
        "bytes": len(answer.body),
        "milliseconds": round(1000 * seconds, 3),
        "client": request.client,
        "address": request.address,
    }


async def _send(send: Send, answer: Answer) -> None:
    headers = [
        (b"content-type", answer.content_type),
        (b"content-length", b"%d" % len(answer.body)),
        NO_SNIFF,
        *answer.headers,
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
