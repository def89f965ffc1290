"""The web application of a server of predictions.

Requests for predictions take a short way through ASGI without a framework, which costs more than a prediction; the
other ones are routes of Starlette.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diurnal.serving import inference_protocol, mlflow_protocol, record_protocol, table_protocols
from diurnal.serving.access_tokens import AccessTokens
from diurnal.serving.request_errors import RequestError
from diurnal.serving.serving_pages import create_pages

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from diurnal.serving.model_inputs import Rows
    from diurnal.serving.prediction_queue import PredictionQueue
    from diurnal.serving.served_model import Predictions, ServedModel
    from diurnal.serving.served_models import ServedModels
    from diurnal.serving.serving_metrics import ServingMetrics

_PATH = re.compile(
    r"/(?:(?P<single>invocations)|experiments/(?P<name>[a-z][a-z0-9_]{0,49})/(?P<action>predict|invocations)"
    r"|v2/models/(?P<model>[a-z][a-z0-9_]{0,49})(?:/versions/(?P<version>\d{1,9}))?/infer)"
)
_LARGE = 2**18  # bytes of a body that is decoded in a thread
_Headers = list[tuple[bytes, bytes]]
_log = logging.getLogger("diurnal.serving")


@dataclass(frozen=True)
class RequestLimits:
    """Limits of a request.

    Attributes
    ----------
    max_bytes : int
        The maximal size of a body.
    body_seconds : float
        The time in which a body must arrive.
    predict_seconds : float
        The time in which the model must answer.
    """

    max_bytes: int = 64 * 2**20
    body_seconds: float = 30.0
    predict_seconds: float = 60.0


@dataclass(frozen=True)
class _Target:
    """What the path of a request names."""

    protocol: str
    name: str | None
    version: int | None = None


@dataclass
class _Request:
    target: _Target
    headers: dict[bytes, bytes]
    name: str = ""
    client: str = ""


@dataclass(frozen=True)
class _Answer:
    body: bytes
    content_type: bytes = b"application/json"
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()
    n_rows: int = 0
    version: int | str = ""


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
    log_request : callable, optional
        Takes a dictionary for each request, for the access log.
    """

    def __init__(
        self,
        served: ServedModels,
        queue: PredictionQueue,
        metrics: ServingMetrics,
        *,
        access: AccessTokens | None = None,
        limits: RequestLimits | None = None,
        log_request: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self._served, self._queue, self._metrics = served, queue, metrics
        self._access, self._limits, self._log_request = access or AccessTokens(), limits or RequestLimits(), log_request
        self._pages = create_pages(served, metrics, self._access)
        self._targets: dict[str, _Target] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] == "http" and scope["method"] == "POST":
            target = self._find_target(scope["path"])
            if target is not None:
                await self._predict(target, scope, receive, send)
                return
        await self._pages(scope, receive, send)

    def _find_target(self, path: str) -> _Target | None:
        target = self._targets.get(path)
        if target is None and (match := _PATH.fullmatch(path)):
            protocol = "mlflow" if "invocations" in (match["single"], match["action"]) else "records"
            name, version = match["name"], None
            if match["model"]:
                protocol, name = "inference", match["model"]
                version = int(match["version"]) if match["version"] else None
            target = _Target(protocol, name, version)
            if len(self._targets) < 1000:
                self._targets[path] = target
        return target

    async def _predict(self, target: _Target, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        request = _Request(target, dict(scope["headers"]))
        try:
            answer = await self._handle(request, receive)
        except RequestError as error:
            answer = _render_error(target.protocol, error)
        except _ClientGone:
            return
        except Exception as error:  # noqa: BLE001 - it is logged, and other requests are answered
            _log.exception("a request failed")
            internal = RequestError(f"internal error: {type(error).__name__}", status=500, hint="read the server's log")
            answer = _render_error(target.protocol, internal)
        await _send(send, answer)
        seconds = time.perf_counter() - started
        name = request.name if self._served.state(request.name).model is not None else ""
        self._metrics.add_request(name, target.protocol, answer.version, answer.status, answer.n_rows, seconds)
        if self._log_request is not None:
            address = (scope.get("client") or ("",))[0]
            self._log_request(_describe_request(request, answer, name, seconds) | {"address": address})

    async def _handle(self, request: _Request, receive: Receive) -> _Answer:
        client = self._access.identify(request.headers.get(b"authorization"))
        request.client, request.name = client.name, self._resolve_name(request.target)
        if not client.may_use(request.name):
            raise RequestError("the token does not allow this experiment", status=403)
        body = await self._read_body(request.headers, receive)
        return await self._answer(request.target, self._served.get(request.name), request.headers, body)

    def _resolve_name(self, target: _Target) -> str:
        """Return the experiment; ``/invocations`` is that of the only one."""
        if target.name is not None:
            return target.name
        names = list(self._served)
        if len(names) != 1:
            raise RequestError(
                f"{len(names)} experiments are served", status=404, hint="use /experiments/NAME/invocations"
            )
        return names[0]

    async def _read_body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        limit = self._limits.max_bytes
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > limit:
            raise _too_large(limit)
        message = await self._receive(receive)
        body: bytes = message.get("body", b"")
        if not message.get("more_body"):
            if len(body) > limit:
                raise _too_large(limit)
            return body
        parts, size = [body], len(body)
        deadline = time.monotonic() + self._limits.body_seconds
        while message.get("more_body"):
            message = await self._receive(receive, deadline - time.monotonic())
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limit:
                raise _too_large(limit)
        return b"".join(parts)

    async def _receive(self, receive: Receive, seconds: float | None = None) -> Any:
        try:
            async with asyncio.timeout(self._limits.body_seconds if seconds is None else seconds):
                message = await receive()
        except TimeoutError:
            raise RequestError("the body did not arrive in time", status=408, hint="send it faster") from None
        if message["type"] == "http.disconnect":
            raise _ClientGone
        return message

    async def _answer(self, target: _Target, model: ServedModel, headers: dict[bytes, bytes], body: bytes) -> _Answer:
        if target.version is not None and target.version != model.version:
            raise RequestError(f"version {model.version} is served here, and no other", status=404)
        exchange = _EXCHANGES[target.protocol](model, headers)
        if len(body) > _LARGE:
            rows = await asyncio.to_thread(_decode, exchange, body)
        else:
            rows = _decode(exchange, body)
        if unseen := model.inputs.count_unseen(rows):
            self._metrics.add_unseen(model.experiment, unseen)
        predictions = await self._queue.predict(model, rows)
        if len(rows) > _LARGE // 64:
            return await asyncio.to_thread(exchange.encode, predictions)
        return exchange.encode(predictions)


class _ClientGone(Exception):
    """The client has closed the connection."""


class _Exchange:
    """A request and its answer in the plain protocol, as JSON, CSV or Arrow."""

    def __init__(self, model: ServedModel, headers: dict[bytes, bytes]) -> None:
        self._model, self._headers = model, headers
        self._content_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()

    def decode(self, body: bytes) -> Rows:
        """Decode the rows of a request."""
        if self._is_arrow:
            return table_protocols.decode_arrow(self._model, body)
        if self._content_type in (b"text/csv", b"application/csv"):
            return table_protocols.decode_csv(self._model, body)
        return self._decode_json(body)

    def encode(self, predictions: Predictions) -> _Answer:
        """Encode predictions in the format of the request, or in that of its ``Accept``."""
        if self._is_arrow or self._headers.get(b"accept") == table_protocols.ARROW.encode():
            body = table_protocols.encode_arrow(self._model, predictions)
            return self._finish(body, len(predictions), content_type=table_protocols.ARROW.encode())
        return self._finish(self._encode_json(predictions), len(predictions))

    @property
    def _is_arrow(self) -> bool:
        return self._content_type == table_protocols.ARROW.encode()

    def _decode_json(self, body: bytes) -> Rows:
        return record_protocol.decode_records(self._model, body)

    def _encode_json(self, predictions: Predictions) -> bytes:
        return record_protocol.encode_predictions(self._model, predictions)

    def _finish(
        self,
        body: bytes,
        n_rows: int,
        *,
        content_type: bytes = b"application/json",
        headers: Iterable[tuple[bytes, bytes]] = (),
    ) -> _Answer:
        model = self._model
        version = (
            (b"diurnal-experiment", model.experiment.encode()),
            (b"diurnal-version", b"%d" % model.version),
            (b"diurnal-digest", model.digest.encode()),
        )
        return _Answer(body, content_type, 200, (*version, *headers), n_rows, model.version)


class _MlflowExchange(_Exchange):
    """A request and its answer in MLflow's protocol."""

    def _decode_json(self, body: bytes) -> Rows:
        return mlflow_protocol.decode_scoring_request(self._model, body)

    def _encode_json(self, predictions: Predictions) -> bytes:
        return mlflow_protocol.encode_scores(predictions)


class _InferenceExchange(_Exchange):
    """A request and its answer in the Open Inference Protocol."""

    def decode(self, body: bytes) -> Rows:
        """Decode the rows of a request."""
        given = self._headers.get(b"inference-header-content-length")
        if given is not None and not (given.isdigit() and int(given) <= len(body)):
            raise RequestError("Inference-Header-Content-Length is not the length of the JSON", hint="correct it")
        length = None if given is None else int(given)
        rows, self._request = inference_protocol.decode_inference(self._model, body, length)
        return rows

    def encode(self, predictions: Predictions) -> _Answer:
        """Encode predictions."""
        body, length = inference_protocol.encode_inference(self._model, predictions, self._request)
        if length is None:
            return self._finish(body, len(predictions))
        head = [(b"inference-header-content-length", b"%d" % length)]
        return self._finish(body, len(predictions), content_type=b"application/octet-stream", headers=head)


_EXCHANGES: dict[str, type[_Exchange]] = {
    "records": _Exchange,
    "mlflow": _MlflowExchange,
    "inference": _InferenceExchange,
}


def _decode(exchange: _Exchange, body: bytes) -> Rows:
    try:
        return exchange.decode(body)
    except RecursionError:
        raise RequestError("the request is nested too deeply", hint="send flat rows") from None
    except UnicodeDecodeError:
        raise RequestError("the request is not valid UTF-8", hint="send UTF-8") from None


def _describe_request(request: _Request, answer: _Answer, name: str, seconds: float) -> dict[str, Any]:
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
    }


def _too_large(limit: int) -> RequestError:
    return RequestError(f"the body is larger than {limit} bytes", status=413, hint="send fewer rows at a time")


def _render_error(protocol: str, error: RequestError) -> _Answer:
    if protocol == "mlflow":
        body = mlflow_protocol.encode_scoring_error(error)
    elif protocol == "inference":
        hint = f"; {error.hint}" if error.hint else ""
        body = json.dumps({"error": f"{error.message}{hint}", **error.to_dict()}).encode()
    else:
        body = json.dumps({"error": error.to_dict()}).encode()
    headers = [] if error.retry_after is None else [(b"retry-after", b"%d" % error.retry_after)]
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return _Answer(body, status=error.status, headers=tuple(headers))


async def _send(send: Send, answer: _Answer) -> None:
    headers = [
        (b"content-type", answer.content_type),
        (b"content-length", b"%d" % len(answer.body)),
        (b"x-content-type-options", b"nosniff"),
        *answer.headers,
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
