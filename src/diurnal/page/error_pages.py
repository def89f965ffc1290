"""Pages for errors: what is wrong and what to do, without any detail that the viewer may not see."""

from __future__ import annotations

import logging
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from diurnal.errors import ConfigurationError, DiurnalError, NotFoundError, PermissionDeniedError, TransientError
from diurnal.page.html_templates import render
from diurnal.page.page_stores import NoWarehouseError
from diurnal.page.security import SECURITY_HEADERS

_LOG = logging.getLogger(__name__)
_STATUSES: tuple[tuple[type[DiurnalError], int], ...] = (
    (NotFoundError, 404),
    (PermissionDeniedError, 403),
    (TransientError, 503),
    (ConfigurationError, 503),
    (DiurnalError, 400),
)
_RETRY_SECONDS = 10


def add_error_pages(app: FastAPI) -> None:
    """Let the app answer errors with pages."""
    app.add_exception_handler(NoWarehouseError, _no_warehouse_page)
    app.add_exception_handler(DiurnalError, _diurnal_error_page)
    app.add_exception_handler(HTTPException, _http_error_page)
    app.add_exception_handler(RequestValidationError, _invalid_request_page)
    app.add_exception_handler(Exception, _internal_error_page)


def _error_page(
    request: Request, status: int, message: str, hint: str | None = None, *, retry: bool = False
) -> Response:
    heading = HTTPStatus(status).phrase.capitalize()
    response = render(
        request, "error.html", status=status, heading=heading, message=message, hint=hint, retry=retry, title=heading
    )
    if retry:
        response.headers["Retry-After"] = str(_RETRY_SECONDS)
        response.headers["Refresh"] = str(_RETRY_SECONDS)
    return response


def _no_warehouse_page(request: Request, _error: Exception) -> Response:
    return render(request, "empty.html", title="Experiments")


def _diurnal_error_page(request: Request, error: Exception) -> Response:
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)
    if status == 404:  # the message may list what exists, which the viewer may not see
        return _not_found_page(request)
    if status == 503:
        _LOG.warning("%s %s: %s", request.method, request.url.path, error)
        what = (
            "The warehouse is not available." if isinstance(error, TransientError) else "The stores cannot be opened."
        )
        return _error_page(request, 503, f"{what} {_as_sentence(error)}", getattr(error, "hint", None), retry=True)
    return _error_page(request, status, _as_sentence(error), getattr(error, "hint", None))


def _as_sentence(error: Exception) -> str:
    """Return the message of an error, with a capital letter and a full stop."""
    message = str(getattr(error, "message", error))
    return message[:1].upper() + message[1:] + ("" if message.endswith((".", "!", "?")) else ".")


def _not_found_page(request: Request) -> Response:
    message = "This page does not exist, or you have no permission to see it."
    return _error_page(request, 404, message, "Start from the list of experiments.")


def _http_error_page(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 404:
        return _not_found_page(request)
    if status == 401:
        message = "This page needs a login."
        return _error_page(request, 401, message, "Open the link that `diurnal page` prints in its terminal.")
    detail = str(error.detail) if isinstance(error, HTTPException) else ""
    return _error_page(request, status, detail or HTTPStatus(status).description)


def _invalid_request_page(request: Request, error: Exception) -> Response:
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    if any(problem["loc"][:1] == ("path",) for problem in problems):
        return _not_found_page(request)
    names = ", ".join(sorted({str(problem["loc"][-1]) for problem in problems}))
    return _error_page(request, 400, f"The value of {names} is not valid.", "Correct the address, or start again.")


def _internal_error_page(request: Request, _error: Exception) -> Response:
    response = _error_page(request, 500, "The page has an internal error.", "The log of the server has the details.")
    response.headers.update(SECURITY_HEADERS)  # this handler is outside of the middleware
    return response
