"""Login to the page of ``diurnal page``: a link with a token that is valid once, then a cookie.

Only a process that reads the terminal knows the token, so that other users of the machine, and pages that a browser has
open, have no access.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

from fastapi import HTTPException, Request
from starlette.responses import Response
from starlette.routing import Route

from diurnal.page.html_templates import render
from diurnal.page.viewer import Viewer

_LINK_SECONDS = 3600
_SESSION_SECONDS = 7 * 86400
_MAX_SESSIONS = 100


@dataclass
class LocalLogin:
    """The login of one user, who is the user of the process.

    Parameters
    ----------
    user : str
        The user's name, for the history of changes.
    allow_changes : bool
        Whether the user may promote versions and accept contracts.
    announce : callable
        Takes the token of a new link, to print it.
    cookie : str
        The name of the cookie. Cookies do not depend on the port, so that it should contain it.
    metrics_token : str
        A bearer token that gives access to ``/metrics`` only. Empty: no access without a login.
    """

    user: str
    allow_changes: bool
    announce: Callable[[str], None]
    cookie: str = "diurnal_page"
    metrics_token: str = field(default="", repr=False)
    _token: str = field(default="", init=False, repr=False)
    _expires: float = field(default=0.0, init=False, repr=False)
    _sessions: dict[str, float] = field(default_factory=dict, init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def new_link(self) -> None:
        """Announce a new link; the former one is not valid any more."""
        with self._lock:
            self._token, self._expires = secrets.token_urlsafe(32), time.monotonic() + _LINK_SECONDS
        self.announce(self._token)

    def authenticate(self, request: Request) -> Viewer:
        """Return the viewer of a request.

        Raises
        ------
        HTTPException
            With status 401 if the request has no valid cookie, nor the token for metrics.
        """
        if self._is_scraper(request):
            return Viewer("a scraper of metrics", "")
        session = request.cookies.get(self.cookie, "")
        if not self._is_valid(session):
            raise HTTPException(401)
        may_change = self.allow_changes
        return Viewer(self.user, session, can_change=lambda _experiment: may_change)

    @property
    def route(self) -> Route:
        """The route of the login, which needs no authentication."""
        return Route("/login", self._log_in, methods=["GET"], name="login")

    def _log_in(self, request: Request) -> Response:
        """Set the cookie if the token of the link is valid; each token is used once.

        The response is a page and not a redirect: after a link on another site, a browser would not send a strict
        cookie with the redirected request.
        """
        if self._is_valid(request.cookies.get(self.cookie, "")):
            return render(request, "login.html", is_valid=True, title="Login")
        if not self._take_token(request.query_params.get("token", "")):
            if self._is_expired():
                self.new_link()
            return render(request, "login.html", status=401, is_valid=False, title="Login")
        session = secrets.token_urlsafe(32)
        with self._lock:
            while len(self._sessions) >= _MAX_SESSIONS:
                self._sessions.pop(next(iter(self._sessions)))
            self._sessions[_digest(session)] = time.monotonic() + _SESSION_SECONDS
        self.new_link()
        response = render(request, "login.html", is_valid=True, title="Login")
        response.set_cookie(
            self.cookie,
            session,
            max_age=_SESSION_SECONDS,
            path=request.scope.get("root_path") or "/",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return response

    def _is_scraper(self, request: Request) -> bool:
        """Return whether a request reads the metrics, and has the token for them."""
        path: str = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if path != "/metrics" or not self.metrics_token or scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(token.strip().encode(), self.metrics_token.encode())

    def _take_token(self, token: str) -> bool:
        with self._lock:
            is_equal = hmac.compare_digest(token.encode(), self._token.encode())
            if not is_equal or not self._token or time.monotonic() > self._expires:
                return False
            self._token = ""
            return True

    def _is_expired(self) -> bool:
        with self._lock:
            return time.monotonic() > self._expires

    def _is_valid(self, session: str) -> bool:
        """Return whether a session is open; only digests are compared, so that the time does not depend on it."""
        with self._lock:
            return time.monotonic() < self._sessions.get(_digest(session), 0.0)


def _digest(session: str) -> str:
    return hashlib.sha256(session.encode()).hexdigest()
