"""The routes of a server beside predictions: health, metadata, OpenAPI and metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from diurnal.serving.access_tokens import AccessTokens, Client
from diurnal.serving.inference_protocol import describe_model
from diurnal.serving.openapi_schema import create_openapi, example_rows
from diurnal.serving.record_protocol import encode_record_error
from diurnal.serving.request_errors import RequestError

if TYPE_CHECKING:
    from diurnal.serving.input_monitor import InputMonitor
    from diurnal.serving.served_models import ServedModels
    from diurnal.serving.serving_metrics import ServingMetrics

_Handler = Callable[[Request, Client], Response]
_HTTP_ERRORS = {
    404: ("there is no such path", "GET / lists the experiments, GET /openapi.json all paths"),
    405: ("this path takes GET only", "GET /openapi.json lists all paths"),
}


def create_pages(
    served: ServedModels, metrics: ServingMetrics, access: AccessTokens, monitor: InputMonitor
) -> Starlette:
    """Create the application of these routes; those of health need no token."""
    pages = _Pages(served, metrics, monitor)
    routes = [
        Route("/ping", pages.show_ready),
        Route("/health", pages.show_ready),
        Route("/v2/health/live", pages.show_live),
        Route("/v2/health/ready", pages.show_ready),
        Route("/version", pages.show_version),
        Route("/", _protect(pages.show_index, access)),
        Route("/openapi.json", _protect(pages.show_openapi, access)),
        Route("/metrics", _protect(pages.show_metrics, access)),
        Route("/v2", _protect(pages.show_server, access)),
        Route("/v2/models/{name}", _protect(pages.show_model, access)),
        Route("/v2/models/{name}/ready", _protect(pages.show_model_ready, access)),
        Route("/v2/models/{name}/versions/{version}", _protect(pages.show_model, access)),
        Route("/v2/models/{name}/versions/{version}/ready", _protect(pages.show_model_ready, access)),
        Route("/experiments/{name}", _protect(pages.show_experiment, access)),
        Route("/experiments/{name}/example", _protect(pages.show_example, access)),
    ]
    handlers: dict[Any, Any] = {RequestError: _show_error, **dict.fromkeys(_HTTP_ERRORS, _show_http_error)}
    return Starlette(routes=routes, exception_handlers=handlers)


class _Pages:
    """The handlers of the routes."""

    def __init__(self, served: ServedModels, metrics: ServingMetrics, monitor: InputMonitor) -> None:
        self._served, self._metrics, self._monitor = served, metrics, monitor

    async def show_live(self, _request: Request) -> Response:
        return JSONResponse({"live": True})

    async def show_ready(self, _request: Request) -> Response:
        ready = self._served.is_ready
        return JSONResponse({"ready": ready}, status_code=200 if ready else 503)

    async def show_version(self, _request: Request) -> Response:
        return PlainTextResponse(version("diurnal"))

    def show_index(self, _request: Request, client: Client) -> Response:
        names = [name for name in self._served if client.may_use(name)]
        return JSONResponse(
            {
                "experiments": [self._describe(name) for name in names],
                "openapi": "openapi.json",
            }
        )

    def show_openapi(self, _request: Request, client: Client) -> Response:
        models = [state.model for name, state in self._served.states().items() if client.may_use(name) and state.model]
        return JSONResponse(create_openapi([model for model in models if model is not None]))

    def show_metrics(self, _request: Request, client: Client) -> Response:
        if not client.metrics:
            raise RequestError("the token does not allow the metrics", status=403)
        self._monitor.flush()
        body, content_type = self._metrics.render()
        return Response(body, headers={"content-type": content_type})

    def show_server(self, _request: Request, _client: Client) -> Response:
        extensions = ["binary_tensor_data"]
        return JSONResponse({"name": "diurnal", "version": version("diurnal"), "extensions": extensions})

    def show_model(self, request: Request, client: Client) -> Response:
        return JSONResponse(describe_model(self._find(request, client)))

    def show_model_ready(self, request: Request, client: Client) -> Response:
        model = self._find(request, client)
        return JSONResponse({"name": model.experiment, "ready": True})

    def show_experiment(self, request: Request, client: Client) -> Response:
        self._find(request, client)
        return JSONResponse(self._describe(request.path_params["name"]))

    def show_example(self, request: Request, client: Client) -> Response:
        return JSONResponse(example_rows(self._find(request, client)))

    def _find(self, request: Request, client: Client) -> Any:
        name = request.path_params["name"]
        if not client.may_use(name):
            raise RequestError("the token does not allow this experiment", status=403)
        model = self._served.get(name)
        if request.path_params.get("version", str(model.version)) != str(model.version):
            raise RequestError(f"version {model.version} is served here, and no other", status=404)
        return model

    def _describe(self, name: str) -> dict[str, Any]:
        state = self._served.state(name)
        described: dict[str, Any] = {"experiment": name, "status": "degraded" if state.problem else "serving"}
        if state.problem:
            described["problem"] = state.problem
        if state.model is None:
            return described | {"status": "unavailable"}
        return described | {
            "version": state.model.version,
            "digest": state.model.digest,
            "predicts_by": state.model.path,
            "columns": [
                {"name": name, "kind": kind}
                for name, kind in zip(state.model.inputs.names, state.model.inputs.kinds, strict=True)
            ],
            "target": state.model.signature["target"],
            "classes": state.model.classes,
            "predict": f"/experiments/{state.model.experiment}/predict",
        }


def _protect(handler: _Handler, access: AccessTokens) -> Callable[[Request], Awaitable[Response]]:
    """Let a handler be called with the client of the request's token."""

    async def endpoint(request: Request) -> Response:
        header = request.headers.get("authorization")
        return handler(request, access.identify(None if header is None else header.encode("latin-1")))

    return endpoint


async def _show_error(_request: Request, error: Any) -> Response:
    body = encode_record_error(error)
    return Response(body, status_code=error.status, headers=error.headers, media_type="application/json")


async def _show_http_error(request: Request, error: Any) -> Response:
    """Show an error of Starlette in the form of ours."""
    message, hint = _HTTP_ERRORS[error.status_code]
    return await _show_error(request, RequestError(message, status=error.status_code, hint=hint, headers=error.headers))
