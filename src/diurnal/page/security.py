"""Protection of the page in a browser: response headers, the host, the origin of changes, and tokens of forms."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from fastapi import Depends, Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from diurnal.errors import PermissionDeniedError, UsageError
from diurnal.page.viewer import Viewer, current_viewer

FORM_TOKEN = "form_token"  # noqa: S105 - the name of a field
_MAX_FORM_BYTES = 64 * 1024
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'self'"
)
_POLICY_HEADER = "Content-Security-Policy"
SECURITY_HEADERS = {
    _POLICY_HEADER: _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",  # no-referrer would make the Origin of forms null
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class BrowserProtection:
    """ASGI middleware: reject foreign hosts and changes from foreign origins, and add the headers to each response.

    Parameters
    ----------
    app : ASGI application
        The application.
    allowed_hosts : sequence of str
        Names of hosts without ports. A request with another ``Host`` header is rejected, which protects against DNS
        rebinding. Empty: the server in front checks it.
    """

    def __init__(self, app: ASGIApp, allowed_hosts: Sequence[str] = ()) -> None:
        self._app = app
        self._allowed_hosts = frozenset(host.lower() for host in allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                own_policy = headers.get(_POLICY_HEADER)  # that of a report, which is stricter
                for name, value in SECURITY_HEADERS.items():
                    headers[name] = value
                headers[_POLICY_HEADER] = own_policy or SECURITY_HEADERS[_POLICY_HEADER]
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        headers = Headers(scope=scope)
        if self._allowed_hosts and _host_name(headers.get("host", "")) not in self._allowed_hosts:
            response = PlainTextResponse("the page is not served under this host name\n", status_code=400)
            await response(scope, receive, send_with_headers)
        elif scope["method"] not in _SAFE_METHODS and not is_same_origin(headers):
            response = PlainTextResponse("a change must come from the page itself\n", status_code=403)
            await response(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)


def is_same_origin(headers: Mapping[str, str]) -> bool:
    """Return whether a browser sent a request from the page itself.

    Examples
    --------
    >>> is_same_origin({"host": "localhost:8787", "sec-fetch-site": "same-origin"})
    True
    >>> is_same_origin({"host": "localhost:8787", "origin": "https://evil.example"})
    False
    >>> is_same_origin({"host": "localhost:8787"})
    False
    """
    site = headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        return False
    origin = headers.get("origin")
    if origin is not None:
        return urlsplit(origin).netloc.lower() == headers.get("host", "").lower() != ""
    return site is not None


def form_token(request: Request, viewer: Viewer) -> str:
    """Return a token for a form, which is bound to the viewer's session.

    Each one is different, so that the length of compressed pages does not reveal it.
    """
    salt = secrets.token_hex(8)
    return f"{salt}.{_sign_token(request, viewer, salt)}"


def _sign_token(request: Request, viewer: Viewer, salt: str) -> str:
    secret: bytes = request.app.state.secret
    return hmac.new(secret, f"{salt}\0{viewer.name}\0{viewer.session}".encode(), hashlib.sha256).hexdigest()


async def verified_form(request: Request) -> Mapping[str, str]:
    """Return the fields of a form after a check of its token.

    Raises
    ------
    UsageError
        If the request is not a form, or is too large.
    PermissionDeniedError
        If the token is not that of the viewer's session.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise UsageError("the request is not a form", hint="send the form of the page")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_FORM_BYTES:
            raise UsageError(f"the form is larger than {_MAX_FORM_BYTES} bytes", hint="shorten its texts")
    try:
        fields = dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=100))
    except ValueError:
        raise UsageError("the form is not valid UTF-8", hint="send the form of the page") from None
    salt, _, signature = fields.pop(FORM_TOKEN, "").partition(".")
    expected = _sign_token(request, current_viewer(request), salt)
    if not hmac.compare_digest(signature.encode(), expected.encode()):
        raise PermissionDeniedError("the form has expired", hint="load the page again, then repeat the change")
    return fields


VerifiedForm = Annotated[Mapping[str, str], Depends(verified_form)]


def _host_name(header: str) -> str:
    """Return the name in a Host header, without its port.

    Examples
    --------
    >>> _host_name("localhost:8787"), _host_name("[::1]:8787")
    ('localhost', '[::1]')
    """
    name = header.lower()
    return name.partition("]")[0] + "]" if name.startswith("[") else name.partition(":")[0]
