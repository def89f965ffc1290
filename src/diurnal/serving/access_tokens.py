"""Tokens with scopes: which client may ask for predictions of which experiments, and read the metrics."""

from __future__ import annotations

import hashlib
import hmac
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diurnal.errors import ConfigurationError
from diurnal.serving.request_errors import RequestError

ALL = "*"


@dataclass(frozen=True)
class Client:
    """A client that a token identifies.

    Attributes
    ----------
    name : str
        The name of the token, for the log.
    experiments : frozenset of str
        The experiments that it may use; ``*`` for all.
    metrics : bool
        Whether it may read the metrics.
    """

    name: str
    experiments: frozenset[str]
    metrics: bool = False

    def may_use(self, experiment: str) -> bool:
        """Return whether the client may use an experiment."""
        return ALL in self.experiments or experiment in self.experiments


ANYONE = Client("anonymous", frozenset({ALL}), metrics=True)


class AccessTokens:
    """The tokens of a server; without any, everyone who reaches the server may use it.

    Parameters
    ----------
    clients : Mapping of str to Client
        The clients by the SHA-256 of their token, in hexadecimal.
    """

    def __init__(self, clients: Mapping[str, Client] | None = None) -> None:
        self._clients = dict(clients) if clients is not None else None

    @classmethod
    def from_file(cls, path: Path) -> AccessTokens:
        """Read a TOML file with a table for each token.

        Examples
        --------
        A file with one token::

            [reporting]
            sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
            experiments = ["breast_cancer"]  # or ["*"]
            metrics = true

        Raises
        ------
        ConfigurationError
            If the file cannot be read, or a table is not valid.
        """
        try:
            tables = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"the tokens in {path} cannot be read: {error}", hint="see docs/serving.md"
            ) from None
        clients = dict(_read_client(path, name, table) for name, table in tables.items())
        if not clients:
            raise ConfigurationError(f"{path} has no token", hint="add a table for each token: see docs/serving.md")
        return cls(clients)

    def identify(self, authorization: bytes | None) -> Client:
        """Return the client of a header ``Authorization: Bearer TOKEN``.

        Raises
        ------
        RequestError
            With status 401 if the token is missing or unknown.
        """
        if self._clients is None:
            return ANYONE
        scheme, _, token = (authorization or b"").partition(b" ")
        digest = hashlib.sha256(token.strip()).hexdigest()
        found = None
        for known, client in self._clients.items():  # all are compared, so that the time does not depend on the token
            if hmac.compare_digest(known, digest):
                found = client
        if found is None or scheme.lower() != b"bearer":
            raise RequestError(
                "a valid token is required",
                status=401,
                hint="send Authorization: Bearer TOKEN",
                headers={"www-authenticate": "Bearer"},
            )
        return found


def _read_client(path: Path, name: str, table: Any) -> tuple[str, Client]:
    known = {"sha256", "experiments", "metrics"}
    if not isinstance(table, dict) or not {"sha256", "experiments"} <= set(table) <= known:
        raise ConfigurationError(
            f"{path}: {name} is not a table with sha256, experiments and perhaps metrics", hint="see docs/serving.md"
        )
    digest, experiments = table["sha256"], table["experiments"]
    if not (isinstance(digest, str) and len(digest) == 64 and not set(digest) - set("0123456789abcdef")):
        raise ConfigurationError(
            f"{path}: sha256 of {name} is not a SHA-256 in hexadecimal",
            hint="compute it: printf %s TOKEN | sha256sum",
        )
    if not (isinstance(experiments, list) and all(isinstance(one, str) for one in experiments)):
        raise ConfigurationError(f"{path}: experiments of {name} is not a list of names", hint='write ["*"] for all')
    return digest, Client(name, frozenset(experiments), bool(table.get("metrics", False)))
