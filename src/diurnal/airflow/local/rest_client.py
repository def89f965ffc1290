"""A client of Airflow's REST API, as far as it is needed here; it uses only the standard library."""

from __future__ import annotations

import json
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import ProxyHandler, Request, build_opener

from diurnal.airflow.local.server_address import ServerAddress
from diurnal.errors import PermissionDeniedError, TransientError

Response = tuple[int, Any]
_LOCAL = build_opener(ProxyHandler({}))  # without a proxy
_REMOTE = build_opener()


class RestClient:
    """A signed-in user of an Airflow.

    Parameters
    ----------
    address : ServerAddress or str
        Its address on this machine, or the URL of another one.
    user, password : str
        Both may be empty if only :meth:`health` is called. Without a user, the password is a token.
    timeout : float
        Seconds that a response may take.
    """

    def __init__(
        self, address: ServerAddress | str, user: str = "", password: str = "", *, timeout: float = 30
    ) -> None:
        self._url = address if isinstance(address, str) else address.url
        self._opener = _REMOTE if isinstance(address, str) else _LOCAL
        self._credentials = {"username": user, "password": password}
        self._token: str | None = None if user else password or None
        self._timeout = timeout

    def health(self) -> dict[str, str | None]:
        """Return the state of each component; an empty dict while the API server does not respond."""
        try:
            status, content = self._request("GET", "/api/v2/monitor/health")
        except TransientError:
            return {}
        return {name: part["status"] for name, part in content.items()} if status == 200 else {}

    def get(self, *path: str, **query: str | int) -> Response:
        """Send a GET request below ``/api/v2``; return the status and the content."""
        return self._request_signed_in("GET", path, query)

    def post(self, *path: str, body: dict[str, Any]) -> Response:
        """Send a POST request below ``/api/v2``; return the status and the content."""
        return self._request_signed_in("POST", path, {}, body)

    def _request_signed_in(
        self, method: str, path: tuple[str, ...], query: dict[str, Any], body: dict[str, Any] | None = None
    ) -> Response:
        if self._token is None:
            status, content = self._request("POST", "/auth/token", self._credentials)
            if status != 201:
                message = f"Airflow at {self._url} rejects the user {self._credentials['username']}: {status}"
                raise PermissionDeniedError(message, hint="restart it, so that it reads its password file again")
            self._token = content["access_token"]
        path_text = "/api/v2/" + "/".join(quote(part, safe="~") for part in path)
        return self._request(method, path_text + (f"?{urlencode(query)}" if query else ""), body)

    def _request(self, method: str, path: str, body: dict[str, Any] | None = None) -> Response:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        request = Request(self._url + path, data, headers, method=method)  # noqa: S310 - its scheme is http or https
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                return response.status, json.load(response)
        except HTTPError as error:
            with error:
                return error.code, _parse_body(error.read())
        except (URLError, OSError, ValueError) as error:
            message = f"Airflow at {self._url} does not respond: {getattr(error, 'reason', error)}"
            raise TransientError(message, hint="`diurnal airflow status` shows whether it runs") from None


def _parse_body(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return {"detail": body[:200].decode(errors="replace")}
