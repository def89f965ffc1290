"""Airflow's REST API, as far as it is needed here; by the standard library alone."""

from __future__ import annotations

import json
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import ProxyHandler, Request, build_opener

from diurnal.airflow.local.server_address import Address
from diurnal.errors import PermissionDeniedError, TransientError

Answer = tuple[int, Any]
_HERE = build_opener(ProxyHandler({}))  # on this machine, no proxy has a say
_ELSEWHERE = build_opener()


class Client:
    """A signed-in user of an Airflow.

    Parameters
    ----------
    address : Address or str
        Where it answers: on this machine, or the URL of another one.
    user, password : str
        Who asks; both may be empty where only :meth:`health` is asked for. Without a user, the password is a token.
    timeout : float
        Seconds that an answer may take.
    """

    def __init__(self, address: Address | str, user: str = "", password: str = "", *, timeout: float = 30) -> None:
        self._url = address if isinstance(address, str) else address.url
        self._opener = _ELSEWHERE if isinstance(address, str) else _HERE
        self._credentials = {"username": user, "password": password}
        self._token: str | None = None if user else password or None
        self._timeout = timeout

    def health(self) -> dict[str, str | None]:
        """Give the state of each component; an empty dict while the API server does not answer."""
        try:
            status, answer = self._ask("GET", "/api/v2/monitor/health")
        except TransientError:
            return {}
        return {name: part["status"] for name, part in answer.items()} if status == 200 else {}

    def get(self, *path: str, **query: str | int) -> Answer:
        """Ask for something below ``/api/v2``: the status and what came, as Python's values."""
        return self._signed_in("GET", path, query)

    def post(self, *path: str, body: dict[str, Any]) -> Answer:
        """Send something to below ``/api/v2``."""
        return self._signed_in("POST", path, {}, body)

    def _signed_in(
        self, method: str, path: tuple[str, ...], query: dict[str, Any], body: dict[str, Any] | None = None
    ) -> Answer:
        if self._token is None:
            status, answer = self._ask("POST", "/auth/token", self._credentials)
            if status != 201:
                message = f"Airflow at {self._url} refuses the user {self._credentials['username']}: {status}"
                raise PermissionDeniedError(
                    message, hint="end it and start it again, so that it reads its password file anew"
                )
            self._token = answer["access_token"]
        where = "/api/v2/" + "/".join(quote(part, safe="~") for part in path)
        return self._ask(method, where + (f"?{urlencode(query)}" if query else ""), body)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Answer:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        request = Request(self._url + path, data, headers, method=method)  # noqa: S310 - its scheme is http or https
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                return answer.status, json.load(answer)
        except HTTPError as error:
            with error:
                return error.code, _read(error.read())
        except (URLError, OSError, ValueError) as error:
            message = f"Airflow at {self._url} does not answer: {getattr(error, 'reason', error)}"
            raise TransientError(message, hint="`diurnal airflow status` says whether it runs") from None


def _read(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return {"detail": body[:200].decode(errors="replace")}
