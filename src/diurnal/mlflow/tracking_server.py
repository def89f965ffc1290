"""Requests to an MLflow server, each with a deadline.

The REST API is documented at https://mlflow.org/docs/latest/api_reference/rest-api.html.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn
from urllib.parse import quote

from diurnal.errors import ConfigurationError, DiurnalError, PermissionDeniedError, TransientError
from diurnal.runtime.mlflow_address import MlflowAddress
from diurnal.runtime.redaction import redact_secrets

if TYPE_CHECKING:
    from requests import PreparedRequest, Response

PATIENCE = 60.0
"""Seconds that an answer may take when a user waits for it."""
_BYTES_PER_SECOND = 5e6  # an upload that is slower is given up
_MAX_MESSAGE = 500
_LATER = "nothing is lost: the next run, or `diurnal mlflow sync`, copies what is missing"


class TrackingServer:
    """An MLflow server.

    Parameters
    ----------
    address : MlflowAddress
        Its address and the credentials.
    patience : float
        Seconds after which a request without an answer fails, from the look-up of the host name on.

    Raises
    ------
    ConfigurationError
        If the setting names no server, or the library for requests is not installed.
    """

    def __init__(self, address: MlflowAddress, *, patience: float = PATIENCE) -> None:
        if address.problem:
            raise ConfigurationError(
                f"{address.origin} is not the URL of an MLflow server: {address.problem}",
                hint="start `mlflow server` on it and set http://host:5000, or set DIURNAL_MLFLOW=off",
            )
        try:
            import requests
        except ImportError:
            raise ConfigurationError(
                f"{address.origin} is set, and the library `requests` is not installed",
                hint="pip install 'diurnal[mlflow]', or set DIURNAL_MLFLOW=off",
            ) from None
        self.url, self.patience = address.url, patience
        self._session = requests.Session()
        if address.certificates:
            self._session.verify = address.certificates
        if header := _authorization(address):
            self._session.auth = _set_header("Authorization", header)  # as a header of the session, ~/.netrc would win

    def __enter__(self) -> TrackingServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def check_health(self) -> None:
        """Raise TransientError if the server does not answer, ConfigurationError if another server does."""
        answer = self._send("GET", "/health")
        if answer.status_code != 200 or answer.content.strip() != b"OK":
            raise self._refusal(answer) if answer.status_code >= 400 else self._not_mlflow()

    def get(self, method: str, **parameters: Any) -> dict[str, Any] | None:
        """Return what a method of the API reads; None if the entity does not exist."""
        return self._call("GET", method, unless="RESOURCE_DOES_NOT_EXIST", params=parameters)

    def post(self, method: str, content: Mapping[str, Any], *, unless: str | None = None) -> dict[str, Any] | None:
        """Call a method of the API; return None if it fails with the code `unless`."""
        return self._call("POST", method, unless=unless, json=content)

    def delete(self, method: str, content: Mapping[str, Any]) -> None:
        """Delete an entity, if it exists."""
        self._call("DELETE", method, unless="RESOURCE_DOES_NOT_EXIST", json=content)

    def search(self, method: str, key: str, *, by_get: bool = False, **query: Any) -> Iterator[dict[str, Any]]:
        """Yield the entities that a method of the API finds, page by page."""
        token: str | None = None
        while True:
            page = {**query, **({"page_token": token} if token else {})}
            found = (self.get(method, **page) if by_get else self.post(method, page)) or {}
            yield from found.get(key, ())
            if not (token := found.get("next_page_token")):
                return

    def upload(self, path: str, content: bytes | BinaryIO, size: int) -> None:
        """Store a file by way of the server, which has the artifacts; a file of that name is replaced."""
        seconds = self.patience + size / _BYTES_PER_SECOND
        location = f"/api/2.0/mlflow-artifacts/artifacts/{quote(path)}"
        answer = self._send("PUT", location, seconds=seconds, data=content if size else b"")
        if answer.status_code != 200:
            raise self._refusal(answer)

    def _call(self, verb: str, method: str, *, unless: str | None, **kwargs: Any) -> dict[str, Any] | None:
        answer = self._send(verb, f"/api/2.0/mlflow/{method}", **kwargs)
        try:
            content = answer.json(object_hook=partial(_AnsweredObject, self._not_mlflow))
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise self._refusal(answer) if answer.status_code >= 400 else self._not_mlflow()
        if answer.status_code == 200:
            return content
        if unless is not None and content.get("error_code") == unless:
            return None
        raise self._refusal(answer, str(content.get("message", "")))

    def _send(self, verb: str, path: str, *, seconds: float | None = None, **kwargs: Any) -> Response:
        import requests

        seconds = self.patience if seconds is None else seconds

        def send() -> Response:
            return self._session.request(verb, self.url + path, timeout=seconds, allow_redirects=False, **kwargs)

        try:
            answer = _call_with_deadline(send, seconds)
        except (TimeoutError, requests.Timeout):
            raise TransientError(f"MLflow at {self.url} did not answer within {seconds:.0f} s", hint=_LATER) from None
        except (requests.RequestException, OSError) as error:
            reason = (
                "the certificate is not valid" if isinstance(error, requests.exceptions.SSLError) else _cause(error)
            )
            raise TransientError(f"MLflow at {self.url} cannot be reached: {reason}", hint=_LATER) from None
        if answer.is_redirect:
            raise ConfigurationError(
                f"the server at {self.url} redirects to another address",
                hint=f"set the address that MLflow has: {redact_secrets(answer.headers['location'])[:200]}",
            )
        return answer

    def _refusal(self, answer: Response, message: str = "") -> DiurnalError:
        status, shown = answer.status_code, redact_secrets(message)[:_MAX_MESSAGE]
        if status in (401, 403):
            return PermissionDeniedError(
                f"MLflow at {self.url} does not allow it (status {status}){': ' if shown else ''}{shown}",
                hint="set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN; a server "
                "that checks host names needs --allowed-hosts",
            )
        if status == 429 or status >= 500:
            return TransientError(f"MLflow at {self.url} failed with status {status}: {shown}", hint=_LATER)
        return ConfigurationError(
            f"MLflow at {self.url} rejects a request with status {status}: {shown}",
            hint="check that the address is that of an MLflow server; version 3.17 is tested",
        )

    def _not_mlflow(self) -> ConfigurationError:
        return ConfigurationError(
            f"the server at {self.url} is not an MLflow server", hint="correct the address, or set DIURNAL_MLFLOW=off"
        )


class _AnsweredObject(dict[str, Any]):
    """An object of an answer; a field that MLflow's API promises and that is not there raises a ConfigurationError."""

    def __init__(self, error: Callable[[], ConfigurationError], fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self._error = error

    def __missing__(self, name: str) -> NoReturn:
        raise self._error()


def _authorization(address: MlflowAddress) -> str | None:
    if address.token:
        return f"Bearer {address.token}"
    return "Basic " + base64.b64encode(":".join(address.login).encode()).decode() if address.login else None


def _set_header(name: str, value: str) -> Callable[[PreparedRequest], PreparedRequest]:
    def set_header(request: PreparedRequest) -> PreparedRequest:
        request.headers[name] = value
        return request

    return set_header


def _call_with_deadline(function: Callable[[], Response], seconds: float) -> Response:
    """Return the result of a function; raise TimeoutError after some seconds, and leave it to end on its own.

    The timeouts of a connection count from one byte to the next, and the look-up of a host name has none.
    """
    outcome: list[Response | BaseException] = []

    def call() -> None:
        try:
            outcome.append(function())
        except BaseException as error:  # noqa: BLE001 - raised again by the caller
            outcome.append(error)

    thread = threading.Thread(target=call, name="mlflow-request", daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise TimeoutError
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


def _cause(error: BaseException) -> str:
    """Return the reason of the system for a failed connection; the messages of the library repeat the whole request."""
    while (inner := error.__cause__ or error.__context__) is not None and not getattr(error, "strerror", None):
        error = inner
    return getattr(error, "strerror", None) or type(error).__name__
