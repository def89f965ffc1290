"""Static files: styles, scripts and the bundle of Vega, compressed once and cached by browsers for ever."""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from importlib.resources import files

from fastapi import HTTPException, Request
from starlette.responses import Response
from starlette.routing import Route

from diurnal.page.vega_bundle import vega_bundle

_TYPES = {
    "page.css": "text/css",
    "details.css": "text/css",
    "page.js": "text/javascript",
    "htmx.min.js": "text/javascript",
    "vega.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}


def static_route() -> Route:
    """Return the route of the files; it needs no login, as the login page uses it."""
    return Route("/static/{name}", _serve_file, methods=["GET"], name="static")


@cache
def static_version() -> str:
    """Return a digest of the files, for their URLs: a new release has other URLs."""
    import diurnal

    digest = hashlib.sha256(getattr(diurnal, "__version__", "").encode())
    for name in sorted(set(_TYPES) - {"vega.js"}):
        digest.update(_read_file(name))
    return digest.hexdigest()[:10]


def _serve_file(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _TYPES:
        raise HTTPException(404)
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
    content = _read_file(name)
    if "gzip" in request.headers.get("accept-encoding", ""):
        content, headers["Content-Encoding"] = _compressed_file(name), "gzip"
    return Response(content, media_type=_TYPES[name], headers=headers)


@cache
def _read_file(name: str) -> bytes:
    return vega_bundle().encode() if name == "vega.js" else (files("diurnal.page") / "static" / name).read_bytes()


@cache
def _compressed_file(name: str) -> bytes:
    return gzip.compress(_read_file(name), 9, mtime=0)
