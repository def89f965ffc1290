"""The address of an MLflow server, with its credentials, from the setting ``mlflow`` or MLflow's own variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit, urlunsplit

from diurnal.errors import ConfigurationError

VARIABLE = "MLFLOW_TRACKING_URI"
OFF = "off"


@dataclass(frozen=True)
class MlflowAddress:
    """Where an MLflow server is, and who may write there.

    Attributes
    ----------
    url : str
        The URL without a user and a password. It is empty if the setting names no server; then `problem` states it.
    origin : str
        Where the setting comes from: a variable, or the path of ``diurnal.toml``.
    problem : str or None
        Why the setting cannot be used: MLflow's variable may name a file or another service, which is not an error.
    login : tuple of str or None
        User and password.
    token : str or None
        A bearer token.
    certificates : str or None
        A file with the certificates of the authorities to trust.
    """

    url: str
    origin: str
    problem: str | None = None
    login: tuple[str, str] | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    certificates: str | None = None

    @classmethod
    def parse(cls, value: str, origin: str, environment: Mapping[str, str]) -> MlflowAddress | None:
        """Return the address of a setting; None if there is none, or if it is ``off``.

        Parameters
        ----------
        value, origin : str
            The setting, and where it comes from.
        environment : Mapping of str to str
            Variables, with MLflow's credentials.

        Raises
        ------
        ConfigurationError
            If the setting is diurnal's own, and is not the URL of a server.

        Examples
        --------
        >>> MlflowAddress.parse("https://ada:secret@mlflow.example/team/", "diurnal.toml", {})
        MlflowAddress(url='https://mlflow.example/team', origin='diurnal.toml', problem=None, certificates=None)
        >>> MlflowAddress.parse("sqlite:///mlflow.db", "MLFLOW_TRACKING_URI", {}).problem
        "it starts with 'sqlite:'"
        """
        if not value or value == OFF:
            return None
        if problem := _find_problem(value):
            if origin == VARIABLE:  # it belongs to MLflow, whose other programs may need it
                return cls("", origin, problem)
            raise ConfigurationError(
                f"mlflow ({origin}) is not the URL of a server: {problem}",
                hint="write http://localhost:5000, or remove it for MLFLOW_TRACKING_URI, or write 'off'",
            )
        parts = urlsplit(value)
        user = environment.get("MLFLOW_TRACKING_USERNAME") or unquote(parts.username or "")
        password = environment.get("MLFLOW_TRACKING_PASSWORD") or unquote(parts.password or "")
        return cls(
            url=urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", "")),
            origin=origin,
            login=(user, password) if user else None,
            token=environment.get("MLFLOW_TRACKING_TOKEN") or None,
            certificates=environment.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or None,
        )


def _find_problem(value: str) -> str | None:
    """Return why a value is not the URL of a server, without the value: it may contain a password."""
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 - it raises ValueError
    except ValueError:
        return "it is not a valid URL"
    if parts.scheme not in ("http", "https"):
        return (
            f"it starts with {parts.scheme + ':'!r}" if parts.scheme else "it does not start with http:// or https://"
        )
    return None if parts.hostname else "it names no host"
